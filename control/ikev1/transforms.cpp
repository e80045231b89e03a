// Attributes to numbers, numbers to names.
#include "control/ikev1/transforms.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace culvert::ikev1 {

namespace {
using Named = std::pair<std::uint16_t, const char*>;

// IANA "ipsec-registry" and "isakmp-registry": what a peer may offer that the algorithm table has not.
constexpr std::array kCiphers{Named{1, "des"},  Named{2, "idea"}, Named{3, "blowfish"}, Named{4, "rc5"},
                              Named{5, "3des"}, Named{6, "cast"}, Named{7, "aes"},      Named{8, "camellia"}};
constexpr std::array kHashes{Named{1, "md5"},    Named{2, "sha1"},   Named{3, "tiger"},
                             Named{4, "sha256"}, Named{5, "sha384"}, Named{6, "sha512"}};
constexpr std::array kGroups{Named{1, "modp768"},   Named{2, "modp1024"},      Named{3, "ec2n155"},       Named{4, "ec2n185"},
                             Named{5, "modp1536"},  Named{14, "modp2048"},     Named{15, "modp3072"},     Named{16, "modp4096"},
                             Named{17, "modp6144"}, Named{18, "modp8192"},     Named{19, "ecp256"},       Named{20, "ecp384"},
                             Named{21, "ecp521"},   Named{22, "modp1024s160"}, Named{23, "modp2048s224"}, Named{24, "modp2048s256"},
                             Named{25, "ecp192"},   Named{26, "ecp224"},       Named{27, "ecp224bp"},     Named{28, "ecp256bp"},
                             Named{29, "ecp384bp"}, Named{30, "ecp512bp"},     Named{31, "curve25519"},   Named{32, "curve448"}};
// Those that are not in the table of phase1_auth.hpp.
constexpr std::array kAuthMethods{Named{2, "DSS signatures"},
                                  Named{4, "RSA encryption"},
                                  Named{5, "revised RSA encryption"},
                                  Named{64223, "hybrid DSS"},
                                  Named{65003, "XAuth with DSS signatures"},
                                  Named{65007, "XAuth with RSA encryption"}};
constexpr std::array kEspTransforms{
    Named{1, "des-iv64"},  Named{2, "des"},      Named{3, "3des"},      Named{4, "rc5"},       Named{5, "idea"},     Named{6, "cast"},
    Named{7, "blowfish"},  Named{8, "3idea"},    Named{9, "des-iv32"},  Named{10, "rc4"},      Named{11, "null"},    Named{12, "aes"},
    Named{13, "aesctr"},   Named{14, "aesccm8"}, Named{15, "aesccm12"}, Named{16, "aesccm16"}, Named{18, "aesgcm8"}, Named{19, "aesgcm12"},
    Named{20, "aesgcm16"}, Named{21, "seed"},    Named{22, "camellia"}, Named{23, "aesgmac"}};
constexpr std::array kEspAuths{Named{1, "md5"},     Named{2, "sha1"},        Named{3, "des-mac"},     Named{4, "kpdk"},
                               Named{5, "sha256"},  Named{6, "sha384"},      Named{7, "sha512"},      Named{8, "ripemd"},
                               Named{9, "aesxcbc"}, Named{11, "aes128gmac"}, Named{12, "aes192gmac"}, Named{13, "aes256gmac"}};
constexpr std::array kModes{Named{1, "tunnel"},
                            Named{2, "transport"},
                            Named{3, "UDP tunnel"},
                            Named{4, "UDP transport"},
                            Named{61443, "UDP tunnel (draft)"},
                            Named{61444, "UDP transport (draft)"}};

template <class Table>
std::string lookup(const Table& table, std::uint16_t number, const char* kind) {
  for (const auto& [n, text] : table)
    if (n == number) return text;
  return std::string(kind) + " " + std::to_string(number);
}

/// swanctl puts the key length into the middle: aes + gcm16 -> aes128gcm16.
std::string with_key_bits(const std::string& base, std::optional<std::uint16_t> bits) {
  if (!bits) return base;
  if (base.starts_with("aes")) return "aes" + std::to_string(*bits) + base.substr(3);
  return base + " of " + std::to_string(*bits) + " bits";
}

std::string twice(std::uint16_t type) { return "attribute " + std::to_string(type) + " stands there twice"; }

/// Stores a 16-bit value that may be there once.
void store(std::optional<std::uint16_t>& field, const Attribute& a, std::string& problem) {
  const auto n = a.number();
  if (field)
    problem = twice(a.type);
  else if (!n || *n > 0xffff)
    problem = "the value of attribute " + std::to_string(a.type) + " is not a number of 16 bits";
  else
    field = static_cast<std::uint16_t>(*n);
}

bool too_long(const Attribute& a, std::string& problem) {
  if (a.value.size() <= kMaxAttributeValue) return false;
  problem = "attribute " + std::to_string(a.type) + " is " + std::to_string(a.value.size()) + " bytes long";
  return true;
}
}  // namespace

