#include "control/radius/proof.hpp"

#include <algorithm>

#include "control/crypto/hash.hpp"

namespace culvert::radius {

namespace {

constexpr std::size_t kMac = 16, kLengthAt = 2, kAuthenticatorAt = 4, kBlock = 16, kSalt = 2, kMsk = 64;
constexpr std::uint32_t kMicrosoft = 311;
constexpr std::uint8_t kSendKey = 16, kRecvKey = 17;  // RFC 2548 §2.4.2, §2.4.3

ByteView whole(ByteView datagram) { return datagram.first(Reader(datagram.subspan(kLengthAt)).be<std::uint16_t>()); }

/// Where the value of the Message-Authenticator is, if there is one and no other; what parse() has taken.
std::optional<std::size_t> message_authenticator_at(ByteView packet) {
  std::optional<std::size_t> found;
  for (std::size_t at = kHeader; at + 1 < packet.size(); at += packet[at + 1]) {
    if (Type{packet[at]} != Type::MessageAuthenticator) continue;
    if (found || packet[at + 1] != kMac + 2) return std::nullopt;
    found = at + 2;
  }
  return found;
}

/// One key, with its salt in front, as it is hidden (RFC 2548 §2.4.2). Empty: it is none.
SecretBytes reveal(ByteView hidden, const Authenticator& request, ByteView secret) {
  if (hidden.size() < kSalt + kBlock || (hidden.size() - kSalt) % kBlock != 0 || (hidden[0] & 0x80) == 0) return {};
  const ByteView salt = hidden.first(kSalt), text = hidden.subspan(kSalt);
  SecretBytes clear(text.size());
  for (std::size_t at = 0; at < text.size(); at += kBlock) {
    Bytes pad = at == 0 ? crypto::digest(Prf::HmacMd5, {secret, request, salt})
                        : crypto::digest(Prf::HmacMd5, {secret, text.subspan(at - kBlock, kBlock)});
    for (std::size_t i = 0; i < kBlock; ++i) clear.mutable_view()[at + i] = static_cast<std::uint8_t>(text[at + i] ^ pad[i]);
    wipe(pad);
  }
  const std::size_t size = clear.view()[0];
  return size == 0 || size >= clear.size() ? SecretBytes{} : SecretBytes(clear.view().subspan(1, size));
}

/// The value of a Microsoft attribute; several of them may be in one Vendor-Specific. Empty: there is none.
ByteView of_microsoft(const Packet& packet, std::uint8_t type) {
  for (const Attribute& a : packet.attributes) {
    Reader r(a.value);
    if (a.type != Type::VendorSpecific || r.be<std::uint32_t>() != kMicrosoft) continue;
    while (r.ok() && r.remaining() > 2) {
      const auto kind = r.be<std::uint8_t>();
      const auto size = r.be<std::uint8_t>();
      if (size < 2) break;
      const ByteView value = r.take(size - std::size_t{2});
      if (r.ok() && kind == type) return value;
    }
  }
  return {};
}

}  // namespace

std::optional<Bytes> signed_request(Packet packet, ByteView secret) {
  packet.attributes.insert(packet.attributes.begin(), {Type::MessageAuthenticator, Bytes(kMac, 0)});
  auto out = encode(packet);
  if (!out) return std::nullopt;
  const SecretBytes mac = crypto::hmac(Prf::HmacMd5, secret, {*out});  // RFC 3579 §3.2
  std::ranges::copy(mac.view(), out->begin() + kHeader + 2);
  return out;
}

Proof check_reply(ByteView datagram, const Authenticator& request, ByteView secret) {
  const ByteView packet = whole(datagram);
  const ByteView before = packet.first(kAuthenticatorAt), said = packet.subspan(kAuthenticatorAt, request.size()),
                 attributes = packet.subspan(kHeader);
  const Bytes expected = crypto::digest(Prf::HmacMd5, {before, request, attributes, secret});  // RFC 2865 §3
  if (!equal_constant_time(expected, said)) return Proof::WrongAuthenticator;
  const auto at = message_authenticator_at(packet);
  if (!at) return Proof::NoMessageAuthenticator;
  const Bytes zeros(kMac, 0);
  const SecretBytes mac =
      crypto::hmac(Prf::HmacMd5, secret, {before, request, packet.subspan(kHeader, *at - kHeader), zeros, packet.subspan(*at + kMac)});
  return equal_constant_time(mac.view(), packet.subspan(*at, kMac)) ? Proof::Good : Proof::WrongMessageAuthenticator;
}

std::optional<SecretBytes> msk_of(const Packet& reply, const Authenticator& request, ByteView secret) {
  const ByteView recv = of_microsoft(reply, kRecvKey), send = of_microsoft(reply, kSendKey);
  if (recv.empty() && send.empty()) return SecretBytes{};
  const SecretBytes first = reveal(recv, request, secret), second = reveal(send, request, secret);
  if (first.empty() || second.empty()) return std::nullopt;
  // RFC 3748 §7.10: of 64 bytes. Keys of MS-CHAPv2 are shorter, and have zeros behind them on the user's side.
  SecretBytes out(std::max(first.size() + second.size(), kMsk));
  std::ranges::copy(second.view(), std::ranges::copy(first.view(), out.mutable_view().begin()).out);
  return out;
}

}  // namespace culvert::radius
