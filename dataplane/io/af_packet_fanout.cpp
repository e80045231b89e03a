// AF_PACKET ports see packets as they are on the wire. DPDK's driver (22.11) joins its sockets to a fanout group in which the kernel
// puts IP fragments together first: a long packet then does not fit the frames of the ring, and is lost.
// Owns this program's setsockopt(), which the driver finds before libc's, and takes that flag off. Changes no other call.
#include <cstdint>
#include <cstring>

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

extern "C" int setsockopt(int socket, int level, int name, const void* value, socklen_t length) noexcept {
  std::uint32_t fanout = 0;  // a group's number below, its mode and flags above
  if (level == SOL_PACKET && name == PACKET_FANOUT && length == sizeof fanout) {
    std::memcpy(&fanout, value, sizeof fanout);
    fanout &= ~(std::uint32_t{PACKET_FANOUT_FLAG_DEFRAG} << 16);
    value = &fanout;
  }
  return static_cast<int>(::syscall(SYS_setsockopt, socket, level, name, value, length));
}
