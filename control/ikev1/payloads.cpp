// Payload bodies: flat ones by their wire(), the nested SA and Delete by hand, each level bounded by its parent.
#include "control/ikev1/payloads.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "control/ike/wire.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::size_t kAttributeHeader = 4;   // RFC 2408 §3.3, and all of a TV attribute
constexpr std::uint16_t kFormatBit = 0x8000;  // RFC 2408 §3.3: set for TV

/// A 16-bit length field of what we write. Beyond it is a bug of ours, never a peer's doing.
std::uint16_t length16(std::size_t n) {
  if (n > std::numeric_limits<std::uint16_t>::max()) throw std::length_error("an IKEv1 payload above 65535 bytes");
  return static_cast<std::uint16_t>(n);
}

///  | Next Payload  |   RESERVED    |         Payload Length        |     RFC 2408 §3.2; proposals and transforms, too
struct ItemHeader {
  std::uint8_t next = 0;
  std::uint16_t length = 0;
  static constexpr std::size_t kSize = 4;
  static void wire(auto& io, auto& self) {
    io.be(self.next);
    io.reserved(1);
    io.be(self.length);
  }
};
///  |  Proposal #   |  Protocol-Id  |    SPI Size   |# of Transforms|     RFC 2408 §3.5
struct ProposalHeader {
  std::uint8_t number = 0, protocol = 0, spi_size = 0, transforms = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.number);
    io.be(self.protocol);
    io.be(self.spi_size);
    io.be(self.transforms);
  }
};
///  |  Transform #  |  Transform-Id |           RESERVED2           |     RFC 2408 §3.6
struct TransformHeader {
  std::uint8_t number = 0, id = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.number);
    io.be(self.id);
    io.reserved(2);
  }
};
struct DeleteHeader {
  std::uint32_t doi = kIpsecDoi;
  std::uint8_t protocol = 0, spi_size = 0;
  std::uint16_t count = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.doi);
    io.be(self.protocol);
    io.be(self.spi_size);
    io.be(self.count);
  }
};

struct ConfigHeader {
  ConfigType type{};
  std::uint16_t identifier = 0;
  static void wire(auto& io, auto& self) {
    io.be(self.type);
    io.reserved(1);
    io.be(self.identifier);
  }
};

template <class T>
T read(Reader& r, const char* rule) {
  T out;
  ike::ReadIo io(r, rule);
  T::wire(io, out);
  return out;
}
template <class T>
void write(Writer& w, const T& value) {
  ike::WriteIo io(w);
  T::wire(io, value);
}

/// Walks a list of items (proposals, transforms): `more` is the next-payload number of all but the last, which has 0.
/// Calls `item(body)` with a reader bounded by the item's length field; a failure inside is carried out with its offset.
template <class Item>
void read_items(Reader& r, PayloadType more, std::size_t limit, const char* rule, Item item) {
  for (std::size_t n = 0; r.ok(); ++n) {
    if (n == limit) return r.fail(ParseErrc::TooMany, rule);
    const auto h = read<ItemHeader>(r, rule);
    if (!r.ok()) return;
    if (h.next != 0 && h.next != static_cast<std::uint8_t>(more)) return r.fail(ParseErrc::BadValue, rule);
    if (h.length < ItemHeader::kSize || h.length - ItemHeader::kSize > r.remaining()) return r.fail(ParseErrc::BadLength, rule);
    Reader body(r.take(h.length - ItemHeader::kSize));
    item(body);
    if (body.ok() && body.remaining() != 0) body.fail(ParseErrc::Trailing, rule);
    if (!body.ok()) return r.fail(body.error().code, body.error().rule);
    if (h.next == 0) return;
  }
}

/// Whether fewer zero bytes than an attribute has may stand behind the last one: libreswan fills a Config payload up to a multiple of four.
enum class Filled : bool { No, Yes };

void read_attributes(Reader& r, std::vector<Attribute>& out, std::size_t limit, Filled filled) {
  static constexpr const char* kRule = "RFC 2408 §3.3";
  while (r.ok() && r.remaining() != 0) {
    if (filled == Filled::Yes && r.remaining() < kAttributeHeader) {
      if (std::ranges::any_of(r.rest(), [](std::uint8_t b) { return b != 0; })) r.fail(ParseErrc::Trailing, kRule);
      return;
    }
    if (out.size() == limit) return r.fail(ParseErrc::TooMany, kRule);
    const auto type = r.be<std::uint16_t>(kRule);
    const bool basic = (type & kFormatBit) != 0;
    const std::size_t size = basic ? 2 : r.be<std::uint16_t>(kRule);
    const ByteView value = r.take(size, kRule);
    out.push_back({static_cast<std::uint16_t>(type & ~kFormatBit), basic, Bytes(value.begin(), value.end())});
  }
}

