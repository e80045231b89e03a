// culvert-bench-ike: how many negotiations (Main Mode and Quick Mode; IKE_SA_INIT and IKE_AUTH) a second one core answers, how many rekeys,
// and what memory a tunnel takes. Owns the command line, medians and the report. What is counted, and what is not, stands in
// negotiation.hpp.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/negotiation.hpp"

namespace {
using namespace culvert;
using bench::Negotiations;

constexpr std::size_t kSlice = 100;  // negotiations whose costs are taken together; the median slice is reported
constexpr double kMark = 2000;       // negotiations a second and core, for PSK with Curve25519 and ECP-256
const std::vector<std::string> kMarked{"curve25519", "ecp256"};

const char* const kUsage =
    "usage: culvert-bench-ike [--json] [--check] [--ike 1|2] [--group NAME]... [--count N] [--tunnels N]...\n"
    "  --ike N       the version, 1 or 2 (both)\n"
    "  --group NAME  a Diffie-Hellman group such as curve25519; may be repeated (curve25519, ecp256, modp2048)\n"
    "  --count N     negotiations, and rekeys, for each row (2000)\n"
    "  --tunnels N   tunnels whose memory is measured; may be repeated (2000, 10000); 0: not measured\n"
    "  --json        the report as JSON\n"
    "  --check       exit 1 if a mark is missed\n";

struct Options {
  std::vector<std::string> groups;
  std::vector<std::uint8_t> versions;  ///< of IKE
  std::vector<std::size_t> tunnels;
  std::size_t count = 2000;
  bool json = false, check = false;
};

bench::Suites suites_of(std::uint8_t version, const std::string& group) {
  return {version, (version == 2 ? "aes128gcm16-prfsha256-" : "aes128-sha256-") + group, "aes128gcm16"};
}
std::string name_of(std::uint8_t version) { return "IKEv" + std::to_string(version); }

enum class What : std::uint8_t { Psk, Certificates, PairRekey, PairRekeyPfs, IkeRekey };
struct Row {
  What what{};
  const char* name = "";  ///< in the table, of 24 columns
};
constexpr std::array<Row, 5> kRows{{{What::Psk, "tunnel, PSK"},
                                    {What::Certificates, "tunnel, ECDSA P-256"},
                                    {What::PairRekey, "pair rekeyed"},
                                    {What::PairRekeyPfs, "pair rekeyed with PFS"},
                                    {What::IkeRekey, "IKE SA rekeyed"}}};
struct Speed {
  std::uint8_t version = 1;
  Row row;
  std::string group;
  double engine_us = 0, dh_us = 0, signature_us = 0;  ///< of one
  [[nodiscard]] double us() const { return engine_us + dh_us + signature_us; }
  [[nodiscard]] double per_second() const { return 1e6 / us(); }
};
struct Memory {
  std::uint8_t version = 1;
  std::size_t tunnels = 0;
  double fresh_kib = 0, rested_kib = 0;  ///< of one tunnel: at once, and when nothing remembers the exchanges any more
};

double median(std::vector<double> v) {
  std::ranges::nth_element(v, v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2));
  return v[v.size() / 2];
}

/// A folder of certificates for so many peers, which goes away again.
struct Folder {
  std::string path = (std::filesystem::temp_directory_path() / "culvert-bench-XXXXXX").string();
  explicit Folder(std::size_t peers) {
    if (!::mkdtemp(path.data())) throw std::runtime_error("no temporary folder");
    bench::write_certificates(path, peers);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

Speed measure_speed(std::uint8_t version, const Row& row, const std::string& group, std::size_t count) {
  const bool rekey = row.what != What::Psk && row.what != What::Certificates;
  const std::size_t tunnels = rekey ? 1 : count + kSlice;
  bench::Suites suites = suites_of(version, group);
  std::optional<Folder> certificates;
  if (row.what == What::Certificates) suites.certificates = certificates.emplace(tunnels).path;
  if (row.what == What::PairRekeyPfs) suites.esp += "-" + group;
  Negotiations n(tunnels, suites);
  if (rekey) n.next();
  const auto one = [&] { rekey ? n.rekey(row.what == What::IkeRekey) : n.next(); };
  for (std::size_t i = 0; i < kSlice; ++i) one();  // to warm up
  std::vector<double> engine, dh, signatures;
  const auto us_each = [](std::uint64_t after, std::uint64_t before) { return static_cast<double>(after - before) / 1e3 / kSlice; };
  for (std::size_t done = 0; done + kSlice <= count; done += kSlice) {
    const bench::Cost before = n.cost();
    for (std::size_t i = 0; i < kSlice; ++i) one();
    engine.push_back(us_each(n.cost().engine_ns, before.engine_ns));
    dh.push_back(us_each(n.cost().dh_ns, before.dh_ns));
    signatures.push_back(us_each(n.cost().signature_ns, before.signature_ns));
  }
  return {version, row, group, median(engine), median(dh), median(signatures)};
}

double resident_kib() {
  ::malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  double total = 0, resident = 0;
  if (!(statm >> total >> resident)) throw std::runtime_error("/proc/self/statm cannot be read");
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1024;
}

Memory tunnels_made(std::uint8_t version, std::size_t tunnels) {
  Negotiations n(tunnels, suites_of(version, "curve25519"));
  const double before = resident_kib();
  while (n.done() < tunnels) n.next();
  const double fresh = resident_kib();
  n.rest(std::chrono::seconds(65));
  return {version, tunnels, (fresh - before) / static_cast<double>(tunnels), (resident_kib() - before) / static_cast<double>(tunnels)};
}

/// In a process of its own: what earlier measurements have freed would be used again.
Memory measure_memory(std::uint8_t version, std::size_t tunnels) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const Memory m = tunnels_made(version, tunnels);
    ::_exit(::write(ends[1], &m, sizeof m) == sizeof m ? 0 : 1);
  }
  ::close(ends[1]);
  Memory out;
  const ssize_t n = ::read(ends[0], &out, sizeof out);
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  if (n != sizeof out) throw std::runtime_error("the memory of " + std::to_string(tunnels) + " tunnels could not be measured");
  return out;
}

