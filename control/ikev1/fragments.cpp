#include "control/ikev1/fragments.hpp"

#include <algorithm>

#include "control/ikev1/payloads.hpp"

namespace culvert::ikev1 {

namespace {
constexpr const char* kRule = "[MS-IKEE] §2.2.1";
constexpr std::uint8_t kLastFlag = 1;
constexpr std::size_t kOverhead = ike::kHeaderSize + 8;  // ISAKMP header, generic payload header, fragment header
}  // namespace

Parsed<Fragment> parse_fragment(ByteView body) {
  Reader r(body);
  Fragment out;
  const auto next = r.be<std::uint8_t>(kRule);
  r.skip(1, kRule);
  const auto length = r.be<std::uint16_t>(kRule);
  out.id = r.be<std::uint16_t>(kRule);
  out.number = r.be<std::uint8_t>(kRule);
  out.last = (r.be<std::uint8_t>(kRule) & kLastFlag) != 0;
  if (r.ok() && (next != 0 || length != body.size())) r.fail(ParseErrc::BadLength, kRule);
  if (r.ok() && (out.number == 0 || r.remaining() == 0)) r.fail(ParseErrc::BadValue, kRule);
  if (!r.ok()) return std::unexpected(r.error());
  out.data = r.take(r.remaining(), kRule);
  return out;
}

std::vector<Bytes> cut_message(ByteView message, std::size_t limit, std::uint16_t id) {
  if (message.size() <= limit || limit <= kOverhead) return {};
  const std::size_t room = limit - kOverhead;
  const std::size_t count = (message.size() + room - 1) / room;
  if (count > kMaxFragments) return {};
  const auto framed = ike::parse_header(message);
  if (!framed) return {};
  std::vector<Bytes> out;
  for (std::size_t i = 0; i < count; ++i) {
    const ByteView data = message.subspan(i * room, std::min(room, message.size() - i * room));
    Writer w;
    w.be(std::uint8_t{0});
    w.be(std::uint8_t{0});
    w.be(static_cast<std::uint16_t>(8 + data.size()));
    w.be(id);
    w.be(static_cast<std::uint8_t>(i + 1));
    w.be(static_cast<std::uint8_t>(i + 1 == count ? kLastFlag : 0));
    w.bytes(data);
    ike::Header h = framed->header;
    // What other implementations write: the exchange of phase 1, no message id, nothing encrypted.
    if (h.exchange != ike::kExchangeAggressive) h.exchange = ike::kExchangeMainMode;
    h.next_payload = kFragmentPayload;
    h.flags = 0;
    h.message_id = MessageId{};
    out.push_back(ike::encode_message(h, std::move(w).take()));
  }
  return out;
}

std::expected<std::optional<Bytes>, std::string> FragmentSet::add(ike::TimePoint now, const Fragment& f) {
  expire(now);
  if (!parts_.empty() && f.id != id_) clear();
  const auto refuse = [this](const char* why) {
    clear();
    return std::unexpected(std::string(why));
  };
  if (f.number > kMaxFragments) return refuse("a message in more fragments than we put together");
  if (parts_.empty()) {
    since_ = now;
    id_ = f.id;
  }
  if (const auto there = parts_.find(f.number); there != parts_.end()) {
    const bool same = std::ranges::equal(there->second, f.data) && f.last == (last_ == f.number);
    return same ? std::expected<std::optional<Bytes>, std::string>(std::nullopt) : refuse("two fragments of one number that differ");
  }
  if (last_ != 0 && (f.last || f.number > last_)) return refuse("two last fragments, or one behind the last");
  if (f.last && !parts_.empty() && parts_.rbegin()->first > f.number) return refuse("two last fragments, or one behind the last");
  if (bytes_ + f.data.size() > kMaxReassembled) return refuse("a message longer than we put together");
  bytes_ += f.data.size();
  if (f.last) last_ = f.number;
  parts_[f.number] = Bytes(f.data.begin(), f.data.end());
  if (last_ == 0 || parts_.size() != last_) return std::nullopt;
  Bytes whole;
  whole.reserve(bytes_);
  for (const auto& [number, part] : parts_) whole.insert(whole.end(), part.begin(), part.end());
  clear();
  return whole;
}

std::optional<ike::TimePoint> FragmentSet::deadline() const {
  return parts_.empty() ? std::nullopt : std::optional(since_ + kFragmentLife);
}

void FragmentSet::expire(ike::TimePoint now) {
  if (!parts_.empty() && now >= since_ + kFragmentLife) clear();
}

void FragmentSet::clear() {
  parts_.clear();
  last_ = 0;
  bytes_ = 0;
}

std::expected<std::optional<Bytes>, std::string> FirstFragments::add(ike::TimePoint now, const Endpoint& source, IkeSpi spi_i,
                                                                     const Fragment& fragment) {
  const Key key{source, spi_i};
  auto it = sets_.find(key);
  if (it == sets_.end()) {
    std::erase_if(sets_, [now](const auto& set) { return now >= *set.second.deadline(); });
    const auto of_source = std::ranges::count_if(sets_, [&](const auto& set) { return set.first.first.address == source.address; });
    if (sets_.size() >= kMaxFirstSets || static_cast<std::size_t>(of_source) >= kMaxFirstSetsOfSource)
      return std::unexpected("too many first messages in fragments are under way");
    it = sets_.try_emplace(key).first;
  }
  auto out = it->second.add(now, fragment);
  if (!it->second.deadline()) sets_.erase(it);  // complete, or refused
  return out;
}

}  // namespace culvert::ikev1
