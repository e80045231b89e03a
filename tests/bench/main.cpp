// culvert-bench: what a packet costs on one worker, without a NIC, next to what IPsec-MB alone costs in the same run.
// Owns the command line, the interleaving of slices, medians and the report. See path.hpp for what is measured.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <thread>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "dataplane/io/eal.hpp"
#include "tests/bench/path.hpp"

namespace {
using namespace culvert;
using bench::Case;
using bench::kSlicePackets;
using bench::Path;

constexpr unsigned kMbufs = 8191;  // 2^n - 1 is what a mempool likes best
constexpr std::uint16_t kMtu = 1500;
constexpr std::uint32_t kMemoryMb = 512;
constexpr unsigned long kMinSize = 28,
                        kMaxSize = 1420;  // of inner packets: IP and UDP headers; what fits 1,500 bytes outside in every suite
constexpr unsigned kWarmUp = 20;          // slices
// Marks for AES-128-GCM, as a share of IPsec-MB's own speed.
constexpr double kMarkSmall = 0.30, kMarkLarge = 0.60;

struct Options {
  std::vector<std::string> suites, sizes;
  unsigned rounds = 300;
  bool json = false, check = false;
  std::uint32_t cpu = 0;
};

struct Row {
  std::string suite, size;
  bool encapsulate = true;
  double mean_bytes = 0;
  double cycles = 0, raw_cycles = 0, device_cycles = 0;  ///< per packet
};

const char* const kUsage =
    "usage: culvert-bench [--json] [--check] [--suite NAME]... [--all] [--size N]... [--rounds N] [--cpu N]\n"
    "  --suite NAME  an ESP suite such as aes128gcm16 (the default) or aes256-sha256; may be repeated\n"
    "  --all         every suite\n"
    "  --size N      64, 256, 512, 1024, 1420 or any other size of inner packets, or IMIX; may be repeated (all of these)\n"
    "  --rounds N    slices of each kind per case (300)\n"
    "  --cpu N       the CPU to run on (the last one)\n"
    "  --json        the report as JSON\n"
    "  --check       exit 1 if a mark is missed\n";

/// The traffic of one row: the name of its size, and the sizes of a slice.
std::vector<std::uint32_t> sizes(const std::string& name) {
  // 7:4:1 of 64, 570 and 1,420 bytes.
  static constexpr std::array<std::uint32_t, 12> kImix{64, 570, 64, 64, 570, 64, 1420, 64, 570, 64, 570, 64};
  std::vector<std::uint32_t> out(kSlicePackets);
  const unsigned long fixed = name == "IMIX" ? 0 : std::strtoul(name.c_str(), nullptr, 10);
  if (name != "IMIX" && (fixed < kMinSize || fixed > kMaxSize)) throw std::runtime_error("a size is IMIX or a number from 28 to 1420");
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = fixed == 0 ? kImix[i % kImix.size()] : static_cast<std::uint32_t>(fixed);
  return out;
}

double median(std::vector<std::uint64_t> v) {
  const auto middle = v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return static_cast<double>(*middle) / static_cast<double>(kSlicePackets);
}

Row measure(const std::string& suite, const std::string& size, bool encapsulate, unsigned rounds, dp::BufferPool& pool,
            const std::string& folder) {
  const auto suites = parse_esp_proposal(suite);
  if (!suites) throw std::runtime_error(suites.error().message);
  const Case c{suites->front(), encapsulate, sizes(size)};
  Path path(c, pool, folder);
  std::vector<std::uint64_t> worker, raw, device;
  for (unsigned i = 0; i < rounds + kWarmUp; ++i) {
    path.reset();
    const std::uint64_t w = path.worker_slice(), r = path.raw_slice(), d = path.device_slice();
    if (i < kWarmUp) continue;
    worker.push_back(w);
    raw.push_back(r);
    device.push_back(d);
  }
  Row row{suite, size, encapsulate, 0, median(worker), median(raw), median(device)};
  for (const std::uint32_t s : c.sizes) row.mean_bytes += static_cast<double>(s) / static_cast<double>(kSlicePackets);
  return row;
}

/// TSC ticks in a nanosecond, measured.
double tsc_per_ns() {
  const auto before = std::chrono::steady_clock::now();
  const std::uint64_t start = __builtin_ia32_rdtsc();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const std::uint64_t ticks = __builtin_ia32_rdtsc() - start;
  const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - before).count();
  return static_cast<double>(ticks) / static_cast<double>(ns);
}

struct Mark {
  std::string name;
  double want = 0, got = 0;
  [[nodiscard]] bool met() const { return got >= want; }
};
std::vector<Mark> marks(const std::vector<Row>& rows) {
  std::vector<Mark> out;
  for (const Row& r : rows) {
    if (r.suite != "aes128gcm16" || (r.size != "64" && r.size != "1420")) continue;
    out.push_back({r.size + " bytes, " + (r.encapsulate ? "encapsulation" : "decapsulation"), r.size == "64" ? kMarkSmall : kMarkLarge,
                   r.raw_cycles / r.cycles});
  }
  return out;
}

