#include "control/ikev2/proposal_rows.hpp"

#include <algorithm>
#include <utility>

namespace culvert::ikev2::proposals {

namespace {
template <class Id>
Transform transform(TransformType type, Id id, std::optional<std::uint16_t> key_bits = {}) {
  return {type, static_cast<std::uint16_t>(id), key_bits};
}
Transform encryption(const EncrInfo& e) {
  return transform(TransformType::Encr, e.id, e.fixed_key ? std::nullopt : std::optional(e.key_bits));  // RFC 7296 §3.3.5
}

template <class Id>
bool plain(const Transform& t, TransformType type, Id id) {
  return t == transform(type, id);
}

/// Which kinds a proposal of the protocol has or may have (RFC 7296 §3.3.3).
bool belongs(TransformType type, std::uint8_t protocol) {
  switch (type) {
    case TransformType::Encr:
      return protocol != kProtoAh;
    case TransformType::Prf:
      return protocol == kProtoIke;
    case TransformType::Integ:
    case TransformType::Ke:
      return true;
    case TransformType::Esn:
      return protocol != kProtoIke;
    default:
      return is_additional(type);
  }
}
bool key_exchange(TransformType type) { return type == TransformType::Ke || is_additional(type); }
bool may_be_none(TransformType type) { return type == TransformType::Integ || key_exchange(type); }

/// False: there is a method that we do not have.
bool add_additional(Row& row, const AdditionalKes& more) {
  for (std::size_t n = 0; n < more.size(); ++n) {
    if (more[n] == DhGroup::None) continue;
    if (!find_ke(more[n])) return false;
    row.kinds[slot(additional_type(n))] = transform(additional_type(n), more[n]);
  }
  return true;
}

bool same_kinds(const Row& a, const Row& b) {
  return a.protocol == b.protocol &&
         std::ranges::all_of(kTypes, [&](TransformType t) { return a.at(t).has_value() == b.at(t).has_value(); });
}

using Kinds = std::array<std::vector<Transform>, kKinds>;
void collect(Kinds& kinds, const Row& row) {
  for (const TransformType t : kTypes) {
    std::vector<Transform>& kind = kinds[slot(t)];
    if (row.at(t) && std::ranges::find(kind, *row.at(t)) == kind.end()) kind.push_back(*row.at(t));
  }
}
std::size_t combinations(const Kinds& kinds) {
  std::size_t out = 1;
  for (const auto& kind : kinds) out *= std::max<std::size_t>(kind.size(), 1);
  return out;
}

/// How many of the rows, which are different ones, are all combinations of what is in them: these may share a proposal.
std::size_t full_product(std::span<const Row> rows) {
  std::size_t best = 1;
  Kinds kinds;
  for (std::size_t n = 0; n < rows.size() && same_kinds(rows[0], rows[n]); ++n) {
    collect(kinds, rows[n]);
    if (combinations(kinds) == n + 1) best = n + 1;
  }
  return best;
}
}  // namespace

std::optional<Row> row_of(const IkeSuite& s) {
  const EncrInfo* e = find_encr(s.encr, s.key_bits);
  const IntegInfo* i = find_integ(s.integ);
  if (!e || !e->ikev2_ike() || !find_prf(s.prf) || !find_ke(s.group)) return std::nullopt;
  if (e->aead() ? s.integ != Integ::None : !i || !i->esp()) return std::nullopt;
  Row row{kProtoIke, {encryption(*e), transform(TransformType::Prf, s.prf), {}, transform(TransformType::Ke, s.group), {}}};
  if (i) row.kinds[slot(TransformType::Integ)] = transform(TransformType::Integ, s.integ);
  if (!add_additional(row, s.more)) return std::nullopt;
  return row;
}

std::optional<Row> row_of(const EspSuite& s) {
  const EncrInfo* e = find_encr(s.encr, s.key_bits);
  const IntegInfo* i = find_integ(s.integ);
  const bool ah = s.protocol == SaProtocol::Ah;
  if (ah ? s.encr != Encr::None || !i : !e || (e->aead() ? s.integ != Integ::None : !i || !i->esp())) return std::nullopt;
  if (s.pfs != DhGroup::None && !find_ke(s.pfs)) return std::nullopt;
  Row row{ah ? kProtoAh : kProtoEsp, {}};
  if (!ah) row.kinds[slot(TransformType::Encr)] = encryption(*e);
  if (i) row.kinds[slot(TransformType::Integ)] = transform(TransformType::Integ, s.integ);
  if (s.pfs != DhGroup::None) row.kinds[slot(TransformType::Ke)] = transform(TransformType::Ke, s.pfs);
  row.kinds[slot(TransformType::Esn)] = transform(TransformType::Esn, s.esn ? 1 : 0);
  if (!add_additional(row, s.more)) return std::nullopt;
  return row;
}

const EncrInfo* encr_info(const Transform& t) {
  const auto table = encr_table();
  const auto row = std::ranges::find_if(table, [&](const EncrInfo& e) { return t == encryption(e); });
  return row == table.end() ? nullptr : &*row;
}
const IntegInfo* integ_info(const Transform& t) {
  const auto* i = find_integ(static_cast<Integ>(t.id));
  return i && plain(t, TransformType::Integ, i->id) ? i : nullptr;
}
const PrfInfo* prf_info(const Transform& t) {
  const auto* p = find_prf(static_cast<Prf>(t.id));
  return p && plain(t, TransformType::Prf, p->id) ? p : nullptr;
}
const DhInfo* dh_info(const Transform& t) {
  const auto* d = find_ke(static_cast<DhGroup>(t.id));
  return d && key_exchange(t.type) && plain(t, t.type, d->id) ? d : nullptr;
}

Sa offer_of(std::span<const Row> rows, const Bytes& spi) {
  Sa out;
  while (!rows.empty() && out.proposals.size() < kMaxProposals) {
    const std::size_t together = full_product(rows);
    Kinds kinds;
    for (const Row& row : rows.first(together)) collect(kinds, row);
    Proposal p{static_cast<std::uint8_t>(out.proposals.size() + 1), rows[0].protocol, spi, {}};
    for (const auto& kind : kinds) p.transforms.insert(p.transforms.end(), kind.begin(), kind.end());
    out.proposals.push_back(std::move(p));
    rows = rows.subspan(together);
  }
  return out;
}

Listed list(const Proposal& p) {
  Listed out{&p, {}, {}};
  if (p.protocol < kProtoIke || p.protocol > kProtoEsp)
    out.problem = "a proposal for " + protocol_name(p.protocol) + " is not acceptable here";
  for (const Transform& t : p.transforms) {
    const auto type = static_cast<unsigned>(t.type);
    if (type == 0 || type > kKinds || !belongs(t.type, p.protocol)) {
      if (out.problem.empty())
        out.problem = "transform type " + std::to_string(type) + " is not supported in a proposal for " + protocol_name(p.protocol);
      continue;
    }
    out.kinds[slot(t.type)].push_back(&t);
  }
  return out;
}

Pick pick(const Row& row, const Listed& listed, TransformType type, bool groups) {
  const auto& wanted = row.at(type);
  const auto& kind = listed.at(type);
  const Transform sought = wanted ? *wanted : transform(type, 0);
  const auto found = std::ranges::find_if(kind, [&](const Transform* t) { return *t == sought; });
  if (found != kind.end() && (wanted || may_be_none(type))) return {true, *found};
  const bool looked_at = groups || !key_exchange(type);
  return {!wanted && (kind.empty() || !looked_at), nullptr};
}

}  // namespace culvert::ikev2::proposals
