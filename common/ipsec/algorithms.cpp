#include "common/ipsec/algorithms.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace culvert {

namespace {
// ikev1_cipher: IANA "ipsec-registry" Encryption Algorithm; ikev1_esp: "isakmp-registry" ESP transforms (RFC 2407 §4.4.4, 3602, 3686,
// 4106, 4309, 4543). An ICV of 8 bytes is for those who name it.
constexpr EncrInfo counter(std::string_view name, Encr id, std::uint16_t bits, std::uint8_t salt, std::uint8_t icv, std::uint8_t esp) {
  return {name, id, bits, salt, 8, 1, icv, 0, esp, false, icv == 8 || id == Encr::AesGmac};
}
constexpr std::array kEncr{
    EncrInfo{"aes128", Encr::AesCbc, 128, 0, 16, 16, 0, 7, 12, false, false},
    EncrInfo{"aes192", Encr::AesCbc, 192, 0, 16, 16, 0, 7, 12, false, false},
    EncrInfo{"aes256", Encr::AesCbc, 256, 0, 16, 16, 0, 7, 12, false, false},
    counter("aes128gcm16", Encr::AesGcm16, 128, 4, 16, 20),
    counter("aes192gcm16", Encr::AesGcm16, 192, 4, 16, 20),
    counter("aes256gcm16", Encr::AesGcm16, 256, 4, 16, 20),
    counter("aes128gcm12", Encr::AesGcm12, 128, 4, 12, 19),
    counter("aes192gcm12", Encr::AesGcm12, 192, 4, 12, 19),
    counter("aes256gcm12", Encr::AesGcm12, 256, 4, 12, 19),
    counter("aes128gcm8", Encr::AesGcm8, 128, 4, 8, 18),
    counter("aes192gcm8", Encr::AesGcm8, 192, 4, 8, 18),
    counter("aes256gcm8", Encr::AesGcm8, 256, 4, 8, 18),
    counter("aes128ctr", Encr::AesCtr, 128, 4, 0, 13),
    counter("aes192ctr", Encr::AesCtr, 192, 4, 0, 13),
    counter("aes256ctr", Encr::AesCtr, 256, 4, 0, 13),
    counter("aes128ccm16", Encr::AesCcm16, 128, 3, 16, 16),
    counter("aes256ccm16", Encr::AesCcm16, 256, 3, 16, 16),
    counter("aes128ccm12", Encr::AesCcm12, 128, 3, 12, 15),
    counter("aes256ccm12", Encr::AesCcm12, 256, 3, 12, 15),
    counter("aes128ccm8", Encr::AesCcm8, 128, 3, 8, 14),
    counter("aes256ccm8", Encr::AesCcm8, 256, 3, 8, 14),
    counter("aes128gmac", Encr::AesGmac, 128, 4, 16, 23),
    counter("aes192gmac", Encr::AesGmac, 192, 4, 16, 23),
    counter("aes256gmac", Encr::AesGmac, 256, 4, 16, 23),
    EncrInfo{"chacha20poly1305", Encr::ChaCha20Poly1305, 256, 4, 8, 1, 16, 0, 0, true, false},
    EncrInfo{"null", Encr::Null, 0, 0, 0, 1, 0, 0, 11, true, true},
    EncrInfo{"3des", Encr::TripleDes, 192, 0, 8, 8, 0, 5, 3, true, true},
    EncrInfo{"des", Encr::Des, 64, 0, 8, 8, 0, 1, 2, true, true},
};
constexpr std::array kInteg{
    IntegInfo{"sha1", Integ::HmacSha1_96, 20, 12, 0, 2, 3, false},
    IntegInfo{"sha256", Integ::HmacSha2_256_128, 32, 16, 0, 5, 5, false},
    IntegInfo{"sha384", Integ::HmacSha2_384_192, 48, 24, 0, 6, 6, false},
    IntegInfo{"sha512", Integ::HmacSha2_512_256, 64, 32, 0, 7, 7, false},
    IntegInfo{"aesxcbc", Integ::AesXcbc96, 16, 12, 0, 9, 9, false},
    IntegInfo{"aescmac", Integ::AesCmac96, 16, 12, 0, 0, 0, false},
    IntegInfo{"aes128gmac", Integ::Aes128Gmac, 20, 16, 8, 11, 11, false},
    IntegInfo{"aes192gmac", Integ::Aes192Gmac, 28, 16, 8, 12, 12, false},
    IntegInfo{"aes256gmac", Integ::Aes256Gmac, 36, 16, 8, 13, 13, false},
    IntegInfo{"md5", Integ::HmacMd5_96, 16, 12, 0, 1, 2, true},
};
constexpr std::array kPrf{
    PrfInfo{"sha1", Prf::HmacSha1, 20, 2, false},       PrfInfo{"sha256", Prf::HmacSha2_256, 32, 4, false},
    PrfInfo{"sha384", Prf::HmacSha2_384, 48, 5, false}, PrfInfo{"sha512", Prf::HmacSha2_512, 64, 6, false},
    PrfInfo{"aesxcbc", Prf::AesXcbc, 16, 0, false},     PrfInfo{"aescmac", Prf::AesCmac, 16, 0, false},
    PrfInfo{"md5", Prf::HmacMd5, 16, 1, true},
};
constexpr std::array kDh{
    DhInfo{"modp2048", DhGroup::Modp2048, 256, 256, false},
    DhInfo{"modp3072", DhGroup::Modp3072, 384, 384, false},
    DhInfo{"modp4096", DhGroup::Modp4096, 512, 512, false},
    DhInfo{"modp6144", DhGroup::Modp6144, 768, 768, false},
    DhInfo{"modp8192", DhGroup::Modp8192, 1024, 1024, false},
    DhInfo{"ecp256", DhGroup::Ecp256, 64, 32, false},
    DhInfo{"ecp384", DhGroup::Ecp384, 96, 48, false},
    DhInfo{"ecp521", DhGroup::Ecp521, 132, 66, false},
    DhInfo{"curve25519", DhGroup::Curve25519, 32, 32, false},
    DhInfo{"ecp192", DhGroup::Ecp192, 48, 24, false},
    DhInfo{"ecp224", DhGroup::Ecp224, 56, 28, false},
    DhInfo{"curve448", DhGroup::Curve448, 56, 56, false},
    DhInfo{"ecp256bp", DhGroup::Brainpool256, 64, 32, false},
    DhInfo{"ecp384bp", DhGroup::Brainpool384, 96, 48, false},
    DhInfo{"ecp512bp", DhGroup::Brainpool512, 128, 64, false},
    DhInfo{"ecp224bp", DhGroup::Brainpool224, 56, 28, false},
    DhInfo{"modp1536", DhGroup::Modp1536, 192, 192, true},
    DhInfo{"modp1024", DhGroup::Modp1024, 128, 128, true},
    DhInfo{"modp768", DhGroup::Modp768, 96, 96, true},
    DhInfo{"modp1024s160", DhGroup::Modp1024s160, 128, 128, true},
    DhInfo{"modp2048s224", DhGroup::Modp2048s224, 256, 256, true},
    DhInfo{"modp2048s256", DhGroup::Modp2048s256, 256, 256, true},
};
constexpr std::array kKem{
    DhInfo{"mlkem512", DhGroup::MlKem512, 800, 32, false, 768},
    DhInfo{"mlkem768", DhGroup::MlKem768, 1184, 32, false, 1088},
    DhInfo{"mlkem1024", DhGroup::MlKem1024, 1568, 32, false, 1568},
};

template <class Table, class Match>
auto find_row(const Table& table, Match match) -> const typename Table::value_type* {
  const auto row = std::find_if(table.begin(), table.end(), match);
  return row == table.end() ? nullptr : &*row;
}
}  // namespace

