// Offers built, judged, and replies checked, of IKE SAs and CHILD SAs alike: both are rows of transforms to the rules here.
#include "control/ikev2/proposal.hpp"

#include <algorithm>
#include <utility>

#include "control/ike/judging.hpp"
#include "control/ikev2/proposal_rows.hpp"

namespace culvert::ikev2 {

namespace {
using namespace proposals;
using ike::judging::Closest;
using ike::judging::kDescribed;
using ike::judging::kExplained;

constexpr std::size_t kIkeSpi = 8, kSaSpi = 4;   // RFC 7296 §3.3.1
constexpr std::uint32_t kLastReservedSpi = 255;  // RFC 4303 §2.1
constexpr std::size_t kUsable = 8;               // suites that a mismatch suggests at most
// In this order a difference is reported.
constexpr std::array kFields{TransformType::Encr, TransformType::Integ, TransformType::Prf, TransformType::Ke,
                             TransformType::Esn,  additional_type(0),   additional_type(1), additional_type(2),
                             additional_type(3),  additional_type(4),   additional_type(5), additional_type(6)};
static_assert(kFields.size() == kKinds && kTypes.size() == kKinds);

template <class T>
Bytes bytes_of(T spi) {
  Writer w;
  w.be(spi.value);
  return std::move(w).take();
}
std::optional<IkeSpi> ike_spi(const Proposal& p) {
  if (p.spi.size() != kIkeSpi) return std::nullopt;
  const IkeSpi spi{Reader(p.spi).be<std::uint64_t>()};
  return spi ? std::optional(spi) : std::nullopt;
}
std::optional<Spi> sa_spi(const Proposal& p) {
  if (p.spi.size() != kSaSpi) return std::nullopt;
  const Spi spi{Reader(p.spi).be<std::uint32_t>()};
  return spi.value > kLastReservedSpi ? std::optional(spi) : std::nullopt;
}
/// Why a proposal's SPI cannot be; empty: it can.
std::string spi_problem(const Proposal& p) {
  const bool ike = p.protocol == kProtoIke;
  const std::string where = " in a proposal for " + protocol_name(p.protocol);
  if (ike ? !p.spi.empty() && p.spi.size() != kIkeSpi : p.spi.size() != kSaSpi)
    return "an SPI of " + std::to_string(p.spi.size()) + " bytes" + where;
  return (ike ? p.spi.empty() || ike_spi(p) : sa_spi(p).has_value()) ? "" : "a reserved SPI" + where;
}

/// Suites that can be negotiated, each once, with their rows.
template <class Suite>
struct Ours {
  std::vector<Suite> suites;
  std::vector<Row> rows;
  explicit Ours(std::span<const Suite> all) {
    for (const Suite& s : all)
      if (const auto row = row_of(s); row && std::ranges::find(rows, *row) == rows.end()) suites.push_back(s), rows.push_back(*row);
  }
};
std::vector<EspSuite> without_groups(std::span<const EspSuite> suites, bool pfs) {
  std::vector<EspSuite> out(suites.begin(), suites.end());
  if (!pfs)
    for (EspSuite& s : out) s.pfs = DhGroup::None, s.more = {};
  return out;
}

/// A peer's offer; proposals that cannot be taken whatever we want are left out, and why the first of them was.
struct Offered {
  std::vector<Listed> proposals;
  Closest differences;
  Offered(const Sa& sa, bool ike) {
    for (const Proposal& p : sa.proposals) {
      Listed listed = list(p);
      if (listed.problem.empty() && ike != (p.protocol == kProtoIke))
        listed.problem = ike::judging::not_acceptable("a proposal for " + protocol_name(p.protocol));
      if (listed.problem.empty()) listed.problem = spi_problem(p);
      if (listed.problem.empty())
        proposals.push_back(std::move(listed));
      else
        differences.fallback(listed.problem);
    }
  }
};

/// One transform of each kind that makes up the row, or nothing.
std::optional<std::vector<Transform>> taken(const Row& row, const Listed& listed, bool groups) {
  if (row.protocol != listed.proposal->protocol) return std::nullopt;
  std::vector<Transform> out;
  for (const TransformType type : kTypes) {
    const Pick found = pick(row, listed, type, groups);
    if (!found.fits) return std::nullopt;
    if (found.transform) out.push_back(*found.transform);
  }
  return out;
}

struct Selected {
  std::size_t row = 0;
  const Proposal* proposal = nullptr;
  std::vector<Transform> transforms;
};
std::optional<Selected> select_row(std::size_t n, std::span<const Row> rows, const Offered& offered, bool groups) {
  for (const Listed& listed : offered.proposals)
    if (auto transforms = taken(rows[n], listed, groups)) return Selected{n, listed.proposal, std::move(*transforms)};
  return std::nullopt;
}
DhGroup group_of(const Row& row) {
  const auto& ke = row.at(TransformType::Ke);
  return ke ? static_cast<DhGroup>(ke->id) : DhGroup::None;
}
bool same_rank(Row a, Row b) {
  a.kinds[slot(TransformType::Ke)] = b.kinds[slot(TransformType::Ke)] = std::nullopt;
  return a == b;
}
/// The first of our rows that is offered, or one of its rank with the group that the peer has sent a key for.
std::optional<Selected> select(std::span<const Row> rows, const Offered& offered, DhGroup ke, bool groups = true) {
  for (std::size_t n = 0; n < rows.size(); ++n) {
    auto first = select_row(n, rows, offered, groups);
    if (!first || group_of(rows[n]) == ke) {
      if (first) return first;
      continue;
    }
    for (std::size_t other = n + 1; other < rows.size(); ++other)
      if (group_of(rows[other]) == ke && same_rank(rows[n], rows[other]))
        if (auto better = select_row(other, rows, offered, groups)) return better;
    return first;
  }
  return std::nullopt;
}

// ---------------------------------------------------------------------------------------------------------------- mismatches

std::string difference(std::span<const Row> rows, Offered& offered, bool groups) {
  const std::size_t looked_at = std::min(offered.proposals.size(), kExplained);
  for (const Listed& listed : std::span(offered.proposals).first(looked_at)) {
    bool compared = false;
    for (const Row& row : rows) {
      if (row.protocol != listed.proposal->protocol) continue;
      compared = true;
      std::array<bool, kKinds> same{};
      for (std::size_t n = 0; n < kKinds; ++n) same[n] = pick(row, listed, kFields[n], groups).fits;
      offered.differences.consider(same, [&](std::size_t field) { return complaint(row, listed, kFields[field]); });
    }
    if (!compared) offered.differences.fallback(ike::judging::not_acceptable(protocol_name(listed.proposal->protocol)));
  }
  return offered.differences.text();
}

/// The rows of the table that one kind of a proposal lists, each once; what is not weak comes first. A nullptr stands for none.
template <class Info>
std::vector<const Info*> known(const Listed& listed, TransformType type, const Info* (*find)(const Transform&)) {
  std::vector<const Info*> out;
  for (const bool weak : {false, true})
    for (const Transform* t : listed.at(type))
      if (const Info* info = find(*t); info && info->weak == weak && std::ranges::find(out, info) == out.end()) out.push_back(info);
  return out;
}
template <class Suite>
bool add_usable(std::vector<std::string>& out, const Suite& suite) {
  if (row_of(suite))
    if (std::string text = suite.to_string(); std::ranges::find(out, text) == out.end()) out.push_back(std::move(text));
  return out.size() < kUsable;
}
using OrNone = std::vector<const IntegInfo*>;
/// For each additional key exchange that a proposal lists, and does not list as one that may be left out, a method that we have and that is
/// not used yet; nullopt: there is none for one of them.
std::optional<AdditionalKes> additional(const Listed& listed, DhGroup first) {
  AdditionalKes out{};
  for (std::size_t n = 0; n < out.size(); ++n) {
    const auto& kind = listed.at(additional_type(n));
    if (std::ranges::any_of(kind, [](const Transform* t) { return t->id == 0; })) continue;
    for (const DhInfo* d : known(listed, additional_type(n), dh_info))
      if (out[n] == DhGroup::None && d->id != first && std::ranges::find(out, d->id) == out.end()) out[n] = d->id;
    if (!kind.empty() && out[n] == DhGroup::None) return std::nullopt;
  }
  return out;
}

/// All combinations of what a proposal for IKE lists and we have, until there are enough.
bool usable_ike(const Listed& listed, std::vector<std::string>& out) {
  const auto integs = known(listed, TransformType::Integ, integ_info);
  for (const EncrInfo* e : known(listed, TransformType::Encr, encr_info))
    for (const IntegInfo* i : e->aead() ? OrNone{nullptr} : integs)
      for (const PrfInfo* p : known(listed, TransformType::Prf, prf_info))
        for (const DhInfo* d : known(listed, TransformType::Ke, dh_info))
          if (const auto more = additional(listed, d->id);
              more && !add_usable(out, IkeSuite{e->id, e->key_bits, p->id, d->id, i ? i->id : Integ::None, *more}))
            return false;
  return true;
}
/// The same of ESP or AH. The words for groups are left out where they are not looked at.
bool usable_child(const Listed& listed, bool groups, std::vector<std::string>& out) {
  const bool ah = listed.proposal->protocol == kProtoAh;
  const auto integs = known(listed, TransformType::Integ, integ_info);
  auto encrs = known(listed, TransformType::Encr, encr_info);
  auto dhs = groups ? known(listed, TransformType::Ke, dh_info) : std::vector<const DhInfo*>{};
  if (ah) encrs = {nullptr};
  if (!groups || listed.at(TransformType::Ke).empty()) dhs = {nullptr};
  for (const EncrInfo* e : encrs)
    for (const IntegInfo* i : e && e->aead() ? OrNone{nullptr} : integs)
      for (const DhInfo* d : dhs)
        for (const Transform* esn : listed.at(TransformType::Esn)) {
          if (esn->unknown_attribute || esn->id > 1) continue;
          const DhGroup first = d ? d->id : DhGroup::None;
          const auto more = groups ? additional(listed, first) : AdditionalKes{};
          if (!more) continue;
          const EspSuite suite{e ? e->id : Encr::None,
                               e ? e->key_bits : std::uint16_t{0},
                               i ? i->id : Integ::None,
                               first,
                               ah ? SaProtocol::Ah : SaProtocol::Esp,
                               esn->id == 1,
                               *more};
          if (!add_usable(out, suite)) return false;
        }
  return true;
}

Mismatch ike_mismatch(const Ours<IkeSuite>& ours, const Sa& sa, Offered& offered) {
  std::vector<std::string> usable;
  for (const Listed& listed : offered.proposals)
    if (!usable_ike(listed, usable)) break;
  return {describe(sa), ike::judging::wanted_text(ours.suites), difference(ours.rows, offered, true), std::move(usable)};
}
Mismatch child_mismatch(const Ours<EspSuite>& ours, const Sa& sa, Offered& offered, bool groups) {
  std::vector<std::string> usable;
  const auto wanted = [&](const Listed& l) {
    return std::ranges::find(ours.rows, l.proposal->protocol, &Row::protocol) != ours.rows.end();
  };
  for (const Listed& listed : offered.proposals)
    if (wanted(listed) && !usable_child(listed, groups, usable)) break;
  return {describe(sa), ike::judging::wanted_text(ours.suites), difference(ours.rows, offered, groups), std::move(usable)};
}

// ---------------------------------------------------------------------------------------------------------------- replies

bool holds(const Proposal& p, const Row& row) {
  return std::ranges::all_of(row.kinds, [&](const auto& t) { return !t || std::ranges::find(p.transforms, *t) != p.transforms.end(); });
}

/// Which of the rows, all of which were offered, a reply takes; or what is wrong with it. NONE says no more than leaving a kind out
/// (RFC 7296 §3.3.3), so that a reply may have it.
std::expected<std::size_t, std::string> accept(std::span<const Row> rows, const Sa& offer, const Sa& reply) {
  const auto refuse = [](std::string why) { return std::unexpected(std::move(why)); };
  if (reply.proposals.size() != 1)
    return refuse("the reply holds " + std::to_string(reply.proposals.size()) + " proposals, one is allowed");
  const Proposal& p = reply.proposals[0];
  const auto sent = std::ranges::find(offer.proposals, p.number, &Proposal::number);  // RFC 7296 §3.3.1: the number says which one
  if (sent == offer.proposals.end() || sent->protocol != p.protocol)
    return refuse("the reply is proposal " + std::to_string(p.number) + " for " + protocol_name(p.protocol) + ", which was not offered");
  const Listed listed = list(p);
  if (!listed.problem.empty()) return refuse(listed.problem);
  if (std::string problem = spi_problem(p); !problem.empty()) return refuse(std::move(problem));
  for (const auto& kind : listed.kinds)
    if (kind.size() > 1) return refuse("the reply holds " + std::to_string(kind.size()) + " transforms of one kind, one is allowed");
  for (std::size_t n = 0; n < rows.size(); ++n)
    if (taken(rows[n], listed, true) && holds(*sent, rows[n])) return n;
  return refuse("the reply is not one suite of that proposal");
}
Mismatch bad_reply(const Sa& offer, const Sa& reply, std::string why) { return {describe(reply), describe(offer), std::move(why), {}}; }

}  // namespace

// ---------------------------------------------------------------------------------------------------------------- IKE SA

Sa build_ike_offer(std::span<const IkeSuite> suites, std::optional<IkeSpi> spi) {
  return offer_of(Ours<IkeSuite>(suites).rows, spi ? bytes_of(*spi) : Bytes{});
}

std::expected<IkeChoice, Mismatch> select_ike(std::span<const IkeSuite> ours, const Sa& offered, DhGroup ke) {
  const Ours<IkeSuite> wanted(ours);
  Offered theirs(offered, true);
  auto found = select(wanted.rows, theirs, ke);
  if (!found) return std::unexpected(ike_mismatch(wanted, offered, theirs));
  return IkeChoice{wanted.suites[found->row], ike_spi(*found->proposal),
                   Sa{{Proposal{found->proposal->number, kProtoIke, {}, std::move(found->transforms)}}}};
}

std::expected<IkeChoice, Mismatch> accept_ike(std::span<const IkeSuite> offered, const Sa& reply) {
  const Ours<IkeSuite> ours(offered);
  const Sa offer = offer_of(ours.rows, {});
  const auto row = accept(ours.rows, offer, reply);
  if (!row) return std::unexpected(bad_reply(offer, reply, row.error()));
  return IkeChoice{ours.suites[*row], ike_spi(reply.proposals[0]), reply};
}

// ---------------------------------------------------------------------------------------------------------------- CHILD SA

Sa build_child_offer(std::span<const EspSuite> suites, Spi spi, bool pfs) {
  return offer_of(Ours<EspSuite>(without_groups(suites, pfs)).rows, bytes_of(spi));
}

std::expected<ChildChoice, Mismatch> select_child(const ChildWanted& wanted, const Sa& offered) {
  const Ours<EspSuite> ours(without_groups(wanted.suites, wanted.pfs));
  Offered theirs(offered, false);
  auto found = select(ours.rows, theirs, wanted.ke, wanted.pfs);
  if (!found) return std::unexpected(child_mismatch(ours, offered, theirs, wanted.pfs));
  const Proposal& p = *found->proposal;
  return ChildChoice{ours.suites[found->row], *sa_spi(p),
                     Sa{{Proposal{p.number, p.protocol, bytes_of(wanted.our_spi), std::move(found->transforms)}}}};
}

std::expected<ChildChoice, Mismatch> accept_child(std::span<const EspSuite> offered, bool pfs, const Sa& reply) {
  const Ours<EspSuite> ours(without_groups(offered, pfs));
  const Sa offer = offer_of(ours.rows, bytes_of(Spi{}));
  const auto row = accept(ours.rows, offer, reply);
  if (!row) return std::unexpected(bad_reply(offer, reply, row.error()));
  return ChildChoice{ours.suites[*row], *sa_spi(reply.proposals[0]), reply};
}

}  // namespace culvert::ikev2
