// What the tests of the tables share: EAL without hugepages and without rights, addresses and packets.
#pragma once

#include <catch2/catch.hpp>

#include "dataplane/io/eal.hpp"
#include "dataplane/ip_header.hpp"

namespace culvert::dp {

inline void need_eal() {
  static const auto eal =
      Eal::start("test", {"--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", "128", "--lcores", "0", "--log-level", "*:5"});
  if (!eal) FAIL(eal.error());
}
inline IpAddress v4(std::uint32_t a) { return IpAddress::v4(a); }

inline Bytes packet_of(std::uint32_t source, std::uint32_t destination, std::uint8_t protocol, std::uint16_t sport, std::uint16_t dport,
                       std::uint16_t fragment = 0) {
  Bytes b(28);
  b[0] = 0x45, b[3] = 28, b[8] = 64, b[9] = protocol;
  store_be16(&b[6], fragment);
  store_be32(&b[12], source);
  store_be32(&b[16], destination);
  set_ipv4_checksum(b.data());
  store_be16(&b[20], sport);
  store_be16(&b[22], dport);
  return b;
}

}  // namespace culvert::dp
