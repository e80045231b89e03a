// IPsec-MB behind CryptoEngine: its making, the IVs, and the direct calls. GCM goes by the direct call, which costs 10-20 ns less a
// packet than a job, and GMAC with it; the rest goes by jobs (jobs.cpp).
#include "dataplane/crypto/engine.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <emmintrin.h>
#include <sys/random.h>

#include "dataplane/crypto/engine_impl.hpp"

namespace culvert::dp {

namespace {
/// RFC 4106 §4: salt, then the IV of the packet. Stored at once: the cipher loads it at once.
struct GcmNonce {
  alignas(16) std::array<std::uint8_t, 16> bytes;
  GcmNonce(const SaKeys& keys, const std::uint8_t* at) {
    std::uint32_t salt;
    std::uint64_t iv;
    std::memcpy(&salt, keys.salt.data(), sizeof salt);
    std::memcpy(&iv, at, sizeof iv);
    const __m128i nonce = _mm_set_epi64x(static_cast<long long>(iv >> 32), static_cast<long long>(iv << 32 | salt));
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes.data()), nonce);
  }
};

bool equal_tag16(const std::uint8_t* a, const std::uint8_t* b) {
  std::uint64_t x[2], y[2];
  std::memcpy(x, a, 16);
  std::memcpy(y, b, 16);
  return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

bool init_arch(IMB_MGR* mgr, CryptoArch arch) {
  const std::uint64_t have = imb_get_feature_flags();
  const auto all = [&](std::uint64_t need) { return (have & need) == need; };
  switch (arch) {
    case CryptoArch::Auto:
      init_mb_mgr_auto(mgr, nullptr);
      break;
    case CryptoArch::Sse:
      if (!all(IMB_CPUFLAGS_SSE)) return false;
      init_mb_mgr_sse(mgr);
      break;
    case CryptoArch::Avx:
      if (!all(IMB_CPUFLAGS_AVX)) return false;
      init_mb_mgr_avx(mgr);
      break;
    case CryptoArch::Avx2:
      if (!all(IMB_CPUFLAGS_AVX2)) return false;
      init_mb_mgr_avx2(mgr);
      break;
    case CryptoArch::Avx512:
      if (!all(IMB_CPUFLAGS_AVX512)) return false;
      init_mb_mgr_avx512(mgr);
      break;
  }
  return imb_get_errno(mgr) == 0;
}
}  // namespace

void CryptoEngine::Impl::take_direct_calls() {
  seal = {nullptr, nullptr, image.here(mgr->gcm128_enc), image.here(mgr->gcm192_enc), image.here(mgr->gcm256_enc)};
  open = {nullptr, nullptr, image.here(mgr->gcm128_dec), image.here(mgr->gcm192_dec), image.here(mgr->gcm256_dec)};
}

bool CryptoEngine::Impl::seed_ivs() {
  std::array<std::uint8_t, 32> key{};
  bool ok = ::getrandom(key.data(), key.size(), 0) == static_cast<ssize_t>(key.size()) &&
            ::getrandom(iv_counter.data(), sizeof iv_counter, 0) == static_cast<ssize_t>(sizeof iv_counter);
  if (ok) {
    alignas(16) std::array<std::uint8_t, 256> unused{};  // IPsec-MB stores both schedules with aligned moves
    IMB_AES_KEYEXP_256(mgr, key.data(), iv_schedule.data(), unused.data());
    wipe(unused);
    ok = imb_get_errno(mgr) == 0;
  }
  wipe(key);
  return ok;
}

bool CryptoEngine::Impl::refill_ivs() {
  for (std::size_t i = 0; i < kIvBlocks; ++i) {
    std::memcpy(ivs.data() + i * 16, iv_counter.data(), 16);
    if (++iv_counter[0] == 0) ++iv_counter[1];
  }
  IMB_JOB* job = IMB_GET_NEXT_JOB(mgr);
  *job = IMB_JOB{};
  job->cipher_mode = IMB_CIPHER_ECB;
  job->cipher_direction = IMB_DIR_ENCRYPT;
  job->chain_order = IMB_ORDER_CIPHER_HASH;
  job->hash_alg = IMB_AUTH_NULL;
  job->enc_keys = job->dec_keys = iv_schedule.data();
  job->key_len_in_bytes = 32;
  job->src = job->dst = ivs.data();
  job->msg_len_to_cipher_in_bytes = ivs.size();
  job = IMB_SUBMIT_JOB(mgr);
  if (job == nullptr) job = IMB_FLUSH_JOB(mgr);
  if (job == nullptr || job->status != IMB_STATUS_COMPLETED) return false;
  iv_next = 0;
  return true;
}

