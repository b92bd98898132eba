// The few system calls of alloc/, made directly: they do not touch errno (a
// malloc that succeeds must not), and no other library that interposes mmap()
// gets in between.
//
// Context: any.
// Returns: what the kernel returns: a result, or a negative errno value.

#ifndef MINICORE_ALLOC_KERNEL_H_
#define MINICORE_ALLOC_KERNEL_H_

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cstdint>

#include "alloc/address.h"

namespace minicore::kernel {

inline long Call(long number, uint64_t a, uint64_t b, uint64_t c,
                 uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
  long result;
  register uint64_t r10 __asm__("r10") = d;
  register uint64_t r8 __asm__("r8") = e;
  register uint64_t r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8),
                     "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

// Private anonymous memory without swap reservation; 0 if there is none.
inline Address Map(ByteCount size, int protection) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const long result = Call(SYS_mmap, 0, size, protection, kFlags, -1, 0);
  return result < 0 && result > -4096 ? 0 : static_cast<Address>(result);
}

inline bool Unmap(AddressRange range) {
  return range.empty() || Call(SYS_munmap, range.begin, range.size(), 0) == 0;
}

inline bool MakeReadWrite(AddressRange range) {
  return range.empty() || Call(SYS_mprotect, range.begin, range.size(),
                               PROT_READ | PROT_WRITE) == 0;
}

inline void Forbid(AddressRange range) {
  Call(SYS_mprotect, range.begin, range.size(), PROT_NONE);
}

// Keeps pages in memory from their first touch on; Linux 4.4.
inline bool Lock(AddressRange range) {
  return Call(SYS_mlock2, range.begin, range.size(), MLOCK_ONFAULT) == 0;
}

inline bool Unlock(AddressRange range) {
  return Call(SYS_munlock, range.begin, range.size(), 0) == 0;
}

inline bool Advise(AddressRange range, int advice) {
  return range.empty() ||
         Call(SYS_madvise, range.begin, range.size(), advice) == 0;
}

// MADV_DONTNEED for pages that are locked in memory; Linux 5.18.
inline bool DiscardLocked(AddressRange range) {
  return Advise(range, MADV_DONTNEED_LOCKED);
}

inline void Yield() { Call(SYS_sched_yield, 0, 0, 0); }

// Shows `name` as [anon:name] in /proc/self/maps. Kernels before 5.17, or built
// without CONFIG_ANON_VMA_NAME, answer EINVAL; nothing depends on it.
inline void Name(AddressRange range, const char* name) {
  Call(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, range.begin, range.size(),
       reinterpret_cast<uint64_t>(name));
}

// RLIMIT_AS, the soft limit; UINT64_MAX if there is none.
inline ByteCount AddressSpaceLimit() {
  struct {
    uint64_t soft, hard;
  } limit = {UINT64_MAX, UINT64_MAX};
  Call(SYS_prlimit64, 0, RLIMIT_AS, 0, reinterpret_cast<uint64_t>(&limit));
  return limit.soft;
}

}  // namespace minicore::kernel

#endif  // MINICORE_ALLOC_KERNEL_H_
