// Phase 1: offers built, judged, and replies checked. Phase 2 is in proposal_esp.cpp.
#include "control/ikev1/proposal.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "control/ikev1/lifetimes.hpp"
#include "control/ikev1/offered_suites.hpp"
#include "control/ikev1/proposal_judging.hpp"
#include "control/ikev1/transforms.hpp"

namespace culvert::ikev1 {

namespace {
using namespace judging;
constexpr std::size_t kCookie = 8;  // an ISAKMP proposal's SPI is empty or a cookie

bool fits(const ReadIkeTransform& t, const IkeSuite& s, std::uint16_t method) {
  const EncrInfo* e = t.encr_info();
  const PrfInfo* p = t.prf_info();
  const DhInfo* d = t.dh_info();
  return t.problem.empty() && t.auth == method && e && p && d && e->id == s.encr && e->key_bits == s.key_bits && p->id == s.prf &&
         d->id == s.group;
}

/// Method, encryption, hash, group.
std::array<bool, 4> compare(const ReadIkeTransform& t, const IkeSuite& s, std::uint16_t method) {
  const EncrInfo* e = t.encr_info();
  const PrfInfo* p = t.prf_info();
  const DhInfo* d = t.dh_info();
  return {t.auth == method, e && e->id == s.encr && e->key_bits == s.key_bits, p && p->id == s.prf, d && d->id == s.group};
}
std::string complaint(std::size_t field, const ReadIkeTransform& t, std::uint16_t method) {
  switch (field) {
    case 0:
      return (t.auth ? not_acceptable("authentication method " + std::to_string(*t.auth) + " (" + auth_method_name(*t.auth) + ")")
                     : "no authentication method is offered") +
             ", " + auth_method_name(method) + " is wanted";
    case 1:
      return t.cipher ? not_acceptable("encryption " + ike_cipher_name(*t.cipher, t.key_bits)) : "no encryption is offered";
    case 2:
      return t.hash ? not_acceptable("hash " + ike_hash_name(*t.hash)) : "no hash is offered";
    default:
      return group_complaint(t.group);
  }
}

bool usable_ike(const Proposal& p) { return p.protocol == kProtoIsakmp && (p.spi.empty() || p.spi.size() == kCookie); }

Mismatch ike_mismatch(std::span<const IkeSuite> ours, const Sa& offered, std::uint16_t method) {
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
        for (const IkeSuite& s : ours)
          closest.consider(compare(read, s, method), [&](std::size_t field) { return complaint(field, read, method); });
    }
  }
  const std::string with = method == oakley::kPreSharedKey ? "" : " (" + auth_method_name(method) + ")";
  return {NotifyType::NoProposalChosen, describe(offered), wanted_text(ours) + with, closest.text(),
          configurable_ike(offered, std::array{method})};
}

/// 0, which is no method (RFC 2409 App. A), where none is registered.
std::uint16_t method_number(const Phase1Auth& auth) {
  const Phase1AuthInfo* info = find_phase1_auth(auth);
  return info ? info->number : std::uint16_t{0};
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
      else if (p.protocol == kProtoEsp || p.protocol == kProtoAh)
        append(list, count, read_esp_transform(t, static_cast<SaProtocol>(p.protocol)).to_string());
      else
        append(list, count, describe_protocol(p.protocol) + " transform " + std::to_string(t.id));
    }
  return finish(std::move(list), count);
}

std::vector<IkeSuite> same_group(std::span<const IkeSuite> suites) {
  std::vector<IkeSuite> out;
  for (const IkeSuite& s : suites)
    if (s.group == suites.front().group) out.push_back(s);
  return out;
}

Sa build_ike_offer(std::span<const IkeSuite> suites, std::uint32_t life_seconds, const Phase1Auth& auth) {
  Proposal p{1, kProtoIsakmp, {}, {}};
  for (const IkeSuite& s : suites) {
    const EncrInfo* e = find_encr(s.encr, s.key_bits);
    const PrfInfo* prf = find_prf(s.prf);
    if (!e || e->ikev1_cipher == 0 || !prf || prf->ikev1_hash == 0 || p.transforms.size() == kMaxTransforms) continue;
    Transform t{static_cast<std::uint8_t>(p.transforms.size() + 1), oakley::kKeyIke, {}};
    t.attributes.push_back(Attribute::tv(oakley::kEncryption, e->ikev1_cipher));
    if (!e->fixed_key) t.attributes.push_back(Attribute::tv(oakley::kKeyLength, e->key_bits));
    t.attributes.push_back(Attribute::tv(oakley::kHash, prf->ikev1_hash));
    t.attributes.push_back(Attribute::tv(oakley::kGroup, static_cast<std::uint16_t>(s.group)));
    t.attributes.push_back(Attribute::tv(oakley::kAuthMethod, method_number(auth)));
    if (life_seconds != 0) add_lifetime(t.attributes, oakley::kLifeType, oakley::kLifeDuration, kSeconds, life_seconds);
    p.transforms.push_back(std::move(t));
  }
  return {{std::move(p)}};
}

std::expected<IkeChoice, Mismatch> select_ike(std::span<const IkeSuite> ours, const Sa& offered, const Phase1Auth& auth) {
  const std::uint16_t method = method_number(auth);
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
      if (method != 0 && fits(c.read, s, method))
        return IkeChoice{s, c.read.life, Sa{{Proposal{c.proposal->number, kProtoIsakmp, c.proposal->spi, {*c.transform}}}}};
  return std::unexpected(ike_mismatch(ours, offered, method));
}

std::expected<IkeChoice, Mismatch> accept_ike(const Sa& offer, const Sa& reply) {
  const Matched m = match_reply(offer, reply);
  if (!m.transform || !usable_ike(reply.proposals[0])) return std::unexpected(bad_reply(offer, reply));
  const ReadIkeTransform read = read_ike_transform(*m.transform);
  const EncrInfo* e = read.encr_info();
  const PrfInfo* p = read.prf_info();
  const DhInfo* d = read.dh_info();
  if (!read.problem.empty() || !e || !p || !d) return std::unexpected(bad_reply(offer, reply));
  return IkeChoice{{e->id, e->key_bits, p->id, d->id}, read.life, reply};
}

}  // namespace culvert::ikev1
