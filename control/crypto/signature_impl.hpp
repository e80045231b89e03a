// What is inside of a PublicKey and a PrivateKey, for the files of control/crypto alone.
// Owns the library's object; nobody changes it after it was read.
#pragma once

#include "control/crypto/openssl.hpp"
#include "control/crypto/signature.hpp"

namespace culvert::crypto {

struct PublicKey::Key {
  detail::Pkey pkey;
};

}  // namespace culvert::crypto
