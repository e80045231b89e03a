// What IPsec-MB does as jobs: bursts of them, so that several packets share the vector lanes. Jobs never outlive a call: packets of a
// burst leave together, in order.
#include <algorithm>

#include "dataplane/crypto/engine_impl.hpp"

namespace culvert::dp {

namespace {
constexpr std::size_t kCcmSalt = 3, kCounterIv = 8;
bool aead(const SaKeys& k) { return k.cipher == IMB_CIPHER_CCM || k.cipher == IMB_CIPHER_CHACHA20_POLY1305; }
/// Whether the upper half of the sequence number is hashed behind the packet, where the ICV of ESP begins.
bool appends_high(const SaKeys& k) { return k.geometry.esn && !aead(k); }
/// Whether the received ICV must be moved out of the way.
bool keeps_received(const SaKeys& k) { return k.geometry.ah || appends_high(k); }
}  // namespace

/// Of CCM and ChaCha20-Poly1305: a nonce of salt and IV, SPI and sequence number as additional data (RFC 4309 §4, §5; RFC 7634 §2, §2.1).
void CryptoEngine::Impl::fill_aead(IMB_JOB& job, const CryptoOp& op, std::size_t salt_bytes, Scratch& s) {
  const bool esn = op.keys->geometry.esn;
  std::memcpy(s.nonce.data(), op.keys->salt.data(), salt_bytes);
  std::memcpy(s.nonce.data() + salt_bytes, job.iv, kCounterIv);
  job.iv = s.nonce.data();
  job.iv_len_in_bytes = salt_bytes + kCounterIv;
  std::memcpy(s.aad.data(), op.esp, 4);
  if (esn) put_be32(s.aad.data() + 4, op.sequence_high);
  std::memcpy(s.aad.data() + (esn ? 8 : 4), op.esp + 4, 4);
  job.hash_start_src_offset_in_bytes = job.cipher_start_src_offset_in_bytes;
  job.msg_len_to_hash_in_bytes = op.text_length;
}

/// Mode, keys and IV of the cipher.
void CryptoEngine::Impl::fill_cipher(IMB_JOB& job, const CryptoOp& op, bool sealing, Scratch& s) {
  const SaKeys& k = *op.keys;
  job.cipher_mode = static_cast<IMB_CIPHER_MODE>(k.cipher);
  job.enc_keys = k.schedule.data();
  job.dec_keys = k.schedule.data() + kDecryptAt;
  job.key_len_in_bytes = k.key_bytes;
  job.iv = op.esp + kEspHeaderBytes;
  job.iv_len_in_bytes = k.geometry.iv;
  job.chain_order = sealing ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
  switch (k.cipher) {
    case IMB_CIPHER_CNTR:  // RFC 3686 §4: nonce, IV, and a counter from 1, which IPsec-MB adds
      std::memcpy(s.nonce.data(), k.salt.data(), k.salt.size());
      std::memcpy(s.nonce.data() + k.salt.size(), job.iv, kCounterIv);
      job.iv = s.nonce.data();
      job.iv_len_in_bytes = k.salt.size() + kCounterIv;
      break;
    case IMB_CIPHER_CCM:
      fill_aead(job, op, kCcmSalt, s);
      job.u.CCM.aad = s.aad.data();
      job.u.CCM.aad_len_in_bytes = k.geometry.esn ? 12 : 8;
      job.chain_order = sealing ? IMB_ORDER_HASH_CIPHER : IMB_ORDER_CIPHER_HASH;
      break;
    case IMB_CIPHER_CHACHA20_POLY1305:
      fill_aead(job, op, k.salt.size(), s);
      job.u.CHACHA20_POLY1305.aad = s.aad.data();
      job.u.CHACHA20_POLY1305.aad_len_in_bytes = k.geometry.esn ? 12 : 8;
      job.dec_keys = k.schedule.data();
      break;
    case IMB_CIPHER_DES3:
      for (std::size_t i = 0; i < s.des.size(); ++i) s.des[i] = k.schedule.data() + i * kDesSchedule;
      job.enc_keys = job.dec_keys = s.des.data();
      break;
    case IMB_CIPHER_DES:
      job.dec_keys = k.schedule.data();
      break;
    case IMB_CIPHER_NULL:
      job.msg_len_to_cipher_in_bytes = 0;
      break;
    default:
      break;
  }
}

void CryptoEngine::Impl::fill_job(IMB_JOB& job, CryptoOp& op, bool sealing, std::size_t i) {
  const SaKeys& k = *op.keys;
  Scratch& s = scratch[i];
  const std::uint32_t clear = k.geometry.ah ? 0 : kEspHeaderBytes + k.geometry.iv;
  std::uint8_t* const icv = op.icv();
  std::uint32_t covered = clear + op.text_length;
  if (keeps_received(k)) {
    std::memcpy(s.received.data(), icv, k.geometry.icv);
    if (k.geometry.ah) std::memset(icv, 0, k.geometry.icv);
    if (appends_high(k)) {
      put_be32(op.esp + covered, op.sequence_high);
      covered += 4;
    }
  }
  job.src = op.esp;
  job.dst = op.esp + clear;
  job.cipher_start_src_offset_in_bytes = clear;
  job.msg_len_to_cipher_in_bytes = op.text_length;
  job.hash_start_src_offset_in_bytes = 0;
  job.msg_len_to_hash_in_bytes = covered;
  job.cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
  job.hash_alg = static_cast<IMB_HASH_ALG>(k.hash);
  job.auth_tag_output = sealing ? icv : tags[i].data();
  job.auth_tag_output_len_in_bytes = k.geometry.icv;
  job.user_data = &op;
  job.user_data2 = reinterpret_cast<void*>(i);
  if (k.hash == IMB_AUTH_AES_XCBC) {
    const std::uint8_t* k1 = k.schedule.data() + kXcbcAt;
    job.u.XCBC._k1_expanded = reinterpret_cast<const std::uint32_t*>(k1);
    job.u.XCBC._k2 = k1 + kXcbcSchedule;
    job.u.XCBC._k3 = k1 + kXcbcSchedule + 16;
  } else if (k.hash == IMB_AUTH_AES_CMAC) {
    const std::uint8_t* schedule = k.schedule.data() + kXcbcAt;
    job.u.CMAC._key_expanded = schedule;
    job.u.CMAC._skey1 = schedule + kXcbcSchedule;
    job.u.CMAC._skey2 = schedule + kXcbcSchedule + 16;
  } else {
    job.u.HMAC._hashed_auth_key_xor_ipad = k.inner.data();
    job.u.HMAC._hashed_auth_key_xor_opad = k.outer.data();
  }
  fill_cipher(job, op, sealing, s);
}

void CryptoEngine::Impl::take_jobs(IMB_JOB* const* jobs, std::uint32_t n, bool sealing) {
  for (std::uint32_t j = 0; j < n; ++j) {
    const IMB_JOB& job = *jobs[j];
    auto& op = *static_cast<CryptoOp*>(job.user_data);
    op.ok = job.status == IMB_STATUS_COMPLETED;
    if (sealing || !op.ok) continue;
    const auto i = reinterpret_cast<std::size_t>(job.user_data2);
    const std::uint8_t* received = keeps_received(*op.keys) ? scratch[i].received.data() : op.icv();
    op.ok = equal_tag(tags[i].data(), received, op.keys->geometry.icv);
  }
}

/// `ops`: at most kChunk. The longest first: as long as there are others to begin, no lane is empty beside them.
void CryptoEngine::Impl::run_jobs(std::span<CryptoOp*> ops, bool sealing) {
  if (const auto longer = [](const CryptoOp* a, const CryptoOp* b) { return a->text_length > b->text_length; };
      !std::ranges::is_sorted(ops, longer))
    std::ranges::sort(ops, longer);
  std::array<IMB_JOB*, kChunk> jobs{};
  while (!ops.empty()) {
    const std::uint32_t want = static_cast<std::uint32_t>(std::min(ops.size(), kChunk));
    const std::uint32_t n = IMB_GET_NEXT_BURST(mgr, want, jobs.data());
    if (n == 0) return;  // impossible with an empty queue; what was not done stays not ok
    for (std::uint32_t i = 0; i < n; ++i) fill_job(*jobs[i], *ops[i], sealing, i);
    // Unchecked: sizes are the node's to check, keys are expand()'s, and IPsec-MB's checks would cost 60 cycles a packet.
    std::uint32_t done = IMB_SUBMIT_BURST_NOCHECK(mgr, n, jobs.data());
    take_jobs(jobs.data(), done, sealing);
    while (const std::uint32_t flushed = IMB_FLUSH_BURST(mgr, static_cast<std::uint32_t>(kChunk), jobs.data())) {
      take_jobs(jobs.data(), flushed, sealing);
      done += flushed;
    }
    if (done < n) return;
    ops = ops.subspan(n);
  }
}

}  // namespace culvert::dp
