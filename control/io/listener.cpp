#include "control/io/listener.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert::control::io {

namespace {
constexpr int kBacklog = 128;

bool answers(const sockaddr_un& address) {
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN;
}

bool in_group(uid_t uid, gid_t primary, gid_t wanted) {
  if (primary == wanted) return true;
  const passwd* user = ::getpwuid(uid);
  if (user == nullptr) return false;
  std::vector<gid_t> groups(1024);
  int n = static_cast<int>(groups.size());
  if (::getgrouplist(user->pw_name, user->pw_gid, groups.data(), &n) < 0) return false;
  groups.resize(static_cast<std::size_t>(n));
  return std::ranges::find(groups, wanted) != groups.end();
}
}  // namespace

std::expected<Listener, std::string> Listener::open(const std::string& path, const std::string& group) {
  const auto fail = [&path](const char* what) {
    return std::unexpected(fmt::format("control.socket {}: {}: {}", path, what, std::strerror(errno)));
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return std::unexpected(fmt::format("control.socket {} is too long", path));
  path.copy(address.sun_path, path.size());
  std::optional<gid_t> gid;
  if (!group.empty()) {
    const ::group* g = ::getgrnam(group.c_str());
    if (g == nullptr) return std::unexpected(fmt::format("control.group: there is no group {}", group));
    gid = g->gr_gid;
  }

  const std::string lock_path = path + ".lock";
  UniqueFd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return std::unexpected(fmt::format("cannot create {}: {} (does its directory exist?)", lock_path, std::strerror(errno)));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || answers(address))
    return std::unexpected(fmt::format("another culvertd is running on {}", path));
  struct stat st{};
  if (::lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) return std::unexpected(fmt::format("control.socket {} exists and is no socket", path));
    if (::unlink(path.c_str()) != 0) return fail("cannot remove the socket that a former culvertd left");
  }

  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail("socket");
  const mode_t before = ::umask(0177);
  const int bound = ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(before);
  if (bound != 0) return fail("bind");
  if (gid && (::lchown(path.c_str(), static_cast<uid_t>(-1), *gid) != 0 || ::chmod(path.c_str(), 0660) != 0))
    return fail("cannot give it to control.group");
  if (::listen(socket.get(), kBacklog) != 0) return fail("listen");
  return Listener(path, std::move(lock), std::move(socket), gid);
}

Listener::~Listener() {
  if (!socket_) return;
  // Either may fail when culvertd has become another user; the next start copes with both being there.
  (void)::unlink(path_.c_str());
}

bool Listener::hand_over(uid_t uid) const { return ::lchown(path_.c_str(), uid, static_cast<gid_t>(-1)) == 0; }

bool Listener::allows(int client) const {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid() || (group_ && in_group(peer.uid, peer.gid, *group_));
}

}  // namespace culvert::control::io