std::span<const EncrInfo> encr_table() { return kEncr; }
std::span<const IntegInfo> integ_table() { return kInteg; }
std::span<const PrfInfo> prf_table() { return kPrf; }
std::span<const DhInfo> dh_table() { return kDh; }
std::span<const DhInfo> kem_table() { return kKem; }

const EncrInfo* find_encr(Encr id, std::uint16_t key_bits) {
  return find_row(kEncr, [&](const auto& e) { return e.id == id && e.key_bits == key_bits; });
}
const IntegInfo* find_integ(Integ id) {
  return find_row(kInteg, [&](const auto& i) { return i.id == id; });
}
const PrfInfo* find_prf(Prf id) {
  return find_row(kPrf, [&](const auto& p) { return p.id == id; });
}
Prf prf_of(Integ id) {
  const IntegInfo* i = find_integ(id);
  const PrfInfo* p = i ? find_row(kPrf, [&](const auto& row) { return row.name == i->name; }) : nullptr;
  return p ? p->id : Prf::None;
}
const DhInfo* find_dh(DhGroup id) {
  return find_row(kDh, [&](const auto& d) { return d.id == id; });
}
const DhInfo* find_ke(DhGroup id) {
  const DhInfo* dh = find_dh(id);
  return dh ? dh : find_row(kKem, [&](const auto& d) { return d.id == id; });
}