void print_table(const std::vector<Row>& rows, double tsc, const std::string& crypto) {
  fmt::print("{}; TSC {:.2f} GHz; one worker, net_pcap in, net_null out; medians\n", crypto, tsc);
  fmt::print("{:<14} {:>6} {:<6} {:>8} {:>8} {:>7} {:>8} {:>8} {:>7} {:>9}\n", "suite", "bytes", "", "ns", "cycles", "Mpps", "Gbit/s",
             "raw ns", "of raw", "devices");
  for (const Row& r : rows) {
    const double ns = r.cycles / tsc;
    fmt::print("{:<14} {:>6} {:<6} {:>8.1f} {:>8.0f} {:>7.2f} {:>8.2f} {:>8.1f} {:>7.2f} {:>9.1f}\n", r.suite, r.size,
               r.encapsulate ? "encap" : "decap", ns, r.cycles, 1e3 / ns, r.mean_bytes * 8 / ns, r.raw_cycles / tsc,
               r.raw_cycles / r.cycles, r.device_cycles / tsc);
  }
  fmt::print(
      "ns, cycles: of the worker's whole path, per packet. Gbit/s: of inner packets. raw: IPsec-MB alone over the same lengths.\n"
      "devices: ns that net_pcap and net_null cost by themselves, included in the first.\n");
  for (const Mark& m : marks(rows))
    fmt::print("mark: aes128gcm16 at {}: {:.2f} of raw, wanted {:.2f}: {}\n", m.name, m.got, m.want, m.met() ? "met" : "MISSED");
}

void print_json(const std::vector<Row>& rows, double tsc, const std::string& crypto) {
  boost::json::array list;
  for (const Row& r : rows) {
    const double ns = r.cycles / tsc;
    list.push_back({{"suite", r.suite},
                    {"inner_bytes", r.size},
                    {"mean_bytes", r.mean_bytes},
                    {"direction", r.encapsulate ? "encapsulate" : "decapsulate"},
                    {"ns", ns},
                    {"cycles", r.cycles},
                    {"mpps", 1e3 / ns},
                    {"gbit_s", r.mean_bytes * 8 / ns},
                    {"raw_ns", r.raw_cycles / tsc},
                    {"raw_ratio", r.raw_cycles / r.cycles},
                    {"devices_ns", r.device_cycles / tsc}});
  }
  boost::json::array met;
  for (const Mark& m : marks(rows)) met.push_back({{"what", m.name}, {"wanted", m.want}, {"got", m.got}, {"met", m.met()}});
  fmt::print("{}\n", boost::json::serialize(boost::json::object{{"crypto", crypto}, {"tsc_ghz", tsc}, {"rows", list}, {"marks", met}}));
}

int run(const Options& options) {
  spdlog::set_level(spdlog::level::warn);
  config::GatewayConfig config;
  config.dataplane.workers.clear();
  config.dataplane.main_cpu = options.cpu;
  config.dataplane.memory.hugepages = false;
  config.dataplane.memory.size_mb = kMemoryMb;
  // Without hugepages DPDK still keeps its configuration in a file, and locks it, unless told otherwise.
  config.dataplane.eal_args = {"--no-shconf"};
  auto eal = dp::Eal::start("culvert-bench", dp::eal_arguments(config));
  if (!eal) throw std::runtime_error(eal.error());
  auto pool = dp::BufferPool::create("bench", kMbufs, kMtu);
  if (!pool) throw std::runtime_error(pool.error());
  std::string folder = (std::filesystem::temp_directory_path() / "culvert-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary folder");
  std::vector<Row> rows;
  try {
    for (const std::string& suite : options.suites)
      for (const bool encapsulate : {true, false})
        for (const std::string& size : options.sizes) rows.push_back(measure(suite, size, encapsulate, options.rounds, **pool, folder));
  } catch (...) {
    std::filesystem::remove_all(folder);
    throw;
  }
  std::filesystem::remove_all(folder);
  const auto engine = dp::CryptoEngine::create();
  const std::string crypto = engine ? engine->describe() : engine.error();
  (options.json ? print_json : print_table)(rows, tsc_per_ns(), crypto);
  const auto all = marks(rows);
  return options.check && !std::all_of(all.begin(), all.end(), std::mem_fn(&Mark::met)) ? 1 : 0;
}

/// False: the command line makes no sense.
bool parse(int argc, char** argv, Options& o) {
  o.cpu = std::max(1U, std::thread::hardware_concurrency()) - 1;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const bool more = i + 1 < argc;
    if (a == "--json") {
      o.json = true;
    } else if (a == "--check") {
      o.check = true;
    } else if (a == "--all") {
      o.suites = {"aes128gcm16", "aes256gcm16", "aes128-sha1", "aes256-sha1", "aes128-sha256", "aes256-sha256"};
    } else if (a == "--suite" && more) {
      o.suites.emplace_back(argv[++i]);
    } else if (a == "--size" && more) {
      o.sizes.emplace_back(argv[++i]);
    } else if (a == "--rounds" && more) {
      o.rounds = static_cast<unsigned>(std::max(1L, std::strtol(argv[++i], nullptr, 10)));
    } else if (a == "--cpu" && more) {
      o.cpu = static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10));
    } else {
      return false;
    }
  }
  if (o.suites.empty()) o.suites = {"aes128gcm16"};
  if (o.sizes.empty()) o.sizes = {"64", "256", "512", "1024", "1420", "IMIX"};
  return true;
}
}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  try {
    return run(options);
  } catch (const std::exception& e) {
    fmt::print(stderr, "culvert-bench: {}\n", e.what());
    return 1;
  }
}