void read_proposal(Reader& r, Sa& sa) {
  const auto h = read<ProposalHeader>(r, "RFC 2408 §3.5");
  if (h.spi_size > kMaxSpi) return r.fail(ParseErrc::BadLength, "RFC 2408 §3.5: SPI size");
  Proposal p{h.number, h.protocol, {}, {}};
  const ByteView spi = r.take(h.spi_size, "RFC 2408 §3.5: SPI");
  p.spi.assign(spi.begin(), spi.end());
  if (r.ok() && h.transforms == 0) return r.fail(ParseErrc::BadValue, "RFC 2408 §3.5: a proposal without transforms");
  read_items(r, PayloadType::Transform, kMaxTransforms, "RFC 2408 §3.6", [&p](Reader& body) {
    const auto t = read<TransformHeader>(body, "RFC 2408 §3.6");
    p.transforms.push_back({t.number, t.id, {}});
    read_attributes(body, p.transforms.back().attributes, kMaxAttributes, Filled::No);
  });
  if (r.ok() && p.transforms.size() != h.transforms) return r.fail(ParseErrc::BadLength, "RFC 2408 §3.5: number of transforms");
  sa.proposals.push_back(std::move(p));
}

Sa read_sa(Reader& r) {
  Sa sa;
  const auto doi = r.be<std::uint32_t>("RFC 2408 §3.4");
  if (r.ok() && doi != kIpsecDoi) r.fail(ParseErrc::BadValue, "RFC 2407 §4.1: DOI");
  const auto situation = r.be<std::uint32_t>("RFC 2407 §4.6.1");
  if (r.ok() && situation != kSituationIdentityOnly) r.fail(ParseErrc::BadValue, "RFC 2407 §4.2.1: situation");
  read_items(r, PayloadType::Proposal, kMaxProposals, "RFC 2408 §3.5", [&sa](Reader& body) { read_proposal(body, sa); });
  return sa;
}

Delete read_delete(Reader& r) {
  const auto h = read<DeleteHeader>(r, "RFC 2408 §3.15");
  Delete d{h.doi, h.protocol, h.spi_size, {}};
  if (h.spi_size > kMaxSpi || (h.spi_size == 0 && h.count != 0)) r.fail(ParseErrc::BadLength, "RFC 2408 §3.15: SPI size");
  if (h.count > kMaxDeleteSpis) r.fail(ParseErrc::TooMany, "RFC 2408 §3.15: number of SPIs");
  for (std::uint16_t i = 0; i < h.count && r.ok(); ++i) {
    const ByteView spi = r.take(h.spi_size, "RFC 2408 §3.15: number of SPIs");
    if (r.ok()) d.spis.emplace_back(spi.begin(), spi.end());
  }
  return d;
}

ConfigPayload read_config(Reader& r) {
  static constexpr const char* kRule = "draft-dukes-ike-mode-cfg-02 §3.1";
  const auto h = read<ConfigHeader>(r, kRule);
  if (r.ok() && (h.type < ConfigType::Request || h.type > ConfigType::Ack)) r.fail(ParseErrc::BadValue, kRule);
  ConfigPayload out{h.type, h.identifier, {}};
  read_attributes(r, out.attributes, kMaxConfigAttributes, Filled::Yes);
  return out;
}

template <class T>
T read_checked(Reader& r, const char* rule) {
  T out = read<T>(r, rule);
  if constexpr (std::is_same_v<T, Notify>)
    if (out.spi.size() > kMaxSpi) r.fail(ParseErrc::BadLength, "RFC 2408 §3.14: SPI size");
  if constexpr (std::is_same_v<T, Id>)
    if (out.data.size() > kMaxIdentity) r.fail(ParseErrc::TooMany, "RFC 2407 §4.6.2: identification data above 2 KB");
  if constexpr (std::is_same_v<T, Sig>)
    if (out.data.empty() || out.data.size() > kMaxSignature) r.fail(ParseErrc::BadLength, "RFC 2408 §3.12: signature data");
  if constexpr (std::is_same_v<T, Cert> || std::is_same_v<T, CertReq>)
    if (out.data.size() > kMaxCertificate) r.fail(ParseErrc::TooMany, "RFC 2408 §3.9: a certificate above 16 KB");
  return out;
}

