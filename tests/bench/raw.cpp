// The direct call for GCM, bursts of jobs for the others: the quickest of each in IPsec-MB 1.3, as the data plane uses them, too.
#include "tests/bench/raw.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <vector>

#include <emmintrin.h>
#include <intel-ipsec-mb.h>

namespace culvert::bench {

namespace {
/// CBC with HMAC.
struct alignas(64) Schedules {
  alignas(64) std::array<std::uint8_t, 256> encrypt{}, decrypt{};
  alignas(64) std::array<std::uint8_t, 64> inner{}, outer{};
};
struct alignas(64) ChaChaKey {
  std::array<std::uint8_t, 32> bytes{};
};
bool is_chacha(const EspSuite& s) { return s.encr == Encr::ChaCha20Poly1305; }
bool is_gcm(const EspSuite& s) { return s.encr == Encr::AesGcm16; }
bool is_sha256(const EspSuite& s) { return s.integ == Integ::HmacSha2_256_128; }
constexpr std::uint64_t kCacheLine = 64;
}  // namespace

struct RawCrypto::Impl {
  EspSuite suite;
  bool wide = false;         // keys of 256 bits
  bool powers_last = false;  // of gcm_key_data
  std::size_t icv = 0;
  IMB_MGR* mgr = nullptr;
  std::vector<gcm_key_data> gcm;  // two of them are empty
  std::vector<Schedules> cbc;
  std::vector<ChaChaKey> chacha;
  alignas(64) std::array<std::uint8_t, 16> tag{};

