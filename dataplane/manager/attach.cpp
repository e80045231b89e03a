#include "dataplane/manager/attach.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <pwd.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/shm/segment.hpp"

namespace culvert::dp {

namespace {
constexpr std::size_t kMaxPending = 8;
constexpr std::uint64_t kHelloTimeout = 2'000'000'000;

std::unexpected<std::string> error(const std::string& what) { return std::unexpected(what + ": " + std::strerror(errno)); }

std::expected<sockaddr_un, std::string> address_of(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof a.sun_path) return std::unexpected("socket path '" + path + "' is empty or too long");
  std::copy(path.begin(), path.end(), a.sun_path);
  return a;
}

/// Removes a socket that a dead process left behind.
std::expected<void, std::string> clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0) return errno == ENOENT ? std::expected<void, std::string>{} : error(path);
  if (!S_ISSOCK(st.st_mode)) return std::unexpected(path + " exists and is no socket");
  const Fd probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return error("socket");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN)
    return std::unexpected("another culvert-dataplane answers on " + path);
  if (::unlink(path.c_str()) != 0) return error(path);
  return {};
}

std::expected<uid_t, std::string> user_id(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return std::unexpected("dataplane.control_user: there is no user '" + name + "'");
  return entry->pw_uid;
}
}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}
Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}
int Fd::release() { return std::exchange(fd_, -1); }

std::expected<std::unique_ptr<AttachServer>, std::string> AttachServer::listen(const std::string& path, const std::string& control_user,
                                                                               std::uint64_t boot_id, OnAttach on_attach,
                                                                               OnDetach on_detach) {
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  std::unique_ptr<AttachServer> s(new AttachServer);
  s->own_uid_ = ::geteuid();
  s->boot_id_ = boot_id;
  s->on_attach_ = std::move(on_attach);
  s->on_detach_ = std::move(on_detach);
  if (!control_user.empty()) {
    const auto uid = user_id(control_user);
    if (!uid) return std::unexpected(uid.error());
    s->control_uid_ = *uid;
  }
  if (auto cleared = clear_path(path, *address); !cleared) return std::unexpected(cleared.error());
  s->listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s->listener_.valid()) return error("socket");
  const mode_t before = ::umask(0177);
  const int bound = ::bind(s->listener_.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  ::umask(before);
  if (bound != 0)
    return std::unexpected("cannot bind " + path + ": " + std::strerror(errno) + (errno == ENOENT ? " (does its directory exist?)" : ""));
  s->path_ = path;
  if (s->control_uid_ && *s->control_uid_ != s->own_uid_ && ::chown(path.c_str(), *s->control_uid_, static_cast<gid_t>(-1)) != 0)
    return error("cannot give " + path + " to " + control_user);
  if (::listen(s->listener_.get(), static_cast<int>(kMaxPending)) != 0) return error("listen");
  s->epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!s->epoll_.valid()) return error("epoll");
  s->watch(s->listener_.get());
  return s;
}

AttachServer::~AttachServer() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

void AttachServer::watch(int fd) const {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLRDHUP;
  e.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) spdlog::error("attach: epoll: {}", std::strerror(errno));
}

void AttachServer::serve(std::uint64_t now_ns) {
  std::array<epoll_event, 16> events;
  const int n = ::epoll_wait(epoll_.get(), events.data(), events.size(), 0);
  for (int i = 0; i < n; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd == listener_.get()) {
      accept_some(now_ns);
    } else if (fd == client_.get()) {
      char byte;
      const ssize_t got = ::recv(fd, &byte, 1, MSG_DONTWAIT);
      if (got > 0) evict("it sent something after the handshake");
      if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) detach("it is gone");
    } else {
      const auto who = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.socket.get() == fd; });
      if (who == pending_.end()) continue;
      Fd socket = std::move(who->socket);
      pending_.erase(who);
      greet(std::move(socket));
    }
  }
  std::erase_if(pending_, [&](const Pending& p) { return p.deadline < now_ns; });
}

void AttachServer::accept_some(std::uint64_t now_ns) {
  for (std::size_t i = 0; i < kMaxPending; ++i) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) return;
    std::string who;
    if (!allowed(socket.get(), who)) {
      spdlog::warn("attach: refused {}: not root, not this process's user, not dataplane.control_user", who);
      shm::Welcome no{shm::kSegmentMagic, shm::WelcomeResult::NotAllowed, shm::kContractVersion, shm::layout_hash(), 0};
      (void)shm::send_with_fds(socket.get(), std::as_bytes(std::span(&no, 1)), {});
      continue;
    }
    if (pending_.size() >= kMaxPending) continue;
    watch(socket.get());
    pending_.push_back({std::move(socket), now_ns + kHelloTimeout});
  }
}

bool AttachServer::allowed(int socket, std::string& who) const {
  ucred c{};
  socklen_t size = sizeof c;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &c, &size) != 0) return false;
  who = "process " + std::to_string(c.pid) + " of user " + std::to_string(c.uid);
  return c.uid == 0 || c.uid == own_uid_ || (control_uid_ && c.uid == *control_uid_);
}

void AttachServer::greet(Fd socket) {
  shm::Hello hello;
  if (const auto got = shm::receive_with_fds(socket.get(), std::as_writable_bytes(std::span(&hello, 1)), {}); !got) {
    spdlog::warn("attach: no valid greeting: {}", got.error());
    return;
  }
  shm::Welcome w{shm::kSegmentMagic, shm::WelcomeResult::Ok, shm::kContractVersion, shm::layout_hash(), boot_id_};
  if (hello.magic != shm::kSegmentMagic || hello.version != shm::kContractVersion || hello.layout_hash != w.layout_hash) {
    spdlog::error("attach: refused culvertd of another version (contract {}, ours {}): install both from the same build", hello.version,
                  shm::kContractVersion);
    w.result = shm::WelcomeResult::OtherLayout;
  } else if (client_.valid()) {
    // It may have died in the same moment: what its socket says counts.
    char byte;
    const ssize_t got = ::recv(client_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) detach("it is gone");
    if (client_.valid()) w.result = shm::WelcomeResult::AlreadyAttached;
  }
  std::array<int, shm::kHandshakeFds> fds{};
  const bool ok = w.result == shm::WelcomeResult::Ok;
  if (ok) fds = on_attach_();
  const auto sent =
      shm::send_with_fds(socket.get(), std::as_bytes(std::span(&w, 1)), ok ? std::span<const int>(fds) : std::span<const int>{});
  if (!ok) {
    if (w.result == shm::WelcomeResult::AlreadyAttached) spdlog::warn("attach: refused a culvertd: another culvertd is attached");
    return;
  }
  if (!sent) {
    spdlog::warn("attach: {}", sent.error());
    on_detach_();
    return;
  }
  client_ = std::move(socket);
  spdlog::info("culvertd attached");
}

void AttachServer::detach(const std::string& why) {
  client_ = Fd();
  on_detach_();
  spdlog::warn("culvertd detached ({}); traffic goes on with the SAs and policies that are installed", why);
}

void AttachServer::evict(const std::string& why) {
  if (client_.valid()) detach("evicted: " + why);
}

}  // namespace culvert::dp
