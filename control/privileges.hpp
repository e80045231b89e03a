// What culvertd gives up, and how it keeps its memory to itself. Called once, at start.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace culvert::control {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
};
/// The user of that name; the error is for the operator.
std::expected<User, std::string> find_user(const std::string& name);

/// No core dump, no debugger of the same user, memory locked where that is allowed. Returns what could not be done.
std::vector<std::string> protect_memory();
/// Becomes `user` for good, with the user's groups, in all threads. The error is for the operator.
std::expected<void, std::string> become(const User& user);

}  // namespace culvert::control
