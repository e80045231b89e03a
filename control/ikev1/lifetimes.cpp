#include "control/ikev1/lifetimes.hpp"

#include <algorithm>
#include <limits>

#include "control/ikev1/transforms.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::uint16_t kFormatBit = 0x8000;  // RFC 2408 §3.3: set for TV
}

void add_lifetime(std::vector<Attribute>& out, std::uint16_t type_number, std::uint16_t duration_number, std::uint16_t kind,
                  std::uint64_t duration) {
  out.push_back(Attribute::tv(type_number, kind));
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
  if (duration <= std::numeric_limits<std::uint16_t>::max())
    out.push_back(Attribute::tv(duration_number, static_cast<std::uint16_t>(duration)));
  else
    out.push_back(Attribute::tlv32(duration_number, static_cast<std::uint32_t>(std::min(duration, kMax))));
}

Parsed<Lifetime> parse_responder_lifetime(ByteView data, bool isakmp) {
  static constexpr const char* kRule = "RFC 2407 §4.6.3.1";
  std::vector<Attribute> attributes;
  Reader r(data);
  while (r.ok() && r.remaining() != 0) {
    if (attributes.size() == kMaxAttributes) r.fail(ParseErrc::TooMany, kRule);
    const auto type = r.be<std::uint16_t>(kRule);
    const bool basic = (type & kFormatBit) != 0;
    const ByteView value = r.take(basic ? 2 : r.be<std::uint16_t>(kRule), kRule);
    attributes.push_back({static_cast<std::uint16_t>(type & ~kFormatBit), basic, Bytes(value.begin(), value.end())});
  }
  std::string problem;
  Lifetime life = read_lifetime(attributes, doi::kLifeType, doi::kLifeDuration, problem);
  if (isakmp && !life.seconds && !life.kbytes && problem.empty())
    life = read_lifetime(attributes, oakley::kLifeType, oakley::kLifeDuration, problem);
  if (r.ok() && !problem.empty()) r.fail(ParseErrc::BadValue, kRule);
  if (!r.ok()) return std::unexpected(r.error());
  return life;
}

Bytes encode_responder_lifetime(const Lifetime& life, bool isakmp) {
  const std::uint16_t type = isakmp ? oakley::kLifeType : doi::kLifeType, duration = isakmp ? oakley::kLifeDuration : doi::kLifeDuration;
  std::vector<Attribute> attributes;
  if (life.seconds) add_lifetime(attributes, type, duration, kSeconds, *life.seconds);
  if (life.kbytes) add_lifetime(attributes, type, duration, kKilobytes, *life.kbytes);
  Writer w;
  for (const Attribute& a : attributes) {
    w.be(static_cast<std::uint16_t>(a.type | (a.basic ? kFormatBit : 0)));
    if (!a.basic) w.be(static_cast<std::uint16_t>(a.value.size()));
    w.bytes(a.value);
  }
  return std::move(w).take();
}

}  // namespace culvert::ikev1
