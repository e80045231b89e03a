// Where each field of a payload's body stands (RFC 7296 §3), once for both directions; of nested payloads their headers.
// Owns the order and the sizes of fields. Never judges a value: payloads.cpp does.
#pragma once

#include <cstdint>

#include "control/ike/wire.hpp"
#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2::layout {

///  | Last Substruc |   RESERVED    |        Proposal Length        |     RFC 7296 §3.3.1; transforms, too (§3.3.2)
struct ItemHeader {
  std::uint8_t last = 0;
  std::uint16_t length = 0;
  static constexpr std::size_t kSize = 4;
  static void wire(auto& io, auto& self) {
    io.be(self.last);
    io.reserved(1);
    io.be(self.length);
  }
};
///  | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|     RFC 7296 §3.3.1
struct ProposalHeader {
  std::uint8_t number = 0, protocol = 0, spi_size = 0, transforms = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.number);
    io.be(self.protocol);
    io.be(self.spi_size);
    io.be(self.transforms);
  }
};
///  |Transform Type |   RESERVED    |          Transform ID         |     RFC 7296 §3.3.2
struct TransformHeader {
  TransformType type{};
  std::uint16_t id = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.type);
    io.reserved(1);
    io.be(self.id);
  }
};
///  | Protocol ID   |   SPI Size    |          Num of SPIs          |     RFC 7296 §3.11
struct DeleteHeader {
  std::uint8_t protocol = 0, spi_size = 0;
  std::uint16_t count = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.protocol);
    io.be(self.spi_size);
    io.be(self.count);
  }
};
///  | Number of TSs |                 RESERVED                      |     RFC 7296 §3.13
struct SelectorsHeader {
  std::uint8_t count = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.count);
    io.reserved(3);
  }
};
///  |   TS Type     |IP Protocol ID |       Selector Length         |     RFC 7296 §3.13.1; what follows is the type's
struct SelectorHeader {
  std::uint8_t type = 0, protocol = 0;
  std::uint16_t length = 0;
  static constexpr std::size_t kSize = 4;
  static void wire(auto& io, auto& self) {
    io.be(self.type);
    io.be(self.protocol);
    io.be(self.length);
  }
};
///  |   CFG Type    |                    RESERVED                   |     RFC 7296 §3.15
struct ConfigHeader {
  ConfigType type{};
  static void wire(auto& io, auto& self) {
    io.be(self.type);
    io.reserved(3);
  }
};

/// The layout of a flat payload, as its drawing in the header has it; of the headers above their own.
template <class T>
struct Layout {
  static void wire(auto& io, auto& self) { T::wire(io, self); }
};
template <>
struct Layout<Ke> {
  static void wire(auto& io, auto& self) {
    io.be(self.group);
    io.reserved(2);
    io.rest(self.data);
  }
};
template <PayloadType Type>
struct Layout<Identification<Type>> {
  static void wire(auto& io, auto& self) {
    io.be(self.type);
    io.reserved(3);
    io.rest(self.data);
  }
};
template <PayloadType Type>
struct Layout<Certificate<Type>> {
  static void wire(auto& io, auto& self) {
    io.be(self.encoding);
    io.rest(self.data);
  }
};
template <>
struct Layout<Auth> {
  static void wire(auto& io, auto& self) {
    io.be(self.method);
    io.reserved(3);
    io.rest(self.data);
  }
};
template <PayloadType Type>
struct Layout<Blob<Type>> {
  static void wire(auto& io, auto& self) { io.rest(self.data); }
};
template <>
struct Layout<Opaque> {
  static void wire(auto& io, auto& self) { io.rest(self.data); }
};
template <>
struct Layout<Notify> {
  static void wire(auto& io, auto& self) {
    auto spi_size = static_cast<std::uint8_t>(self.spi.size());
    io.be(self.protocol);
    io.be(spi_size);
    io.be(self.type);
    io.bytes(self.spi, spi_size);
    io.rest(self.data);
  }
};

template <class T>
T read(Reader& r, const char* rule) {
  T out;
  ike::ReadIo io(r, rule);
  Layout<T>::wire(io, out);
  return out;
}
template <class T>
void write(Writer& w, const T& value) {
  ike::WriteIo io(w);
  Layout<T>::wire(io, value);
}

}  // namespace culvert::ikev2::layout
