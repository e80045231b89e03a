// What the files of CryptoEngine share: its state, and where an SA's expanded keys lie. IPsec-MB's types must not leave these files.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>

#include <intel-ipsec-mb.h>

#include "common/secret.hpp"
#include "dataplane/crypto/engine.hpp"
#include "dataplane/crypto/own_image.hpp"

namespace culvert::dp {

inline constexpr std::size_t kChunk = 64;          // jobs in one submission; IPsec-MB takes at most 128
inline constexpr std::size_t kIvBlocks = 64;       // IVs made at once
inline constexpr std::size_t kMaxIcv = 32;         // HMAC-SHA2-512-256
inline constexpr std::size_t kAesSchedule = 240;   // 15 round keys
inline constexpr std::size_t kDesSchedule = 128;   // 16 round keys; DES has one, 3DES three behind each other
inline constexpr std::size_t kDecryptAt = 256;     // of an AES decryption schedule
inline constexpr std::size_t kXcbcAt = 512;        // of XCBC: K1's schedule, K2, K3; of CMAC: the key's schedule and both subkeys
inline constexpr std::size_t kXcbcSchedule = 176;  // 11 round keys
static_assert(kDecryptAt >= kAesSchedule && kXcbcAt >= kDecryptAt + kAesSchedule && kXcbcAt >= 3 * kDesSchedule);
// IPsec-MB loads round keys with 16 bytes' alignment, and asks for no more; its powers of the hash key begin a line.
static_assert(offsetof(SaKeys, schedule) == 16 && offsetof(SaKeys, inner) == 1024 &&
              (offsetof(SaKeys, schedule) + offsetof(gcm_key_data, ghash_keys)) % 64 == 0 &&
              sizeof(SaKeys::schedule) == offsetof(gcm_key_data, ghash_keys) + sizeof(gcm_key_data::ghash_keys));
static_assert(kXcbcAt + kXcbcSchedule + 32 <= sizeof(SaKeys::schedule));

inline const gcm_key_data* gcm_keys(const SaKeys& k) { return reinterpret_cast<const gcm_key_data*>(k.schedule.data()); }

inline bool equal_tag(const std::uint8_t* a, const std::uint8_t* b, std::size_t n) {
  unsigned diff = 0;
  for (std::size_t i = 0; i < n; ++i) diff |= static_cast<unsigned>(a[i] ^ b[i]);
  return diff == 0;
}
inline void put_be32(std::uint8_t* p, std::uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}

struct CryptoEngine::Impl {
  /// What a job needs besides packet and keys while it is under way.
  struct Scratch {
    alignas(16) std::array<std::uint8_t, 16> nonce;
    alignas(16) std::array<std::uint8_t, 16> aad;
    std::array<std::uint8_t, kMaxIcv> received;  // the ICV, where its place in the packet was needed
    std::array<const void*, 3> des;              // the schedules of 3DES
  };

  IMB_MGR* mgr = nullptr;
  OwnImage image;
  std::array<aes_gcm_enc_dec_t, 5> seal{}, open{};  // by an eighth of SaKeys::key_bytes; in `image`
  // The IV generator.
  alignas(64) std::array<std::uint8_t, 256> iv_schedule{};
  alignas(64) std::array<std::uint8_t, kIvBlocks * 16> ivs{};
  std::array<std::uint64_t, 2> iv_counter{};
  std::size_t iv_next = kIvBlocks;
  bool jobs_done = false;  // since take_jobs()
  // ICVs computed on decryption.
  alignas(64) std::array<std::array<std::uint8_t, kMaxIcv>, kChunk> tags{};
  std::array<Scratch, kChunk> scratch{};

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    wipe(iv_schedule);
    wipe(ivs);
    if (mgr != nullptr) free_mb_mgr(mgr);
  }

  void take_direct_calls();
  bool seed_ivs();
  bool refill_ivs();
  bool expand_cipher(const EspSuite& suite, ByteView key, SaKeys& out);
  bool expand_integ(Integ integ, ByteView key, SaKeys& out);
  void direct(CryptoOp& op, bool sealing);
  void gmac(CryptoOp& op, const std::uint8_t* nonce, bool sealing);
  void fill_job(IMB_JOB& job, CryptoOp& op, bool sealing, std::size_t i);
  void fill_cipher(IMB_JOB& job, const CryptoOp& op, bool sealing, Scratch& s);
  static void fill_aead(IMB_JOB& job, const CryptoOp& op, std::size_t salt_bytes, Scratch& s);
  void take_jobs(IMB_JOB* const* jobs, std::uint32_t n, bool sealing);
  void run_jobs(std::span<CryptoOp*> ops, bool sealing);
  template <bool kSealing, bool kWhole>
  std::size_t gcm_row(std::span<CryptoOp> ops);
  template <bool kSealing>
  void run(std::span<CryptoOp> ops);
  template <bool kSealing>
  void run_mixed(std::span<CryptoOp> ops);
};

}  // namespace culvert::dp
