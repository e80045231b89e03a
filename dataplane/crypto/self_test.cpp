// The gate in front of CryptoEngine: known answers, so that a wrong library, build or processor is found before traffic.
#include <algorithm>
#include <cstring>

#include "dataplane/crypto/engine.hpp"
#include "dataplane/crypto/known_answers.hpp"

namespace culvert::dp {

namespace {
constexpr std::uint32_t kTextBytes = 48, kSequenceHigh = 0x01020304;
constexpr std::size_t kCopies = 19;  // more than any engine has lanes, and odd
constexpr std::uint16_t kIcvAt = 32;
// FIPS 180-2, B.1.
constexpr std::array<std::uint8_t, 32> kSha256OfAbc{0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                                    0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                                    0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
constexpr std::array<std::uint8_t, kEspHeaderBytes> kHeader{0xa1, 0xb2, 0xc3, 0xd4, 0, 0, 0, 7};

/// `n` bytes counting up from `start`.
Bytes counting(std::size_t n, std::uint8_t start) {
  Bytes out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(start + i);
  return out;
}
void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

bool expand(CryptoEngine& engine, const EspSuite& suite, SaKeys& keys) {
  Bytes key;
  if (const EncrInfo* e = find_encr(suite.encr, suite.key_bits)) {
    key = counting(e->key_bytes(), 0x10);
    append(key, counting(e->salt, 0x80));
  }
  const IntegInfo* i = find_integ(suite.integ);
  return engine.expand(suite, key, counting(i != nullptr ? i->key : 0, 0x40), keys);
}

/// Both directions; several copies at once, so that the multi-buffer paths are used. `clear` and `wire` are the packet before and
/// after; `op` describes it. Empty: good.
std::string check(CryptoEngine& engine, const Bytes& clear, const Bytes& wire, const CryptoOp& op, std::size_t start) {
  std::vector<Bytes> packets(kCopies, clear);
  std::vector<CryptoOp> ops(kCopies, op);
  for (std::size_t i = 0; i < kCopies; ++i) ops[i].esp = packets[i].data() + start;
  engine.encrypt(ops);
  for (std::size_t i = 0; i < kCopies; ++i)
    if (!ops[i].ok || !std::equal(packets[i].begin(), packets[i].end() - 4, wire.begin())) return "encryption is wrong";
  ops[kCopies / 2].icv()[op.keys->geometry.icv - 1] ^= 1;
  engine.decrypt(ops);
  for (std::size_t i = 0; i < kCopies; ++i) {
    if (ops[i].ok == (i == kCopies / 2)) return "the integrity check is wrong";
    const std::size_t text = op.keys->geometry.ah ? wire.size() - 4 - kTextBytes : start + kEspHeaderBytes + op.keys->geometry.iv;
    const std::size_t bytes = op.keys->geometry.ah ? kTextBytes : op.text_length;
    if (ops[i].ok && std::memcmp(packets[i].data() + text, clear.data() + text, bytes) != 0) return "decryption is wrong";
  }
  return "";
}

// Four bytes in front of ESP and behind everything: the engine may borrow the former, and write the latter with AH.
std::string check_esp(CryptoEngine& engine, const SaKeys& keys, std::uint32_t high, const Bytes& header_and_iv, const Bytes& text,
                      const Bytes& sealed) {
  Bytes clear(4, 0x55);
  append(clear, header_and_iv);
  Bytes wire = clear;
  append(clear, text);
  clear.resize(clear.size() + keys.geometry.icv + 4);
  append(wire, sealed);
  wire.resize(wire.size() + 4);
  if (wire.size() != clear.size()) return "its size is wrong";
  return check(engine, clear, wire, {&keys, nullptr, static_cast<std::uint32_t>(text.size()), false, 0, high}, 4);
}
std::string check_esp(CryptoEngine& engine, const KnownAnswer& answer) {
  const auto suite = parse_esp_proposal(answer.suite);
  const auto sealed = from_hex(answer.sealed);
  SaKeys keys;
  if (!suite || !sealed || !expand(engine, suite->front(), keys)) return "key expansion failed";
  Bytes head(kHeader.begin(), kHeader.end());
  append(head, counting(keys.geometry.iv, 0xc0));
  return check_esp(engine, keys, kSequenceHigh, head, counting(kTextBytes, 0), *sealed);
}
std::string check_published(CryptoEngine& engine, const Published& p) {
  const auto suite = parse_esp_proposal(p.suite);
  const auto encr = from_hex(p.encr_key), integ = from_hex(p.integ_key), iv = from_hex(p.iv), text = from_hex(p.text),
             sealed = from_hex(p.sealed);
  auto head = from_hex(p.header);
  SaKeys keys;
  if (!suite || !encr || !integ || !head || !iv || !text || !sealed || !engine.expand(suite->front(), *encr, *integ, keys) ||
      head->size() != kEspHeaderBytes || iv->size() != keys.geometry.iv)
    return "key expansion failed";
  append(*head, *iv);
  return check_esp(engine, keys, p.sequence_high, *head, *text, *sealed);
}

std::string check_ah(CryptoEngine& engine, const KnownAnswer& answer) {
  const auto suite = parse_ah_proposal(answer.suite);
  const auto icv = from_hex(answer.sealed);
  SaKeys keys;
  if (!suite || !icv || !expand(engine, suite->front(), keys) || icv->size() != keys.geometry.icv) return "key expansion failed";
  Bytes clear = counting(kIcvAt, 0);
  append(clear, counting(keys.geometry.iv, 0xc0));
  Bytes wire = clear;
  append(clear, Bytes(keys.geometry.icv));
  append(wire, *icv);
  for (Bytes* b : {&clear, &wire}) {
    append(*b, counting(kTextBytes, 0));
    append(*b, Bytes(4));
  }
  return check(engine, clear, wire, {&keys, nullptr, static_cast<std::uint32_t>(clear.size() - 4), false, kIcvAt, kSequenceHigh}, 0);
}
}  // namespace

std::expected<void, std::string> CryptoEngine::self_test() {
  const auto wrong = [this](const char* what, const auto& answer, const std::string& fault) {
    return std::unexpected("self-test of " + describe() + ": " + what + " " + answer.suite + ": " + fault);
  };
  for (const KnownAnswer& answer : kEspAnswers)
    if (const std::string fault = check_esp(*this, answer); !fault.empty()) return wrong("ESP", answer, fault);
  for (const Published& answer : kPublished)
    if (const std::string fault = check_published(*this, answer); !fault.empty()) return wrong(answer.where, answer, fault);
  for (const KnownAnswer& answer : kAhAnswers)
    if (const std::string fault = check_ah(*this, answer); !fault.empty()) return wrong("AH", answer, fault);
  std::array<std::uint8_t, 32> digest{};
  sha256(as_bytes("abc"), digest.data());
  if (digest != kSha256OfAbc) return std::unexpected("self-test of " + describe() + ": SHA-256 is wrong");
  std::array<std::uint8_t, 16> a{}, b{};
  if (!next_cbc_iv(a.data(), a.size()) || !next_cbc_iv(b.data(), b.size()) || a == b)
    return std::unexpected("self-test: IV generator is wrong");
  return {};
}

}  // namespace culvert::dp