std::string dh_name(std::uint16_t group) { return lookup(kGroups, group, "group"); }
std::string ike_cipher_name(std::uint16_t cipher, std::optional<std::uint16_t> key_bits) {
  return with_key_bits(lookup(kCiphers, cipher, "cipher"), key_bits);
}
std::string ike_hash_name(std::uint16_t hash) { return lookup(kHashes, hash, "hash"); }
std::string auth_method_name(std::uint16_t method) {
  const Phase1AuthInfo* info = find_phase1_auth(method);
  return info ? std::string(info->name) : lookup(kAuthMethods, method, "method");
}
std::string esp_transform_name(std::uint8_t id, std::optional<std::uint16_t> key_bits) {
  return with_key_bits(lookup(kEspTransforms, id, "transform"), key_bits);
}
std::string esp_auth_name(std::uint16_t auth) { return lookup(kEspAuths, auth, "authentication"); }
std::string encapsulation_name(std::uint16_t mode) { return lookup(kModes, mode, "mode"); }

Lifetime read_lifetime(std::span<const Attribute> attributes, std::uint16_t type_number, std::uint16_t duration_number,
                       std::string& problem) {
  Lifetime out;
  std::uint64_t type = 0;  // none read yet
  for (const Attribute& a : attributes) {
    if (a.type == type_number) {
      if (type != 0) problem = "a life type without a duration";
      type = a.number().value_or(0);
      if (type != kSeconds && type != kKilobytes) problem = "a life type that is neither seconds nor kilobytes";
    } else if (a.type == duration_number) {
      const auto n = a.number();
      if (type == 0)
        problem = "a life duration without a life type";
      else if (!n)
        problem = "a life duration of " + std::to_string(a.value.size()) + " bytes";
      else if (*n == 0)
        problem = "a life duration of zero";
      if (!problem.empty()) return out;
      auto& field = type == kSeconds ? out.seconds : out.kbytes;
      if (field) problem = twice(a.type);
      field = *n;
      type = 0;
    }
    if (!problem.empty()) return out;
  }
  if (type != 0) problem = "a life type without a duration";
  return out;
}

ReadIkeTransform read_ike_transform(const Transform& t) {
  ReadIkeTransform out;
  if (t.id != oakley::kKeyIke) out.problem = "transform " + std::to_string(t.id) + " is not KEY_IKE";
  for (const Attribute& a : t.attributes) {
    if (too_long(a, out.problem)) break;
    switch (a.type) {
      case oakley::kEncryption:
        store(out.cipher, a, out.problem);
        break;
      case oakley::kHash:
        store(out.hash, a, out.problem);
        break;
      case oakley::kAuthMethod:
        store(out.auth, a, out.problem);
        break;
      case oakley::kGroup:
        store(out.group, a, out.problem);
        break;
      case oakley::kKeyLength:
        store(out.key_bits, a, out.problem);
        break;
      case oakley::kLifeType:
      case oakley::kLifeDuration:
        break;
      default:
        if (a.type > oakley::kGroup && a.type <= oakley::kGroupOrder && a.type != oakley::kPrf)
          out.problem = "group parameters (attribute " + std::to_string(a.type) + ") are not negotiated here";
        else if (a.type < oakley::kFirstPrivate)
          out.problem = "attribute " + std::to_string(a.type) + " is not supported";
    }
  }
  if (out.problem.empty()) out.life = read_lifetime(t.attributes, oakley::kLifeType, oakley::kLifeDuration, out.problem);
  return out;
}

const EncrInfo* ReadIkeTransform::encr_info() const {
  const auto table = encr_table();
  const auto row = std::find_if(table.begin(), table.end(), [this](const EncrInfo& e) {
    return cipher && e.ikev1_cipher != 0 && e.ikev1_cipher == *cipher &&
           (e.fixed_key ? key_bits.value_or(e.key_bits) == e.key_bits : key_bits == e.key_bits);
  });
  return row == table.end() ? nullptr : &*row;
}
const PrfInfo* ReadIkeTransform::prf_info() const {
  const auto table = prf_table();
  const auto row =
      std::find_if(table.begin(), table.end(), [this](const PrfInfo& p) { return hash && p.ikev1_hash != 0 && p.ikev1_hash == *hash; });
  return row == table.end() ? nullptr : &*row;
}
const DhInfo* ReadIkeTransform::dh_info() const { return group ? find_dh(static_cast<DhGroup>(*group)) : nullptr; }

