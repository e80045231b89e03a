// culvert-esp-tool: one SA's packets through the data plane's nodes, from a capture file to a capture file, without EAL.
//
//     culvert-esp-tool TERMS.json IN.pcap OUT.pcap ...      prints the counters as JSON, a line for each three files: each its own SA
//
// Captures hold raw IP packets (LINKTYPE_RAW). TERMS: {"direction": "in" | "out", "suite": "aes128gcm16" | "aes128-sha1" | ..., "ah":
// false, "transport": false, "encr_key": hex (salt included), "integ_key": hex, "spi": n, "local": "10.9.0.1", "remote": "10.9.0.2",
// "port": 0 | 4500, "local_ts": "10.1.0.0/24", "remote_ts": "10.2.0.0/24", "window": 64}. For tests that are written in another language.
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include <boost/json.hpp>
#include <pcap/pcap.h>

#include "dataplane/ip_header.hpp"
#include "dataplane/nodes/esp.hpp"

namespace {
using namespace culvert;
using namespace culvert::dp;
namespace json = boost::json;

constexpr std::uint16_t kHeadroom = 128, kTailroom = 64;
constexpr std::uint32_t kCapacity = 16;
constexpr int kSnapLength = 65535;

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }
template <class T>
T must(std::expected<T, std::string> value) {
  if (!value) fail(value.error());
  return *std::move(value);
}
std::string text(const json::object& o, const char* key) { return std::string(o.at(key).as_string()); }

shm::InstallSa terms(const json::object& o) {
  shm::InstallSa m;
  m.direction = text(o, "direction") == "in" ? Direction::Inbound : Direction::Outbound;
  const auto suites = o.at("ah").as_bool() ? parse_ah_proposal(text(o, "suite")) : parse_esp_proposal(text(o, "suite"));
  if (!suites || suites->size() != 1) fail("suite");
  m.suite = suites->front();
  m.mode = o.at("transport").as_bool() ? SaMode::Transport : SaMode::Tunnel;
  const auto put = [](const Bytes& key, auto& into, std::uint8_t& size) {
    if (key.size() > into.size()) fail("key too long");
    std::copy(key.begin(), key.end(), into.begin());
    size = static_cast<std::uint8_t>(key.size());
  };
  put(must(from_hex(text(o, "encr_key"))), m.encr_key, m.encr_key_bytes);
  put(must(from_hex(text(o, "integ_key"))), m.integ_key, m.integ_key_bytes);
  m.spi = Spi{o.at("spi").to_number<std::uint32_t>()};
  m.slot = m.spi.value & (kCapacity - 1);
  const auto port = o.at("port").to_number<std::uint16_t>();
  m.local = {must(IpAddress::parse(text(o, "local"))), port};
  m.remote = {must(IpAddress::parse(text(o, "remote"))), port};
  m.local_ts = must(TrafficSelector::parse(text(o, "local_ts")));
  m.remote_ts = must(TrafficSelector::parse(text(o, "remote_ts")));
  m.replay_window = o.at("window").to_number<std::uint16_t>();
  return m;
}

struct PcapCloser {
  void operator()(pcap_t* p) const { pcap_close(p); }
  void operator()(pcap_dumper_t* p) const { pcap_dump_close(p); }
};

/// The packets of a capture, each in a buffer with room around it.
std::vector<Bytes> read_capture(const char* path) {
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  const std::unique_ptr<pcap_t, PcapCloser> in(pcap_open_offline(path, error.data()));
  if (!in) fail(error.data());
  if (pcap_datalink(in.get()) != DLT_RAW) fail("not a capture of raw IP packets");
  std::vector<Bytes> out;
  pcap_pkthdr* header = nullptr;
  const u_char* data = nullptr;
  while (pcap_next_ex(in.get(), &header, &data) == 1) {
    Bytes b(kHeadroom + header->caplen + kTailroom);
    std::copy_n(data, header->caplen, b.begin() + kHeadroom);
    out.push_back(std::move(b));
  }
  return out;
}

