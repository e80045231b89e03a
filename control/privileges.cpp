#include "control/privileges.hpp"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace culvert::control {

std::expected<User, std::string> find_user(const std::string& name) {
  const passwd* entry = ::getpwnam(name.c_str());
  if (entry == nullptr) return std::unexpected(fmt::format("control.user: there is no user {}", name));
  return User{entry->pw_uid, entry->pw_gid, name};
}

std::vector<std::string> protect_memory() {
  std::vector<std::string> failed;
  const auto note = [&failed](const char* what) { failed.push_back(fmt::format("{}: {}", what, std::strerror(errno))); };
  const rlimit no_core{0, 0};
  if (::setrlimit(RLIMIT_CORE, &no_core) != 0) note("core dumps cannot be switched off");
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) note("PR_SET_DUMPABLE");
  // With a finite limit, a locked process would fail to allocate once it is reached: all or nothing.
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  if (::setrlimit(RLIMIT_MEMLOCK, &all) != 0 || ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
    note("memory is not locked, so secrets may reach the swap device (needs CAP_SYS_RESOURCE and CAP_IPC_LOCK)");
  return failed;
}

std::expected<void, std::string> become(const User& user) {
  if (::geteuid() == user.uid && ::getuid() == user.uid) return {};
  if (::initgroups(user.name.c_str(), user.gid) != 0 || ::setresgid(user.gid, user.gid, user.gid) != 0 ||
      ::setresuid(user.uid, user.uid, user.uid) != 0)
    return std::unexpected(fmt::format("control.user: cannot become {}: {}", user.name, std::strerror(errno)));
  // Changing the user makes the process dumpable again.
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return std::unexpected(fmt::format("PR_SET_DUMPABLE: {}", std::strerror(errno)));
  return {};
}

}  // namespace culvert::control
