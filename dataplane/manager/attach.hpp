// Letting culvertd in: the listening socket, the check of who it is, the handshake (common/shm/handshake.hpp).
// Owns sockets only; what an attached client gets is the caller's business. Bounds how many strangers wait and for how long.
// Never blocks.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <sys/types.h>

#include "common/shm/handshake.hpp"

namespace culvert::dp {

/// A file descriptor that is closed at its owner's end.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  int release();

 private:
  int fd_;
};

class AttachServer {
 public:
  /// Called when a client may have the segment, before it is told. Returns the three descriptors for it (they stay the callee's).
  using OnAttach = std::function<std::array<int, shm::kHandshakeFds>()>;
  using OnDetach = std::function<void()>;

  /// Makes the socket at `path`, mode 0600, given to `control_user` if not empty. A socket that nobody answers on is replaced;
  /// one that is answered is an error: another data plane runs there.
  static std::expected<std::unique_ptr<AttachServer>, std::string> listen(const std::string& path, const std::string& control_user,
                                                                          std::uint64_t boot_id, OnAttach on_attach, OnDetach on_detach);
  ~AttachServer();
  AttachServer(const AttachServer&) = delete;
  AttachServer& operator=(const AttachServer&) = delete;

  /// Readable when there is something to do (an epoll descriptor).
  [[nodiscard]] int fd() const { return epoll_.get(); }
  /// Accepts, shakes hands, notices a client's end. `now_ns`: CLOCK_MONOTONIC.
  void serve(std::uint64_t now_ns);
  [[nodiscard]] bool attached() const { return client_.valid(); }
  /// Ends the client's attachment: it broke the contract.
  void evict(const std::string& why);

 private:
  struct Pending {
    Fd socket;
    std::uint64_t deadline;
  };
  AttachServer() = default;
  void accept_some(std::uint64_t now_ns);
  void greet(Fd socket);
  void detach(const std::string& why);
  [[nodiscard]] bool allowed(int socket, std::string& who) const;
  void watch(int fd) const;

  std::string path_;
  uid_t own_uid_ = 0;
  std::optional<uid_t> control_uid_;
  std::uint64_t boot_id_ = 0;
  OnAttach on_attach_;
  OnDetach on_detach_;
  Fd epoll_, listener_, client_;
  std::vector<Pending> pending_;
};

}  // namespace culvert::dp
