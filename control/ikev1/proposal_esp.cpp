// Phase 2: offers built, judged, and replies checked.
#include <array>
#include <limits>

#include "control/ikev1/lifetimes.hpp"
#include "control/ikev1/offered_suites.hpp"
#include "control/ikev1/proposal_judging.hpp"

namespace culvert::ikev1 {

namespace {
using namespace judging;
constexpr std::size_t kSpiBytes = 4;  // RFC 4303 §2.1, RFC 4302 §2.4
constexpr std::uint32_t kLastReservedSpi = 255;

std::uint16_t number(DhGroup g) { return static_cast<std::uint16_t>(g); }

/// Whether the mode is the wanted one, by RFC 3947's number or by that of the drafts.
bool same_mode(std::optional<std::uint16_t> mode, Encapsulation wanted) {
  const auto number = static_cast<std::uint16_t>(wanted);
  return mode == number || (in_udp(wanted) && mode == number + kDraftUdpModes);
}
/// What the transform's mode is to us; nothing if it is not wanted.
std::optional<SaMode> wanted_mode(const ReadEspTransform& t, const EspWanted& wanted) {
  if (same_mode(t.mode, wanted.encapsulation)) return mode_of(wanted.encapsulation);
  if (wanted.or_else && same_mode(t.mode, *wanted.or_else)) return mode_of(*wanted.or_else);
  return std::nullopt;
}

/// Encryption, integrity, group, sequence numbers, mode.
std::array<bool, 5> compare(const ReadEspTransform& t, const EncrInfo* e, const IntegInfo* i, const EspSuite& s, const EspWanted& wanted) {
  const bool ah = t.protocol == SaProtocol::Ah;
  return {t.protocol == s.protocol && (ah || (e && e->id == s.encr && e->key_bits == s.key_bits)),
          s.integ == Integ::None ? !t.auth : (i && i->id == s.integ),
          t.group.value_or(0) == number(s.pfs) && wanted.ke_present == (s.pfs != DhGroup::None), t.esn == s.esn,
          wanted_mode(t, wanted).has_value()};
}
std::string complaint(std::size_t field, const ReadEspTransform& t, const EspSuite& s, const EspWanted& wanted) {
  switch (field) {
    case 0:
      return not_acceptable(t.protocol == SaProtocol::Ah ? "AH" : "encryption " + esp_transform_name(t.id, t.key_bits));
    case 1:
      return t.auth ? not_acceptable("authentication algorithm " + esp_auth_name(*t.auth)) : "no authentication algorithm is offered";
    case 2:
      if (t.group.value_or(0) != number(s.pfs)) return group_complaint(t.group);
      return wanted.ke_present ? "a KE payload came without a Diffie-Hellman group in the offer"
                               : "a Diffie-Hellman group is offered without a KE payload";
    case 3:
      return t.esn ? "extended sequence numbers are offered, others are wanted"
                   : "no extended sequence numbers are offered, they are wanted";
    default:
      return (t.mode ? "encapsulation mode " + encapsulation_name(*t.mode) + " is offered, "
                     : std::string("no encapsulation mode is offered, ")) +
             encapsulation_name(static_cast<std::uint16_t>(wanted.encapsulation)) + " is wanted";
  }
}

std::optional<Spi> sa_spi(const Proposal& p) {
  if (p.spi.size() != kSpiBytes) return std::nullopt;
  const Spi spi{Reader(p.spi).be<std::uint32_t>()};
  return spi.value > kLastReservedSpi ? std::optional(spi) : std::nullopt;
}
Bytes spi_field(Spi spi) {
  Writer w;
  w.be(spi.value);
  return std::move(w).take();
}
/// RFC 2408 §4.2: proposals of one number belong together ("AH and ESP"); we take single ones.
bool is_bundle(const Sa& sa, const Proposal& p) {
  return std::count_if(sa.proposals.begin(), sa.proposals.end(), [&p](const Proposal& o) { return o.number == p.number; }) > 1;
}
std::string unusable(const Sa& sa, const Proposal& p) {
  if (p.protocol != kProtoEsp && p.protocol != kProtoAh) return not_acceptable("a proposal for " + describe_protocol(p.protocol));
  if (is_bundle(sa, p)) return not_acceptable("a proposal of several protocols at once");
  const std::string whose = p.protocol == kProtoAh ? " in an AH proposal" : " in an ESP proposal";
  if (p.spi.size() != kSpiBytes) return "an SPI of " + std::to_string(p.spi.size()) + " bytes" + whose;
  if (!sa_spi(p)) return "a reserved SPI" + whose;
  return "";
}
ReadEspTransform read(const Proposal& p, const Transform& t) { return read_esp_transform(t, static_cast<SaProtocol>(p.protocol)); }

Mismatch esp_mismatch(const EspWanted& wanted, const Sa& offered) {
  Closest closest;
  std::size_t looked_at = 0;
  for (const Proposal& p : offered.proposals) {
    if (const std::string text = unusable(offered, p); !text.empty()) {
      closest.fallback(text);
      continue;
    }
    for (const Transform& t : p.transforms) {
      if (looked_at++ == kExplained) break;
      const ReadEspTransform transform = read(p, t);
      const EncrInfo* e = transform.encr_info();
      const IntegInfo* i = transform.integ_info();
      if (!transform.problem.empty())
        closest.fallback(transform.problem);
      else
        for (const EspSuite& s : wanted.suites)
          closest.consider(compare(transform, e, i, s, wanted), [&](std::size_t field) { return complaint(field, transform, s, wanted); });
    }
  }
  return {NotifyType::NoProposalChosen, describe(offered), wanted_text(wanted.suites), closest.text(),
          configurable_esp(offered, wanted.encapsulation, wanted.ke_present)};
}

/// The attributes of a suite, in the order in which they are sent.
Transform transform_of(const EspSuite& s, const EspOffer& offer) {
  const EncrInfo* e = find_encr(s.encr, s.key_bits);
  const IntegInfo* i = find_integ(s.integ);
  Transform t{0, s.protocol == SaProtocol::Ah ? i->ikev1_ah : e->ikev1_esp, {}};
  if (offer.life_seconds != 0) add_lifetime(t.attributes, doi::kLifeType, doi::kLifeDuration, kSeconds, offer.life_seconds);
  if (offer.life_kbytes != 0) add_lifetime(t.attributes, doi::kLifeType, doi::kLifeDuration, kKilobytes, offer.life_kbytes);
  if (s.pfs != DhGroup::None) t.attributes.push_back(Attribute::tv(doi::kGroup, number(s.pfs)));
  const bool draft = offer.draft_modes && in_udp(offer.encapsulation);
  const auto mode = static_cast<std::uint16_t>(static_cast<unsigned>(offer.encapsulation) + (draft ? kDraftUdpModes : 0U));
  t.attributes.push_back(Attribute::tv(doi::kEncapsulation, mode));
  if (i) t.attributes.push_back(Attribute::tv(doi::kAuth, i->ikev1_auth));
  if (e && !e->fixed_key) t.attributes.push_back(Attribute::tv(doi::kKeyLength, e->key_bits));
  if (s.esn) t.attributes.push_back(Attribute::tv(doi::kEsn, doi::kEsn64));
  return t;
}

/// AH needs an integrity algorithm; so does ESP without an AEAD, and nothing else has one. All must have numbers in IKEv1.
bool sound(const EspSuite& s) {
  const EncrInfo* e = find_encr(s.encr, s.key_bits);
  const IntegInfo* i = find_integ(s.integ);
  if ((e && e->ikev1_esp == 0) || (i && i->ikev1_auth == 0)) return false;
  if (s.protocol == SaProtocol::Ah) return s.encr == Encr::None && i;
  return e && (e->aead() ? s.integ == Integ::None : i && i->esp());
}
}  // namespace

std::vector<DhGroup> pfs_groups(std::span<const EspSuite> suites) {
  std::vector<DhGroup> out;
  for (const EspSuite& s : suites)
    if (std::find(out.begin(), out.end(), s.pfs) == out.end()) out.push_back(s.pfs);
  return out;
}

std::vector<EspSuite> with_pfs(std::span<const EspSuite> suites, DhGroup group) {
  std::vector<EspSuite> out;
  for (const EspSuite& s : suites)
    if (s.pfs == group) out.push_back(s);
  return out;
}

Sa build_esp_offer(const EspOffer& offer) {
  Sa out;
  for (const SaProtocol protocol : {SaProtocol::Esp, SaProtocol::Ah}) {
    Proposal p{static_cast<std::uint8_t>(out.proposals.size() + 1), static_cast<std::uint8_t>(protocol), spi_field(offer.spi), {}};
    for (const EspSuite& s : offer.suites) {
      const bool same_group = s.pfs == offer.suites.front().pfs;
      if (s.protocol != protocol || !same_group || !sound(s) || p.transforms.size() == kMaxTransforms) continue;
      p.transforms.push_back(transform_of(s, offer));
      p.transforms.back().number = static_cast<std::uint8_t>(p.transforms.size());
    }
    if (!p.transforms.empty()) out.proposals.push_back(std::move(p));
  }
  return out;
}

std::expected<EspChoice, Mismatch> select_esp(const EspWanted& wanted, const Sa& offered, Spi our_spi) {
  struct Candidate {
    const Proposal* proposal;
    const Transform* transform;
    Spi spi;
    ReadEspTransform read;
    EspSuite suite;
  };
  std::vector<Candidate> candidates;
  for (const Proposal& p : offered.proposals)
    if (unusable(offered, p).empty())
      for (const Transform& t : p.transforms) {
        const ReadEspTransform transform = read(p, t);
        const auto suite = transform.suite();
        if (suite && wanted.ke_present == (suite->pfs != DhGroup::None) && wanted_mode(transform, wanted))
          candidates.push_back({&p, &t, *sa_spi(p), transform, *suite});
      }
  for (const bool first_choice : {true, false})  // the wanted mode with any suite before the other mode
    for (const EspSuite& s : wanted.suites)
      for (const Candidate& c : candidates)
        if (c.suite == s && same_mode(c.read.mode, wanted.encapsulation) == first_choice)
          return EspChoice{s,
                           c.spi,
                           c.read.life.seconds,
                           c.read.life.kbytes,
                           Sa{{Proposal{c.proposal->number, c.proposal->protocol, spi_field(our_spi), {*c.transform}}}},
                           *wanted_mode(c.read, wanted)};
  return std::unexpected(esp_mismatch(wanted, offered));
}

std::expected<EspChoice, Mismatch> accept_esp(const Sa& offer, const Sa& reply) {
  const Matched m = match_reply(offer, reply);
  if (!m.transform) return std::unexpected(bad_reply(offer, reply));
  const auto spi = sa_spi(reply.proposals[0]);
  const ReadEspTransform transform = read(reply.proposals[0], *m.transform);
  const auto suite = transform.suite();
  const auto mode = transform.sa_mode();
  if (!spi || !suite || !mode) return std::unexpected(bad_reply(offer, reply));
  return EspChoice{*suite, *spi, transform.life.seconds, transform.life.kbytes, reply, *mode};
}

}  // namespace culvert::ikev1
