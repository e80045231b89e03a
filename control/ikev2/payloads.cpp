// Payload bodies: flat ones by their layout (layout.hpp), the nested SA, Delete, TS and CP by hand, each level bounded by its parent.
#include "control/ikev2/payloads.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "control/ikev2/layout.hpp"

namespace culvert::ikev2 {

namespace {
constexpr std::size_t kGenericHeader = 4;       // RFC 7296 §3.2
constexpr std::uint16_t kFormatBit = 0x8000;    // RFC 7296 §3.3.5: set for TV
constexpr std::uint16_t kKeyLength = 14;        // RFC 7296 §3.3.5
constexpr std::uint16_t kReservedBit = 0x8000;  // RFC 7296 §3.15.1: not looked at
constexpr std::uint8_t kMoreProposals = 2, kMoreTransforms = 3;
constexpr std::uint8_t kTsIpv4 = 7, kTsIpv6 = 8;  // RFC 7296 §3.13.1
constexpr std::size_t kSelectorHeader = 8;        // without the addresses

/// A 16-bit length field of what we write. Beyond it is a bug of ours, never a peer's doing.
std::uint16_t length16(std::size_t n) {
  if (n > std::numeric_limits<std::uint16_t>::max()) throw std::length_error("an IKEv2 payload above 65535 bytes");
  return static_cast<std::uint16_t>(n);
}
/// The bounds of a list that we write.
void bounded(std::size_t n, std::size_t least, std::size_t most) {
  if (n < least || n > most) throw std::length_error("an IKEv2 payload with a list outside of its bounds");
}

/// RFC 7296 §3.3.1: no SPI, or the one of the protocol.
bool spi_fits(std::uint8_t protocol, std::size_t size) { return size == 0 || size == (protocol == kProtoIke ? 8U : 4U); }
/// Bytes of an address in a selector; 0: the type is unknown.
std::size_t address_bytes(std::uint8_t ts_type) { return ts_type == kTsIpv4 ? 4 : ts_type == kTsIpv6 ? 16 : 0; }

// ---------------------------------------------------------------------------------------------------------------- reading

/// Walks a list of items (proposals, transforms): `more` stands in front of all but the last, which has 0.
/// Calls `item(body)` with a reader bounded by the item's length field; a failure inside is carried out.
template <class Item>
void read_items(Reader& r, std::uint8_t more, std::size_t limit, const char* rule, Item item) {
  for (std::size_t n = 0; r.ok(); ++n) {
    if (n == limit) return r.fail(ParseErrc::TooMany, rule);
    const auto h = layout::read<layout::ItemHeader>(r, rule);
    if (!r.ok()) return;
    if (h.last != 0 && h.last != more) return r.fail(ParseErrc::BadValue, rule);
    if (h.length < layout::ItemHeader::kSize || h.length - layout::ItemHeader::kSize > r.remaining())
      return r.fail(ParseErrc::BadLength, rule);
    Reader body(r.take(h.length - layout::ItemHeader::kSize));
    item(body);
    if (body.ok() && body.remaining() != 0) body.fail(ParseErrc::Trailing, rule);
    if (!body.ok()) return r.fail(body.error().code, body.error().rule);
    if (h.last == 0) return;
  }
}

/// One Key Length in TV form is what we know. A second one, or one in TLV form, is as unknown as any other attribute.
void read_transform(Reader& r, Proposal& p) {
  static constexpr const char* kRule = "RFC 7296 §3.3.5";
  const auto h = layout::read<layout::TransformHeader>(r, "RFC 7296 §3.3.2");
  Transform t{h.type, h.id};
  while (r.ok() && r.remaining() != 0) {
    const auto type = r.be<std::uint16_t>(kRule);
    const auto value_or_length = r.be<std::uint16_t>(kRule);
    if (type == (kFormatBit | kKeyLength) && !t.key_bits) {
      t.key_bits = value_or_length;
      continue;
    }
    t.unknown_attribute = true;
    if ((type & kFormatBit) == 0) r.skip(value_or_length, kRule);
  }
  p.transforms.push_back(t);
}

void read_proposal(Reader& r, Sa& sa) {
  const auto h = layout::read<layout::ProposalHeader>(r, "RFC 7296 §3.3.1");
  if (!spi_fits(h.protocol, h.spi_size)) return r.fail(ParseErrc::BadLength, "RFC 7296 §3.3.1: SPI size");
  Proposal p{h.number, h.protocol, {}, {}};
  const ByteView spi = r.take(h.spi_size, "RFC 7296 §3.3.1: SPI");
  p.spi.assign(spi.begin(), spi.end());
  if (r.ok() && h.transforms == 0) return r.fail(ParseErrc::BadValue, "RFC 7296 §3.3.1: a proposal without transforms");
  read_items(r, kMoreTransforms, kMaxTransforms, "RFC 7296 §3.3.2", [&p](Reader& body) { read_transform(body, p); });
  if (r.ok() && p.transforms.size() != h.transforms) return r.fail(ParseErrc::BadLength, "RFC 7296 §3.3.1: number of transforms");
  sa.proposals.push_back(std::move(p));
}

Sa read_sa(Reader& r) {
  Sa sa;
  read_items(r, kMoreProposals, kMaxProposals, "RFC 7296 §3.3.1", [&sa](Reader& body) { read_proposal(body, sa); });
  return sa;
}

Delete read_delete(Reader& r) {
  static constexpr const char* kRule = "RFC 7296 §3.11";
  const auto h = layout::read<layout::DeleteHeader>(r, kRule);
  Delete d{h.protocol, {}};
  const bool ike = h.protocol == kProtoIke;
  if (r.ok() && (h.spi_size != (ike ? 0U : 4U) || (ike && h.count != 0))) r.fail(ParseErrc::BadLength, "RFC 7296 §3.11: SPI size");
  if (r.ok() && h.count > kMaxDeleteSpis) r.fail(ParseErrc::TooMany, "RFC 7296 §3.11: number of SPIs");
  for (std::uint16_t i = 0; i < h.count && r.ok(); ++i) {
    const Spi spi{r.be<std::uint32_t>("RFC 7296 §3.11: number of SPIs")};
    if (r.ok()) d.spis.push_back(spi);
  }
  return d;
}

IpAddress read_address(Reader& r, std::size_t size) {
  return IpAddress::from_bytes(r.take(size, "RFC 7296 §3.13.1: addresses")).value_or(IpAddress{});
}

TrafficSelector read_selector(Reader& r, const layout::SelectorHeader& h) {
  TrafficSelector ts;
  ts.protocol = h.protocol;
  ts.port_first = r.be<std::uint16_t>("RFC 7296 §3.13.1: ports");
  ts.port_last = r.be<std::uint16_t>("RFC 7296 §3.13.1: ports");
  ts.first = read_address(r, address_bytes(h.type));
  ts.last = read_address(r, address_bytes(h.type));
  if (ts.port_first == 0xffff && ts.port_last == 0) std::swap(ts.port_first, ts.port_last);  // OPAQUE
  if (r.ok() && (ts.port_first > ts.port_last || (ts.protocol == 0 && !ts.any_port())))
    r.fail(ParseErrc::BadValue, "RFC 7296 §3.13.1: ports");
  if (r.ok() && ts.first > ts.last) r.fail(ParseErrc::BadValue, "RFC 7296 §3.13.1: addresses");
  return ts;
}

template <class T>
T read_selectors(Reader& r) {
  static constexpr const char* kRule = "RFC 7296 §3.13";
  static constexpr const char* kLength = "RFC 7296 §3.13.1: selector length";
  const auto h = layout::read<layout::SelectorsHeader>(r, kRule);
  if (r.ok() && h.count == 0) r.fail(ParseErrc::BadValue, kRule);
  T out;
  for (std::size_t i = 0; i < h.count && r.ok(); ++i) {
    const auto s = layout::read<layout::SelectorHeader>(r, "RFC 7296 §3.13.1");
    if (!r.ok()) break;
    const std::size_t address = address_bytes(s.type);
    if (s.length < layout::SelectorHeader::kSize || (address != 0 && s.length != kSelectorHeader + 2 * address)) {
      r.fail(ParseErrc::BadLength, kLength);
    } else if (address == 0) {
      r.skip(s.length - layout::SelectorHeader::kSize, kLength);
      ++out.unknown;
    } else {
      out.selectors.push_back(read_selector(r, s));
    }
  }
  return out;
}

Cp read_config(Reader& r) {
  static constexpr const char* kRule = "RFC 7296 §3.15.1";
  const auto h = layout::read<layout::ConfigHeader>(r, "RFC 7296 §3.15");
  if (r.ok() && (h.type < ConfigType::Request || h.type > ConfigType::Ack)) r.fail(ParseErrc::BadValue, "RFC 7296 §3.15");
  Cp out{h.type, {}};
  while (r.ok() && r.remaining() != 0) {
    if (out.attributes.size() == kMaxConfigAttributes) {
      r.fail(ParseErrc::TooMany, kRule);
      break;
    }
    const auto type = static_cast<std::uint16_t>(r.be<std::uint16_t>(kRule) & ~kReservedBit);
    const auto length = r.be<std::uint16_t>(kRule);
    const ByteView value = r.take(length, kRule);
    out.attributes.push_back({static_cast<ConfigAttributeType>(type), Bytes(value.begin(), value.end())});
  }
  return out;
}

/// A flat payload, and how much it may hold.
template <class T>
T read_flat(Reader& r, const char* rule, std::size_t most = std::numeric_limits<std::uint16_t>::max(), std::size_t least = 0) {
  T out = layout::read<T>(r, rule);
  if (r.ok() && out.data.size() < least) r.fail(ParseErrc::BadLength, rule);
  if (r.ok() && out.data.size() > most) r.fail(ParseErrc::TooMany, rule);
  return out;
}

Content read_content(PayloadType type, Reader& r) {
  switch (type) {
    case PayloadType::Sa:
      return read_sa(r);
    case PayloadType::Ke:
      return read_flat<Ke>(r, "RFC 7296 §3.4");
    case PayloadType::IdI:
      return read_flat<IdI>(r, "RFC 7296 §3.5", kMaxIdentity);
    case PayloadType::IdR:
      return read_flat<IdR>(r, "RFC 7296 §3.5", kMaxIdentity);
    case PayloadType::Cert:
      return read_flat<Cert>(r, "RFC 7296 §3.6", kMaxCertificate);
    case PayloadType::CertReq:
      return read_flat<CertReq>(r, "RFC 7296 §3.7", kMaxCertificate);
    case PayloadType::Auth:
      return read_flat<Auth>(r, "RFC 7296 §3.8", kMaxAuth);
    case PayloadType::Nonce:
      return read_flat<Nonce>(r, "RFC 7296 §3.9", kMaxNonce, kMinNonce);
    case PayloadType::Notify:
      return read_flat<Notify>(r, "RFC 7296 §3.10");
    case PayloadType::Delete:
      return read_delete(r);
    case PayloadType::Vendor:
      return read_flat<Vendor>(r, "RFC 7296 §3.12");
    case PayloadType::TsI:
      return read_selectors<TsI>(r);
    case PayloadType::TsR:
      return read_selectors<TsR>(r);
    case PayloadType::Cp:
      return read_config(r);
    case PayloadType::Eap:
      return read_flat<Eap>(r, "RFC 7296 §3.16");
    default:
      return read_flat<Opaque>(r, "RFC 7296 §3.2");
  }
}

// ---------------------------------------------------------------------------------------------------------------- writing

/// An item with its header in front; the length is known when `body` has written.
template <class Body>
void write_item(Writer& w, bool last, std::uint8_t more, Body body) {
  const std::size_t begin = w.size();
  layout::write(w, layout::ItemHeader{last ? std::uint8_t{0} : more, 0});
  body();
  w.patch(begin + 2, length16(w.size() - begin));
}

void write_transform(Writer& w, const Transform& t) {
  layout::write(w, layout::TransformHeader{t.type, t.id});
  if (!t.key_bits) return;
  w.be(static_cast<std::uint16_t>(kFormatBit | kKeyLength));
  w.be(*t.key_bits);
}

void write_body(Writer& w, const Sa& sa) {
  bounded(sa.proposals.size(), 1, kMaxProposals);
  for (const Proposal& p : sa.proposals)
    write_item(w, &p == &sa.proposals.back(), kMoreProposals, [&] {
      bounded(p.transforms.size(), 1, kMaxTransforms);
      if (!spi_fits(p.protocol, p.spi.size())) throw std::length_error("a proposal with an SPI that is not of its protocol");
      layout::write(w, layout::ProposalHeader{p.number, p.protocol, static_cast<std::uint8_t>(p.spi.size()),
                                              static_cast<std::uint8_t>(p.transforms.size())});
      w.bytes(p.spi);
      for (const Transform& t : p.transforms) write_item(w, &t == &p.transforms.back(), kMoreTransforms, [&] { write_transform(w, t); });
    });
}

void write_body(Writer& w, const Delete& d) {
  const bool ike = d.protocol == kProtoIke;
  bounded(d.spis.size(), 0, ike ? 0 : kMaxDeleteSpis);
  layout::write(w, layout::DeleteHeader{d.protocol, static_cast<std::uint8_t>(ike ? 0 : 4), length16(d.spis.size())});
  for (const Spi spi : d.spis) w.be(spi.value);
}

template <PayloadType Type>
void write_body(Writer& w, const Selectors<Type>& s) {
  bounded(s.selectors.size(), 1, kMaxSelectors);
  layout::write(w, layout::SelectorsHeader{static_cast<std::uint8_t>(s.selectors.size())});
  for (const TrafficSelector& ts : s.selectors) {
    if (ts.first.family == Family::None || ts.first.family != ts.last.family) throw std::length_error("a selector of no family");
    const std::uint8_t type = ts.first.family == Family::V4 ? kTsIpv4 : kTsIpv6;
    layout::write(w, layout::SelectorHeader{type, ts.protocol, length16(kSelectorHeader + 2 * ts.first.size())});
    w.be(ts.port_first);
    w.be(ts.port_last);
    w.bytes(ts.first.view());
    w.bytes(ts.last.view());
  }
}

void write_body(Writer& w, const Cp& c) {
  bounded(c.attributes.size(), 0, kMaxConfigAttributes);
  layout::write(w, layout::ConfigHeader{c.type});
  for (const ConfigAttribute& a : c.attributes) {
    w.be(static_cast<std::uint16_t>(a.type));
    w.be(length16(a.value.size()));
    w.bytes(a.value);
  }
}

void write_body(Writer& w, const Notify& n) {
  bounded(n.spi.size(), 0, std::numeric_limits<std::uint8_t>::max());
  layout::write(w, n);
}

template <class Flat>
void write_body(Writer& w, const Flat& payload) {
  layout::write(w, payload);
}
}  // namespace

Parsed<Content> parse_body(PayloadType type, ByteView body) {
  Reader r(body);
  Content content = read_content(type, r);
  if (r.ok() && r.remaining() != 0) r.fail(ParseErrc::Trailing, "RFC 7296 §3.2: payload length");
  if (!r.ok()) return std::unexpected(r.error());
  return content;
}

Bytes encode_body(const Content& content) {
  Writer w;
  std::visit([&w](const auto& payload) { write_body(w, payload); }, content);
  length16(w.size() + kGenericHeader);
  return std::move(w).take();
}

}  // namespace culvert::ikev2
