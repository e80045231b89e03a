#include "tests/exchange/tamper/changes.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace culvert::test::tamper {

namespace {

constexpr std::size_t kHead = 4, kMostParts = 96, kMostBytes = 12'000, kMostChanges = 32;

std::size_t size_of(const Chain& chain) {
  std::size_t n = chain.tail.size();
  for (const Part& p : chain.parts) n += kHead + p.body.size();
  return n;
}

std::uint8_t datum(const Change& c, std::size_t i) { return i < c.data.size() ? c.data[i] : std::uint8_t{0}; }

void number_at(const Change& c, Bytes& body) {
  if (body.size() < 2) return;
  const auto size = static_cast<std::uint16_t>(body.size());
  const std::array<std::uint16_t, 12> odd{
      0, 1, 2, 4, 8, 0xff, 0x7fff, 0x8000, 0xffff, size, std::uint16_t(size + 1), std::uint16_t(size - 1)};
  const std::uint16_t number = odd[datum(c, 0) % odd.size()];
  const std::size_t at = (c.at % (body.size() / 2)) * 2;
  body[at] = static_cast<std::uint8_t>(number >> 8);
  body[at + 1] = static_cast<std::uint8_t>(number);
}

void change_bytes(const Change& c, Bytes& body) {
  const std::size_t at = body.empty() ? 0 : c.at == kEnd ? body.size() - 1 : c.at % body.size();
  const auto place = body.begin() + static_cast<std::ptrdiff_t>(at);
  const auto reach = static_cast<std::ptrdiff_t>(std::min(c.data.size(), body.size() - at));
  switch (c.what) {
    case kFlip:
      if (!body.empty()) *place ^= datum(c, 0) == 0 ? std::uint8_t{0xff} : datum(c, 0);
      break;
    case kOverwrite:
      std::copy_n(c.data.begin(), reach, place);
      break;
    case kInsert:
      body.insert(c.at == kEnd ? body.end() : place, c.data.begin(), c.data.end());
      break;
    case kRemove:
      body.erase(place, place + reach);
      break;
    case kGrow:
      body.insert(body.end(), std::size_t{datum(c, 0)} * 16, datum(c, 1));
      break;
    default:
      number_at(c, body);
  }
}

void change_parts(const Change& c, Chain& chain, std::size_t which, const std::vector<Chain>& past) {
  auto& parts = chain.parts;
  const auto place = parts.begin() + static_cast<std::ptrdiff_t>(which);
  const auto other = parts.begin() + static_cast<std::ptrdiff_t>(c.at == kEnd ? parts.size() : c.at % (parts.size() + 1));
  switch (c.what) {
    case kDouble:
      if (!parts.empty()) parts.insert(other, Part(*place));
      break;
    case kDrop:
      if (!parts.empty()) parts.erase(place);
      break;
    case kSwap:
      if (!parts.empty() && other != parts.end()) std::swap(*place, *other);
      break;
    case kAdd:
      parts.insert(other, {datum(c, 0), 0, Bytes(c.data.begin() + !c.data.empty(), c.data.end())});
      break;
    default:
      if (past.empty()) break;
      if (const Chain& from = past[c.at % past.size()]; !from.parts.empty()) parts.insert(place, from.parts[c.payload % from.parts.size()]);
  }
}

void change_field(const Change& c, Part& part) {
  if (c.what == kRetype) part.type = datum(c, 0);
  if (c.what == kLength) part.length = c.at;
  if (c.what == kFlags) part.flags = datum(c, 0);
}

}  // namespace

Chain take_apart(std::uint8_t first, ByteView bytes) {
  Chain out;
  out.last = first;
  while (out.last != 0 && bytes.size() >= kHead) {
    const std::size_t length = std::size_t{bytes[2]} << 8 | bytes[3];
    if (length < kHead || length > bytes.size()) break;
    out.parts.push_back({out.last, bytes[1], Bytes(bytes.begin() + kHead, bytes.begin() + static_cast<std::ptrdiff_t>(length))});
    out.last = bytes[0];
    bytes = bytes.subspan(length);
  }
  out.tail.assign(bytes.begin(), bytes.end());
  return out;
}

Bytes put_together(const Chain& chain) {
  Writer w;
  for (const Part& p : chain.parts) {
    w.be(&p == &chain.parts.back() ? chain.last : (&p)[1].type);
    w.be(p.flags);
    w.be(p.length.value_or(static_cast<std::uint16_t>(kHead + p.body.size())));
    w.bytes(p.body);
  }
  w.bytes(chain.tail);
  Bytes out = std::move(w).take();
  out.resize(out.size() - std::min(out.size(), chain.cut));
  return out;
}

void apply(const Change& c, Chain& chain, HeaderChange& header, const std::vector<Chain>& past) {
  const std::size_t which = chain.parts.empty() ? 0 : c.payload % chain.parts.size();
  switch (c.what) {
    case kHeader:
      header.exchange ^= datum(c, 0);
      header.flags ^= datum(c, 1);
      header.id = static_cast<std::int8_t>(datum(c, 2));
      break;
    case kCut:
      chain.cut = c.at;
      break;
    case kLast:
      chain.last = datum(c, 0);
      break;
    case kInstead:
      chain = take_apart(c.payload, c.data);
      break;
    case kDouble:
    case kDrop:
    case kSwap:
    case kAdd:
    case kBorrow:
      if (chain.parts.size() < kMostParts && size_of(chain) < kMostBytes) change_parts(c, chain, which, past);
      break;
    case kRetype:
    case kLength:
    case kFlags:
      if (!chain.parts.empty()) change_field(c, chain.parts[which]);
      break;
    default:
      if (size_of(chain) < kMostBytes) change_bytes(c, chain.parts.empty() ? chain.tail : chain.parts[which].body);
  }
}

std::vector<Change> read_changes(Reader& in) {
  std::vector<Change> out;
  while (in.ok() && in.remaining() >= 6 && out.size() < kMostChanges) {
    Change c;
    c.message = in.be<std::uint8_t>();
    const auto what = in.be<std::uint8_t>();
    c.what = static_cast<std::uint8_t>((what & ~kUnproven) % kWhats);
    c.unproven = (what & kUnproven) != 0;
    c.payload = in.be<std::uint8_t>();
    c.at = in.be<std::uint16_t>();
    const std::size_t size = in.be<std::uint8_t>();
    const ByteView data = in.take(std::min(size, in.remaining()));
    c.data.assign(data.begin(), data.end());
    out.push_back(std::move(c));
  }
  return out;
}

void write_change(Writer& out, const Change& c) {
  out.be(c.message);
  out.be(static_cast<std::uint8_t>(c.what | (c.unproven ? kUnproven : 0)));
  out.be(c.payload);
  out.be(c.at);
  out.be(static_cast<std::uint8_t>(c.data.size()));
  out.bytes(c.data);
}

}  // namespace culvert::test::tamper
