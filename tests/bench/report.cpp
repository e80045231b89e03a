#include "tests/bench/report.hpp"

#include <algorithm>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace culvert::bench {

namespace {
/// Of AES-128-GCM in either direction: shares of the bound's and of IPsec-MB's speed.
struct Wanted {
  const char* size;
  Kind against;
  double share;
};
constexpr std::array<Wanted, 5> kWanted{{{"64", Kind::Bound, 0.75},
                                         {"IMIX", Kind::Bound, 0.85},
                                         {"1420", Kind::Bound, 0.90},
                                         {"64", Kind::Raw, 0.45},
                                         {"1420", Kind::Raw, 0.80}}};

// From one to so many SAs and policies no more than a tenth is lost beyond what the keys' cache misses cost.
constexpr std::uint32_t kMarkedSas = 100'000, kMarkedPolicies = 10'000;
constexpr double kWantedKept = 0.90;

const char* name_of(Way w) { return w == Way::Out ? "encap" : w == Way::In ? "decap" : "both"; }
const char* long_name_of(Way w) { return w == Way::Out ? "encapsulate" : w == Way::In ? "decapsulate" : "both"; }
boost::json::array list(const Quartiles& q) { return {q.low, q.median, q.high}; }
}  // namespace

Quartiles Quartiles::of(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const auto at = [&v](std::size_t quarter) { return v[(v.size() - 1) * quarter / 4]; };
  return {at(1), at(2), at(3)};
}

void Row::take(const Rounds& rounds) {
  const auto& worker = rounds[static_cast<std::size_t>(Kind::Worker)];
  const auto& raw = rounds[static_cast<std::size_t>(Kind::Raw)];
  std::vector<double> values(worker.size());
  for (std::size_t k = 0; k < kKinds; ++k) {
    if (rounds[k].empty()) continue;
    cycles[k] = Quartiles::of(rounds[k]);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = rounds[k][i] / worker[i];
    ratio[k] = Quartiles::of(values);
  }
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = worker[i] - raw[i];
  outside = Quartiles::of(values);
}

