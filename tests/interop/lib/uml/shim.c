/* Preloaded into the User Mode Linux kernel (linux.uml 6.1). It puts three things right:
 *
 * 1. Processors with AMX. The kernel keeps a guest process's floating-point state in a buffer of 2,696 bytes and hands it to
 *    PTRACE_SETREGSET(NT_X86_XSTATE). The host wants exactly the size of its own XSAVE area; where AMX makes that larger it answers EFAULT,
 *    and the guest panics with "ptrace set fp regs failed, errno = 14". The shim passes a padded copy, and takes components that the buffer
 *    does not hold out of XSTATE_BV, so that the host sees them in their initial state.
 * 2. The end of the guest. A guest process is a process of the host whose system calls the guest kernel catches. Were that kernel killed, the
 *    process would go on running and its system calls would reach the host: PTRACE_O_EXITKILL prevents that.
 * 3. Bridges in the guest. Its network cards send and receive with two sockets on one interface, and the receiving one hears what the other
 *    sends. The kernel filters that by its own MAC address, which does not help where it forwards others' frames: they would go round for
 *    ever. PACKET_IGNORE_OUTGOING prevents that.
 *
 * It must not allocate and must not use much stack: it is called on the guest kernel's stacks, which are small.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <linux/if_packet.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { SETOPTIONS = 0x4200, EXITKILL = 0x100000, SETREGSET = 0x4205, XSTATE = 0x202 };             /* of ptrace */
enum { XSTATE_BV_OFFSET = 512, XSAVE_LEAF = 0xd, FIRST_EXTENDED = 2, COMPONENTS = 63 };

static long (*next_ptrace)(int, ...);
static int (*next_socket)(int, int, int);
static unsigned area_size;                      /* of the components that the host has enabled */
static unsigned component_end[COMPONENTS];      /* offset just behind each, in the standard (not compacted) layout */
static unsigned char padded[65536] __attribute__((aligned(64)));

__attribute__((constructor)) static void prepare(void) {
  unsigned a, b, c, d;
  next_ptrace = (long (*)(int, ...))dlsym(RTLD_NEXT, "ptrace");
  next_socket = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
  if (!__get_cpuid_count(XSAVE_LEAF, 0, &a, &b, &c, &d)) return;
  area_size = b;
  for (unsigned i = FIRST_EXTENDED; i < COMPONENTS; i++) {
    __cpuid_count(XSAVE_LEAF, i, a, b, c, d);
    component_end[i] = a + b;
  }
}

long ptrace(int request, ...) {
  va_list arguments;
  va_start(arguments, request);
  const long pid = va_arg(arguments, long);
  void *const address = va_arg(arguments, void *);
  void *const data = va_arg(arguments, void *);
  va_end(arguments);

  if (request == SETOPTIONS) return next_ptrace(request, pid, address, (void *)((long)data | EXITKILL));
  const struct iovec *given = data;
  if (request != SETREGSET || (long)address != XSTATE || given->iov_len >= area_size || area_size > sizeof padded)
    return next_ptrace(request, pid, address, data);

  memcpy(padded, given->iov_base, given->iov_len);
  memset(padded + given->iov_len, 0, area_size - given->iov_len);
  uint64_t present;
  memcpy(&present, padded + XSTATE_BV_OFFSET, sizeof present);
  for (unsigned i = FIRST_EXTENDED; i < COMPONENTS; i++)
    if (component_end[i] > given->iov_len) present &= ~(UINT64_C(1) << i);
  memcpy(padded + XSTATE_BV_OFFSET, &present, sizeof present);
  struct iovec whole = {padded, area_size};
  return next_ptrace(request, pid, address, &whole);
}

int socket(int domain, int type, int protocol) {
  const int descriptor = next_socket(domain, type, protocol), on = 1;
  if (domain == AF_PACKET && descriptor >= 0) setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
  return descriptor;
}
