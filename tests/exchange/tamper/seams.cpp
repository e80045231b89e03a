// Where the linker (seams.txt) leads the engines' calls of the functions that write, seal, hash and open messages: to the insider's own
// while its engine is at work, and past what looks on while its victim's is. Without an insider each does what it always does.
//
// The names are those that both compilers give the functions (Itanium C++ ABI), with which a member's object is its first argument.
#include "control/ikev1/cipher.hpp"
#include "control/ikev1/message.hpp"
#include "control/ikev2/cipher.hpp"
#include "tests/exchange/tamper/insider.hpp"

namespace culvert::test::tamper {

namespace {

using ikev1::Phase1HashInputs;
using ikev1::Phase1Secrets;
using ikev2::IntAuth;

Insider* speaking() {
  Insider* i = Insider::at_work();
  return i && i->speaking() ? i : nullptr;
}
Insider* listening() {
  Insider* i = Insider::at_work();
  return i && i->listening() ? i : nullptr;
}

constexpr std::size_t kTail = 16;
ByteView tail_of(ByteView bytes) { return bytes.last(std::min(bytes.size(), kTail)); }
Bytes plain(const SecretBytes& b) { return Bytes(b.view().begin(), b.view().end()); }
Bytes copy(ByteView b) { return Bytes(b.begin(), b.end()); }

}  // namespace

#define SPAN "St4spanIKhLm18446744073709551615EE"
#define SEAM(result, name, symbol, ...)                      \
  result real_##name(__VA_ARGS__) __asm__("__real_" symbol); \
  result name(__VA_ARGS__) __asm__("__wrap_" symbol);        \
  result name(__VA_ARGS__)

// ---------------------------------------------------------------------------------------------------------------- both versions

SEAM(Bytes, encode_message, "_ZN7culvert3ike14encode_messageENS0_6HeaderE" SPAN, ike::Header h, ByteView body) {
  Insider* i = speaking();
  if (!i || i->sealing_v2 || (h.major == 1 && h.next_payload == 132)) return real_encode_message(h, body);  // 132: a fragment
  if (h.major == 1 && h.encrypted()) {
    i->finish(h);
    return real_encode_message(h, body);
  }
  const Insider::Altered said = i->alter(h, h.next_payload, body, false);
  h.next_payload = said.first;
  return real_encode_message(h, said.chain);
}

// ---------------------------------------------------------------------------------------------------------------- IKEv1

SEAM(Bytes, v1_chain, "_ZNK7culvert5ikev17Builder5chainEv", const ikev1::Builder* self) {
  if (Insider* i = speaking()) i->first_v1 = static_cast<std::uint8_t>(self->first());
  return real_v1_chain(self);
}

SEAM(ikev1::Sealed, v1_seal, "_ZNK7culvert5ikev16Cipher4sealERKSt5arrayIhLm16EE" SPAN, const ikev1::Cipher* self, const ikev1::Iv& iv,
     ByteView chain) {
  Insider* i = speaking();
  if (!i) return real_v1_seal(self, iv, chain);
  return real_v1_seal(self, iv, i->alter_v1(i->first_v1, chain).chain);
}

namespace {
Bytes note_hash(Bytes hash, std::deque<Recipe> Insider::* book, const std::function<Bytes(ByteView)>& make) {
  if (Insider* i = speaking()) i->remember(i->*book, hash, make);
  if (Insider* i = listening()) i->seen(hash);
  return hash;
}
}  // namespace

#define HASH_NAME(name) "_ZN7culvert5ikev1" name "ERKNS0_13Phase1SecretsENS_6StrongINS_12MessageIdTagEjEE" SPAN

SEAM(Bytes, quick_hash_1, HASH_NAME("12quick_hash_1"), const Phase1Secrets& s, MessageId id, ByteView rest) {
  return note_hash(real_quick_hash_1(s, id, rest), &Insider::hashes, [s, id](ByteView r) { return real_quick_hash_1(s, id, r); });
}
SEAM(Bytes, informational_hash, HASH_NAME("18informational_hash"), const Phase1Secrets& s, MessageId id, ByteView rest) {
  return note_hash(real_informational_hash(s, id, rest), &Insider::hashes,
                   [s, id](ByteView r) { return real_informational_hash(s, id, r); });
}
SEAM(Bytes, quick_hash_2, HASH_NAME("12quick_hash_2") "S9_", const Phase1Secrets& s, MessageId id, ByteView nonce, ByteView rest) {
  return note_hash(real_quick_hash_2(s, id, nonce, rest), &Insider::hashes,
                   [s, id, n = copy(nonce)](ByteView r) { return real_quick_hash_2(s, id, n, r); });
}
SEAM(Bytes, quick_hash_3, HASH_NAME("12quick_hash_3") "S9_", const Phase1Secrets& s, MessageId id, ByteView nonce_i, ByteView nonce_r) {
  const Bytes hash = real_quick_hash_3(s, id, nonce_i, nonce_r);
  return note_hash(hash, &Insider::hashes, [hash](ByteView) { return hash; });
}

namespace {
/// What both hashes of phase 1 are made of, to be kept.
struct Phase1Copy {
  Phase1Secrets secrets;
  Bytes g_xi, g_xr, sa;
  Phase1HashInputs in;
  Phase1Copy(const Phase1Secrets& s, const Phase1HashInputs& i)
      : secrets(s), g_xi(copy(i.g_xi)), g_xr(copy(i.g_xr)), sa(copy(i.sa_i_body)), in(i) {}
  [[nodiscard]] Phase1HashInputs of(ByteView id) const { return {g_xi, g_xr, in.spi_i, in.spi_r, sa, id, in.prf}; }
};
}  // namespace

SEAM(Bytes, hash_i, "_ZN7culvert5ikev16hash_iERKNS0_13Phase1SecretsERKNS0_16Phase1HashInputsE", const Phase1Secrets& s,
     const Phase1HashInputs& in) {
  return note_hash(real_hash_i(s, in), &Insider::identities,
                   [kept = Phase1Copy(s, in)](ByteView id) { return real_hash_i(kept.secrets, kept.of(id)); });
}
SEAM(Bytes, hash_r, "_ZN7culvert5ikev16hash_rERKNS0_13Phase1SecretsERKNS0_16Phase1HashInputsE", const Phase1Secrets& s,
     const Phase1HashInputs& in) {
  return note_hash(real_hash_r(s, in), &Insider::identities,
                   [kept = Phase1Copy(s, in)](ByteView id) { return real_hash_r(kept.secrets, kept.of(id)); });
}

// ---------------------------------------------------------------------------------------------------------------- IKEv2

SEAM(Bytes, v2_seal, "_ZN7culvert5ikev26Cipher4sealENS_3ike6HeaderENS0_11PayloadTypeE" SPAN, ikev2::Cipher* self, ike::Header h,
     ikev2::PayloadType first, ByteView chain) {
  Insider* i = speaking();
  if (!i) return real_v2_seal(self, h, first, chain);
  const Insider::Altered said = i->alter(h, static_cast<std::uint8_t>(first), chain, true);
  i->sealing_v2 = true;
  Bytes out = real_v2_seal(self, h, ikev2::PayloadType{said.first}, said.chain);
  i->sealing_v2 = false;
  i->sealed_as(tail_of(out));
  return out;
}

SEAM(Bytes, v2_seal_fragment, "_ZN7culvert5ikev26Cipher13seal_fragmentENS_3ike6HeaderENS0_11PayloadTypeE" SPAN "NS0_13FragmentPlaceE",
     ikev2::Cipher* self, ike::Header h, ikev2::PayloadType first, ByteView part, ikev2::FragmentPlace place) {
  Insider* i = speaking();
  if (!i) return real_v2_seal_fragment(self, h, first, part, place);
  const Insider::Altered said = i->alter(h, static_cast<std::uint8_t>(first), part, true);
  i->sealing_v2 = true;
  Bytes out = real_v2_seal_fragment(self, h, ikev2::PayloadType{said.first}, said.chain, place);
  i->sealing_v2 = false;
  i->sealed_as(tail_of(out));
  return out;
}

using MaybeOpened = std::expected<ikev2::Opened, ikev2::OpenError>;
SEAM(MaybeOpened, v2_open, "_ZNK7culvert5ikev26Cipher4openE" SPAN, const ikev2::Cipher* self, ByteView message) {
  MaybeOpened out = real_v2_open(self, message);
  if (Insider* i = listening(); i && out) i->seen(tail_of(message));
  return out;
}

SEAM(SecretBytes, signed_octets, "_ZN7culvert5ikev213signed_octetsENS_3PrfE" SPAN "S4_S4_S4_RKNS0_7IntAuthE", Prf prf, ByteView first,
     ByteView nonce, ByteView sk_p, ByteView id, const IntAuth& more) {
  SecretBytes out = real_signed_octets(prf, first, nonce, sk_p, id, more);
  if (Insider* i = speaking())
    i->remember(i->octets, plain(out), [prf, f = copy(first), n = copy(nonce), p = copy(sk_p), more](ByteView other) {
      return plain(real_signed_octets(prf, f, n, p, other, more));
    });
  return out;
}

SEAM(SecretBytes, shared_key_auth, "_ZN7culvert5ikev215shared_key_authENS_3PrfE" SPAN "S4_", Prf prf, ByteView secret, ByteView octets) {
  SecretBytes out = real_shared_key_auth(prf, secret, octets);
  Insider* i = speaking();
  if (const Recipe* made = i ? find(i->octets, octets) : nullptr)
    i->remember(i->auths, plain(out),
                [prf, s = copy(secret), of = made->make](ByteView id) { return plain(real_shared_key_auth(prf, s, of(id))); });
  return out;
}

/// What both sides prove of IKE_INTERMEDIATE is what went over the wire.
SEAM(SecretBytes, int_auth, "_ZN7culvert5ikev28int_authENS_3PrfE" SPAN "RKNS_11SecretBytesES4_hS4_", Prf prf, ByteView sk_p,
     const SecretBytes& before, ByteView header, std::uint8_t first, ByteView chain) {
  if (Insider* i = speaking(); i && std::ranges::equal(chain, i->last_meant))
    return real_int_auth(prf, sk_p, before, header, i->last_first, i->last_said);
  return real_int_auth(prf, sk_p, before, header, first, chain);
}

}  // namespace culvert::test::tamper
