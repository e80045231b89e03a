#include "control/ikev2/ticket.hpp"

#include <algorithm>
#include <stdexcept>

#include "control/crypto/aead.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::uint8_t kVersion = 2;
constexpr std::size_t kKeyId = 4;

void put(Writer& w, ByteView bytes) {
  w.be(static_cast<std::uint16_t>(bytes.size()));
  w.bytes(bytes);
}
template <class E>
void put_number(Writer& w, E value) {
  w.be(static_cast<std::uint16_t>(value));
}
Bytes take(Reader& r) {
  const ByteView v = r.take(r.be<std::uint16_t>());
  return {v.begin(), v.end()};
}
std::string take_text(Reader& r) {
  const Bytes v = take(r);
  return {v.begin(), v.end()};
}
template <class E>
void take_number(Reader& r, E& out) {
  out = static_cast<E>(r.be<std::uint16_t>());
}

std::optional<Ticket> read(ByteView contents) {
  Reader r(contents);
  if (r.be<std::uint8_t>() != kVersion) return std::nullopt;
  Ticket out;
  out.serial = take(r);
  out.connection = take_text(r);
  take_number(r, out.suite.encr);
  out.suite.key_bits = r.be<std::uint16_t>();
  take_number(r, out.suite.prf);
  take_number(r, out.suite.group);
  take_number(r, out.suite.integ);
  out.d = SecretBytes(r.take(r.be<std::uint16_t>()));
  out.authenticated = static_cast<std::int64_t>(r.be<std::uint64_t>());
  out.expires = static_cast<std::int64_t>(r.be<std::uint64_t>());
  out.proofs = r.be<std::uint8_t>();
  out.ppk = r.be<std::uint8_t>() != 0;
  take_number(r, out.id.type);
  out.id.data = take(r);
  out.identity = take_text(r);
  out.user = take_text(r);
  const Bytes key = take(r);
  if (key.size() == ike::PeerKey{}.size()) std::ranges::copy(key, out.key.emplace().begin());
  if (!r.ok() || r.remaining() != 0 || out.serial.size() != kTicketSerial) return std::nullopt;
  return out;
}

}  // namespace

Bytes seal_ticket(const ike::TicketKey& key, ByteView nonce, const Ticket& t) {
  Writer w;
  w.be(kVersion);
  put(w, t.serial);
  put(w, as_bytes(t.connection));
  put_number(w, t.suite.encr);
  w.be(t.suite.key_bits);
  put_number(w, t.suite.prf);
  put_number(w, t.suite.group);
  put_number(w, t.suite.integ);
  put(w, t.d.view());
  w.be(static_cast<std::uint64_t>(t.authenticated));
  w.be(static_cast<std::uint64_t>(t.expires));
  w.be(t.proofs);
  w.be(static_cast<std::uint8_t>(t.ppk ? 1 : 0));
  put_number(w, t.id.type);
  put(w, t.id.data);
  put(w, as_bytes(t.identity));
  put(w, as_bytes(t.user));
  put(w, t.key ? ByteView(*t.key) : ByteView{});
  Bytes contents = std::move(w).take();
  Writer out;
  out.be(key.id);
  const auto sealed = crypto::aead_seal(Encr::AesGcm16, key.key.view(), nonce, out.view(), contents);
  wipe(contents);
  if (!sealed) throw std::logic_error("a ticket cannot be sealed: " + std::string(crypto::name(sealed.error())));
  out.bytes(nonce);
  out.bytes(*sealed);
  return std::move(out).take();
}

std::optional<Ticket> open_ticket(std::span<const ike::TicketKey> keys, ByteView sealed) {
  if (sealed.size() < kKeyId + kTicketNonce || sealed.size() > kMaxTicket) return std::nullopt;
  const auto id = Reader(sealed).be<std::uint32_t>();
  const auto key = std::ranges::find(keys, id, &ike::TicketKey::id);
  if (key == keys.end()) return std::nullopt;
  auto contents = crypto::aead_open(Encr::AesGcm16, key->key.view(), sealed.subspan(kKeyId, kTicketNonce), sealed.first(kKeyId),
                                    sealed.subspan(kKeyId + kTicketNonce));
  if (!contents) return std::nullopt;
  auto out = read(*contents);
  wipe(*contents);
  return out;
}

}  // namespace culvert::ikev2