std::string ReadIkeTransform::to_string() const {
  std::string out = cipher ? ike_cipher_name(*cipher, key_bits) : "no cipher";
  out += "-" + (hash ? ike_hash_name(*hash) : "no hash");
  out += "-" + (group ? dh_name(*group) : "no group");
  if (auth != oakley::kPreSharedKey) out += " (" + (auth ? auth_method_name(*auth) : "no authentication method") + ")";
  return out;
}

ReadEspTransform read_esp_transform(const Transform& t, SaProtocol protocol) {
  ReadEspTransform out;
  out.protocol = protocol;
  out.id = t.id;
  for (const Attribute& a : t.attributes) {
    if (too_long(a, out.problem)) break;
    switch (a.type) {
      case doi::kGroup:
        store(out.group, a, out.problem);
        break;
      case doi::kEncapsulation:
        store(out.mode, a, out.problem);
        break;
      case doi::kAuth:
        store(out.auth, a, out.problem);
        break;
      case doi::kKeyLength:
        store(out.key_bits, a, out.problem);
        break;
      case doi::kEsn:
        if (out.esn) out.problem = twice(a.type);
        out.esn = a.number() == doi::kEsn64;
        if (!out.esn) out.problem = "extended sequence numbers of an unknown kind";
        break;
      case doi::kLifeType:
      case doi::kLifeDuration:
        break;
      default:
        if (a.type < doi::kFirstPrivate) out.problem = "attribute " + std::to_string(a.type) + " is not supported";
    }
  }
  if (out.problem.empty()) out.life = read_lifetime(t.attributes, doi::kLifeType, doi::kLifeDuration, out.problem);
  return out;
}

const EncrInfo* ReadEspTransform::encr_info() const {
  const auto table = encr_table();
  const auto row = std::find_if(table.begin(), table.end(), [this](const EncrInfo& e) {
    return protocol == SaProtocol::Esp && e.ikev1_esp != 0 && e.ikev1_esp == id &&
           (e.fixed_key ? key_bits.value_or(e.key_bits) == e.key_bits : key_bits == e.key_bits);
  });
  return row == table.end() ? nullptr : &*row;
}
const IntegInfo* ReadEspTransform::integ_info() const {
  const auto table = integ_table();
  const auto row = std::find_if(table.begin(), table.end(), [this](const IntegInfo& i) {
    return auth && i.ikev1_auth != 0 && i.ikev1_auth == *auth && (protocol == SaProtocol::Ah ? i.ikev1_ah == id : i.esp());
  });
  return row == table.end() ? nullptr : &*row;
}
const DhInfo* ReadEspTransform::dh_info() const { return group ? find_dh(static_cast<DhGroup>(*group)) : nullptr; }

std::optional<EspSuite> ReadEspTransform::suite() const {
  const EncrInfo* e = encr_info();
  const IntegInfo* i = integ_info();
  const DhInfo* d = dh_info();
  if (!problem.empty() || (group && !d) || (auth && !i)) return std::nullopt;
  const DhGroup pfs = d ? d->id : DhGroup::None;
  if (protocol == SaProtocol::Ah) return i && !key_bits ? std::optional(EspSuite{Encr::None, 0, i->id, pfs, protocol, esn}) : std::nullopt;
  if (!e || e->aead() == (i != nullptr)) return std::nullopt;
  return EspSuite{e->id, e->key_bits, i ? i->id : Integ::None, pfs, protocol, esn};
}

std::optional<SaMode> ReadEspTransform::sa_mode() const {
  const std::uint16_t m = mode.value_or(0);
  for (const Encapsulation e : {Encapsulation::Tunnel, Encapsulation::Transport, Encapsulation::UdpTunnel, Encapsulation::UdpTransport})
    if (m == static_cast<std::uint16_t>(e) || (in_udp(e) && m == static_cast<std::uint16_t>(e) + kDraftUdpModes)) return mode_of(e);
  return std::nullopt;
}

std::string ReadEspTransform::to_string() const {
  std::string out = protocol == SaProtocol::Ah ? "ah" : esp_transform_name(id, key_bits);
  if (auth) out += "-" + esp_auth_name(*auth);
  if (group) out += "-" + dh_name(*group);
  if (esn) out += "-esn";
  return out;
}

}  // namespace culvert::ikev1
