// The direct call for GCM, bursts of jobs for CBC with HMAC: the quickest of each in IPsec-MB 1.3, as the data plane uses them, too.
#include "tests/bench/raw.hpp"

#include <array>
#include <stdexcept>

#include <intel-ipsec-mb.h>

namespace culvert::bench {

struct RawCrypto::Impl {
  EspSuite suite;
  std::size_t icv = 0;
  IMB_MGR* mgr = nullptr;
  alignas(64) gcm_key_data gcm{};
  alignas(64) std::array<std::uint8_t, 256> encrypt{}, decrypt{};
  alignas(64) std::array<std::uint8_t, 64> inner{}, outer{};
  alignas(64) std::array<std::uint8_t, 16> tag{};

  void gcm_all(std::span<const Op> ops, bool sealing);
  void cbc_all(std::span<const Op> ops, bool sealing);
};

namespace {
bool is_gcm(const EspSuite& s) { return s.encr == Encr::AesGcm16; }
bool is_wide(const EspSuite& s) { return s.key_bits == 256; }
bool is_sha256(const EspSuite& s) { return s.integ == Integ::HmacSha2_256_128; }
}  // namespace

RawCrypto::RawCrypto(const EspSuite& suite) : impl_(std::make_unique<Impl>()) {
  const bool cbc = suite.encr == Encr::AesCbc && (is_sha256(suite) || suite.integ == Integ::HmacSha1_96);
  if ((!is_gcm(suite) && !cbc) || suite.key_bits == 192) throw std::runtime_error("no raw measurement of " + suite.to_string());
  impl_->suite = suite;
  impl_->icv = is_gcm(suite) ? 16 : find_integ(suite.integ)->icv;
  impl_->mgr = alloc_mb_mgr(0);
  if (impl_->mgr == nullptr) throw std::runtime_error("IPsec-MB: no memory");
  init_mb_mgr_auto(impl_->mgr, nullptr);
  const std::array<std::uint8_t, 64> key{};
  const bool wide = is_wide(suite);
  if (is_gcm(suite)) {
    if (wide) {
      IMB_AES256_GCM_PRE(impl_->mgr, key.data(), &impl_->gcm);
    } else {
      IMB_AES128_GCM_PRE(impl_->mgr, key.data(), &impl_->gcm);
    }
    return;
  }
  if (wide) {
    IMB_AES_KEYEXP_256(impl_->mgr, key.data(), impl_->encrypt.data(), impl_->decrypt.data());
  } else {
    IMB_AES_KEYEXP_128(impl_->mgr, key.data(), impl_->encrypt.data(), impl_->decrypt.data());
  }
  for (auto* half : {&impl_->inner, &impl_->outer}) {
    if (is_sha256(suite)) {
      IMB_SHA256_ONE_BLOCK(impl_->mgr, key.data(), half->data());
    } else {
      IMB_SHA1_ONE_BLOCK(impl_->mgr, key.data(), half->data());
    }
  }
}
RawCrypto::~RawCrypto() { free_mb_mgr(impl_->mgr); }

void RawCrypto::Impl::gcm_all(std::span<const Op> ops, bool sealing) {
  gcm_context_data context;
  const bool wide = is_wide(suite);
  const auto call = sealing ? (wide ? mgr->gcm256_enc : mgr->gcm128_enc) : (wide ? mgr->gcm256_dec : mgr->gcm128_dec);
  for (const Op& op : ops) {
    std::uint8_t* text = op.esp + 16;
    call(&gcm, &context, text, text, op.text, op.esp + 4, op.esp, 8, sealing ? text + op.text : tag.data(), 16);
  }
}

void RawCrypto::Impl::cbc_all(std::span<const Op> ops, bool sealing) {
  std::array<IMB_JOB*, 64> jobs{};
  const std::uint32_t n = IMB_GET_NEXT_BURST(mgr, static_cast<std::uint32_t>(ops.size()), jobs.data());
  for (std::uint32_t i = 0; i < n; ++i) {
    IMB_JOB& job = *jobs[i];
    job.enc_keys = encrypt.data();
    job.dec_keys = decrypt.data();
    job.key_len_in_bytes = is_wide(suite) ? 32 : 16;
    job.src = ops[i].esp;
    job.dst = ops[i].esp + 24;
    job.cipher_start_src_offset_in_bytes = 24;
    job.msg_len_to_cipher_in_bytes = ops[i].text;
    job.hash_start_src_offset_in_bytes = 0;
    job.msg_len_to_hash_in_bytes = 24 + ops[i].text;
    job.iv = ops[i].esp + 8;
    job.iv_len_in_bytes = 16;
    job.auth_tag_output = sealing ? ops[i].esp + 24 + ops[i].text : tag.data();
    job.auth_tag_output_len_in_bytes = icv;
    job.u.HMAC._hashed_auth_key_xor_ipad = inner.data();
    job.u.HMAC._hashed_auth_key_xor_opad = outer.data();
    job.cipher_mode = IMB_CIPHER_CBC;
    job.cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
    job.hash_alg = is_sha256(suite) ? IMB_AUTH_HMAC_SHA_256 : IMB_AUTH_HMAC_SHA_1;
    job.chain_order = sealing ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  }
  std::uint32_t done = IMB_SUBMIT_BURST_NOCHECK(mgr, n, jobs.data());
  while (done < n) done += IMB_FLUSH_BURST(mgr, n - done, jobs.data());
}

void RawCrypto::run(std::span<const Op> ops, bool encrypt) {
  if (is_gcm(impl_->suite)) {
    impl_->gcm_all(ops, encrypt);
  } else {
    impl_->cbc_all(ops, encrypt);
  }
}

}  // namespace culvert::bench