std::vector<DhGroup> in_order(const AdditionalKes& all) {
  std::vector<DhGroup> out;
  std::ranges::copy_if(all, std::back_inserter(out), [](DhGroup g) { return g != DhGroup::None; });
  return out;
}

namespace {
/// "-ke1_mlkem768-ke2_ecp384"
std::string additional(const AdditionalKes& all) {
  std::string out;
  for (std::size_t n = 0; n < all.size(); ++n)
    if (const DhInfo* d = find_ke(all[n])) out += "-ke" + std::to_string(n + 1) + "_" + std::string(d->name);
  return out;
}
}  // namespace

std::string EspSuite::to_string() const {
  std::string out;
  const auto add = [&](std::string_view name) { out += (out.empty() ? "" : "-") + std::string(name); };
  if (const auto* e = find_encr(encr, key_bits)) add(e->name);
  if (const auto* i = find_integ(integ)) add(i->name);
  if (const auto* d = find_ke(pfs)) add(d->name);
  out += additional(more);
  if (esn) add("esn");
  return out.empty() ? "none" : out;
}

SuiteLimits limits(const EspSuite& suite) {
  constexpr std::uint64_t kSmallBlockBytes = 1'000'000'000, kCounts = 0xffffffff;
  const auto* e = find_encr(suite.encr, suite.key_bits);
  const auto* i = find_integ(suite.integ);
  // Counter modes of AES would have IVs for 2^64 packets with ESN. We end their keys earlier, since the advantage of who tells their output
  // from noise grows with the square of the blocks (RFC 8446 §5.5). ChaCha20 has no such bound there, and its IV has 64 bits (RFC 7634 §2).
  const bool counter = (e && e->counter_iv() && e->id != Encr::ChaCha20Poly1305) || (i && i->iv != 0);
  return {e && e->block == 8 ? kSmallBlockBytes : 0, !suite.esn || counter ? kCounts : 0};
}

std::string IkeSuite::to_string() const {
  std::string out;
  const auto* e = find_encr(encr, key_bits);
  if (e) out += e->name;
  if (const auto* i = find_integ(integ)) out += "-" + std::string(i->name);
  // IKEv1 names its PRF by the hash; IKEv2 names it where it is not the one that goes with the integrity algorithm.
  const bool ikev2 = integ != Integ::None || (e && e->aead());
  if (const auto* p = find_prf(prf); p && (integ == Integ::None || prf != prf_of(integ)))
    out += (ikev2 ? "-prf" : "-") + std::string(p->name);
  if (const auto* d = find_ke(group)) out += "-" + std::string(d->name);
  out += additional(more);
  return out.empty() ? "none" : out;
}

namespace {
template <class... Rows>
std::vector<std::string_view> weak_of(const Rows*... rows) {
  std::vector<std::string_view> out;
  const auto add = [&](const auto* row) {
    if (row && row->weak && std::ranges::find(out, row->name) == out.end()) out.push_back(row->name);
  };
  (add(rows), ...);
  return out;
}
std::vector<std::string_view> with_additional(std::vector<std::string_view> out, const AdditionalKes& more) {
  for (const DhGroup id : in_order(more))
    for (const std::string_view name : weak_of(find_ke(id)))
      if (std::ranges::find(out, name) == out.end()) out.push_back(name);
  return out;
}
}  // namespace

std::vector<std::string_view> weak_algorithms(const IkeSuite& s) {
  return with_additional(weak_of(find_encr(s.encr, s.key_bits), find_integ(s.integ), find_prf(s.prf), find_ke(s.group)), s.more);
}
std::vector<std::string_view> weak_algorithms(const EspSuite& s) {
  return with_additional(weak_of(find_encr(s.encr, s.key_bits), find_integ(s.integ), find_ke(s.pfs)), s.more);
}
std::vector<std::string_view> all_weak_algorithms() {
  std::vector<std::string_view> out;
  const auto add = [&](const auto& table) {
    for (const auto& row : table)
      if (row.weak && std::find(out.begin(), out.end(), row.name) == out.end()) out.push_back(row.name);
  };
  add(kEncr), add(kInteg), add(kPrf), add(kDh);
  return out;
}

std::string_view weakness(std::string_view algorithm) {
  if (algorithm == "null" || algorithm.ends_with("gmac")) return "does not encrypt: whoever sees the packets can read them";
  if (algorithm.ends_with("ccm8") || algorithm.ends_with("gcm8"))
    return "has a check value of 8 bytes only: forging a packet takes far fewer attempts";
  return "is weak and is used for this peer only; whoever records the traffic may read it one day";
}

}  // namespace culvert
