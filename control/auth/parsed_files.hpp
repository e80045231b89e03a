// Certificates, private keys and revocation lists as their files hold them: parsed once for all connections that name a file, and again
// once it has changed. Owns what was parsed, errors included. From any thread; a list takes up to a second: off the loop.
#pragma once

#include <expected>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "control/auth/files.hpp"
#include "control/crypto/revocation.hpp"
#include "control/crypto/x509.hpp"

namespace culvert::control::auth {

class ParsedFiles {
 public:
  using Certificates = std::expected<std::vector<crypto::Certificate>, std::string>;
  using List = std::expected<crypto::RevocationList, std::string>;
  using Key = std::expected<crypto::PrivateKey, std::string>;

  /// The errors name the file and say what is wrong, for an operator.
  Certificates certificates(const std::string& path);
  List list(const std::string& path);
  Key key(const std::string& path);

 private:
  template <class T>
  struct Table {
    struct Entry {
      Stamp stamp;
      T value;
    };
    std::mutex mutex;  ///< held while a file is parsed: who wants the same waits for it, and the other tables' users do not
    std::map<std::string, Entry> entries;
  };
  template <class T, class Open, class Parse>
  static T look_up(Table<T>& table, const std::string& path, Open open, Parse parse);

  Table<Certificates> certificates_;
  Table<Key> keys_;
  Table<List> lists_;
};

}  // namespace culvert::control::auth
