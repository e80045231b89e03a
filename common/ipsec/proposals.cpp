// Proposal strings of swanctl's kind, read. The rows that they name are algorithms.cpp's.
#include <algorithm>
#include <array>
#include <numeric>
#include <optional>

#include "common/ipsec/algorithms.hpp"

namespace culvert {

namespace {
enum class Purpose : std::uint8_t { Ike, Esp, Ah };
constexpr std::array<std::string_view, 3> kPurposes{"IKE", "ESP", "AH"};
constexpr std::string_view kPrfPrefix = "prf";

struct Grammar {
  Purpose purpose{};
  bool ikev2 = false;  ///< of IKE: its ciphers and PRFs; of the others: algorithms without a number in IKEv1 are named as known
};

bool in_ikev1(const EncrInfo& e) { return e.ikev1_esp != 0; }
bool in_ikev1(const IntegInfo& i) { return i.ikev1_auth != 0; }
bool in_ikev1(const DhInfo&) { return true; }
bool ikev1_hash(const IntegInfo& i) {
  const PrfInfo* p = find_prf(prf_of(i.id));
  return p != nullptr && p->ikev1_hash != 0;
}

bool serves(const EncrInfo& e, Grammar g) {
  if (g.purpose == Purpose::Ike) return g.ikev2 ? e.ikev2_ike() : e.ikev1_cipher != 0;
  return g.purpose == Purpose::Esp;
}
bool serves(const IntegInfo& i, Grammar g) {
  if (g.purpose == Purpose::Ike) return g.ikev2 ? i.esp() : ikev1_hash(i);
  return g.purpose == Purpose::Ah || i.esp();
}
bool serves(const DhInfo&, Grammar) { return true; }

template <class Table, class Match>
auto find_row(const Table& table, Match match) -> decltype(&table[0]) {
  const auto row = std::find_if(table.begin(), table.end(), match);
  return row == table.end() ? nullptr : &*row;
}

/// The keywords of one proposal, sorted by kind.
struct Tokens {
  std::vector<const EncrInfo*> encr;
  std::vector<const IntegInfo*> integ;
  std::vector<const PrfInfo*> prf;
  std::vector<const DhInfo*> dh;
  std::vector<bool> esn;
  std::array<std::vector<DhGroup>, kAdditional> more;  ///< None among them: this one may be left out
};

ProposalError unknown(std::string_view token, Grammar g) {
  std::vector<std::string> names;
  std::string list, weak, kems;
  const auto name = [&](const std::string& text, bool is_weak) {
    std::string& to = is_weak ? weak : list;
    to += (to.empty() ? "" : ", ") + text;
    names.push_back(text);
  };
  const auto add = [&](const auto& table) {
    for (const auto& row : table)
      if (serves(row, g) && (g.ikev2 || in_ikev1(row))) name(std::string(row.name), row.weak);
  };
  add(encr_table()), add(integ_table());
  if (g.ikev2 && g.purpose == Purpose::Ike)
    for (const PrfInfo& p : prf_table()) name(std::string(kPrfPrefix) + std::string(p.name), p.weak);
  add(dh_table());
  if (g.ikev2) {
    for (const DhInfo& k : kem_table()) kems += (kems.empty() ? "" : ", ") + std::string(k.name), names.emplace_back(k.name);
    names.insert(names.end(), {"ke1_mlkem768", "ke1_none"});
  }
  if (g.purpose != Purpose::Ike) name("esn", false), name("noesn", false);
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  return {"'" + std::string(token) + "' is no algorithm for " + std::string(kPurposes[static_cast<std::size_t>(g.purpose)]) +
              " here; known are " + list + ", and with allow_weak " + weak +
              (g.ikev2 ? "; with OpenSSL 3.5 also " + kems + "; ke1_NAME to ke7_NAME are additional key exchanges" : ""),
          std::string(token), nearest(token, candidates)};
}

/// RFC 8031 calls the functions of the groups X25519 and X448, and so does strongSwan.
std::string_view table_name(std::string_view word) { return word == "x25519" ? "curve25519" : word == "x448" ? "curve448" : word; }

/// Which additional key exchange a word such as "ke1_ecp384" or "ke2_none" names, and the method.
struct Additional {
  std::size_t at = 0;
  std::string_view method;
};
std::optional<Additional> additional(std::string_view word) {
  if (word.size() < 5 || !word.starts_with("ke") || word[2] < '1' || word[2] > '0' + static_cast<int>(kAdditional) || word[3] != '_')
    return std::nullopt;
  return Additional{static_cast<std::size_t>(word[2] - '1'), word.substr(4)};
}
const DhInfo* method_of(std::string_view word) {
  const auto named = [&](const DhInfo& row) { return row.name == table_name(word); };
  const DhInfo* dh = find_row(dh_table(), named);
  return dh != nullptr ? dh : find_row(kem_table(), named);
}

std::expected<Tokens, ProposalError> split(std::string_view text, Grammar g) {
  Tokens out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('-', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    begin = end + 1;
    const auto named = [&](const auto& row) { return row.name == table_name(word) && serves(row, g); };
    const auto more = additional(word);
    const DhInfo* method = method_of(more ? more->method : word);
    const bool known = method != nullptr || (more && more->method == "none");
    if (!g.ikev2 && known && (more || method->kem()))
      return std::unexpected(
          ProposalError{"'" + std::string(word) + "' is for IKEv2 only (version: 2): IKEv1 has no number for it", std::string(word), ""});
    const auto prf = [&](const PrfInfo& row) { return word.starts_with(kPrfPrefix) && row.name == word.substr(kPrfPrefix.size()); };
    if (const auto* encr = find_row(encr_table(), named)) {
      out.encr.push_back(encr);
    } else if (const auto* integ = find_row(integ_table(), named)) {
      out.integ.push_back(integ);
    } else if (const auto* p = find_row(prf_table(), prf); p != nullptr && g.ikev2 && g.purpose == Purpose::Ike) {
      out.prf.push_back(p);
    } else if (more && known) {
      out.more[more->at].push_back(method != nullptr ? method->id : DhGroup::None);
    } else if (!more && method != nullptr) {
      out.dh.push_back(method);
    } else if (g.purpose != Purpose::Ike && (word == "esn" || word == "noesn")) {
      out.esn.push_back(word == "esn");
    } else {
      return std::unexpected(unknown(word, g));
    }
  }
  if (out.esn.empty()) out.esn.push_back(false);
  return out;
}

/// All combinations of what is named for the additional key exchanges, that of the first one varying slowest.
std::vector<AdditionalKes> combinations(const Tokens& t) {
  std::vector<AdditionalKes> out{AdditionalKes{}};
  for (std::size_t at = 0; at < kAdditional; ++at) {
    if (t.more[at].empty()) continue;
    std::vector<AdditionalKes> longer;
    for (const AdditionalKes& before : out)
      for (const DhGroup method : t.more[at]) {
        longer.push_back(before);
        longer.back()[at] = method;
      }
    out = std::move(longer);
  }
  return out;
}
/// RFC 9370 §2.2.1: no method twice in one SA.
bool distinct(DhGroup first, const AdditionalKes& more) {
  std::vector<DhGroup> all = in_order(more);
  all.push_back(first);
  std::ranges::sort(all);
  return std::ranges::adjacent_find(all) == all.end();
}
constexpr std::string_view kLacksGroup = "Diffie-Hellman group, which additional key exchanges come behind";
bool additional_named(const Tokens& t) {
  return std::ranges::any_of(t.more, [](const auto& named) { return !named.empty(); });
}
bool lacks_group(const Tokens& t) { return t.dh.empty() && additional_named(t); }
template <class Suite>
std::expected<std::vector<Suite>, ProposalError> some(std::string_view text, std::vector<Suite> suites) {
  if (!suites.empty()) return suites;
  return std::unexpected(ProposalError{"'" + std::string(text) + "' has the same key exchange twice, whatever is chosen (RFC 9370 §2.2.1)",
                                       std::string(text), ""});
}

ProposalError lacks(std::string_view text, std::string_view what) {
  return {"'" + std::string(text) + "' names no " + std::string(what), std::string(text), ""};
}
ProposalError authenticates(const EncrInfo& aead, const IntegInfo& integ) {
  return {"'" + std::string(aead.name) + "' authenticates by itself: no integrity algorithm may go with it", std::string(integ.name), ""};
}

std::expected<std::vector<EspSuite>, ProposalError> parse_esp(std::string_view text, bool ikev2) {
  auto tokens = split(text, {Purpose::Esp, ikev2});
  if (!tokens) return std::unexpected(tokens.error());
  if (tokens->encr.empty()) return std::unexpected(lacks(text, "encryption algorithm"));
  std::vector<EspSuite> out;
  const auto more = combinations(*tokens);
  if (lacks_group(*tokens)) return std::unexpected(lacks(text, kLacksGroup));
  if (tokens->dh.empty()) tokens->dh.push_back(nullptr);
  for (const auto* e : tokens->encr) {
    if (e->aead() && !tokens->integ.empty()) return std::unexpected(authenticates(*e, *tokens->integ.front()));
    if (!e->aead() && tokens->integ.empty())
      return std::unexpected(lacks(text, "integrity algorithm, which '" + std::string(e->name) + "' needs"));
    const std::vector<const IntegInfo*> none{nullptr};
    for (const auto* i : e->aead() ? none : tokens->integ)
      for (const auto* d : tokens->dh)
        for (const AdditionalKes& m : more)
          for (const bool esn : tokens->esn)
            if (!d || distinct(d->id, m))
              out.push_back({e->id, e->key_bits, i ? i->id : Integ::None, d ? d->id : DhGroup::None, SaProtocol::Esp, esn, m});
  }
  return some(text, std::move(out));
}

std::expected<std::vector<EspSuite>, ProposalError> parse_ah(std::string_view text, bool ikev2) {
  auto tokens = split(text, {Purpose::Ah, ikev2});
  if (!tokens) return std::unexpected(tokens.error());
  if (tokens->integ.empty()) return std::unexpected(lacks(text, "integrity algorithm"));
  std::vector<EspSuite> out;
  const auto more = combinations(*tokens);
  if (lacks_group(*tokens)) return std::unexpected(lacks(text, kLacksGroup));
  if (tokens->dh.empty()) tokens->dh.push_back(nullptr);
  for (const auto* i : tokens->integ)
    for (const auto* d : tokens->dh)
      for (const AdditionalKes& m : more)
        for (const bool esn : tokens->esn)
          if (!d || distinct(d->id, m)) out.push_back({Encr::None, 0, i->id, d ? d->id : DhGroup::None, SaProtocol::Ah, esn, m});
  return some(text, std::move(out));
}

/// Integrity algorithm and PRF.
using Proofs = std::vector<std::pair<Integ, Prf>>;

/// What goes with the ciphers, all of which are AEADs, or none.
std::expected<Proofs, ProposalError> proofs(std::string_view text, const Tokens& t) {
  const EncrInfo& first = *t.encr.front();
  for (const EncrInfo* e : t.encr)
    if (e->aead() != first.aead())
      return std::unexpected(ProposalError{"'" + std::string((e->aead() ? *e : first).name) + "' authenticates by itself and '" +
                                               std::string((e->aead() ? first : *e).name) + "' does not: write them as two proposals",
                                           std::string(e->name), ""});
  if (first.aead() && !t.prf.empty() && !t.integ.empty()) return std::unexpected(authenticates(first, *t.integ.front()));
  if (first.aead() && t.prf.empty() && t.integ.empty())
    return std::unexpected(lacks(text, "pseudo-random function such as prfsha256, which '" + std::string(first.name) + "' needs"));
  if (!first.aead() && t.integ.empty())
    return std::unexpected(lacks(text, "integrity algorithm, which '" + std::string(first.name) + "' needs"));
  Proofs out;
  if (t.integ.empty())
    for (const PrfInfo* p : t.prf) out.emplace_back(Integ::None, p->id);
  for (const IntegInfo* i : t.integ) {
    const Integ integ = first.aead() ? Integ::None : i->id;
    if (t.prf.empty()) out.emplace_back(integ, prf_of(i->id));
    for (const PrfInfo* p : t.prf) out.emplace_back(integ, p->id);
  }
  return out;
}
}  // namespace

std::expected<std::vector<IkeSuite>, ProposalError> parse_ike_proposal(std::string_view text) {
  const auto tokens = split(text, {Purpose::Ike, false});
  if (!tokens) return std::unexpected(tokens.error());
  if (tokens->encr.empty()) return std::unexpected(lacks(text, "encryption algorithm"));
  if (tokens->integ.empty()) return std::unexpected(lacks(text, "hash algorithm"));
  if (tokens->dh.empty()) return std::unexpected(lacks(text, "Diffie-Hellman group"));
  std::vector<IkeSuite> out;
  for (const auto* e : tokens->encr)
    for (const auto* i : tokens->integ)
      for (const auto* d : tokens->dh) out.push_back({e->id, e->key_bits, prf_of(i->id), d->id});
  return out;
}

std::expected<std::vector<IkeSuite>, ProposalError> parse_ike_proposal_v2(std::string_view text) {
  const auto tokens = split(text, {Purpose::Ike, true});
  if (!tokens) return std::unexpected(tokens.error());
  if (tokens->encr.empty()) return std::unexpected(lacks(text, "encryption algorithm"));
  const auto with = proofs(text, *tokens);
  if (!with) return std::unexpected(with.error());
  if (tokens->dh.empty()) return std::unexpected(lacks(text, "Diffie-Hellman group"));
  std::vector<IkeSuite> out;
  for (const auto* e : tokens->encr)
    for (const auto& [integ, prf] : *with)
      for (const auto* d : tokens->dh)
        for (const AdditionalKes& more : combinations(*tokens))
          if (distinct(d->id, more)) out.push_back({e->id, e->key_bits, prf, d->id, integ, more});
  return some(text, std::move(out));
}

std::expected<std::vector<EspSuite>, ProposalError> parse_esp_proposal(std::string_view text) { return parse_esp(text, false); }
std::expected<std::vector<EspSuite>, ProposalError> parse_esp_proposal_v2(std::string_view text) { return parse_esp(text, true); }
std::expected<std::vector<EspSuite>, ProposalError> parse_ah_proposal(std::string_view text) { return parse_ah(text, false); }
std::expected<std::vector<EspSuite>, ProposalError> parse_ah_proposal_v2(std::string_view text) { return parse_ah(text, true); }

std::expected<std::vector<EspSuite>, ProposalError> for_ikev1(std::expected<std::vector<EspSuite>, ProposalError> suites) {
  if (!suites) return suites;
  const auto only = [](std::string_view name) {
    return std::unexpected(
        ProposalError{"'" + std::string(name) + "' is for IKEv2 only (version: 2): IKEv1 has no number for it", std::string(name), ""});
  };
  for (const EspSuite& s : *suites) {
    if (const EncrInfo* e = find_encr(s.encr, s.key_bits); e != nullptr && !in_ikev1(*e)) return only(e->name);
    if (const IntegInfo* i = find_integ(s.integ); i != nullptr && !in_ikev1(*i)) return only(i->name);
  }
  return suites;
}

std::string nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(word.size() / 2, 2) + 1;
  for (const std::string_view candidate : candidates) {
    std::vector<std::size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), 0U);
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t above = row[j];
        row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (word[i - 1] == candidate[j - 1] ? 0U : 1U)});
        diagonal = above;
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace culvert
