/* A library to be preloaded into User Mode Linux 6.1. That kernel saves and restores its processes' vector registers in a buffer of a fixed
 * size, while the host demands the size of all state components which the processor has (NT_X86_XSTATE, 11 kB with AMX) and otherwise
 * answers EFAULT, on which the guest panics ("ptrace set fp regs failed"). This pads such a request, and drops the components that did not
 * fit. Must never change any other ptrace request. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { XSTATE_NOTE = 0x202, XSTATE_LEAF = 0xd, XSTATE_BV_OFFSET = 512, COMPONENTS = 63, LARGEST = 65536 };

static unsigned char padded[LARGEST] __attribute__((aligned(64)));

/* Size of the whole area with what the system has enabled, in bytes (CPUID leaf 0xd, subleaf 0, EBX). */
static size_t whole_area(void) {
  unsigned a, b, c, d;
  __cpuid_count(XSTATE_LEAF, 0, a, b, c, d);
  return b;
}

static uint64_t components_within(uint64_t wanted, size_t size) {
  for (int i = 2; i < COMPONENTS; i++) {
    unsigned length, offset, c, d;
    if (!(wanted >> i & 1)) continue;
    __cpuid_count(XSTATE_LEAF, i, length, offset, c, d);
    if ((size_t)offset + length > size) wanted &= ~(UINT64_C(1) << i);
  }
  return wanted;
}

long ptrace(enum __ptrace_request request, ...) {
  va_list list;
  va_start(list, request);
  long pid = va_arg(list, long);
  void* address = va_arg(list, void*);
  void* data = va_arg(list, void*);
  va_end(list);

  if (request == PTRACE_SETREGSET && (long)address == XSTATE_NOTE) {
    const struct iovec* given = data;
    const size_t size = given->iov_len, whole = whole_area();
    if (size < whole && whole <= sizeof padded && size >= XSTATE_BV_OFFSET + sizeof(uint64_t)) {
      uint64_t present;
      memcpy(padded, given->iov_base, size);
      memset(padded + size, 0, whole - size);
      memcpy(&present, padded + XSTATE_BV_OFFSET, sizeof present);
      present = components_within(present, size);
      memcpy(padded + XSTATE_BV_OFFSET, &present, sizeof present);
      struct iovec longer = {padded, whole};
      return syscall(SYS_ptrace, (long)request, pid, address, &longer);
    }
  }
  if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
    /* The system call stores the word; the library function returns it. */
    long word = 0;
    if (syscall(SYS_ptrace, (long)request, pid, address, &word) < 0) return -1;
    errno = 0;
    return word;
  }
  return syscall(SYS_ptrace, (long)request, pid, address, data);
}
