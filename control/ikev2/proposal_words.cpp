// Transforms and proposals in words: their names, those that the algorithm table has not included, and what is wrong with them.
#include <algorithm>
#include <utility>

#include "control/ike/judging.hpp"
#include "control/ikev2/proposal_rows.hpp"

namespace culvert::ikev2 {

namespace {
using Named = std::pair<std::uint16_t, const char*>;

// IANA "ikev2-parameters", transform types 1 to 4: what a peer may offer that the algorithm table has not, or not with that key length.
constexpr std::array kEncr{Named{1, "des-iv64"},
                           Named{2, "des"},
                           Named{3, "3des"},
                           Named{4, "rc5"},
                           Named{5, "idea"},
                           Named{6, "cast"},
                           Named{7, "blowfish"},
                           Named{8, "3idea"},
                           Named{9, "des-iv32"},
                           Named{11, "null"},
                           Named{12, "aes"},
                           Named{13, "aesctr"},
                           Named{14, "aesccm8"},
                           Named{15, "aesccm12"},
                           Named{16, "aesccm16"},
                           Named{18, "aesgcm8"},
                           Named{19, "aesgcm12"},
                           Named{20, "aesgcm16"},
                           Named{21, "aesgmac"},
                           Named{23, "camellia"},
                           Named{24, "camelliactr"},
                           Named{25, "camelliaccm8"},
                           Named{26, "camelliaccm12"},
                           Named{27, "camelliaccm16"},
                           Named{28, "chacha20poly1305"}};
constexpr std::array kPrf{Named{3, "tiger"}, Named{9, "streebog512"}};
constexpr std::array kInteg{Named{3, "des-mac"}, Named{4, "kpdk"}, Named{6, "md5_128"}, Named{7, "sha1_160"}};
constexpr std::array kKe{Named{27, "ecp224bp"}, Named{28, "ecp256bp"}, Named{29, "ecp384bp"}, Named{30, "ecp512bp"},
                         Named{32, "curve448"}, Named{33, "gost256"},  Named{34, "gost512"},  Named{35, "mlkem512"},
                         Named{36, "mlkem768"}, Named{37, "mlkem1024"}};

template <class Table>
std::string lookup(const Table& table, std::uint16_t number, const char* kind) {
  for (const auto& [n, text] : table)
    if (n == number) return text;
  return std::string(kind) + " " + std::to_string(number);
}

std::string encryption_name(const Transform& t) {
  if (const EncrInfo* e = proposals::encr_info(t)) return std::string(e->name);
  std::string base = lookup(kEncr, t.id, "encryption");
  if (!t.key_bits) return base;
  // swanctl puts the key length into the middle: aes + gcm16 -> aes128gcm16.
  for (const std::string_view front : {"aes", "camellia"})
    if (base.starts_with(front)) return base.insert(front.size(), std::to_string(*t.key_bits));
  return base + " with a key of " + std::to_string(*t.key_bits) + " bits";
}

std::string base_name(const Transform& t) {
  switch (t.type) {
    case TransformType::Encr:
      return encryption_name(t);
    case TransformType::Prf: {
      const PrfInfo* p = find_prf(static_cast<Prf>(t.id));
      return "prf" + (p ? std::string(p->name) : lookup(kPrf, t.id, ""));
    }
    case TransformType::Integ: {
      const IntegInfo* i = find_integ(static_cast<Integ>(t.id));
      return i ? std::string(i->name) : t.id == 0 ? "none" : lookup(kInteg, t.id, "integrity");
    }
    case TransformType::Ke: {
      const DhInfo* d = find_ke(static_cast<DhGroup>(t.id));
      return d ? std::string(d->name) : t.id == 0 ? "none" : lookup(kKe, t.id, "group");
    }
    case TransformType::Esn:
      return t.id == 0 ? "noesn" : t.id == 1 ? "esn" : "esn " + std::to_string(t.id);
    default:
      break;
  }
  if (!is_additional(t.type)) return "transform type " + std::to_string(static_cast<unsigned>(t.type));
  Transform method = t;
  method.type = TransformType::Ke;
  return "ke" + std::to_string(static_cast<unsigned>(t.type) - static_cast<unsigned>(TransformType::AddKe1) + 1) + "_" + base_name(method);
}

const char* kind_name(TransformType type, bool several) {
  switch (type) {
    case TransformType::Encr:
      return several ? "encryption algorithms" : "encryption";
    case TransformType::Prf:
      return several ? "pseudo-random functions" : "pseudo-random function";
    case TransformType::Integ:
      return several ? "integrity algorithms" : "integrity algorithm";
    default:
      if (is_additional(type)) return several ? "additional key exchanges" : "additional key exchange";
      return several ? "Diffie-Hellman groups" : "Diffie-Hellman group";
  }
}

constexpr std::size_t kWords = 24;  // of one proposal

/// The words of a proposal, as the configuration would have them: "aes256-aes128-sha256-modp2048".
std::string describe(const Proposal& p) {
  using proposals::list, proposals::name;
  const proposals::Listed listed = list(p);
  std::vector<std::string> words;
  if (p.protocol == kProtoAh) words.emplace_back("ah");
  const auto add = [&](TransformType type) {
    const auto& kind = listed.at(type);
    for (const Transform* t : kind)
      if (t->id != 0 || kind.size() > 1) words.push_back(name(*t));
  };
  add(TransformType::Encr);
  add(TransformType::Integ);
  std::vector<std::uint16_t> prfs, derived;
  for (const Transform* t : listed.at(TransformType::Prf)) prfs.push_back(t->id);
  for (const Transform* t : listed.at(TransformType::Integ))
    derived.push_back(static_cast<std::uint16_t>(prf_of(static_cast<Integ>(t->id))));
  if (prfs != derived) add(TransformType::Prf);
  add(TransformType::Ke);
  for (std::size_t n = 0; n < kAdditional; ++n)
    for (const Transform* t : listed.at(additional_type(n))) words.push_back(name(*t));
  add(TransformType::Esn);
  std::string out;
  for (std::size_t n = 0; n < std::min(words.size(), kWords); ++n) out += (n == 0 ? "" : "-") + words[n];
  if (words.size() > kWords) out += "-(" + std::to_string(words.size() - kWords) + " more)";
  if (p.protocol < kProtoIke || p.protocol > kProtoEsp) return proposals::protocol_name(p.protocol);
  return out.empty() ? "nothing for " + proposals::protocol_name(p.protocol) : out;
}
}  // namespace

std::string describe(const Sa& sa) {
  std::string text;
  std::size_t count = 0;
  for (const Proposal& p : sa.proposals) ike::judging::append(text, count, count < ike::judging::kDescribed ? describe(p) : std::string());
  return ike::judging::finish(std::move(text), count);
}

namespace proposals {

std::string name(const Transform& t) {
  std::string out = base_name(t);
  if (t.key_bits && t.type != TransformType::Encr) out += " with a key of " + std::to_string(*t.key_bits) + " bits";
  if (t.unknown_attribute) out += " with an unknown attribute";
  return out;
}

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case kProtoIke:
      return "IKE";
    case kProtoAh:
      return "AH";
    case kProtoEsp:
      return "ESP";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

std::string complaint(const Row& row, const Listed& listed, TransformType type) {
  const auto& kind = listed.at(type);
  if (type == TransformType::Esn) {
    if (kind.empty()) return "it is not said whether sequence numbers are extended";
    if (kind.size() == 1 && kind[0]->unknown_attribute) return ike::judging::not_acceptable(name(*kind[0]));
    return row.at(type)->id == 0 ? "extended sequence numbers are offered, others are wanted"
                                 : "no extended sequence numbers are offered, they are wanted";
  }
  if (kind.empty() && is_additional(type)) return "no additional key exchange is offered where " + name(*row.at(type)) + " is wanted";
  if (kind.empty())
    return "no " + std::string(kind_name(type, false)) + " is offered" + (type == TransformType::Ke ? ", one is wanted" : "");
  if (!row.at(type) && type == TransformType::Integ)
    return "an integrity algorithm is offered beside a cipher that authenticates by itself";
  std::string names;
  std::size_t count = 0;
  for (const Transform* t : kind) {
    const std::string word = count < ike::judging::kDescribed ? name(*t) : std::string();
    ike::judging::append(names, count, type == TransformType::Ke ? std::to_string(t->id) + " (" + word + ")" : word);
  }
  names = ike::judging::finish(std::move(names), count);
  if (kind.size() == 1) return ike::judging::not_acceptable(std::string(kind_name(type, false)) + " " + names);
  return "none of the " + std::string(kind_name(type, true)) + " " + names + " is acceptable here";
}

}  // namespace proposals
}  // namespace culvert::ikev2
