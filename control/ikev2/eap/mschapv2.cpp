#include "control/ikev2/eap/mschapv2.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "control/crypto/cbc.hpp"
#include "control/crypto/hash.hpp"
#include "control/crypto/nt_hash.hpp"
#include "control/ikev2/eap/packet.hpp"

namespace culvert::eap {

using namespace std::string_view_literals;

namespace {

constexpr const char* kRule = "draft-kamath-pppext-eap-mschapv2-02 §2";
constexpr std::size_t kVerdictHeader = 4, kDesKey = 7, kDesBlock = 8;
constexpr std::uint8_t kResponseValue = 49;

SecretBytes sha1(std::initializer_list<ByteView> parts) {
  Bytes hash = crypto::digest(Prf::HmacSha1, parts);
  SecretBytes out{ByteView(hash)};
  wipe(hash);
  return out;
}

/// RFC 2759 §8.2.
SecretBytes challenge_hash(const Challenges& c) {
  const auto backslash = std::ranges::find(c.user.rbegin(), c.user.rend(), std::uint8_t{'\\'});
  const ByteView name = c.user.last(static_cast<std::size_t>(backslash - c.user.rbegin()));
  return SecretBytes(sha1({c.peer, c.server, name}).view().first(8));
}

/// RFC 2759 §8.6: 56 bits of key, in seven bytes. The eighth bit of each byte of a key of DES is parity, which nobody looks at.
SecretBytes des(ByteView block, ByteView key) {
  SecretBytes wide(kDesBlock);
  for (std::size_t i = 0; i < kDesBlock; ++i) {
    const unsigned high = i == 0 ? 0U : static_cast<unsigned>(key[i - 1]) << (8 - i);
    const unsigned low = i == kDesKey ? 0U : static_cast<unsigned>(key[i]) >> i;
    wide.mutable_view()[i] = static_cast<std::uint8_t>((high | low) & 0xfeU);
  }
  const std::array<std::uint8_t, kDesBlock> zeros{};  // one block under an IV of zeros is ECB
  const auto out = crypto::cbc_encrypt(Encr::Des, wide.view(), zeros, block);
  if (!out) throw crypto::LibraryError("DES");
  return SecretBytes(ByteView(*out));
}

Parsed<MsVerdict> fail(Reader& r, ParseErrc code) {
  r.fail(code, kRule);
  return std::unexpected(r.error());
}

/// The header, checked: the rest of the message is left.
struct Header {
  MsOp op{};
  std::uint8_t id = 0;
};
Header header(Reader& r, std::size_t size, MsOp expected) {
  Header out;
  out.op = MsOp{r.be<std::uint8_t>(kRule)};
  out.id = r.be<std::uint8_t>(kRule);
  const auto length = r.be<std::uint16_t>(kRule);
  if (out.op != expected) r.fail(ParseErrc::BadValue, kRule);
  if (length != size) r.fail(ParseErrc::BadLength, kRule);
  return out;
}

Writer begin(MsOp op, std::uint8_t id, std::size_t rest) {
  Writer w;
  w.be(static_cast<std::uint8_t>(op));
  w.be(id);
  w.be(static_cast<std::uint16_t>(kVerdictHeader + rest));
  return w;
}

Bytes copy(ByteView b) { return {b.begin(), b.end()}; }

}  // namespace

SecretBytes nt_response(const Challenges& c, ByteView nt_hash) {
  const SecretBytes challenge = challenge_hash(c);
  SecretBytes keys(3 * kDesKey), out(kNtResponse);
  std::ranges::copy(nt_hash.first(crypto::kNtHashBytes), keys.mutable_view().begin());
  for (std::size_t i = 0; i < 3; ++i) {
    const SecretBytes part = des(challenge.view(), keys.view().subspan(i * kDesKey, kDesKey));
    std::ranges::copy(part.view(), out.mutable_view().subspan(i * kDesBlock).begin());
  }
  return out;
}

SecretBytes authenticator_response(const Challenges& c, ByteView nt_hash, ByteView nt_response) {
  static constexpr auto kMagic1 = "Magic server to client signing constant"sv;
  static constexpr auto kMagic2 = "Pad to make it do more than one iteration"sv;
  const SecretBytes hash_hash = crypto::md4(nt_hash);
  const SecretBytes first = sha1({hash_hash.view(), nt_response, as_bytes(kMagic1)});
  const SecretBytes second = sha1({first.view(), challenge_hash(c).view(), as_bytes(kMagic2)});
  static constexpr auto kDigits = "0123456789ABCDEF"sv;
  SecretBytes out(2 + 2 * second.size());
  const MutableByteView text = out.mutable_view();
  text[0] = 'S';
  text[1] = '=';
  for (std::size_t i = 0; i < second.size(); ++i) {
    text[2 + 2 * i] = static_cast<std::uint8_t>(kDigits[second.view()[i] >> 4]);
    text[3 + 2 * i] = static_cast<std::uint8_t>(kDigits[second.view()[i] & 0xfU]);
  }
  return out;
}

SecretBytes master_key(ByteView nt_hash, ByteView nt_response) {
  const SecretBytes hash_hash = crypto::md4(nt_hash);
  return SecretBytes(sha1({hash_hash.view(), nt_response, as_bytes("This is the MPPE Master Key"sv)}).view().first(16));
}

SecretBytes start_key(ByteView master_key, bool server_sends) {
  static constexpr auto kReceives = "On the client side, this is the send key; on the server side, it is the receive key."sv;
  static constexpr auto kSends = "On the client side, this is the receive key; on the server side, it is the send key."sv;
  const Bytes pad1(40, 0x00), pad2(40, 0xf2);
  return SecretBytes(sha1({master_key, pad1, as_bytes(server_sends ? kSends : kReceives), pad2}).view().first(16));
}

SecretBytes mschapv2_msk(ByteView nt_hash, ByteView nt_response) {
  const SecretBytes master = master_key(nt_hash, nt_response);
  SecretBytes out(kMsk);
  std::ranges::copy(start_key(master.view(), false).view(), out.mutable_view().begin());
  std::ranges::copy(start_key(master.view(), true).view(), out.mutable_view().subspan(16).begin());
  return out;
}

std::optional<MsOp> ms_op(ByteView data) {
  if (data.empty() || data[0] < 1 || data[0] > 4) return std::nullopt;
  return MsOp{data[0]};
}

Parsed<MsChallenge> parse_ms_challenge(ByteView data) {
  Reader r(data);
  MsChallenge out{header(r, data.size(), MsOp::Challenge).id, {}, {}};
  if (r.be<std::uint8_t>(kRule) != kMschapChallenge) r.fail(ParseErrc::BadValue, kRule);
  out.challenge = copy(r.take(kMschapChallenge, kRule));
  if (r.remaining() > kMaxName) r.fail(ParseErrc::TooMany, kRule);
  out.name = copy(r.rest());
  if (!r.ok()) return std::unexpected(r.error());
  return out;
}

Parsed<MsResponse> parse_ms_response(ByteView data) {
  Reader r(data);
  MsResponse out{header(r, data.size(), MsOp::Response).id, {}, {}, {}};
  if (r.be<std::uint8_t>(kRule) != kResponseValue) r.fail(ParseErrc::BadValue, kRule);
  out.challenge = copy(r.take(kMschapChallenge, kRule));
  r.skip(8, kRule);
  out.proof = copy(r.take(kNtResponse, kRule));
  r.skip(1, kRule);
  if (r.remaining() > kMaxName) r.fail(ParseErrc::TooMany, kRule);
  out.name = copy(r.rest());
  if (!r.ok()) return std::unexpected(r.error());
  return out;
}

Parsed<MsVerdict> parse_ms_verdict(ByteView data) {
  Reader r(data);
  const auto op = ms_op(data);
  if (!op || (*op != MsOp::Success && *op != MsOp::Failure)) return fail(r, ParseErrc::BadValue);
  MsVerdict out{*op, header(r, data.size(), *op).id, {}};
  out.message = copy(r.rest());
  if (!r.ok()) return std::unexpected(r.error());
  return out;
}

Bytes encode(const MsChallenge& m) {
  Writer w = begin(MsOp::Challenge, m.id, 1 + m.challenge.size() + m.name.size());
  w.be(static_cast<std::uint8_t>(m.challenge.size()));
  w.bytes(m.challenge);
  w.bytes(m.name);
  return std::move(w).take();
}

Bytes encode(const MsResponse& m) {
  Writer w = begin(MsOp::Response, m.id, 1 + kResponseValue + m.name.size());
  w.be(kResponseValue);
  w.bytes(m.challenge);
  w.zeros(8);
  w.bytes(m.proof);
  w.zeros(1);
  w.bytes(m.name);
  return std::move(w).take();
}

Bytes encode(const MsVerdict& m) {
  Writer w = begin(m.op, m.id, m.message.size());
  w.bytes(m.message);
  return std::move(w).take();
}

}  // namespace culvert::eap