class Output {
 public:
  explicit Output(const char* path) : handle_(pcap_open_dead(DLT_RAW, kSnapLength)), dumper_(pcap_dump_open(handle_.get(), path)) {
    if (!dumper_) fail(pcap_geterr(handle_.get()));
  }
  void write(const Packet& p) {
    pcap_pkthdr header{};
    header.caplen = header.len = p.length;
    pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, p.data);
  }

 private:
  std::unique_ptr<pcap_t, PcapCloser> handle_;
  std::unique_ptr<pcap_dumper_t, PcapCloser> dumper_;
};

json::object counters_json(Direction d, const shm::SaCounters& c, const shm::WorkerCounters& w) {
  json::object drops;
  for (std::size_t i = 0; i < kDropReasons; ++i)
    if (w.drops[i].get() != 0) drops[kDropTable[i].name] = w.drops[i].get();
  json::object by_sa;
  std::size_t slot = 0;
  for (const Drop reason : sa_drops(d)) by_sa[info(reason).name] = c.drops[slot++].get();
  by_sa[kOtherDrop] = c.drops[kSaDropSlots - 1].get();
  return {{"drops", drops},
          {"sa_drops", by_sa},
          {"sa",
           {{"packets", c.packets.get()},
            {"bytes", c.bytes.get()},
            {"sequence", c.sequence.get()},
            {"missing", d == Direction::Inbound ? c.missing() : 0},
            {"reordered", c.reordered.get()}}}};
}

void run(CryptoEngine& engine, const char* terms_path, const char* in_path, const char* out_path) {
  std::ifstream file(terms_path);
  std::stringstream content;
  content << file.rdbuf();
  const shm::InstallSa m = terms(json::parse(content.str()).as_object());
  shm::SaCounters counters;
  const auto worker_counters = std::make_unique<shm::WorkerCounters>();
  DropSink drops(*worker_counters, [](void*, std::span<void* const>) {}, nullptr);
  const SaPlacement placement{0, &counters, 0};
  InboundTable table(kCapacity);
  SaPtr<OutboundSa> outbound;
  if (m.direction == Direction::Inbound) {
    auto sa = make_inbound(m, kCapacity, engine, placement);
    if (!sa || table.publish(m.slot, *sa) != shm::AckResult::Ok) fail("the terms were refused");
  } else {
    auto sa = make_outbound(m, kCapacity, engine, placement);
    if (!sa) fail("the terms were refused");
    outbound = std::move(*sa);
  }
  Output output(out_path);
  auto buffers = read_capture(in_path);
  for (std::size_t at = 0; at < buffers.size(); at += kBurstMax) {
    std::array<Packet, kBurstMax> packets;
    Burst burst;
    for (std::size_t i = at; i < std::min(at + kBurstMax, buffers.size()); ++i) {
      Packet& p = packets[i - at];
      p.data = buffers[i].data() + kHeadroom;
      p.length = static_cast<std::uint32_t>(buffers[i].size() - kHeadroom - kTailroom);
      p.headroom = kHeadroom;
      p.tailroom = kTailroom;
      p.outbound = outbound.get();
      if (parse_ip(p)) {
        burst.push_back(&p);
      } else {
        drops.drop(p, Drop::RxMalformed);
      }
    }
    EspContext context{engine, drops, 0};
    if (outbound) {
      esp_out(burst, context);
    } else {
      esp_in_lookup(burst, table, drops);
      esp_in(burst, context);
    }
    for (const Packet* p : burst) output.write(*p);
  }
  std::cout << counters_json(m.direction, counters, *worker_counters) << "\n";
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc % 3 != 1) {
    std::cerr << "usage: culvert-esp-tool TERMS.json IN.pcap OUT.pcap ...\n";
    return 2;
  }
  try {
    CryptoEngine engine = must(CryptoEngine::create());
    for (int i = 1; i < argc; i += 3) run(engine, argv[i], argv[i + 1], argv[i + 2]);
  } catch (const std::exception& e) {
    std::cerr << "culvert-esp-tool: " << e.what() << "\n";
    return 1;
  }
  return 0;
}
