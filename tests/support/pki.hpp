// A public key infrastructure for tests, made in the process: authorities, certificates with any extension or defect, revocation lists.
// Owns keys of test quality only: each kind is made once per process.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/bytes.hpp"

namespace culvert::test::pki {

using Time = std::chrono::sys_seconds;
using namespace std::chrono_literals;

/// The time in every test: 2026-01-01T00:00:00Z.
inline constexpr Time kNow{std::chrono::seconds{1767225600}};

enum class Kind { Rsa2048, Rsa1024, Rsa4096, RsaSmallExponent, P256, P384, P521, P192, P256Explicit, Ed25519, Ed448, X25519 };

struct Key;
using KeyPtr = std::shared_ptr<const Key>;
/// The `number`th key of a kind; the same arguments give the same key.
KeyPtr key(Kind kind, int number = 0);
Bytes private_der(const Key& key);        ///< PKCS #8
std::string private_pem(const Key& key);  ///< PKCS #8
std::string encrypted_pem(const Key& key, const std::string& password);

struct Issued {
  Bytes der;
  KeyPtr key;
  std::string name;  ///< text of the subject
  [[nodiscard]] std::string pem() const;
};

using Extensions = std::vector<std::pair<std::string, std::string>>;  ///< {"basicConstraints", "critical,CA:TRUE"}, as in openssl.cnf
struct Request {
  std::string subject;  ///< "C=CH, O=Example, CN=gw"
  KeyPtr key;
  Extensions extensions{};
  Time from = kNow - 24h, to = kNow + 24h * 30;
  std::string hash = "SHA256";
  std::string strings = "UTF8";  ///< of the subject: UTF8, PRINTABLE, T61, BMP
  std::uint64_t serial = 0;      ///< 0: the next
};
/// Signed by `issuer`, or by itself.
Issued issue(const Request& request, const Issued* issuer = nullptr);
/// An authority with the extensions that one has; `more` goes behind.
Issued authority(const std::string& subject, KeyPtr key, const Issued* issuer = nullptr, const Extensions& more = {});
/// A gateway's certificate: "CN=NAME" with the DNS name.
Issued gateway(const std::string& subject, KeyPtr key, const Issued& issuer, const std::string& alt_names = {});

/// All in one, signed by nobody, as `openssl crl2pkcs7 -nocrl` makes it.
Bytes pkcs7(const std::vector<Issued>& certificates);

struct Crl {
  Time from = kNow - 1h, next = kNow + 24h;
  std::vector<std::pair<std::uint64_t, Time>> revoked{};  ///< serial numbers and since when
  std::uint64_t number = 1;
  std::string hash = "SHA256";
};
Bytes crl(const Crl& list, const Issued& issuer);
std::uint64_t serial_of(const Issued& certificate);

struct Ocsp {
  enum class Says { Good, Revoked, Unknown } says = Says::Good;
  Time from = kNow, next = kNow + 1h;
  bool ends = true;   ///< has a nextUpdate
  bool nonce = true;  ///< repeats the request's
  std::string hash = "SHA256";
};
/// A responder's answer to `request`; signed by `responder`, which is the issuer or has a certificate of it.
Bytes ocsp_answer(ByteView request, const Issued& issuer, const Issued& responder, const Ocsp& how);

/// HASH_I or the like, signed as IKEv1 does it, by the library's own calls.
Bytes sign(const Key& key, ByteView hash);
/// A message signed as `openssl dgst -sign` does it; with `pss` by RSASSA-PSS, its salt as long as the hash. Of EdDSA `hash` does not
/// count.
Bytes sign_message(const Key& key, const std::string& hash, ByteView message, bool pss = false);

}  // namespace culvert::test::pki