bool CryptoEngine::next_cbc_iv(std::uint8_t* out, std::size_t bytes) {
  if (impl_->iv_next == kIvBlocks && !impl_->refill_ivs()) return false;
  const std::uint8_t* iv = impl_->ivs.data() + impl_->iv_next++ * 16;
  if (bytes == 16) [[likely]] {
    std::memcpy(out, iv, 16);
  } else {
    std::memcpy(out, iv, 8);
  }
  return true;
}

void CryptoEngine::sha256(ByteView bytes, std::uint8_t* out) const { IMB_SHA256(impl_->mgr, bytes.data(), bytes.size(), out); }

CryptoEngine::CryptoEngine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CryptoEngine::CryptoEngine(CryptoEngine&&) noexcept = default;
CryptoEngine& CryptoEngine::operator=(CryptoEngine&&) noexcept = default;
CryptoEngine::~CryptoEngine() = default;

std::expected<CryptoEngine, std::string> CryptoEngine::create(CryptoArch arch) {
  auto impl = std::make_unique<Impl>();
  impl->mgr = alloc_mb_mgr(0);
  if (impl->mgr == nullptr) return std::unexpected("IPsec-MB: no memory for its manager");
  if (!init_arch(impl->mgr, arch)) return std::unexpected("IPsec-MB: this processor lacks the instruction set asked for");
  impl->take_direct_calls();
  if (!impl->seed_ivs()) return std::unexpected("no random numbers for IVs");
  CryptoEngine engine(std::move(impl));
  if (const auto tested = engine.self_test(); !tested) return std::unexpected(tested.error());
  return engine;
}

std::expected<void, std::string> CryptoEngine::stand_alone() {
  auto image = OwnImage::of(reinterpret_cast<const void*>(impl_->mgr->gcm128_enc));
  if (!image) return std::unexpected(image.error());
  impl_->image = std::move(*image);
  impl_->take_direct_calls();
  const auto tested = self_test();
  if (!tested) {
    impl_->image = OwnImage();
    impl_->take_direct_calls();
  }
  return tested;
}

/// GMAC: all that is covered is additional data. With extended sequence numbers their upper half goes behind an AH packet, or between
/// the SPI and the lower half of ESP: the four bytes in front of it are borrowed.
void CryptoEngine::Impl::gmac(CryptoOp& op, const std::uint8_t* nonce, bool sealing) {
  const SaKeys& k = *op.keys;
  const EspGeometry& g = k.geometry;
  gcm_context_data context;
  alignas(16) std::array<std::uint8_t, 16> tag;
  std::array<std::uint8_t, kMaxIcv> received;
  std::array<std::uint8_t, 8> borrowed{};
  std::uint8_t* icv = op.icv();
  std::uint8_t* from = op.esp;
  std::uint32_t covered = g.ah ? op.text_length : kEspHeaderBytes + g.iv + op.text_length;
  std::memcpy(received.data(), icv, g.icv);
  if (g.ah) std::memset(icv, 0, g.icv);
  if (g.esn) {
    covered += 4;
    if (g.ah) {
      put_be32(op.esp + op.text_length, op.sequence_high);
    } else {
      from -= 4;
      std::memcpy(borrowed.data(), from, borrowed.size());
      std::memcpy(from, op.esp, 4);
      put_be32(op.esp, op.sequence_high);
    }
  }
  seal[k.key_bytes / 8](gcm_keys(k), &context, nullptr, nullptr, 0, nonce, from, covered, tag.data(), g.icv);
  if (g.esn && !g.ah) std::memcpy(from, borrowed.data(), borrowed.size());
  if (sealing) std::memcpy(icv, tag.data(), g.icv);
  op.ok = sealing || equal_tag(tag.data(), received.data(), g.icv);
}

