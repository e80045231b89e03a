// culvert-bench: what a packet costs on one worker, without a NIC, next to the least that it could cost, and to what IPsec-MB and OpenSSL
// alone cost, in the same run. Owns the command line and the turns that all of them take. See path.hpp for what is measured.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>

#include <fmt/format.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "dataplane/io/eal.hpp"
#include "tests/bench/crew.hpp"
#include "tests/bench/report.hpp"

namespace {
using namespace culvert;
using bench::Case;
using bench::Kind;
using bench::kKinds;
using bench::Row;
using bench::Way;

constexpr unsigned kMbufs = 8191;  // 2^n - 1 is what a mempool likes best
constexpr std::uint16_t kMtu = 1500;
constexpr std::uint32_t kMemoryMb = 512, kMbufsPerMb = 200;
constexpr unsigned kWarmUp = 3;  // rounds
// Where a round has more packets than this, there are fewer of them.
constexpr std::size_t kManyPackets = 2000;
constexpr unsigned kFewRounds = 12;
constexpr std::array kEverySuite{"aes128gcm16", "aes256gcm16",   "chacha20poly1305", "aes128-sha1",
                                 "aes256-sha1", "aes128-sha256", "aes256-sha256"};

struct Options {
  std::vector<std::string> suites, sizes;
  std::vector<Way> ways;
  std::vector<std::uint32_t> sas, policies;
  unsigned rounds = 100;
  bool json = false, check = false, two = false, hugepages = false, udp = false;
  bench::Brings brings = bench::Brings::Copies;
  std::uint32_t cpu = 0;
  std::string turns;
};

const char* const kUsage =
    "usage: culvert-bench [--json] [--check] [--suite NAME]... [--all] [--size N]... [--way WAY]... [--sas N]...\n"
    "                     [--policies N]... [--rounds N] [--cpu N] [--hugepages] [--queued] [--udp] [--two] [--turns DIR]\n"
    "  --suite NAME  an ESP suite such as aes128gcm16 (the default) or aes256-sha256; may be repeated\n"
    "  --all         every suite\n"
    "  --size N      64, 128, 256, 512, 1024, 1420 or any other size of inner packets, or IMIX; may be repeated (all of these)\n"
    "  --way WAY     out, in or both; may be repeated (all of these)\n"
    "  --sas N       SAs, packets spread over all: up to 1048576 inwards, 16384 outwards, where each needs a policy; may be repeated (1)\n"
    "  --policies N  policy entries, up to 16384; may be repeated (1)\n"
    "  --rounds N    turns that each contender takes per row (100)\n"
    "  --cpu N       the CPU to run on (the last one)\n"
    "  --turns DIR   no report: for each line read, half a second of the first case of all, and a line with ns per packet of the worker\n"
    "                and of the bound. The packets are in DIR, in clear.pcap or sealed.pcap\n"
    "  --hugepages   buffers on hugepages, as a gateway has them: some must be free (vm.nr_hugepages), for root. The default, small "
    "pages,\n"
    "                needs nothing; the devices of both sides are slower by their TLB misses then\n"
    "  --queued      packets lie in the queues before the time begins, as a NIC puts them there; the default, net_pcap, copies each, which "
    "is\n"
    "                measured with it, on both sides\n"
    "  --udp         ESP in UDP, to and from peers behind NATs\n"
    "  --two         two workers against one, on this CPU and another: on two SAs, and on one SA whose crypto they share; nothing else\n"
    "  --json        the report as JSON\n"
    "  --check       exit 1 if a mark is missed\n";

/// Rows of one suite, size and way: of each number of SAs with each of policies, the first of both first.
std::vector<Case> cases(const Options& o, const std::string& suite, const std::string& size, Way way) {
  const auto suites = parse_esp_proposal(suite);
  if (!suites) throw std::runtime_error(suites.error().message);
  std::vector<Case> out;
  for (const std::uint32_t sas : o.sas)
    for (const std::uint32_t policies : o.policies) {
      Case c = Case::make(suites->front(), way, size, sas, policies);
      c.udp = o.udp;
      const bool there = std::any_of(out.begin(), out.end(), [&](const Case& x) { return x.sas == c.sas && x.policies == c.policies; });
      if (!there) out.push_back(std::move(c));  // with more SAs than may send it is
    }
  return out;
}
std::size_t buffers(const std::vector<Case>& group) {
  std::size_t n = kMbufs;
  for (const Case& c : group) n += bench::Path::buffers(c) + dp::kBurstMax;
  return n;
}

/// All of them take turns.
std::vector<Row> measure(const std::vector<Case>& group, const Options& options, dp::BufferPool& pool, const std::string& folder) {
  unsigned rounds = options.rounds;
  std::vector<std::unique_ptr<bench::Path>> paths;
  std::size_t packets = 0;
  for (const Case& c : group) {
    paths.push_back(std::make_unique<bench::Path>(c, pool, folder, options.brings));
    packets = std::max(packets, bench::Path::buffers(c));
  }
  if (packets > kManyPackets)
    rounds = std::clamp(static_cast<unsigned>(rounds * kManyPackets / packets), std::min(rounds, kFewRounds), rounds);
  std::vector<Row::Rounds> taken(group.size());
  for (unsigned i = 0; i < rounds + kWarmUp; ++i)
    for (std::size_t k = 0; k < kKinds; ++k)
      for (std::size_t p = 0; p < paths.size(); ++p) {
        if (!paths[p]->has(static_cast<Kind>(k))) continue;
        const double cycles = paths[p]->slice(static_cast<Kind>(k));
        if (i >= kWarmUp) taken[p][k].push_back(cycles);
      }
  std::vector<Row> rows;
  for (std::size_t p = 0; p < paths.size(); ++p) {
    const Case& c = group[p];
    rows.push_back({.way = c.way, .sas = c.sas, .policies = c.policies, .mean_bytes = c.mean_bytes(), .has_evp = paths[p]->has(Kind::Evp)});
    rows.back().take(taken[p]);
    if (p != 0) rows.back().compare(taken[p], taken[0]);
  }
  return rows;
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

/// Where the system lets us, ahead of whatever else the machine does: this thread at real-time priority.
bool take_priority() {
  sched_param param{};
  param.sched_priority = 1;
  return ::sched_setscheduler(0, SCHED_FIFO, &param) == 0;
}

/// Another CPU that this process may run on; --cpu if there is none.
std::uint32_t second_cpu(std::uint32_t first) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return first;
  for (std::uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (cpu != first && CPU_ISSET(cpu, &set)) return cpu;
  return first;
}

/// For who takes turns with us in a process of their own.
void serve(const Options& options, dp::BufferPool& pool) {
  constexpr auto kTurn = std::chrono::milliseconds(500);
  const double tsc = tsc_per_ns();
  bench::Path path(cases(options, options.suites.front(), options.sizes.front(), options.ways.front()).front(), pool, options.turns,
                   options.brings);
  std::string line;
  while (std::getline(std::cin, line)) {
    std::vector<double> worker, bound;
    for (const auto end = std::chrono::steady_clock::now() + kTurn; worker.empty() || std::chrono::steady_clock::now() < end;) {
      worker.push_back(path.slice(Kind::Worker));
      bound.push_back(path.slice(Kind::Bound));
    }
    std::cout << bench::Quartiles::of(worker).median / tsc << ' ' << bench::Quartiles::of(bound).median / tsc << std::endl;
  }
}

/// Calls measure(suite, way, size, folder) for each of those, with a folder for files.
template <class Measure>
void each_case(const Options& options, Measure&& measure) {
  std::string folder = (std::filesystem::temp_directory_path() / "culvert-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("no temporary folder");
  try {
    for (const std::string& suite : options.suites)
      for (const Way way : options.ways)
        for (const std::string& size : options.sizes) measure(suite, way, size, folder);
  } catch (...) {
    std::filesystem::remove_all(folder);
    throw;
  }
  std::filesystem::remove_all(folder);
}

bench::Machine machine(const Options& options, bool first) {
  const auto engine = dp::CryptoEngine::create();
  return {tsc_per_ns(), engine ? engine->describe() : engine.error(), first, options.hugepages, options.brings == bench::Brings::Queues};
}

int run_two(const Options& options, dp::BufferPool& pool, bool first) {
  if (!dp::Eal::launch(0, [](void*, unsigned) { (void)take_priority(); }, nullptr)) throw std::runtime_error("no second thread");
  dp::Eal::join();
  const double cores = bench::two_cores();
  if (cores < bench::kTwoFreeCores) {
    fmt::print("{}\n",
               options.json
                   ? fmt::format(R"({{"skipped":"two CPUs do {:.2f} times what one does, of arithmetic"}})", cores)
                   : fmt::format("two workers: skipped: there are no two free cores: two CPUs do {:.2f} times what one does, of arithmetic",
                                 cores));
    return 0;
  }
  std::vector<bench::CrewRow> rows;
  each_case(options, [&](const std::string& suite, Way way, const std::string& size, const std::string& folder) {
    rows.push_back(bench::measure_crew(suite, way, size, options.rounds, pool, folder));
  });
  options.json ? bench::print_json(rows, machine(options, first), cores) : bench::print_table(rows, machine(options, first), cores);
  const auto all = bench::marks(rows);
  return options.check && !std::all_of(all.begin(), all.end(), std::mem_fn(&bench::Mark::met)) ? 1 : 0;
}

int run(const Options& options) {
  std::size_t mbufs = 0;
  for (const Way way : options.ways) mbufs = std::max(mbufs, buffers(cases(options, options.suites.front(), options.sizes.front(), way)));
  spdlog::set_level(spdlog::level::warn);
  config::GatewayConfig config;
  if (options.two) mbufs = bench::crew_buffers() + kMbufs;
  config.dataplane.workers.clear();
  if (options.two) config.dataplane.workers = {second_cpu(options.cpu)};
  config.dataplane.main_cpu = options.cpu;
  config.dataplane.memory.hugepages = options.hugepages;
  config.dataplane.memory.size_mb = kMemoryMb + static_cast<std::uint32_t>(mbufs / kMbufsPerMb);
  auto eal = dp::Eal::start("culvert-bench", dp::eal_arguments(config));
  if (!eal) throw std::runtime_error(eal.error());
  auto pool = dp::BufferPool::create("bench", static_cast<unsigned>(mbufs), kMtu);
  if (!pool) throw std::runtime_error(pool.error());
  const bool first = take_priority();
  if (!options.turns.empty()) {
    serve(options, **pool);
    return 0;
  }
  if (options.two) return run_two(options, **pool, first);
  std::vector<Row> rows;
  each_case(options, [&](const std::string& suite, Way way, const std::string& size, const std::string& folder) {
    for (Row& row : measure(cases(options, suite, size, way), options, **pool, folder)) {
      row.suite = suite;
      row.size = size;
      rows.push_back(std::move(row));
    }
  });
  options.json ? bench::print_json(rows, machine(options, first)) : bench::print_table(rows, machine(options, first));
  const auto all = bench::marks(rows);
  return options.check && !std::all_of(all.begin(), all.end(), std::mem_fn(&bench::Mark::met)) ? 1 : 0;
}

/// False: the command line makes no sense.
bool parse(int argc, char** argv, Options& o) {
  o.cpu = std::max(1U, std::thread::hardware_concurrency()) - 1;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const bool more = i + 1 < argc;
    if (a == "--json") {
      o.json = true;
    } else if (a == "--two") {
      o.two = true;
    } else if (a == "--hugepages") {
      o.hugepages = true;
    } else if (a == "--udp") {
      o.udp = true;
    } else if (a == "--queued") {
      o.brings = bench::Brings::Queues;
    } else if (a == "--check") {
      o.check = true;
    } else if (a == "--all") {
      o.suites.assign(kEverySuite.begin(), kEverySuite.end());
    } else if (a == "--suite" && more) {
      o.suites.emplace_back(argv[++i]);
    } else if (a == "--size" && more) {
      o.sizes.emplace_back(argv[++i]);
    } else if (a == "--way" && more) {
      const std::string way = argv[++i];
      if (way != "out" && way != "in" && way != "both") return false;
      o.ways.push_back(way == "out" ? Way::Out : way == "in" ? Way::In : Way::Both);
    } else if ((a == "--sas" || a == "--policies") && more) {
      (a == "--sas" ? o.sas : o.policies).push_back(static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10)));
    } else if (a == "--rounds" && more) {
      o.rounds = static_cast<unsigned>(std::max(1L, std::strtol(argv[++i], nullptr, 10)));
    } else if (a == "--turns" && more) {
      o.turns = argv[++i];
    } else if (a == "--cpu" && more) {
      o.cpu = static_cast<std::uint32_t>(std::strtoul(argv[++i], nullptr, 10));
    } else {
      return false;
    }
  }
  if (o.suites.empty()) o.suites = {"aes128gcm16"};
  if (o.sizes.empty()) o.sizes = {"64", "128", "256", "512", "1024", "1420", "IMIX"};
  if (o.sas.empty()) o.sas = {1};
  if (o.policies.empty()) o.policies = {1};
  if (o.two && std::ranges::find(o.ways, Way::Both) != o.ways.end()) return false;
  if (o.ways.empty()) o.ways = o.two ? std::vector{Way::Out, Way::In} : std::vector{Way::Out, Way::In, Way::Both};
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
