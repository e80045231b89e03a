#include "dataplane/io/eal.hpp"

#include <atomic>
#include <cstdio>
#include <deque>
#include <mutex>
#include <regex>
#include <thread>

#include <rte_alarm.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace culvert::dp {

namespace {
/// What DPDK logs, cut into lines: the last few. Any thread may log.
struct LogTail {
  static constexpr std::size_t kLines = 4;
  std::mutex mutex;
  std::string partial;
  std::deque<std::string> lines;
};
LogTail& tail() {
  static LogTail t;
  return t;
}

ssize_t on_log(void*, const char* text, std::size_t size) {
  LogTail& t = tail();
  const std::lock_guard lock(t.mutex);
  for (std::size_t i = 0; i < size; ++i) {
    if (text[i] != '\n') {
      t.partial += text[i];
      continue;
    }
    if (t.partial.empty()) continue;
    spdlog::debug("dpdk: {}", t.partial);
    if (t.lines.size() == LogTail::kLines) t.lines.pop_front();
    t.lines.push_back(std::move(t.partial));
    t.partial.clear();
  }
  return static_cast<ssize_t>(size);
}

void capture_log() {
  static std::FILE* const stream = [] {
    cookie_io_functions_t functions{};
    functions.write = on_log;
    std::FILE* f = ::fopencookie(nullptr, "w", functions);
    if (f != nullptr) ::setvbuf(f, nullptr, _IOLBF, 0);
    return f;
  }();
  if (stream != nullptr) rte_openlog_stream(stream);
}

struct Launch {
  void (*call)(void*, unsigned);
  void* context;
  unsigned worker;
};
std::array<Launch, RTE_MAX_LCORE> launches;

int run_launch(void* argument) {
  const auto& l = *static_cast<const Launch*>(argument);
  l.call(l.context, l.worker);
  return 0;
}

struct Errand {
  void (*call)();
  std::atomic<bool> done{false};
};
}  // namespace

bool is_pci_device(const std::string& device) {
  static const std::regex pattern("([0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7](,.*)?");
  return std::regex_match(device, pattern);
}

std::vector<std::string> eal_arguments(const config::GatewayConfig& config) {
  const auto& dp = config.dataplane;
  std::vector<std::string> out;
  std::string lcores = "0@" + std::to_string(dp.main_cpu);
  for (std::size_t w = 0; w < dp.workers.size(); ++w) lcores += "," + std::to_string(w + 1) + "@" + std::to_string(dp.workers[w]);
  out.insert(out.end(), {"--lcores", lcores, "--main-lcore", "0", "--no-telemetry", "--log-level", "*:5"});
  out.insert(out.end(), {"-m", std::to_string(dp.memory.size_mb)});
  // No files that other processes share, so any number of data planes run at once. DPDK refuses --in-memory without hugepages.
  if (dp.memory.hugepages) {
    out.emplace_back("--in-memory");
  } else {
    out.insert(out.end(), {"--no-huge", "--no-shconf"});
  }
  bool pci = false;
  for (const auto& port : config.ports) {
    if (!is_pci_device(port.device)) continue;
    pci = true;
    out.insert(out.end(), {"-a", port.device});
  }
  if (!pci) out.emplace_back("--no-pci");
  out.insert(out.end(), dp.eal_args.begin(), dp.eal_args.end());
  return out;
}

std::string memory_hint(const config::GatewayConfig& config) {
  const auto& memory = config.dataplane.memory;
  const std::string said = Eal::last_log();
  if (!memory.hugepages || (said.find("hugepage") == std::string::npos && said.find("memory") == std::string::npos)) return {};
  return fmt::format("; dataplane.memory.size wants {} MB of hugepages: raise vm.nr_hugepages, or set dataplane.memory.hugepages: false",
                     memory.size_mb);
}

std::expected<Eal, std::string> Eal::start(const std::string& program, const std::vector<std::string>& arguments) {
  capture_log();
  std::vector<std::string> copy{program};
  copy.insert(copy.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& a : copy) argv.push_back(a.data());
  argv.push_back(nullptr);
  spdlog::debug("starting DPDK with: {}", fmt::join(arguments, " "));
  if (rte_eal_init(static_cast<int>(copy.size()), argv.data()) < 0)
    return std::unexpected("DPDK could not be started: " + std::string(rte_strerror(rte_errno)) + "; it said: " + last_log());
  return Eal(true);
}

Eal::Eal(Eal&& other) noexcept : running_(std::exchange(other.running_, false)) {}

Eal::~Eal() {
  if (running_) rte_eal_cleanup();
}

bool Eal::launch(unsigned worker, void (*call)(void*, unsigned), void* context) {
  if (worker + 1 >= RTE_MAX_LCORE || rte_lcore_is_enabled(worker + 1) == 0) return false;
  launches[worker] = {call, context, worker};
  return rte_eal_remote_launch(run_launch, &launches[worker], worker + 1) == 0;
}

void Eal::join() { rte_eal_mp_wait_lcore(); }

bool Eal::run_on_interrupt_thread(void (*call)()) {
  static Errand errand;  // outlives a late callback
  errand.call = call;
  errand.done = false;
  const auto run = [](void* argument) {
    auto* e = static_cast<Errand*>(argument);
    e->call();
    e->done = true;
  };
  if (rte_eal_alarm_set(1, run, &errand) != 0) return false;
  for (int i = 0; i < 1000 && !errand.done; ++i) ::usleep(1000);
  return errand.done;
}

std::string Eal::last_log() {
  const std::lock_guard lock(tail().mutex);
  return tail().lines.empty() ? "nothing" : fmt::format("{}", fmt::join(tail().lines, " | "));
}

}  // namespace culvert::dp