struct Mark {
  std::string name;
  double want = 0, got = 0;
  [[nodiscard]] bool met() const { return got >= want; }
};
std::vector<Mark> marks(const std::vector<Speed>& speeds) {
  std::vector<Mark> out;
  for (const Speed& s : speeds)
    if (s.row.what == What::Psk && std::ranges::find(kMarked, s.group) != kMarked.end())
      out.push_back({name_of(s.version) + ", PSK, " + s.group, kMark, s.per_second()});
  return out;
}

void print_table(const std::vector<Speed>& speeds, const std::vector<Memory>& memory) {
  fmt::print("At the responder, CPU time, medians of {}. IKEv1: Main Mode, AES-128-CBC, then Quick Mode. IKEv2: AES-128-GCM\n", kSlice);
  fmt::print("{:<7}{:<24}{:<12} {:>10} {:>9} {:>9} {:>11} {:>9}\n", "", "", "group", "a second", "us", "of it DH", "signatures",
             "the rest");
  for (const Speed& s : speeds)
    fmt::print("{:<7}{:<24}{:<12} {:>10.0f} {:>9.1f} {:>9.1f} {:>11.1f} {:>9.1f}\n", name_of(s.version), s.row.name, s.group,
               s.per_second(), s.us(), s.dh_us, s.signature_us, s.engine_us);
  for (const Memory& m : memory)
    fmt::print("{}, {} tunnels: {:.1f} KiB of memory each (IKE SA and one pair), {:.1f} KiB a minute later\n", name_of(m.version),
               m.tunnels, m.fresh_kib, m.rested_kib);
  for (const Mark& m : marks(speeds))
    fmt::print("{} {}: {:.0f} a second and core, mark {:.0f}\n", m.met() ? "PASS" : "FAIL", m.name, m.got, m.want);
}

void print_json(const std::vector<Speed>& speeds, const std::vector<Memory>& memory) {
  boost::json::array rows, sizes, checks;
  for (const Speed& s : speeds)
    rows.push_back({{"version", s.version},
                    {"what", s.row.name},
                    {"group", s.group},
                    {"per_second", s.per_second()},
                    {"dh_us", s.dh_us},
                    {"signature_us", s.signature_us},
                    {"engine_us", s.engine_us}});
  for (const Memory& m : memory)
    sizes.push_back({{"version", m.version}, {"tunnels", m.tunnels}, {"kib_each", m.fresh_kib}, {"kib_each_later", m.rested_kib}});
  for (const Mark& m : marks(speeds)) checks.push_back({{"mark", m.name}, {"want", m.want}, {"got", m.got}, {"met", m.met()}});
  const boost::json::object out{{"negotiations", rows}, {"memory", sizes}, {"marks", checks}};
  fmt::print("{}\n", boost::json::serialize(out));
}

Options parse(int argc, char** argv) {
  Options o;
  const auto number = [](const std::string& text) {
    char* end = nullptr;
    const unsigned long n = std::strtoul(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || n > 16000) throw std::runtime_error("a count is a number to 16000");
    return n;
  };
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] {
      if (++i >= argc) throw std::runtime_error(name + " needs a value");
      return std::string(argv[i]);
    };
    if (name == "--json") {
      o.json = true;
    } else if (name == "--check") {
      o.check = true;
    } else if (name == "--group") {
      o.groups.push_back(value());
    } else if (name == "--ike") {
      const auto version = number(value());
      if (version != 1 && version != 2) throw std::runtime_error("--ike is 1 or 2");
      o.versions = {static_cast<std::uint8_t>(version)};
    } else if (name == "--count") {
      o.count = std::max(number(value()), kSlice);
    } else if (name == "--tunnels") {
      o.tunnels.push_back(number(value()));
    } else {
      throw std::runtime_error(kUsage);
    }
  }
  if (o.versions.empty()) o.versions = {1, 2};
  if (o.groups.empty()) o.groups = {"curve25519", "ecp256", "modp2048"};
  if (o.tunnels.empty()) o.tunnels = {2000, 10000};
  std::erase(o.tunnels, 0U);
  return o;
}
}  // namespace

int main(int argc, char** argv) try {
  const Options o = parse(argc, argv);
  std::vector<Memory> memory;
  for (const std::uint8_t version : o.versions)
    for (const std::size_t tunnels : o.tunnels) memory.push_back(measure_memory(version, tunnels));  // first: what follows leaves holes
  std::vector<Speed> speeds;
  for (const std::uint8_t version : o.versions)
    for (const Row& row : kRows)
      for (const std::string& group : o.groups)
        if (row.what != What::PairRekey || group == o.groups.front())  // which has no key exchange
          speeds.push_back(measure_speed(version, row, group, o.count));
  o.json ? print_json(speeds, memory) : print_table(speeds, memory);
  const auto all = marks(speeds);
  return o.check && !std::ranges::all_of(all, &Mark::met) ? 1 : 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 2;
}
