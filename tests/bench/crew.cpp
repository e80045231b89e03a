#include "tests/bench/crew.hpp"

#include <algorithm>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "dataplane/io/eal.hpp"

namespace culvert::bench {

namespace {
// A round is long, for it ends with both workers idle.
constexpr std::size_t kRoundTimes = 5, kCrewRounds = 8;
static_assert(kRoundTimes * kRoundPackets <= Feed::kMost);
constexpr unsigned kWarmUp = 2, kSpins = 4'000'000;
// Issue 4, bar 7: of packets that are large enough for their crypto to be most of the work.
constexpr double kWantedTwo = 1.8, kWantedFat = 1.5;

std::uint64_t spin(std::uint64_t rounds) {
  std::uint64_t x = 1;
  const std::uint64_t start = __builtin_ia32_rdtsc();
  for (std::uint64_t i = 0; i < rounds; ++i) {
    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
    asm volatile("" : "+r"(x));
  }
  return __builtin_ia32_rdtsc() - start;
}

Case crew_case(const std::string& suite, Way way, const std::string& size, std::uint32_t sas) {
  Case c = Case::make(parse_esp_proposal(suite).value().front(), way, size, sas, sas);
  const std::vector<std::uint32_t> sizes = c.sizes, order = c.order;
  for (std::size_t i = 1; i < kRoundTimes; ++i) {
    c.sizes.insert(c.sizes.end(), sizes.begin(), sizes.end());
    c.order.insert(c.order.end(), order.begin(), order.end());
  }
  return c;
}
const char* name_of(Way w) { return w == Way::Out ? "encap" : w == Way::In ? "decap" : "both"; }
boost::json::array list(const Quartiles& q) { return {q.low, q.median, q.high}; }
}  // namespace

double two_cores() {
  std::vector<double> both;
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t alone = spin(kSpins);
    std::atomic<std::uint64_t> other{0};
    const auto body = [](void* took, unsigned) { *static_cast<std::atomic<std::uint64_t>*>(took) = spin(kSpins); };
    if (!dp::Eal::launch(0, body, &other)) throw std::runtime_error("the second core's thread cannot be launched");
    const std::uint64_t mine = spin(kSpins);
    dp::Eal::join();
    both.push_back(2.0 * static_cast<double>(alone) / static_cast<double>(std::max(mine, other.load())));
  }
  return Quartiles::of(both).median;
}

std::size_t crew_buffers() { return 2 * kRoundTimes * kRoundPackets; }

CrewRow measure_crew(const std::string& suite, Way way, const std::string& size, unsigned rounds, dp::BufferPool& pool,
                     const std::string& folder) {
  const Case single = crew_case(suite, way, size, 1);
  Path one(single, pool, folder, Brings::Queues, Crew::One), two(crew_case(suite, way, size, 2), pool, folder, Brings::Queues, Crew::Two),
      fat(single, pool, folder, Brings::Queues, Crew::Fat);
  std::vector<double> cycles, of_two, of_fat;
  for (unsigned i = 0; i < rounds + kWarmUp; ++i) {
    const double alone = one.crew_slice(kCrewRounds), both = two.crew_slice(kCrewRounds), shared = fat.crew_slice(kCrewRounds);
    if (i < kWarmUp) continue;
    cycles.push_back(alone);
    of_two.push_back(alone / both);
    of_fat.push_back(alone / shared);
  }
  return {suite, size, way, single.mean_bytes(), Quartiles::of(cycles), Quartiles::of(of_two), Quartiles::of(of_fat)};
}

std::vector<Mark> marks(const std::vector<CrewRow>& rows) {
  std::vector<Mark> out;
  for (const CrewRow& r : rows) {
    const std::string name = fmt::format("{} {} {}", r.suite, r.size, name_of(r.way));
    out.push_back({name + ": two workers on two SAs", kWantedTwo, r.two.median});
    if (r.size == "1420" || r.size == "IMIX") out.push_back({name + ": two workers on one SA", kWantedFat, r.fat.median});
  }
  return out;
}

void print_table(const std::vector<CrewRow>& rows, const Machine& m, double cores) {
  fmt::print(
      "{}; TSC {:.2f} GHz; two CPUs do {:.2f} times what one does, of arithmetic; {}medians over the rounds, quartiles in brackets\n",
      m.crypto, m.tsc_ghz, cores, m.circumstances());
  fmt::print("{:<14} {:>5} {:<5} {:>8} {:>8} {:>18} {:>18} {:>12}\n", "suite", "bytes", "", "ns", "Gbit/s", "two on two SAs",
             "two on one SA", "its Gbit/s");
  for (const CrewRow& r : rows) {
    const double ns = r.one.median / m.tsc_ghz, rate = r.mean_bytes * 8 / ns;
    const auto times = [](const Quartiles& q) { return fmt::format("{:.2f} [{:.2f}, {:.2f}]", q.median, q.low, q.high); };
    fmt::print("{:<14} {:>5} {:<5} {:>8.1f} {:>8.2f} {:>18} {:>18} {:>12.2f}\n", r.suite, r.size, name_of(r.way), ns, rate, times(r.two),
               times(r.fat), rate * r.fat.median);
  }
  fmt::print("ns, Gbit/s: of one worker on one SA, per packet. two on two SAs, two on one SA (spread): how many times as fast.\n");
  for (const Mark& k : marks(rows))
    fmt::print("mark: {}: {:.2f}, wanted {:.2f}: {}\n", k.what, k.got, k.wanted, k.met() ? "met" : "MISSED");
}

void print_json(const std::vector<CrewRow>& rows, const Machine& m, double cores) {
  boost::json::array all, met;
  for (const CrewRow& r : rows)
    all.push_back({{"suite", r.suite},
                   {"inner_bytes", r.size},
                   {"mean_bytes", r.mean_bytes},
                   {"direction", name_of(r.way)},
                   {"one_ns", r.one.median / m.tsc_ghz},
                   {"two_workers_two_sas", list(r.two)},
                   {"two_workers_one_sa", list(r.fat)}});
  for (const Mark& k : marks(rows)) met.push_back({{"what", k.what}, {"wanted", k.wanted}, {"got", k.got}, {"met", k.met()}});
  fmt::print("{}\n", boost::json::serialize(boost::json::object{{"crypto", m.crypto},
                                                                {"tsc_ghz", m.tsc_ghz},
                                                                {"real_time", m.first},
                                                                {"hugepages", m.hugepages},
                                                                {"two_cores", cores},
                                                                {"rows", all},
                                                                {"marks", met}}));
}

}  // namespace culvert::bench
