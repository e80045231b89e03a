// What is inside of a Certificate, for the files of control/crypto alone.
// Owns the library's object; nobody changes it after it was read.
#pragma once

#include <openssl/x509.h>

#include "control/crypto/openssl.hpp"
#include "control/crypto/x509.hpp"

namespace culvert::crypto {

namespace detail {
using X509Ptr = Owned<X509, X509_free>;
/// Throws LibraryError for a time that cannot be read: those were refused when the object was read.
WallTime wall_time(const ASN1_TIME* t);
/// Whether a list's or an answer's signature is over a hash of yesterday (the path's are the library's to judge).
bool weak_hash(const X509_ALGOR* signature, const Strength& strength);
}  // namespace detail

struct Certificate::Impl {
  detail::X509Ptr x509;
  Bytes der, subject, issuer, key_info;
  std::expected<PublicKey, std::string> key = std::unexpected("its public key cannot be read");
  AltNames alt_names;
};

}  // namespace culvert::crypto
