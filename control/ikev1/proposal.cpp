// Offers built, judged, and replies checked.
#include "control/ikev1/proposal.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "control/ikev1/lifetimes.hpp"
#include "control/ikev1/offered_suites.hpp"
#include "control/ikev1/transforms.hpp"

namespace culvert::ikev1 {

namespace {
constexpr std::size_t kDescribed = 8;   // suites that an explanation names
constexpr std::size_t kExplained = 64;  // transforms that the search for the first difference looks at
constexpr std::size_t kCookie = 8;      // an ISAKMP proposal's SPI is empty or a cookie
constexpr std::size_t kEspSpi = 4;      // RFC 4303 §2.1
constexpr std::uint32_t kLastReservedSpi = 255;

void append(std::string& list, std::size_t& count, const std::string& item) {
  if (count++ >= kDescribed) return;
  if (!list.empty()) list += ", ";
  list += item;
}
std::string finish(std::string list, std::size_t count) {
  if (count > kDescribed) list += " and " + std::to_string(count - kDescribed) + " more";
  return list.empty() ? "nothing" : list;
}

template <class Suites>
std::string wanted_text(const Suites& suites) {
  std::string list;
  std::size_t count = 0;
  for (const auto& s : suites) append(list, count, s.to_string());
  return finish(std::move(list), count);
}

/// A set of attributes without order and format: replies may write "TV 14400" for "TLV 14400", as strongSwan does.
using Normal = std::vector<std::pair<std::uint16_t, Bytes>>;
Normal normal(const Transform& t) {
  Normal out;
  for (const Attribute& a : t.attributes) {
    const auto digits = std::find_if(a.value.begin(), a.value.end(), [](std::uint8_t b) { return b != 0; });
    // Behind those of the same number: a life duration belongs to the type before it.
    const auto at = std::find_if(out.begin(), out.end(), [&a](const auto& o) { return o.first > a.type; });
    out.emplace(at, a.type, Bytes(digits, a.value.end()));
  }
  return out;
}
bool same(const Transform& a, const Transform& b) { return a.id == b.id && normal(a) == normal(b); }

/// The one transform of a reply, and the proposal of our offer that holds the same; null: nothing of ours.
struct Matched {
  const Proposal* proposal = nullptr;
  const Transform* transform = nullptr;
};
Matched match_reply(const Sa& offer, const Sa& reply) {
  if (reply.proposals.size() != 1 || reply.proposals[0].transforms.size() != 1) return {};
  const Proposal& chosen = reply.proposals[0];
  for (const Proposal& p : offer.proposals) {
    if (p.protocol != chosen.protocol) continue;
    for (const Transform& t : p.transforms)
      if (same(t, chosen.transforms[0])) return {&p, &chosen.transforms[0]};
  }
  return {};
}

std::string describe_protocol(std::uint8_t protocol) {
  switch (protocol) {
    case kProtoIsakmp:
      return "ISAKMP";
    case kProtoAh:
      return "AH";
    case kProtoEsp:
      return "ESP";
    case kProtoIpcomp:
      return "IPCOMP";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

// ---------------------------------------------------------------------------------------------------------------- fields

/// The fields of a suite in the order in which a difference is reported.
struct Field {
  bool same = false;
  std::string complaint;  ///< about the offered value
};
/// The explanation whose offer agrees with one of ours in the most fields before the first difference, then in the most.
class Closest {
 public:
  void consider(std::span<const Field> fields) {
    const auto agree = static_cast<std::size_t>(std::count_if(fields.begin(), fields.end(), [](const Field& f) { return f.same; }));
    if (!text_.empty() && agree <= best_) return;
    const auto first = std::find_if(fields.begin(), fields.end(), [](const Field& f) { return !f.same; });
    if (first == fields.end()) return;
    best_ = agree;
    text_ = first->complaint;
  }
  void fallback(const std::string& text) {
    if (fallback_.empty()) fallback_ = text;
  }
  [[nodiscard]] std::string text() const { return text_.empty() ? fallback_ : text_; }

 private:
  std::size_t best_ = 0;
  std::string text_, fallback_;
};

std::string not_acceptable(const std::string& what) { return what + " is not acceptable here"; }
std::string group_complaint(const std::optional<std::uint16_t>& group) {
  if (!group) return "no Diffie-Hellman group is offered, one is wanted";
  return not_acceptable("Diffie-Hellman group " + std::to_string(*group) + " (" + dh_name(*group) + ")");
}

bool fits(const ReadIkeTransform& t, const IkeSuite& s) {
  const EncrInfo* e = t.encr_info();
  const PrfInfo* p = t.prf_info();
  const DhInfo* d = t.dh_info();
  return t.problem.empty() && t.auth == oakley::kPreSharedKey && e && p && d && e->id == s.encr && e->key_bits == s.key_bits &&
         p->id == s.prf && d->id == s.group;
}

std::array<Field, 4> compare(const ReadIkeTransform& t, const IkeSuite& s) {
  const EncrInfo* e = t.encr_info();
  const PrfInfo* p = t.prf_info();
  const DhInfo* d = t.dh_info();
  return {Field{t.auth == oakley::kPreSharedKey,
                t.auth ? not_acceptable("authentication method " + std::to_string(*t.auth) + " (" + auth_method_name(*t.auth) + ")")
                       : "no authentication method is offered"},
          Field{e && e->id == s.encr && e->key_bits == s.key_bits,
                t.cipher ? not_acceptable("encryption " + ike_cipher_name(*t.cipher, t.key_bits)) : "no encryption is offered"},
          Field{p && p->id == s.prf, t.hash ? not_acceptable("hash " + ike_hash_name(*t.hash)) : "no hash is offered"},
          Field{d && d->id == s.group, group_complaint(t.group)}};
}

bool usable_ike(const Proposal& p) { return p.protocol == kProtoIsakmp && (p.spi.empty() || p.spi.size() == kCookie); }

Mismatch ike_mismatch(std::span<const IkeSuite> ours, const Sa& offered) {
  Closest closest;
  std::size_t looked_at = 0;
  for (const Proposal& p : offered.proposals) {
    if (!usable_ike(p)) {
      closest.fallback(p.protocol != kProtoIsakmp ? not_acceptable("a proposal for " + describe_protocol(p.protocol))
                                                  : "an SPI of " + std::to_string(p.spi.size()) + " bytes in an ISAKMP proposal");
      continue;
    }
    for (const Transform& t : p.transforms) {
      if (looked_at++ == kExplained) break;
      const ReadIkeTransform read = read_ike_transform(t);
      if (!read.problem.empty())
        closest.fallback(read.problem);
      else
        for (const IkeSuite& s : ours) closest.consider(compare(read, s));
    }
  }
  return {NotifyType::NoProposalChosen, describe(offered), wanted_text(ours), closest.text(),
          configurable_ike(offered, std::array{oakley::kPreSharedKey})};
}

/// Whether the mode is the wanted one, by RFC 3947's number or by that of the drafts.
bool same_mode(std::optional<std::uint16_t> mode, Encapsulation wanted) {
  const auto number = static_cast<std::uint16_t>(wanted);
  return mode == number || (wanted == Encapsulation::UdpTunnel && mode == number + kDraftUdpModes);
}

bool fits(const ReadEspTransform& t, const EspSuite& s, const EspWanted& wanted) {
  const EncrInfo* e = t.encr_info();
  const IntegInfo* i = t.integ_info();
  if (!t.problem.empty() || !e || e->id != s.encr || e->key_bits != s.key_bits) return false;
  // An AEAD goes without an authentication algorithm; anything else never does (RFC 4106 §8.3; ESP without integrity is refused).
  if (e->aead() ? t.auth.has_value() : (!i || i->id != s.integ)) return false;
  if (t.group.value_or(0) != static_cast<std::uint16_t>(s.pfs) || wanted.ke_present != (s.pfs != DhGroup::None)) return false;
  return same_mode(t.mode, wanted.encapsulation);
}

std::array<Field, 4> compare(const ReadEspTransform& t, const EspSuite& s, const EspWanted& wanted) {
  const EncrInfo* e = t.encr_info();
  const IntegInfo* i = t.integ_info();
  const auto mode = static_cast<std::uint16_t>(wanted.encapsulation);
  const bool encr = e && e->id == s.encr && e->key_bits == s.key_bits;
  const bool integ = s.integ == Integ::None ? !t.auth : (i && i->id == s.integ);
  const bool group = t.group.value_or(0) == static_cast<std::uint16_t>(s.pfs) && wanted.ke_present == (s.pfs != DhGroup::None);
  std::string group_text = group_complaint(t.group);
  if (t.group.value_or(0) == static_cast<std::uint16_t>(s.pfs))
    group_text = wanted.ke_present ? "a KE payload came without a Diffie-Hellman group in the offer"
                                   : "a Diffie-Hellman group is offered without a KE payload";
  return {Field{encr, not_acceptable("encryption " + esp_transform_name(t.id, t.key_bits))},
          Field{integ,
                t.auth ? not_acceptable("authentication algorithm " + esp_auth_name(*t.auth)) : "no authentication algorithm is offered"},
          Field{group, group_text},
          Field{same_mode(t.mode, wanted.encapsulation), (t.mode ? "encapsulation mode " + encapsulation_name(*t.mode) + " is offered, "
                                                                 : std::string("no encapsulation mode is offered, ")) +
                                                             encapsulation_name(mode) + " is wanted"}};
}

std::optional<Spi> esp_spi(const Proposal& p) {
  if (p.spi.size() != kEspSpi) return std::nullopt;
  const Spi spi{Reader(p.spi).be<std::uint32_t>()};
  return spi.value > kLastReservedSpi ? std::optional(spi) : std::nullopt;
}
/// RFC 2408 §4.2: proposals of one number belong together ("AH and ESP"); we take single ones.
bool is_bundle(const Sa& sa, const Proposal& p) {
  return std::count_if(sa.proposals.begin(), sa.proposals.end(), [&p](const Proposal& o) { return o.number == p.number; }) > 1;
}
std::string unusable_esp(const Sa& sa, const Proposal& p) {
  if (p.protocol != kProtoEsp) return not_acceptable("a proposal for " + describe_protocol(p.protocol));
  if (is_bundle(sa, p)) return not_acceptable("a proposal of several protocols at once");
  if (p.spi.size() != kEspSpi) return "an SPI of " + std::to_string(p.spi.size()) + " bytes in an ESP proposal";
  if (!esp_spi(p)) return "a reserved SPI in an ESP proposal";
  return "";
}

Mismatch esp_mismatch(const EspWanted& wanted, const Sa& offered) {
  Closest closest;
  std::size_t looked_at = 0;
  for (const Proposal& p : offered.proposals) {
    if (const std::string text = unusable_esp(offered, p); !text.empty()) {
      closest.fallback(text);
      continue;
    }
    for (const Transform& t : p.transforms) {
      if (looked_at++ == kExplained) break;
      const ReadEspTransform read = read_esp_transform(t);
      if (!read.problem.empty())
        closest.fallback(read.problem);
      else
        for (const EspSuite& s : wanted.suites) closest.consider(compare(read, s, wanted));
    }
  }
  return {NotifyType::NoProposalChosen, describe(offered), wanted_text(wanted.suites), closest.text(),
          configurable_esp(offered, wanted.encapsulation, wanted.ke_present)};
}

Mismatch bad_reply(const Sa& offer, const Sa& reply) {
  std::string why = "the reply is not one transform of our offer";
  if (reply.proposals.size() != 1)
    why = "the reply holds " + std::to_string(reply.proposals.size()) + " proposals, one is allowed";
  else if (reply.proposals[0].transforms.size() != 1)
    why = "the reply holds " + std::to_string(reply.proposals[0].transforms.size()) + " transforms, one is allowed";
  return {NotifyType::BadProposalSyntax, describe(reply), describe(offer), why, {}};
}
}  // namespace

std::string Mismatch::text() const { return "offered " + offered + "; wanted " + wanted + "; first difference: " + difference; }

std::string describe(const Sa& sa) {
  std::string list;
  std::size_t count = 0;
  for (const Proposal& p : sa.proposals)
    for (const Transform& t : p.transforms) {
      if (count >= kDescribed)
        ++count;  // counted, not worded
      else if (p.protocol == kProtoIsakmp)
        append(list, count, read_ike_transform(t).to_string());
      else if (p.protocol == kProtoEsp)
        append(list, count, read_esp_transform(t).to_string());
      else
        append(list, count, describe_protocol(p.protocol) + " transform " + std::to_string(t.id));
    }
  return finish(std::move(list), count);
}

Sa build_ike_offer(std::span<const IkeSuite> suites, std::uint32_t life_seconds) {
  Proposal p{1, kProtoIsakmp, {}, {}};
  for (const IkeSuite& s : suites) {
    const EncrInfo* e = find_encr(s.encr, s.key_bits);
    const PrfInfo* prf = find_prf(s.prf);
    if (!e || e->ikev1_cipher == 0 || !prf || p.transforms.size() == kMaxTransforms) continue;
    Transform t{static_cast<std::uint8_t>(p.transforms.size() + 1), oakley::kKeyIke, {}};
    t.attributes.push_back(Attribute::tv(oakley::kEncryption, e->ikev1_cipher));
    if (!e->fixed_key) t.attributes.push_back(Attribute::tv(oakley::kKeyLength, e->key_bits));
    t.attributes.push_back(Attribute::tv(oakley::kHash, prf->ikev1_hash));
    t.attributes.push_back(Attribute::tv(oakley::kGroup, static_cast<std::uint16_t>(s.group)));
    t.attributes.push_back(Attribute::tv(oakley::kAuthMethod, oakley::kPreSharedKey));
    if (life_seconds != 0) add_lifetime(t.attributes, oakley::kLifeType, oakley::kLifeDuration, kSeconds, life_seconds);
    p.transforms.push_back(std::move(t));
  }
  return {{std::move(p)}};
}

std::expected<IkeChoice, Mismatch> select_ike(std::span<const IkeSuite> ours, const Sa& offered) {
  struct Candidate {
    const Proposal* proposal;
    const Transform* transform;
    ReadIkeTransform read;
  };
  std::vector<Candidate> candidates;
  for (const Proposal& p : offered.proposals)
    if (usable_ike(p))
      for (const Transform& t : p.transforms) candidates.push_back({&p, &t, read_ike_transform(t)});
  for (const IkeSuite& s : ours)
    for (const Candidate& c : candidates)
      if (fits(c.read, s))
        return IkeChoice{s, c.read.life.seconds, Sa{{Proposal{c.proposal->number, kProtoIsakmp, c.proposal->spi, {*c.transform}}}}};
  return std::unexpected(ike_mismatch(ours, offered));
}

std::expected<IkeChoice, Mismatch> accept_ike(const Sa& offer, const Sa& reply) {
  const Matched m = match_reply(offer, reply);
  if (!m.transform || !usable_ike(reply.proposals[0])) return std::unexpected(bad_reply(offer, reply));
  const ReadIkeTransform read = read_ike_transform(*m.transform);
  const EncrInfo* e = read.encr_info();
  const PrfInfo* p = read.prf_info();
  const DhInfo* d = read.dh_info();
  if (!read.problem.empty() || !e || !p || !d) return std::unexpected(bad_reply(offer, reply));
  return IkeChoice{{e->id, e->key_bits, p->id, d->id}, read.life.seconds, reply};
}

std::vector<EspSuite> same_pfs(std::span<const EspSuite> suites) {
  std::vector<EspSuite> out;
  for (const EspSuite& s : suites)
    if (s.pfs == suites.front().pfs) out.push_back(s);
  return out;
}

Sa build_esp_offer(const EspOffer& offer) {
  Writer spi;
  spi.be(offer.spi.value);
  Proposal p{1, kProtoEsp, std::move(spi).take(), {}};
  for (const EspSuite& s : same_pfs(offer.suites)) {
    const EncrInfo* e = find_encr(s.encr, s.key_bits);
    const IntegInfo* i = find_integ(s.integ);
    if (!e || (e->aead() ? i != nullptr : i == nullptr) || p.transforms.size() == kMaxTransforms) continue;
    Transform t{static_cast<std::uint8_t>(p.transforms.size() + 1), e->ikev1_esp, {}};
    if (offer.life_seconds != 0) add_lifetime(t.attributes, doi::kLifeType, doi::kLifeDuration, kSeconds, offer.life_seconds);
    if (offer.life_kbytes != 0) add_lifetime(t.attributes, doi::kLifeType, doi::kLifeDuration, kKilobytes, offer.life_kbytes);
    if (s.pfs != DhGroup::None) t.attributes.push_back(Attribute::tv(doi::kGroup, static_cast<std::uint16_t>(s.pfs)));
    const bool draft = offer.draft_modes && offer.encapsulation == Encapsulation::UdpTunnel;
    const auto mode = static_cast<std::uint16_t>(static_cast<unsigned>(offer.encapsulation) + (draft ? kDraftUdpModes : 0U));
    t.attributes.push_back(Attribute::tv(doi::kEncapsulation, mode));
    if (i) t.attributes.push_back(Attribute::tv(doi::kAuth, i->ikev1_auth));
    if (!e->fixed_key) t.attributes.push_back(Attribute::tv(doi::kKeyLength, e->key_bits));
    p.transforms.push_back(std::move(t));
  }
  return {{std::move(p)}};
}

std::expected<EspChoice, Mismatch> select_esp(const EspWanted& wanted, const Sa& offered, Spi our_spi) {
  struct Candidate {
    const Proposal* proposal;
    const Transform* transform;
    Spi spi;
    ReadEspTransform read;
  };
  std::vector<Candidate> candidates;
  for (const Proposal& p : offered.proposals)
    if (unusable_esp(offered, p).empty())
      for (const Transform& t : p.transforms) candidates.push_back({&p, &t, *esp_spi(p), read_esp_transform(t)});
  Writer spi;
  spi.be(our_spi.value);
  for (const EspSuite& s : wanted.suites)
    for (const Candidate& c : candidates)
      if (fits(c.read, s, wanted))
        return EspChoice{s, c.spi, c.read.life.seconds, c.read.life.kbytes,
                         Sa{{Proposal{c.proposal->number, kProtoEsp, std::move(spi).take(), {*c.transform}}}}};
  return std::unexpected(esp_mismatch(wanted, offered));
}

std::expected<EspChoice, Mismatch> accept_esp(const Sa& offer, const Sa& reply) {
  const Matched m = match_reply(offer, reply);
  if (!m.transform) return std::unexpected(bad_reply(offer, reply));
  const auto spi = esp_spi(reply.proposals[0]);
  const ReadEspTransform read = read_esp_transform(*m.transform);
  const EncrInfo* e = read.encr_info();
  const IntegInfo* i = read.integ_info();
  if (!spi || !read.problem.empty() || !e) return std::unexpected(bad_reply(offer, reply));
  const DhInfo* d = read.dh_info();
  const EspSuite suite{e->id, e->key_bits, i ? i->id : Integ::None, d ? d->id : DhGroup::None};
  return EspChoice{suite, *spi, read.life.seconds, read.life.kbytes, reply};
}

}  // namespace culvert::ikev1
