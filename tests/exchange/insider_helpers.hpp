// What tests of a peer with the keys have in common: two sites that are up, and how they look when nothing has happened to them.
#pragma once

#include <catch2/catch.hpp>

#include "tests/exchange/insider.hpp"
#include "tests/exchange/world.hpp"

namespace culvert::test {

/// Up, with their Main Mode recorded (Insider).
inline void begin_recorded(World& world, Host& a, Host& b) {
  world.record = true;
  a.start();
  b.start();
  REQUIRE(world.run_until([&] { return a.current_out("net") && b.current_out("net"); }, 60s));
  world.run(100ms);
}

inline void untouched(Host& a, Host& b) {
  a.world.run(1s);
  for (Host* h : {&a, &b}) {
    CHECK(h->established() == 1);
    CHECK(h->inbound.size() == 1);
    CHECK(h->outbound.size() == 1);
  }
}

inline Bytes cookies_of(const ike::IkeSaInfo& sa) {
  Writer w;
  w.be(sa.spi_i.value);
  w.be(sa.spi_r.value);
  return std::move(w).take();
}

inline Bytes bytes_of(Spi spi) {
  Writer w;
  w.be(spi.value);
  return std::move(w).take();
}

inline ikev1::Notify notify(ikev1::NotifyType type, Bytes spi = {}, Bytes data = {}, std::uint8_t protocol = ikev1::kProtoEsp) {
  ikev1::Notify n;
  n.protocol = protocol;
  n.type = type;
  n.spi = std::move(spi);
  n.data = std::move(data);
  return n;
}

template <class T>
ikev1::Builder one(const T& payload) {
  ikev1::Builder b;
  b.add(payload);
  return b;
}

}  // namespace culvert::test
