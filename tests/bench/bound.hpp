// The bound: the least that a loop around the same crypto can be, on the same devices as the worker. Receive a burst; write all that is
// on the wire of each packet (Ethernet, IPv4 with its checksum, ESP, padding), or take it off; one call of the crypto; transmit. It looks
// nothing up, since it is told the SA of each packet, and checks nothing: not the packet, not the ICV, not the window.
// Owns its sequence numbers and header templates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/bench/raw.hpp"
#include "tests/bench/traffic.hpp"

namespace culvert::bench {

class Bound {
 public:
  /// `lan`, `wan`: DPDK's names of the devices. Throws std::runtime_error.
  Bound(const Case& c, RawCrypto& crypto, const std::string& lan, const std::string& wan);

  /// A burst each way that the case has. Calls come in whole rounds of the case.
  void poll();
  /// Receive and transmit alone, the same packets.
  void forward();
  /// IP bytes sent by poll() since the last call.
  std::uint64_t take_bytes();

 private:
  struct alignas(64) Sa {
    std::array<std::uint8_t, 36> header;  // IPv4, UDP if any, SPI
    std::uint32_t checksum;               // over the former
    std::uint64_t sequence;
  };
  void out();
  void in();

  const Case& case_;
  RawCrypto& crypto_;
  std::uint16_t lan_, wan_;
  std::uint32_t outer_, iv_, align_, icv_;  // outer: bytes in front of the ESP header
  std::vector<Sa> sas_;
  std::size_t next_out_ = 0, next_in_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace culvert::bench
