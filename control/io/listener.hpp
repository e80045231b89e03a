// culvertd's Unix stream socket: made so that only one culvertd can have it, and only those may use it who should.
// Owns the path: a lock file beside it says who is alive, so a socket left behind by a killed culvertd is replaced, and that
// of a running one never.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include <sys/types.h>

#include "control/dataplane_link/unique_fd.hpp"

namespace culvert::control::io {

class Listener {
 public:
  /// Mode 0600, or 0660 with `group` if that is not empty. The error is for the operator.
  static std::expected<Listener, std::string> open(const std::string& path, const std::string& group);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) = delete;
  ~Listener();

  [[nodiscard]] int fd() const { return socket_.get(); }
  /// Gives the socket to the user that culvertd is about to become.
  [[nodiscard]] bool hand_over(uid_t uid) const;
  /// Whether the process at the other end of `client` may give commands: root, our own user, or a member of the group.
  [[nodiscard]] bool allows(int client) const;

 private:
  Listener(std::string path, UniqueFd lock, UniqueFd socket, std::optional<gid_t> group)
      : path_(std::move(path)), lock_(std::move(lock)), socket_(std::move(socket)), group_(group) {}
  std::string path_;
  UniqueFd lock_, socket_;
  std::optional<gid_t> group_;
};

}  // namespace culvert::control::io
