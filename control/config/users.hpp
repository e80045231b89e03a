// The users that a connection admits (remote.xauth, and remote.users of EAP), in a file of mode 0600, one a line:
//
//   # a comment
//   alice:$6$cw1kT0bQ$Lq1...          a hash of crypt(3), as `openssl passwd -6` and `mkpasswd` make it: $5$, $6$, $y$, $gy$, $7$, $2b$
//   bob:{plain}his password           the password as it is, to the end of the line
//   carol:{nt}44ebba8d5312b8d6...     MD4 of its UTF-16 form, as Windows keeps it: enough for EAP-MSCHAPv2, and as good as the password to
//   a thief
//
// Owns reading the file and comparing. A name that is not there costs as much time as a wrong password does, of either
// form. Never prints a line.
#pragma once

#include <expected>
#include <string>

#include "common/bytes.hpp"
#include "common/config/config.hpp"
#include "common/secret.hpp"
#include "control/ike/engine_types.hpp"

namespace culvert::control {

inline constexpr std::size_t kMaxUsersBytes = 4U << 20;  ///< of the file: some forty thousand users

/// Whether the file has the user with this password. The file is read at each call, so that a change needs no restart. Error: the
/// file cannot be read, or a line of it makes no sense, for an operator; nobody is admitted then. May take some 100 ms: off the loop.
std::expected<bool, std::string> check_user(const config::SecretRef& users, ByteView user, const SecretBytes& password);
/// What is known of a user, for a method of EAP that compares without being told the password: of hashes of crypt(3) nothing is. As
/// check_user() in all else.
ike::UserFound find_user(const config::SecretRef& users, const ike::FindUser& wanted);
/// Whether the file can be read, and each line of it understood; the number of users.
std::expected<std::size_t, std::string> count_users(const config::SecretRef& users);

}  // namespace culvert::control