/// One packet of GCM or GMAC, in particular of GCM with extended sequence numbers.
inline void CryptoEngine::Impl::direct(CryptoOp& op, bool sealing) {
  const SaKeys& k = *op.keys;
  const EspGeometry& g = k.geometry;
  const GcmNonce nonce(k, op.esp + (g.ah ? op.icv_at : kEspHeaderBytes));
  if (g.kind == EspKind::Gmac) [[unlikely]]
    return gmac(op, nonce.bytes.data(), sealing);
  gcm_context_data context;
  std::uint8_t* text = op.esp + kEspHeaderBytes + g.iv;
  const std::uint8_t* aad = op.esp;
  std::uint64_t aad_bytes = kEspHeaderBytes;
  std::array<std::uint8_t, 12> extended;
  if (g.esn) [[unlikely]] {
    std::memcpy(extended.data(), op.esp, 4);
    put_be32(extended.data() + 4, op.sequence_high);
    std::memcpy(extended.data() + 8, op.esp + 4, 4);
    aad = extended.data();
    aad_bytes = extended.size();
  }
  if (sealing) {
    seal[k.key_bytes / 8](gcm_keys(k), &context, text, text, op.text_length, nonce.bytes.data(), aad, aad_bytes, text + op.text_length,
                          g.icv);
    op.ok = true;
    return;
  }
  alignas(16) std::array<std::uint8_t, 16> tag;
  open[k.key_bytes / 8](gcm_keys(k), &context, text, text, op.text_length, nonce.bytes.data(), aad, aad_bytes, tag.data(), tag.size());
  op.ok = g.icv == 16 ? equal_tag16(tag.data(), text + op.text_length) : equal_tag(tag.data(), text + op.text_length, g.icv);
}

/// The first packets of `ops`, which are of GCM, as long as they have one key. Returns how many. What direct() does, with all that depends
/// on the key asked once. `kWhole`: the ICV is the whole of the tag.
template <bool kSealing, bool kWhole>
[[gnu::always_inline]] inline std::size_t CryptoEngine::Impl::gcm_row(std::span<CryptoOp> ops) {
  constexpr std::uint32_t kIv = 8, kFront = kEspHeaderBytes + kIv;
  const SaKeys* const keys = ops[0].keys;
  const auto call = (kSealing ? seal : open)[keys->key_bytes / 8];
  const std::size_t icv = kWhole ? 16 : keys->geometry.icv;
  gcm_context_data context;
  alignas(16) std::array<std::uint8_t, 16> tag;
  CryptoOp* op = ops.data();
  CryptoOp* const last = op + ops.size();
  do {
    const GcmNonce nonce(*keys, op->esp + kEspHeaderBytes);
    std::uint8_t* const text = op->esp + kFront;
    if constexpr (kSealing) {
      call(gcm_keys(*keys), &context, text, text, op->text_length, nonce.bytes.data(), op->esp, kEspHeaderBytes, text + op->text_length,
           icv);
      op->ok = true;
    } else {
      call(gcm_keys(*keys), &context, text, text, op->text_length, nonce.bytes.data(), op->esp, kEspHeaderBytes, tag.data(), tag.size());
      const std::uint8_t* const received = op->esp + kFront + op->text_length;
      op->ok = kWhole ? equal_tag16(tag.data(), received) : equal_tag(tag.data(), received, icv);
    }
  } while (++op != last && op->keys == keys);
  return static_cast<std::size_t>(op - ops.data());
}

template <bool kSealing>
void CryptoEngine::Impl::run(std::span<CryptoOp> ops) {
  while (!ops.empty()) {
    const EspGeometry& g = ops[0].keys->geometry;
    if (g.kind != EspKind::Gcm || g.esn) [[unlikely]]
      return run_mixed<kSealing>(ops);
    ops = ops.subspan(g.icv == 16 ? gcm_row<kSealing, true>(ops) : gcm_row<kSealing, false>(ops));
  }
}

/// What begins with a packet of another kind.
template <bool kSealing>
[[gnu::noinline]] void CryptoEngine::Impl::run_mixed(std::span<CryptoOp> ops) {
  std::array<CryptoOp*, kChunk> jobs;
  std::size_t n = 0;
  for (CryptoOp& op : ops) {
    op.ok = false;
    if (op.keys->geometry.kind != EspKind::Jobs) {
      direct(op, kSealing);
      continue;
    }
    jobs_done = true;
    jobs[n++] = &op;
    if (n == jobs.size()) run_jobs(std::span(jobs).first(std::exchange(n, 0)), kSealing);
  }
  if (n != 0) run_jobs(std::span(jobs).first(n), kSealing);
}

void CryptoEngine::encrypt(std::span<CryptoOp> ops) { impl_->run<true>(ops); }
void CryptoEngine::decrypt(std::span<CryptoOp> ops) { impl_->run<false>(ops); }

bool CryptoEngine::take_jobs() { return std::exchange(impl_->jobs_done, false); }

std::string CryptoEngine::describe() const {
  static constexpr std::array<const char*, 7> kArch{"none", "no AES-NI", "SSE", "AVX", "AVX2", "AVX512", "other"};
  return std::string("IPsec-MB ") + imb_get_version_str() + ", " + kArch[std::min<std::size_t>(impl_->mgr->used_arch, 6)];
}

}  // namespace culvert::dp
