// Diffie-Hellman over EVP_PKEY. The peer's value is judged here before the library multiplies with it; the library's own
// full check of a MODP value (y^q = 1) is left out where the prime is safe: the range check is all that RFC 6989 §2.1 asks then,
// and it would cost as much as the key exchange itself.
#include "control/crypto/dh.hpp"

#include <array>
#include <vector>

#include <openssl/core_names.h>
#include <openssl/ec.h>

#include "control/crypto/openssl.hpp"

namespace culvert::crypto {

namespace {
using namespace detail;

enum class Kind : std::uint8_t {
  SafePrime,  ///< (p-1)/2 is prime: every value in range is of the large subgroup, or of its coset
  Subgroup,   ///< RFC 5114: the subgroup is small against p, so a peer's value is checked to be in it (RFC 6989 §2.2)
  Curve,
  Montgomery,
};
struct Group {
  DhGroup id;
  Kind kind;
  const char* name;           ///< OpenSSL's; nullptr: it has the prime only (RFC 2409 §6)
  std::int64_t private_bits;  ///< MODP: twice the upper strength estimate of RFC 3526 §8; 0: the library's choice
  BIGNUM* (*prime)(BIGNUM*) = nullptr;
  [[nodiscard]] bool modp() const { return kind == Kind::SafePrime || kind == Kind::Subgroup; }
  [[nodiscard]] const char* algorithm() const {
    if (kind == Kind::Montgomery) return id == DhGroup::Curve448 ? "X448" : "X25519";
    return modp() ? "DH" : "EC";
  }
};
constexpr std::array kGroups{
    Group{DhGroup::Modp768, Kind::SafePrime, nullptr, 200, BN_get_rfc2409_prime_768},
    Group{DhGroup::Modp1024, Kind::SafePrime, nullptr, 200, BN_get_rfc2409_prime_1024},
    Group{DhGroup::Modp1536, Kind::SafePrime, "modp_1536", 240},
    Group{DhGroup::Modp2048, Kind::SafePrime, "modp_2048", 320},
    Group{DhGroup::Modp3072, Kind::SafePrime, "modp_3072", 420},
    Group{DhGroup::Modp4096, Kind::SafePrime, "modp_4096", 480},
    Group{DhGroup::Modp6144, Kind::SafePrime, "modp_6144", 540},
    Group{DhGroup::Modp8192, Kind::SafePrime, "modp_8192", 620},
    Group{DhGroup::Modp1024s160, Kind::Subgroup, "dh_1024_160", 0},
    Group{DhGroup::Modp2048s224, Kind::Subgroup, "dh_2048_224", 0},
    Group{DhGroup::Modp2048s256, Kind::Subgroup, "dh_2048_256", 0},
    Group{DhGroup::Ecp192, Kind::Curve, "P-192", 0},
    Group{DhGroup::Ecp224, Kind::Curve, "P-224", 0},
    Group{DhGroup::Ecp256, Kind::Curve, "P-256", 0},
    Group{DhGroup::Ecp384, Kind::Curve, "P-384", 0},
    Group{DhGroup::Ecp521, Kind::Curve, "P-521", 0},
    Group{DhGroup::Brainpool224, Kind::Curve, "brainpoolP224r1", 0},
    Group{DhGroup::Brainpool256, Kind::Curve, "brainpoolP256r1", 0},
    Group{DhGroup::Brainpool384, Kind::Curve, "brainpoolP384r1", 0},
    Group{DhGroup::Brainpool512, Kind::Curve, "brainpoolP512r1", 0},
    Group{DhGroup::Curve25519, Kind::Montgomery, nullptr, 0},
    Group{DhGroup::Curve448, Kind::Montgomery, nullptr, 0},
};
const Group* find_group(DhGroup id) {
  for (const Group& g : kGroups)
    if (g.id == id) return &g;
  return nullptr;
}

BigNum to_number(ByteView bytes) {
  return BigNum(must_have(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), nullptr), "BN_bin2bn"));
}

/// Makes a key of a MODP group or a curve from its parts; null where the library finds that they are none.
Pkey from_params(const Group& group, OSSL_PARAM_BLD* parts, int selection) {
  BigNum p, g;  // the builder keeps pointers until it is done
  if (group.name != nullptr) {
    must(OSSL_PARAM_BLD_push_utf8_string(parts, OSSL_PKEY_PARAM_GROUP_NAME, group.name, 0), "OSSL_PARAM_BLD_push_utf8_string");
  } else {
    p = BigNum(must_have(group.prime(nullptr), "BN_get_rfc2409_prime"));
    g = BigNum(must_have(BN_new(), "BN_new"));
    must(BN_set_word(g.get(), 2), "BN_set_word");
    must(OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_FFC_P, p.get()), "OSSL_PARAM_BLD_push_BN");
    must(OSSL_PARAM_BLD_push_BN(parts, OSSL_PKEY_PARAM_FFC_G, g.get()), "OSSL_PARAM_BLD_push_BN");
  }
  const Params params(must_have(OSSL_PARAM_BLD_to_param(parts), "OSSL_PARAM_BLD_to_param"));
  const PkeyCtx ctx(must_have(EVP_PKEY_CTX_new_from_name(nullptr, group.algorithm(), nullptr), "EVP_PKEY_CTX_new_from_name"));
  must(EVP_PKEY_fromdata_init(ctx.get()), "EVP_PKEY_fromdata_init");
  EVP_PKEY* raw = nullptr;
  if (EVP_PKEY_fromdata(ctx.get(), &raw, selection, params.get()) != 1) {
    EVP_PKEY_free(raw);
    ERR_clear_error();
    return nullptr;
  }
  return Pkey(raw);
}

