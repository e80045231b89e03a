// ESP cryptography over batches, in place. Owns IPsec-MB: its types stay behind this header (engine.cpp).
// Never decides about a packet: it says per operation whether the ICV was right, and the node draws the conclusion.
// One engine per thread; nothing in it is shared.
//
//     SPI | sequence | IV | text ................ | ICV        ESP
//     ^ esp                ^ esp + 8 + iv         ^ text + text_length
//
//     IP header | AH | IV | ICV | payload                      AH, with the header's mutable fields at 0 (RFC 4302 §3.3.3.1)
//     ^ esp          ^ esp + icv_at     ^ esp + text_length
//
// Under GCM, CCM and ChaCha20-Poly1305 the SPI and the sequence number are the additional data (RFC 4106 §5, RFC 4309 §5, RFC 7634 §2.1);
// GMAC covers all before the ICV (RFC 4543 §3.3), as an HMAC, XCBC or CMAC does. With extended sequence numbers the upper half is in it,
// too: between SPI and sequence number, or behind all the rest (RFC 4303 §2.2.1).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>

#include "common/bytes.hpp"
#include "dataplane/sad/suite.hpp"

namespace culvert::dp {

/// Which lines of an SA's keys a packet needs: see prefetch_keys().
enum class KeyLines : std::uint8_t {
  Jobs,     ///< a cipher's schedule, and what an HMAC starts from
  Cbc,      ///< the same; decryption has a schedule of its own
  Few,      ///< of GCM: 11 round keys, and eight powers of the hash key, for packets of any length
  FewLong,  ///< more round keys
  Many,     ///< 11 round keys, and 48 powers, the lowest one last, of which a packet needs as many as it has blocks, and a few
  ManyLong,
};

/// Expanded keys of one SA: what a packet needs, computed once. The bytes mean something to the engine only. Secret. Under GCM a packet
/// needs few lines: what a short schedule leaves of its first one has the rest, and behind 15 round keys the powers begin a line.
struct alignas(64) SaKeys {
  EspGeometry geometry;
  std::array<std::uint8_t, 4> salt{};  ///< of the nonce: 4 bytes, 3 of CCM
  std::uint8_t cipher = 0, hash = 0;   ///< IPsec-MB's numbers
  std::uint8_t key_bytes = 0;          ///< of the cipher's key
  KeyLines lines{};
  alignas(16) std::array<std::uint8_t, 1008> schedule;    ///< GCM: round keys and hash key powers; else key schedules
  alignas(64) std::array<std::uint8_t, 64> inner, outer;  ///< HMAC: state after the padded key's block
};

/// Starts loading the keys that a packet of `bytes` needs, ahead of the batch. `lines`: the keys' own, which would have to be waited for.
inline void prefetch_keys(const SaKeys& keys, KeyLines lines, bool opening, std::uint32_t bytes) {
  constexpr std::size_t kLine = 64, kMost = 11;
  const auto* const begin = reinterpret_cast<const std::uint8_t*>(&keys);
  const auto load = [begin](std::size_t from, std::size_t to) {
    for (std::size_t line = from; line < to; ++line) __builtin_prefetch(begin + kLine * line);
  };
  if (lines <= KeyLines::Cbc) [[unlikely]] {
    const std::size_t schedule = opening && lines == KeyLines::Cbc ? 4 : 0;
    __builtin_prefetch(begin);
    load(schedule, schedule + 4);
    __builtin_prefetch(keys.inner.data());
    __builtin_prefetch(keys.outer.data());
    return;
  }
  load(0, 3);
  if (lines == KeyLines::FewLong || lines == KeyLines::ManyLong) load(3, 4);
  if (lines <= KeyLines::FewLong) return load(4, 6);
  constexpr std::size_t kEnd = offsetof(SaKeys, inner) / kLine;
  load(kEnd - 1 - std::min<std::size_t>(bytes / kLine, kMost), kEnd);
}

/// One packet's operation. `text_length` may be 0 under GCM; under CBC it is a multiple of the block. With extended sequence
/// numbers four bytes behind an AH packet are written.
struct CryptoOp {  // no initial values: a batch of them is made per burst
  const SaKeys* keys;
  std::uint8_t* esp;
  std::uint32_t text_length;
  bool ok;                      ///< out: done, and on decryption: the ICV is right
  std::uint16_t icv_at;         ///< AH only
  std::uint32_t sequence_high;  ///< with extended sequence numbers only

  /// Where the ICV stands in the packet.
  [[nodiscard]] std::uint8_t* icv() const {
    const EspGeometry& g = keys->geometry;
    return esp + g.iv + (g.ah ? icv_at : kEspHeaderBytes + text_length);
  }
};

/// The instruction set that IPsec-MB uses; Auto: the best of this processor.
enum class CryptoArch : std::uint8_t { Auto, Sse, Avx, Avx2, Avx512 };

class CryptoEngine {
 public:
  /// Makes an engine and runs its self-test: known answers of every suite, both directions. An engine that fails it is not
  /// made. The error says what failed.
  static std::expected<CryptoEngine, std::string> create(CryptoArch arch = CryptoArch::Auto);
  CryptoEngine(CryptoEngine&&) noexcept;
  CryptoEngine& operator=(CryptoEngine&&) noexcept;
  ~CryptoEngine();

  /// For an engine that is busy beside those of other threads: what it calls for each packet is mapped once more, so that none of them
  /// writes to memory of the others (own_image.hpp). Tests itself again. The error says why that cannot be; then it works as before, slower
  /// the more of them there are.
  [[nodiscard]] std::expected<void, std::string> stand_alone();

  /// Expands keys. A key and its salt stand in KEYMAT order; sizes must be the suite's, else false.
  [[nodiscard]] bool expand(const EspSuite& suite, ByteView encr_key, ByteView integ_key, SaKeys& out);

  /// Encrypts and writes the ICVs. The IV is in place already: a counter, or one of next_cbc_iv().
  void encrypt(std::span<CryptoOp> ops);
  /// Verifies and decrypts. Where `ok` ends false the text is garbage, and must not be looked at.
  void decrypt(std::span<CryptoOp> ops);

  /// Writes `bytes` (16, or 8 of them for DES) unpredictable bytes; this engine never writes the same 16 twice (RFC 3602 §3): AES-256
  /// under a random key of this engine over a counter with a random start (NIST SP 800-38A, appendix C, first method). Keys are of
  /// this process only. False if the cipher failed: nothing was written.
  [[nodiscard]] bool next_cbc_iv(std::uint8_t* out, std::size_t bytes);

  /// Writes the 32 bytes of SHA-256 over `bytes`.
  void sha256(ByteView bytes, std::uint8_t* out) const;

  /// Whether any of the packets since the last call were done as jobs (EspKind::Jobs), many at once, which is quicker the more there are.
  [[nodiscard]] bool take_jobs();

  /// Known answers of every suite, both directions, and of SHA-256; the error names what is wrong.
  std::expected<void, std::string> self_test();

  [[nodiscard]] std::string describe() const;  ///< "IPsec-MB 1.3.0, AVX512"

 private:
  struct Impl;
  explicit CryptoEngine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::dp
