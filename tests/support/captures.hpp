// What a packet capture holds for IKE: UDP datagrams, and the messages in them. Owns the reading of captures by libpcap.
// Judges no message.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include <pcap/pcap.h>

#include "control/ike/header.hpp"

namespace culvert::test {

struct Udp {
  std::uint16_t source = 0, destination = 0;
  Bytes payload;
};

/// UDP datagrams of a capture, IPv4 and IPv6 without extension headers, over Ethernet, null or raw links.
inline std::vector<Udp> udp_of(const std::filesystem::path& path) {
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

inline std::optional<ByteView> ike_of(const Udp& u) {
  if (u.source == 4500 || u.destination == 4500) return ike::strip_non_esp_marker(u.payload);
  if (u.source == 500 || u.destination == 500) return ByteView(u.payload);
  return std::nullopt;
}

/// By its name; others are text or raw bytes.
inline bool is_capture(const std::filesystem::path& path) {
  const auto extension = path.extension();
  return extension == ".pcap" || extension == ".cap" || extension == ".pcapng";
}

}  // namespace culvert::test