  void gcm_all(std::span<const Op> ops, bool sealing);
  void jobs_all(std::span<const Op> ops, bool sealing);
  void fill_cbc(IMB_JOB& job, const Op& op) const;
  void fill_chacha(IMB_JOB& job, const Op& op, std::array<std::uint8_t, 16>& nonce) const;
  void expand(Schedules& out) const;
};

void RawCrypto::Impl::expand(Schedules& out) const {
  const std::array<std::uint8_t, 64> zeros{};
  if (wide) {
    IMB_AES_KEYEXP_256(mgr, zeros.data(), out.encrypt.data(), out.decrypt.data());
  } else {
    IMB_AES_KEYEXP_128(mgr, zeros.data(), out.encrypt.data(), out.decrypt.data());
  }
  const auto half = [&](std::uint8_t pad, std::uint8_t* to) {  // RFC 2104 §2
    std::array<std::uint8_t, 64> block;
    block.fill(pad);
    if (is_sha256(suite)) {
      IMB_SHA256_ONE_BLOCK(mgr, block.data(), to);
    } else {
      IMB_SHA1_ONE_BLOCK(mgr, block.data(), to);
    }
  };
  half(0x36, out.inner.data());
  half(0x5c, out.outer.data());
}

RawCrypto::RawCrypto(const EspSuite& suite, std::uint32_t keys) : impl_(std::make_unique<Impl>()) {
  const bool cbc = suite.encr == Encr::AesCbc && (is_sha256(suite) || suite.integ == Integ::HmacSha1_96);
  const bool aead = is_gcm(suite) || is_chacha(suite);
  if ((!aead && !cbc) || suite.key_bits == 192) throw std::runtime_error("no raw measurement of " + suite.to_string());
  impl_->suite = suite;
  impl_->wide = suite.key_bits == 256;
  impl_->icv = aead ? 16 : find_integ(suite.integ)->icv;
  impl_->mgr = alloc_mb_mgr(0);
  if (impl_->mgr == nullptr) throw std::runtime_error("IPsec-MB: no memory");
  init_mb_mgr_auto(impl_->mgr, nullptr);
  const std::array<std::uint8_t, 32> zeros{};
  if (is_gcm(suite)) {
    impl_->gcm.resize(keys);
    for (gcm_key_data& key : impl_->gcm) {
      if (impl_->wide) {
        IMB_AES256_GCM_PRE(impl_->mgr, zeros.data(), &key);
      } else {
        IMB_AES128_GCM_PRE(impl_->mgr, zeros.data(), &key);
      }
    }
    const auto& powers = impl_->gcm[0].ghash_keys.vaes_avx512.shifted_hkey;
    impl_->powers_last = std::any_of(std::end(powers) - 16, std::end(powers), [](std::uint8_t byte) { return byte != 0; });
    return;
  }
  impl_->chacha.resize(is_chacha(suite) ? keys : 0);
  impl_->cbc.resize(cbc ? keys : 0);
  for (Schedules& s : impl_->cbc) impl_->expand(s);
}
RawCrypto::~RawCrypto() { free_mb_mgr(impl_->mgr); }

void RawCrypto::Impl::gcm_all(std::span<const Op> ops, bool sealing) {
  gcm_context_data context;
  const auto call = sealing ? (wide ? mgr->gcm256_enc : mgr->gcm128_enc) : (wide ? mgr->gcm256_dec : mgr->gcm128_dec);
  alignas(16) std::array<std::uint8_t, 16> nonce;
  for (const Op& op : ops) {
    std::uint8_t* text = op.esp + 16;
    std::uint64_t iv;
    std::memcpy(&iv, op.esp + 8, sizeof iv);
    // The salt is zero. Stored at once: the cipher loads it at once.
    _mm_store_si128(reinterpret_cast<__m128i*>(nonce.data()),
                    _mm_set_epi64x(static_cast<long long>(iv >> 32), static_cast<long long>(iv << 32)));
    call(&gcm[op.key], &context, text, text, op.text, nonce.data(), op.esp, 8, sealing ? text + op.text : tag.data(), 16);
  }
}

void RawCrypto::Impl::fill_cbc(IMB_JOB& job, const Op& op) const {
  const Schedules& keys = cbc[op.key];
  job.enc_keys = keys.encrypt.data();
  job.dec_keys = keys.decrypt.data();
  job.key_len_in_bytes = wide ? 32 : 16;
  job.dst = op.esp + 24;
  job.cipher_start_src_offset_in_bytes = 24;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = 24 + op.text;
  job.iv = op.esp + 8;
  job.iv_len_in_bytes = 16;
  job.u.HMAC._hashed_auth_key_xor_ipad = keys.inner.data();
  job.u.HMAC._hashed_auth_key_xor_opad = keys.outer.data();
  job.cipher_mode = IMB_CIPHER_CBC;
  job.hash_alg = is_sha256(suite) ? IMB_AUTH_HMAC_SHA_256 : IMB_AUTH_HMAC_SHA_1;
}

void RawCrypto::Impl::fill_chacha(IMB_JOB& job, const Op& op, std::array<std::uint8_t, 16>& nonce) const {
  nonce.fill(0);  // the salt
  std::memcpy(nonce.data() + 4, op.esp + 8, 8);
  job.enc_keys = job.dec_keys = chacha[op.key].bytes.data();
  job.key_len_in_bytes = 32;
  job.dst = op.esp + 16;
  job.cipher_start_src_offset_in_bytes = job.hash_start_src_offset_in_bytes = 16;
  job.msg_len_to_hash_in_bytes = op.text;
  job.iv = nonce.data();
  job.iv_len_in_bytes = 12;
  job.u.CHACHA20_POLY1305.aad = op.esp;
  job.u.CHACHA20_POLY1305.aad_len_in_bytes = 8;
  job.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
  job.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
}

void RawCrypto::Impl::jobs_all(std::span<const Op> ops, bool sealing) {
  std::array<IMB_JOB*, 64> jobs{};
  std::array<std::array<std::uint8_t, 16>, 64> nonces;
  const bool is_aead = is_chacha(suite);
  const std::uint32_t n = IMB_GET_NEXT_BURST(mgr, static_cast<std::uint32_t>(ops.size()), jobs.data());
  for (std::uint32_t i = 0; i < n; ++i) {
    IMB_JOB& job = *jobs[i];
    job.src = ops[i].esp;
    job.msg_len_to_cipher_in_bytes = ops[i].text;
    job.cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job.chain_order = sealing ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    if (is_aead) {
      fill_chacha(job, ops[i], nonces[i]);
    } else {
      fill_cbc(job, ops[i]);
    }
    job.auth_tag_output = sealing ? static_cast<std::uint8_t*>(job.dst) + ops[i].text : tag.data();
    job.auth_tag_output_len_in_bytes = icv;
  }
  std::uint32_t done = IMB_SUBMIT_BURST_NOCHECK(mgr, n, jobs.data());
  while (done < n) done += IMB_FLUSH_BURST(mgr, n - done, jobs.data());
}

void RawCrypto::run(std::span<const Op> ops, bool encrypt) {
  if (is_gcm(impl_->suite)) {
    impl_->gcm_all(ops, encrypt);
  } else {
    impl_->jobs_all(ops, encrypt);
  }
}

void RawCrypto::prefetch(std::uint32_t key, std::uint32_t text) const {
  const auto load = [](const auto& what, std::size_t from, std::size_t to) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(&what);
    for (std::size_t line = from / kCacheLine * kCacheLine; line < to; line += kCacheLine) __builtin_prefetch(at + line);
  };
  const std::size_t rounds = impl_->wide ? 15 * 16 : 11 * 16;
  if (is_chacha(impl_->suite)) return load(impl_->chacha[key], 0, sizeof(ChaChaKey::bytes));
  if (!is_gcm(impl_->suite)) {
    const Schedules& s = impl_->cbc[key];
    load(s.encrypt, 0, rounds);
    load(s.decrypt, 0, rounds);
    load(s.inner, 0, 32);
    return load(s.outer, 0, 32);
  }
  // Behind the round keys stand powers of the hash key: eight, or 48 with the lowest ones last, of which a packet needs as many as it has
  // blocks, and one or two more.
  const gcm_key_data& k = impl_->gcm[key];
  constexpr std::size_t kPowers = offsetof(gcm_key_data, ghash_keys);
  if (!impl_->powers_last) return load(k, 0, kPowers + 8 * 16);
  const std::size_t powers = std::min<std::size_t>(48, text / 16 + 3);
  load(k, 0, rounds);
  load(k, kPowers + (48 - powers) * 16, sizeof k);
}

std::span<const std::uint8_t> RawCrypto::icv() const { return std::span(impl_->tag).first(impl_->icv); }

}  // namespace culvert::bench
