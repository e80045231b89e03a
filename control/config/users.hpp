// The users that a connection's remote.xauth admits, in a file of mode 0600, one a line:
//
//   # a comment
//   alice:$6$cw1kT0bQ$Lq1...          a hash of crypt(3), as `openssl passwd -6` and `mkpasswd` make it: $5$, $6$, $y$, $gy$, $7$, $2b$
//   bob:{plain}his password           the password as it is, to the end of the line
//
// Owns reading the file and comparing. A name that is not there costs as much time as a wrong password does, of either
// form. Never prints a line.
#pragma once

#include <expected>
#include <string>

#include "common/bytes.hpp"
#include "common/config/config.hpp"
#include "common/secret.hpp"

namespace culvert::control {

inline constexpr std::size_t kMaxUsersBytes = 4U << 20;  ///< of the file: some forty thousand users

/// Whether the file has the user with this password. The file is read at each call, so that a change needs no restart. Error: the
/// file cannot be read, or a line of it makes no sense, for an operator; nobody is admitted then. May take some 100 ms: off the loop.
std::expected<bool, std::string> check_user(const config::SecretRef& users, ByteView user, const SecretBytes& password);
/// Whether the file can be read, and each line of it understood; the number of users.
std::expected<std::size_t, std::string> count_users(const config::SecretRef& users);

}  // namespace culvert::control