/// 1 < y < p-1 (RFC 6989 §2.1).
bool in_range(const BIGNUM* y, const BIGNUM* p) {
  const BigNum last(must_have(BN_dup(p), "BN_dup"));
  must(BN_sub_word(last.get(), 1), "BN_sub_word");
  return BN_cmp(y, BN_value_one()) > 0 && BN_cmp(y, last.get()) < 0;
}

BigNum prime_of(EVP_PKEY* key) {
  BIGNUM* p = nullptr;
  must(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_FFC_P, &p), "EVP_PKEY_get_bn_param");
  return BigNum(p);
}

/// The peer's value as a key, if the group allows it. The length has been checked.
std::expected<Pkey, DhError> import_peer(const Group& group, EVP_PKEY* own, ByteView value) {
  if (group.kind == Kind::Montgomery)  // every 32 or 56 bytes are a value; a small one shows in the result (RFC 7748 §6)
    return Pkey(must_have(EVP_PKEY_new_raw_public_key_ex(nullptr, group.algorithm(), nullptr, value.data(), value.size()),
                          "EVP_PKEY_new_raw_public_key_ex"));
  const ParamBuilder parts(must_have(OSSL_PARAM_BLD_new(), "OSSL_PARAM_BLD_new"));
  BigNum y;
  Bytes point;
  const DhError bad = group.modp() ? DhError::OutOfRange : DhError::NotOnCurve;
  if (!group.modp()) {
    point.reserve(value.size() + 1);
    point.push_back(POINT_CONVERSION_UNCOMPRESSED);
    point.insert(point.end(), value.begin(), value.end());
    must(OSSL_PARAM_BLD_push_octet_string(parts.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()),
         "OSSL_PARAM_BLD_push_octet_string");
  } else {
    y = to_number(value);
    if (!in_range(y.get(), prime_of(own).get())) return std::unexpected(DhError::OutOfRange);
    must(OSSL_PARAM_BLD_push_BN(parts.get(), OSSL_PKEY_PARAM_PUB_KEY, y.get()), "OSSL_PARAM_BLD_push_BN");
  }
  Pkey peer = from_params(group, parts.get(), EVP_PKEY_PUBLIC_KEY);
  if (!peer) return std::unexpected(bad);
  const PkeyCtx check(must_have(EVP_PKEY_CTX_new_from_pkey(nullptr, peer.get(), nullptr), "EVP_PKEY_CTX_new_from_pkey"));
  const bool whole = group.kind == Kind::Subgroup;
  if ((whole ? EVP_PKEY_public_check(check.get()) : EVP_PKEY_public_check_quick(check.get())) != 1) {
    ERR_clear_error();
    return std::unexpected(bad);
  }
  return peer;
}

/// The KE payload's form of a key's public value.
Bytes wire_public(const Group& group, EVP_PKEY* key, std::size_t size) {
  if (group.kind == Kind::Montgomery) {
    Bytes out(size);
    must(EVP_PKEY_get_raw_public_key(key, out.data(), &size), "EVP_PKEY_get_raw_public_key");
    return out;
  }
  if (group.modp()) {
    BIGNUM* raw = nullptr;
    must(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PUB_KEY, &raw), "EVP_PKEY_get_bn_param");
    const BigNum y(raw);
    Bytes out(size);
    if (BN_bn2binpad(y.get(), out.data(), static_cast<int>(size)) != static_cast<int>(size)) throw LibraryError("BN_bn2binpad");
    return out;
  }
  Bytes point(size + 1);
  std::size_t written = 0;
  must(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size(), &written),
       "EVP_PKEY_get_octet_string_param");
  if (written != point.size() || point[0] != POINT_CONVERSION_UNCOMPRESSED) throw LibraryError("public key format");
  return {point.begin() + 1, point.end()};
}
}  // namespace

namespace {
/// Where keys of the group are made: a group without a name of its own is given by its parameters.
PkeyCtx keygen_context(const Group& group) {
  if (group.prime == nullptr)
    return PkeyCtx(must_have(EVP_PKEY_CTX_new_from_name(nullptr, group.algorithm(), nullptr), "EVP_PKEY_CTX_new_from_name"));
  const ParamBuilder parts(must_have(OSSL_PARAM_BLD_new(), "OSSL_PARAM_BLD_new"));
  const Pkey parameters = from_params(group, parts.get(), EVP_PKEY_KEY_PARAMETERS);
  return PkeyCtx(must_have(EVP_PKEY_CTX_new_from_pkey(nullptr, parameters.get(), nullptr), "EVP_PKEY_CTX_new_from_pkey"));
}
}  // namespace

