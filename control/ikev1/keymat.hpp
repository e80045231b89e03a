// Every key and every hash of IKEv1: RFC 2409 §5, §5.1, §5.4, §5.5, §5.7, App. B, and NAT-D (RFC 3947 §3.2).
// Owns the formulas. Keeps nothing, compares nothing: comparing is equal_constant_time()'s.
#pragma once

#include <optional>

#include "common/bytes.hpp"
#include "common/ipsec/algorithms.hpp"
#include "common/net/ip.hpp"
#include "common/secret.hpp"
#include "common/types.hpp"

namespace culvert::ikev1 {

/// The secrets of an ISAKMP SA, and the PRF that all later formulas use.
struct Phase1Secrets {
  Prf prf{};
  SecretBytes skeyid, skeyid_d, skeyid_a, skeyid_e;
};
struct Phase1Inputs {
  Prf prf{};
  ByteView psk;
  ByteView nonce_i, nonce_r;  ///< bodies of the NONCE payloads
  ByteView g_xy;
  IkeSpi spi_i, spi_r;
  bool signatures = false;  ///< no `psk` then
};
/// SKEYID with a pre-shared key: all that HASH_R of Aggressive Mode needs, and no key exchange.
SecretBytes psk_skeyid(Prf prf, ByteView psk, ByteView nonce_i, ByteView nonce_r);
/// SKEYID = prf(psk, Ni_b | Nr_b), with signatures prf(Ni_b | Nr_b, g^xy); and SKEYID_d, _a, _e from it (RFC 2409 §5, §5.1, §5.4).
Phase1Secrets derive_phase1(const Phase1Inputs& in);
/// SKEYID_e, cut or expanded (Ka, RFC 2409 App. B) to the cipher's key length in bytes.
SecretBytes phase1_encryption_key(const Phase1Secrets& secrets, std::size_t key_bytes);

struct Phase1HashInputs {
  ByteView g_xi, g_xr;  ///< bodies of the KE payloads
  IkeSpi spi_i, spi_r;
  ByteView sa_i_body;                     ///< the initiator's SA payload of message 1, without its generic header, as on the wire
  ByteView id_body;                       ///< IDii_b for HASH_I, IDir_b for HASH_R, as on the wire
  std::optional<Prf> prf = std::nullopt;  ///< in place of the negotiated one: see proof_prf()
};
Bytes hash_i(const Phase1Secrets& secrets, const Phase1HashInputs& in);
Bytes hash_r(const Phase1Secrets& secrets, const Phase1HashInputs& in);

/// RFC 2409 §5.5. `rest` is everything behind the HASH payload: Message::behind(0), or Builder::chain() before prepend_hash().
Bytes quick_hash_1(const Phase1Secrets& secrets, MessageId id, ByteView rest);
Bytes quick_hash_2(const Phase1Secrets& secrets, MessageId id, ByteView nonce_i, ByteView rest);
Bytes quick_hash_3(const Phase1Secrets& secrets, MessageId id, ByteView nonce_i, ByteView nonce_r);
/// RFC 2409 §5.7: HASH(1) of an Informational exchange.
Bytes informational_hash(const Phase1Secrets& secrets, MessageId id, ByteView rest);

struct KeymatInputs {
  Spi spi;                          ///< of the SA whose keys these are: the receiver's choice
  ByteView nonce_i, nonce_r;        ///< of this Quick Mode
  std::optional<ByteView> g_qm_xy;  ///< with PFS
};
struct EspKeys {
  SecretBytes encr;   ///< with the salt behind it (RFC 3686 §5.1, RFC 4106 §8.1, RFC 4309 §7.1); empty with AH
  SecretBytes integ;  ///< with the salt of GMAC behind it (RFC 4543 §5.3); empty with an AEAD
};
/// KEYMAT of one direction (RFC 2409 §5.5): encryption key first, then the authentication key (RFC 4301 §4.5.2).
EspKeys esp_keys(const Phase1Secrets& secrets, const EspSuite& suite, const KeymatInputs& in);
/// KEYMAT for `protocol` (RFC 2407 §4.4.1), `size` bytes of it.
SecretBytes keymat(const Phase1Secrets& secrets, std::uint8_t protocol, const KeymatInputs& in, std::size_t size);

/// HASH(CKY-I | CKY-R | IP | Port) of RFC 3947 §3.2.
Bytes nat_d_hash(Prf hash, IkeSpi spi_i, IkeSpi spi_r, const Endpoint& endpoint);

}  // namespace culvert::ikev1
