#include "dataplane/io/privileges.hpp"

#include <cerrno>
#include <cstring>

#include <cap-ng.h>
#include <sys/prctl.h>

namespace culvert::dp {

std::expected<void, std::string> harden_process() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return std::unexpected(std::string("prctl: ") + std::strerror(errno));
  return {};
}

std::expected<void, std::string> drop_thread_capabilities() {
  // libcap-ng keeps its state per thread.
  capng_clear(CAPNG_SELECT_BOTH);
  if (capng_apply(CAPNG_SELECT_BOTH) != 0) return std::unexpected("cannot drop capabilities");
  return {};
}

}  // namespace culvert::dp
