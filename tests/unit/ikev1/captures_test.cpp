// Real exchanges of other implementations: every IKEv1 message that travelled in clear parses, and the rules take it.
#include <map>

#include <pcap/pcap.h>

#include "control/ike/header.hpp"
#include "control/ikev1/message_rules.hpp"
#include "control/ikev1/proposal.hpp"
#include "control/ikev1/vendor_ids.hpp"
#include "tests/support/vectors.hpp"

using namespace culvert;
using namespace culvert::ikev1;

namespace {
struct Udp {
  std::uint16_t source = 0, destination = 0;
  Bytes payload;
};

/// UDP datagrams of a capture, IPv4 and IPv6 without extension headers, over Ethernet, null or raw links.
std::vector<Udp> udp_of(const std::filesystem::path& path) {
  char error[PCAP_ERRBUF_SIZE] = {};
  pcap_t* pcap = pcap_open_offline(path.c_str(), error);
  if (!pcap) return {};
  const int link = pcap_datalink(pcap);
  const std::size_t skip = link == DLT_EN10MB ? 14 : link == DLT_NULL ? 4 : link == DLT_LINUX_SLL ? 16 : 0;
  std::vector<Udp> out;
  pcap_pkthdr* h = nullptr;
  const u_char* data = nullptr;
  while (pcap_next_ex(pcap, &h, &data) == 1) {
    if (h->caplen < skip + 28 || h->caplen != h->len) continue;
    Reader r(ByteView(data, h->caplen).subspan(skip));
    const ByteView ip = r.rest();
    std::size_t header = 0;
    std::uint8_t protocol = 0;
    if (ip[0] >> 4 == 4) {
      header = (ip[0] & 0xfU) * 4U;
      protocol = ip[9];
      if ((ip[6] & 0x3f) != 0 || ip[7] != 0) continue;  // a fragment
    } else if (ip[0] >> 4 == 6 && ip.size() > 48) {
      header = 40;
      protocol = ip[6];
    }
    if (protocol != 17 || ip.size() < header + 8) continue;
    Reader udp(ip.subspan(header));
    Udp u;
    u.source = udp.be<std::uint16_t>();
    u.destination = udp.be<std::uint16_t>();
    const auto length = udp.be<std::uint16_t>();
    udp.skip(2);
    const ByteView payload = udp.take(length >= 8 ? length - 8U : 0);
    u.payload.assign(payload.begin(), payload.end());
    if (udp.ok()) out.push_back(std::move(u));
  }
  pcap_close(pcap);
  return out;
}

std::optional<ByteView> ike_of(const Udp& u) {
  if (u.source == 4500 || u.destination == 4500) return ike::strip_non_esp_marker(u.payload);
  if (u.source == 500 || u.destination == 500) return ByteView(u.payload);
  return std::nullopt;
}

/// The place of a clear Main Mode message, from what it carries and who sent it.
std::optional<MessageKind> kind_of(const ike::Header& h, const Message& m, std::map<std::uint64_t, int>& ke_seen) {
  if (h.exchange == ike::kExchangeInformational) return MessageKind::InformationalClear;
  if (h.exchange != ike::kExchangeMainMode) return std::nullopt;
  if (m.find<Sa>()) return h.spi_r ? MessageKind::MainMode2 : MessageKind::MainMode1;
  return ke_seen[h.spi_i.value]++ == 0 ? MessageKind::MainMode3 : MessageKind::MainMode4;
}
}  // namespace

TEST_CASE("captures: every clear IKEv1 message parses", "[ikev1][message][vectors]") {
  const auto folder = test::vectors("IKEv1 captures");
  if (!folder) return;
  std::size_t clear = 0, encrypted = 0, files = 0, sas = 0, vendors = 0, known = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder / "captures")) {
    const auto extension = entry.path().extension();
    if (extension != ".pcap" && extension != ".cap" && extension != ".pcapng") continue;
    if (entry.path().filename().string().find("synthetic") != std::string::npos) continue;  // an SA without proposals, made by hand
    std::size_t here = 0;
    std::map<std::uint64_t, int> ke_seen;
    for (const Udp& u : udp_of(entry.path())) {
      const auto bytes = ike_of(u);
      if (!bytes) continue;
      const auto framed = ike::parse_header(*bytes);
      if (!framed || framed->header.major != 1) continue;
      ++here;
      if (framed->header.encrypted()) {
        ++encrypted;
        continue;
      }
      INFO(entry.path() << " message " << here);
      const auto m = Message::parse(static_cast<PayloadType>(framed->header.next_payload), framed->body, Trailing::Alignment);
      if (!m) FAIL(m.error().rule << " at " << m.error().offset);
      ++clear;
      if (const auto kind = kind_of(framed->header, *m, ke_seen)) {
        const auto ok = check_message(*kind, false, *m);
        // draft-ietf-ipsec-nat-t-ike-04 sent NAT-D as payload 15. We never offer that draft, so no peer sends it to us.
        if (!ok && ok.error().text.find("unknown type 15") == std::string::npos) FAIL(ok.error().text);
      }
      // What we would write for it is what was on the wire.
      Builder again;
      for (const Payload& p : m->payloads()) {
        CHECK(encode_body(p.content) == p.body);
        again.add_raw(p.type, p.body);
        if (const auto* v = std::get_if<Vendor>(&p.content)) {
          ++vendors;
          known += recognise_vendor(v->data) ? 1U : 0U;
        }
        if (const auto* sa = std::get_if<Sa>(&p.content)) {
          ++sas;
          CHECK_FALSE(describe(*sa).empty());
        }
      }
      CHECK(again.chain() == Bytes(framed->body.begin(), framed->body.end()));
    }
    files += here ? 1U : 0U;
  }
  std::cout << "IKEv1 captures: " << clear << " clear messages of " << files << " files parsed and written back (" << sas
            << " SA payloads; " << known << " of " << vendors << " vendor ids known); " << encrypted << " encrypted ones not looked into\n";
  CHECK(clear > 20);
}