Content read_content(PayloadType type, Reader& r) {
  switch (type) {
    case PayloadType::Sa:
      return read_sa(r);
    case PayloadType::Ke:
      return read_checked<Ke>(r, "RFC 2408 §3.7");
    case PayloadType::Id:
      return read_checked<Id>(r, "RFC 2407 §4.6.2");
    case PayloadType::Hash:
      return read_checked<Hash>(r, "RFC 2408 §3.11");
    case PayloadType::Nonce:
      return read_checked<Nonce>(r, "RFC 2408 §3.13");
    case PayloadType::Notify:
      return read_checked<Notify>(r, "RFC 2408 §3.14");
    case PayloadType::Delete:
      return read_delete(r);
    case PayloadType::Attributes:
      return read_config(r);
    case PayloadType::Vendor:
      return read_checked<Vendor>(r, "RFC 2408 §3.16");
    case PayloadType::NatD:
      return read_checked<NatD>(r, "RFC 3947 §3.2");
    case PayloadType::NatOa:
      return read_checked<NatOa>(r, "RFC 3947 §5.2");
    case PayloadType::Sig:
      return read_checked<Sig>(r, "RFC 2408 §3.12");
    case PayloadType::Cert:
      return read_checked<Cert>(r, "RFC 2408 §3.9");
    case PayloadType::CertReq:
      return read_checked<CertReq>(r, "RFC 2408 §3.10");
    default:
      return read<Opaque>(r, "RFC 2408 §3.2");
  }
}

// ---------------------------------------------------------------------------------------------------------------- writing

/// An item with its header in front; the length is known when `body` has written.
template <class Body>
void write_item(Writer& w, bool last, PayloadType more, Body body) {
  const std::size_t begin = w.size();
  write(w, ItemHeader{last ? std::uint8_t{0} : static_cast<std::uint8_t>(more), 0});
  body();
  w.patch(begin + 2, length16(w.size() - begin));
}

void write_attributes(Writer& w, const std::vector<Attribute>& attributes) {
  for (const Attribute& a : attributes) {
    w.be(static_cast<std::uint16_t>(a.type | (a.basic ? kFormatBit : 0)));
    if (!a.basic) w.be(length16(a.value.size()));
    if (a.basic && a.value.size() != 2) throw std::length_error("a TV attribute holds two bytes");
    w.bytes(a.value);
  }
}

void write_transform(Writer& w, const Transform& t) {
  write(w, TransformHeader{t.number, t.id});
  write_attributes(w, t.attributes);
}

void write_config(Writer& w, const ConfigPayload& c) {
  write(w, ConfigHeader{c.type, c.identifier});
  write_attributes(w, c.attributes);
}

void write_sa(Writer& w, const Sa& sa) {
  if (sa.proposals.empty()) throw std::length_error("an SA payload without proposals");
  w.be(kIpsecDoi);
  w.be(kSituationIdentityOnly);
  for (const Proposal& p : sa.proposals)
    write_item(w, &p == &sa.proposals.back(), PayloadType::Proposal, [&] {
      if (p.transforms.empty() || p.transforms.size() > kMaxTransforms || p.spi.size() > kMaxSpi)
        throw std::length_error("a proposal outside of its bounds");
      write(w,
            ProposalHeader{p.number, p.protocol, static_cast<std::uint8_t>(p.spi.size()), static_cast<std::uint8_t>(p.transforms.size())});
      w.bytes(p.spi);
      for (const Transform& t : p.transforms)
        write_item(w, &t == &p.transforms.back(), PayloadType::Transform, [&] { write_transform(w, t); });
    });
}

void write_delete(Writer& w, const Delete& d) {
  write(w, DeleteHeader{d.doi, d.protocol, d.spi_size, length16(d.spis.size())});
  for (const Bytes& spi : d.spis) {
    if (spi.size() != d.spi_size) throw std::length_error("a Delete payload with SPIs of several sizes");
    w.bytes(spi);
  }
}
}  // namespace

Attribute Attribute::tv(std::uint16_t type, std::uint16_t value) {
  return {type, true, {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)}};
}
Attribute Attribute::tlv32(std::uint16_t type, std::uint32_t value) {
  Writer w;
  w.be(value);
  return {type, false, std::move(w).take()};
}
std::optional<std::uint64_t> Attribute::number() const {
  if (value.empty() || value.size() > sizeof(std::uint64_t)) return std::nullopt;
  std::uint64_t out = 0;
  for (const std::uint8_t b : value) out = out << 8 | b;
  return out;
}

Parsed<Content> parse_body(PayloadType type, ByteView body) {
  Reader r(body);
  Content content = read_content(type, r);
  if (r.ok() && r.remaining() != 0) r.fail(ParseErrc::Trailing, "RFC 2408 §3.2: payload length");
  if (!r.ok()) return std::unexpected(r.error());
  return content;
}

Bytes encode_body(const Content& content) {
  Writer w;
  std::visit(
      [&w](const auto& payload) {
        using T = std::decay_t<decltype(payload)>;
        if constexpr (std::is_same_v<T, Sa>)
          write_sa(w, payload);
        else if constexpr (std::is_same_v<T, Delete>)
          write_delete(w, payload);
        else if constexpr (std::is_same_v<T, ConfigPayload>)
          write_config(w, payload);
        else
          write(w, payload);
      },
      content);
  length16(w.size() + ItemHeader::kSize);
  return std::move(w).take();
}

}  // namespace culvert::ikev1