struct DhKey::Key {
  const Group* group;
  detail::Pkey pkey;
};

DhKey::DhKey(DhGroup group, std::unique_ptr<Key> key, Bytes public_value)
    : group_(group), key_(std::move(key)), public_(std::move(public_value)) {}
DhKey::~DhKey() = default;

std::expected<std::shared_ptr<DhKey>, DhError> DhKey::generate(DhGroup group) try {
  const Group* g = find_group(group);
  if (!g) return std::unexpected(DhError::UnknownGroup);
  const PkeyCtx ctx = keygen_context(*g);
  must(EVP_PKEY_keygen_init(ctx.get()), "EVP_PKEY_keygen_init");
  std::int64_t private_bits = g->private_bits;
  std::vector<OSSL_PARAM> params;
  if (g->name != nullptr) params.push_back(OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, const_cast<char*>(g->name), 0));
  if (private_bits != 0) params.push_back(OSSL_PARAM_construct_int64(OSSL_PKEY_PARAM_DH_PRIV_LEN, &private_bits));
  params.push_back(OSSL_PARAM_construct_end());
  must(EVP_PKEY_CTX_set_params(ctx.get(), params.data()), "EVP_PKEY_CTX_set_params");
  EVP_PKEY* raw = nullptr;
  must(EVP_PKEY_generate(ctx.get(), &raw), "EVP_PKEY_generate");
  Pkey pkey(raw);
  Bytes public_value = wire_public(*g, pkey.get(), find_dh(group)->public_bytes);
  return std::shared_ptr<DhKey>(new DhKey(group, std::make_unique<Key>(g, std::move(pkey)), std::move(public_value)));
} catch (const LibraryError&) {
  return std::unexpected(DhError::Library);
}

std::expected<std::shared_ptr<DhKey>, DhError> DhKey::from_private(DhGroup group, ByteView private_value) try {
  const Group* g = find_group(group);
  if (!g) return std::unexpected(DhError::UnknownGroup);
  if (g->kind == Kind::Montgomery) {
    Pkey raw(EVP_PKEY_new_raw_private_key_ex(nullptr, g->algorithm(), nullptr, private_value.data(), private_value.size()));
    if (!raw) return std::unexpected(DhError::BadLength);
    return std::shared_ptr<DhKey>(new DhKey(group, std::make_unique<Key>(g, std::move(raw)), {}));
  }
  const ParamBuilder parts(must_have(OSSL_PARAM_BLD_new(), "OSSL_PARAM_BLD_new"));
  const BigNum x = to_number(private_value);
  must(OSSL_PARAM_BLD_push_BN(parts.get(), OSSL_PKEY_PARAM_PRIV_KEY, x.get()), "OSSL_PARAM_BLD_push_BN");
  Pkey pkey = from_params(*g, parts.get(), EVP_PKEY_KEYPAIR);
  if (!pkey) return std::unexpected(DhError::OutOfRange);
  return std::shared_ptr<DhKey>(new DhKey(group, std::make_unique<Key>(g, std::move(pkey)), {}));
} catch (const LibraryError&) {
  return std::unexpected(DhError::Library);
}

std::expected<SecretBytes, DhError> DhKey::compute(ByteView peer_public) const try {
  const DhInfo& info = *find_dh(group_);
  if (peer_public.size() != info.public_bytes) return std::unexpected(DhError::BadLength);
  const auto peer = import_peer(*key_->group, key_->pkey.get(), peer_public);
  if (!peer) return std::unexpected(peer.error());
  const PkeyCtx ctx(must_have(EVP_PKEY_CTX_new_from_pkey(nullptr, key_->pkey.get(), nullptr), "EVP_PKEY_CTX_new_from_pkey"));
  must(EVP_PKEY_derive_init(ctx.get()), "EVP_PKEY_derive_init");
  unsigned int pad = 1;
  const std::array params{OSSL_PARAM_construct_uint(OSSL_EXCHANGE_PARAM_PAD, &pad), OSSL_PARAM_construct_end()};
  if (key_->group->modp()) must(EVP_PKEY_CTX_set_params(ctx.get(), params.data()), "EVP_PKEY_CTX_set_params");
  must(EVP_PKEY_derive_set_peer_ex(ctx.get(), peer->get(), 0), "EVP_PKEY_derive_set_peer_ex");
  SecretBytes shared(info.shared_bytes);
  std::size_t size = shared.size();
  const bool derived = EVP_PKEY_derive(ctx.get(), shared.mutable_view().data(), &size) == 1;
  if (!derived && key_->group->kind == Kind::Montgomery) {  // all zero: a value of small order (RFC 8031 §3.2)
    ERR_clear_error();
    return std::unexpected(DhError::OutOfRange);
  }
  must(derived ? 1 : 0, "EVP_PKEY_derive");
  if (size != shared.size()) throw LibraryError("EVP_PKEY_derive (size)");
  return shared;
} catch (const LibraryError&) {
  return std::unexpected(DhError::Library);
}

}  // namespace culvert::crypto