void Row::compare(const Rounds& rounds, const Rounds& few) {
  const auto w = static_cast<std::size_t>(Kind::Worker), b = static_cast<std::size_t>(Kind::Bound);
  std::vector<double> values(rounds[w].size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = (few[w][i] + rounds[b][i] - few[b][i]) / rounds[w][i];
  kept = Quartiles::of(values);
  has_kept = true;
}

std::vector<Mark> marks(const std::vector<Row>& rows) {
  std::vector<Mark> out;
  for (const Row& r : rows) {
    if (r.suite != "aes128gcm16" || r.way == Way::Both) continue;
    const std::string name = fmt::format("{} {} {}", r.suite, r.size, name_of(r.way));
    if (r.has_kept && r.sas <= kMarkedSas && r.policies <= kMarkedPolicies)
      out.push_back({fmt::format("{}, {} SAs, {} policies: of one SA and policy", name, r.sas, r.policies), kWantedKept, r.kept.median});
    if (r.sas != 1 || r.policies != 1) continue;
    for (const Wanted& w : kWanted)
      if (r.size == w.size)
        out.push_back({fmt::format("{}: of {}", name, w.against == Kind::Bound ? "the bound" : "IPsec-MB"), w.share,
                       r.ratio_to(w.against).median, r.of(w.against).median / r.of(Kind::Bound).median});
  }
  return out;
}

void print_table(const std::vector<Row>& rows, const Machine& m) {
  fmt::print("{}; TSC {:.2f} GHz; one worker, {}, net_null out; {}medians over the rounds, quartiles in brackets\n", m.crypto, m.tsc_ghz,
             m.queued ? "packets in queues" : "net_pcap in", m.circumstances());
  fmt::print("{:<14} {:>7} {:>8} {:>5} {:<5} {:>7} {:>7} {:>8} {:>7} {:>7} {:>7} {:>18} {:>7} {:>18} {:>7} {:>7} {:>5}\n", "suite", "SAs",
             "policies", "bytes", "", "ns", "cycles", "outside", "Mpps", "Gbit/s", "bound", "of bound", "raw", "of raw", "EVP", "devices",
             "kept");
  for (const Row& r : rows) {
    const double ns = r.of(Kind::Worker).median / m.tsc_ghz;
    const auto in_ns = [&](Kind k) { return r.of(k).median / m.tsc_ghz; };
    const auto share = [&](Kind k) {
      const Quartiles& q = r.ratio_to(k);
      return fmt::format("{:.2f} [{:.2f}, {:.2f}]", q.median, q.low, q.high);
    };
    fmt::print(
        "{:<14} {:>7} {:>8} {:>5} {:<5} {:>7.1f} {:>7.0f} {:>8.0f} {:>7.2f} {:>7.2f} {:>7.1f} {:>18} {:>7.1f} {:>18} {:>7} {:>7.1f} "
        "{:>5}\n",
        r.suite, r.sas, r.policies, r.size, name_of(r.way), ns, r.of(Kind::Worker).median, r.outside.median, 1e3 / ns,
        r.mean_bytes * 8 / ns, in_ns(Kind::Bound), share(Kind::Bound), in_ns(Kind::Raw), share(Kind::Raw),
        r.has_evp ? fmt::format("{:.1f}", in_ns(Kind::Evp)) : "-", in_ns(Kind::Devices),
        r.has_kept ? fmt::format("{:.2f}", r.kept.median) : "-");
  }
  fmt::print(
      "ns, cycles: of the worker's whole path, per packet (both: of either direction); outside: cycles of it outside of the crypto.\n"
      "Gbit/s: of inner packets. bound: ns of a loop that receives, writes headers, calls the crypto and sends, and does nothing else.\n"
      "raw, EVP: ns of IPsec-MB and of OpenSSL alone over the same lengths. devices: ns of what brings packets and of net_null, in the "
      "first\n"
      "and in the bound. of bound, of raw: how much of their speed the worker has, round by round. kept: of the speed with one SA and "
      "policy, in "
      "the same\n"
      "rounds, beyond what the bound loses, which touches as many sets of keys in the same order.\n");
  for (const Mark& k : marks(rows)) {
    const std::string more = k.bound < 1 ? fmt::format(" (the bound itself: {:.2f})", k.bound) : "";
    fmt::print("mark: {}: {:.2f}, wanted {:.2f}: {}{}\n", k.what, k.got, k.wanted, k.met() ? "met" : "MISSED", more);
  }
}

void print_json(const std::vector<Row>& rows, const Machine& m) {
  boost::json::array all;
  for (const Row& r : rows) {
    const double ns = r.of(Kind::Worker).median / m.tsc_ghz;
    boost::json::object row{{"suite", r.suite},
                            {"inner_bytes", r.size},
                            {"mean_bytes", r.mean_bytes},
                            {"direction", long_name_of(r.way)},
                            {"sas", r.sas},
                            {"policies", r.policies},
                            {"ns", ns},
                            {"cycles", r.of(Kind::Worker).median},
                            {"cycles_quartiles", list(r.of(Kind::Worker))},
                            {"cycles_outside_crypto", r.outside.median},
                            {"mpps", 1e3 / ns},
                            {"gbit_s", r.mean_bytes * 8 / ns},
                            {"bound_ns", r.of(Kind::Bound).median / m.tsc_ghz},
                            {"bound_ratio", list(r.ratio_to(Kind::Bound))},
                            {"raw_ns", r.of(Kind::Raw).median / m.tsc_ghz},
                            {"raw_ratio", list(r.ratio_to(Kind::Raw))},
                            {"devices_ns", r.of(Kind::Devices).median / m.tsc_ghz}};
    if (r.has_evp) row["evp_ns"] = r.of(Kind::Evp).median / m.tsc_ghz;
    if (r.has_kept) row["kept"] = list(r.kept);
    all.push_back(std::move(row));
  }
  boost::json::array met;
  for (const Mark& k : marks(rows))
    met.push_back({{"what", k.what}, {"wanted", k.wanted}, {"got", k.got}, {"bound", k.bound}, {"met", k.met()}});
  fmt::print("{}\n", boost::json::serialize(boost::json::object{{"crypto", m.crypto},
                                                                {"tsc_ghz", m.tsc_ghz},
                                                                {"real_time", m.first},
                                                                {"hugepages", m.hugepages},
                                                                {"queued", m.queued},
                                                                {"rows", all},
                                                                {"marks", met}}));
}

}  // namespace culvert::bench
