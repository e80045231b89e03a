// Every key and every proof of IKEv2 that is made of a PRF: RFC 7296 §2.13-§2.18, §2.15 (AUTH), §2.23 (NAT detection), RFC 8784.
// Owns the formulas. Keeps nothing, compares nothing: comparing is equal_constant_time()'s.
#pragma once

#include <optional>
#include <span>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/net/ip.hpp"
#include "common/secret.hpp"
#include "common/types.hpp"

namespace culvert::ikev2 {

/// prf(key, parts). The fixed-length keys of AES-XCBC and AES-CMAC: RFC 4434 §2, RFC 4615 §3.
SecretBytes prf(Prf prf, ByteView key, std::initializer_list<ByteView> parts);
/// RFC 7296 §2.13: prf+(key, seed), `size` bytes of it (at most 255 outputs of the PRF).
SecretBytes prf_plus(Prf prf, ByteView key, std::initializer_list<ByteView> seed, std::size_t size);
/// Bytes of the PRF's preferred key (RFC 7296 §2.14): its output's size.
std::size_t preferred_key_bytes(Prf prf);

/// The secrets of an IKE SA.
struct IkeKeys {
  Prf prf{};
  SecretBytes d, ai, ar, ei, er, pi, pr;  ///< SK_d, ...; ai and ar are empty with an AEAD, whose ei and er have the salt behind the key
};
struct IkeKeyInputs {
  const IkeSuite& suite;
  ByteView nonce_i, nonce_r;  ///< of the exchange that makes the SA
  ByteView g_ir;
  IkeSpi spi_i, spi_r;  ///< of the new SA
};
/// SKEYSEED = prf(Ni | Nr, g^ir) and what comes of it (RFC 7296 §2.14).
IkeKeys derive(const IkeKeyInputs& in);
/// Those of its keys that a post-quantum pre-shared key is mixed into: prf+(PPK, SK_d), ... (RFC 8784 §3).
struct PpkKeys {
  SecretBytes d, pi, pr;
};
PpkKeys ppk_keys(const IkeKeys& keys, ByteView ppk);
/// Of an IKE SA that replaces another: SKEYSEED = prf(SK_d of the old one, g^ir | Ni | Nr), with the old one's PRF (RFC 7296 §2.18).
/// `more`: SK(1) | ... of its additional key exchanges, if there were any: it is prf(SK_d, SK(0) | Ni | Nr | SK(1) | ...) (RFC 9370
/// §2.2.4). Also of the same SA after an additional key exchange: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr) (RFC 9370 §2.2.2).
IkeKeys derive_rekeyed(const IkeKeyInputs& in, Prf old_prf, ByteView old_d, ByteView more = {});

/// Of an IKE SA that goes on by a ticket: SKEYSEED = prf(SK_d of the old one, "Resumption" | Ni | Nr) (RFC 5723 §5.1). There is no g^ir.
IkeKeys derive_resumed(const IkeKeyInputs& in, ByteView old_d);

struct EspKeys {
  SecretBytes encr;   ///< with the salt behind it; empty with AH
  SecretBytes integ;  ///< with the salt of GMAC behind it; empty with an AEAD
};
/// KEYMAT of both directions (RFC 7296 §2.17): initiator and responder are those of the exchange that makes the CHILD SA.
struct ChildKeys {
  EspKeys from_initiator, from_responder;
};
/// With additional key exchanges it is prf+(SK_d, SK(0) | Ni | Nr | SK(1) | ...), `more` being SK(1) | ... (RFC 9370 §2.2.4).
ChildKeys child_keys(Prf prf, ByteView sk_d, const EspSuite& suite, ByteView nonce_i, ByteView nonce_r, std::optional<ByteView> g_ir,
                     ByteView more = {});

/// The proof of what went through IKE_INTERMEDIATE (RFC 9242 §3.3.2): nothing where there was no such exchange.
struct IntAuth {
  SecretBytes of_initiator, of_responder;
  std::uint32_t exchanges = 0;
  /// IntAuth_iN | IntAuth_rN | the message ID of the first IKE_AUTH, which comes next.
  [[nodiscard]] SecretBytes octets() const;
};
/// One message more: IntAuth_xN = prf(SK_px, IntAuth_x(N-1) | A | P). `header`: the IKE header of the message or of one of its fragments.
/// `first` and `chain`: what is inside, as it was or will be encrypted. `sk_p`: as before this exchange.
SecretBytes int_auth(Prf prf, ByteView sk_p, const SecretBytes& before, ByteView header, std::uint8_t first, ByteView chain);

/// What a side signs (RFC 7296 §2.15): its first message | the other's nonce | prf(SK_p, its ID payload without the generic header), and
/// behind that what RFC 9242 §3.3.2 adds.
SecretBytes signed_octets(Prf prf, ByteView first_message, ByteView other_nonce, ByteView sk_p, ByteView id_body,
                          const IntAuth& intermediate = {});
/// AUTH with a shared key: prf(prf(secret, "Key Pad for IKEv2"), octets). Also with the MSK of an EAP method as the secret.
SecretBytes shared_key_auth(Prf prf, ByteView secret, ByteView octets);

/// SHA-1(SPIi | SPIr | address | port), of NAT_DETECTION_*_IP (RFC 7296 §2.23).
Bytes nat_hash(IkeSpi spi_i, IkeSpi spi_r, const Endpoint& endpoint);

}  // namespace culvert::ikev2
