// Raw Linux system calls. The libc wrappers may enter the dynamic linker, are
// cancellation points, and write the crashed thread's errno; these do none of it.
//
// Context: any. Every function returns the kernel's answer: -errno on failure.

#ifndef MINICORE_DUMP_SAFE_SYSCALLS_H_
#define MINICORE_DUMP_SAFE_SYSCALLS_H_

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

namespace minicore::safe {

// Set in a process that may be killed for anything but the oldest calls (a seccomp
// filter): every other call then fails with -EPERM without being made.
extern bool g_basic_calls_only;

inline bool IsBasicCall(long number) {
  return number == SYS_read || number == SYS_write || number == SYS_futex ||
         number == SYS_exit || number == SYS_exit_group;
}

// Stands in r12, which no call reads, for the time of a call: a refusal by SIGSYS (a
// seccomp filter) of a call of ours can so be told from one of the program's.
inline constexpr long kCallMark = 0x6d63'7379'7363'616c;

// A mask that lets refusals through: where SIGSYS is blocked, such a call ends the process
// (kernel/signal.c, force_sig_info_to_task()).
inline constexpr uint64_t kAllButRefusals = ~(uint64_t{1} << (SIGSYS - 1));

inline long Syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0,
                    long e = 0, long f = 0) {
  if (__builtin_expect(g_basic_calls_only, false) && !IsBasicCall(number)) return -EPERM;
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  register long r12 asm("r12") = kCallMark;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9),
                 "r"(r12)
               : "rcx", "r11", "memory");
  return result;
}

inline long Word(const void* pointer) { return reinterpret_cast<long>(pointer); }

inline int Open(const char* path, int flags, int mode = 0) {
  return static_cast<int>(
      Syscall(SYS_openat, AT_FDCWD, Word(path), flags | O_CLOEXEC, mode));
}
inline long Read(int fd, void* buffer, size_t size) {
  return Syscall(SYS_read, fd, Word(buffer), static_cast<long>(size));
}
inline long PRead(int fd, void* buffer, size_t size, uint64_t offset) {
  return Syscall(SYS_pread64, fd, Word(buffer), static_cast<long>(size),
                 static_cast<long>(offset));
}
inline long Write(int fd, const void* data, size_t size) {
  return Syscall(SYS_write, fd, Word(data), static_cast<long>(size));
}
inline long PWrite(int fd, const void* data, size_t size, uint64_t offset) {
  return Syscall(SYS_pwrite64, fd, Word(data), static_cast<long>(size),
                 static_cast<long>(offset));
}
inline long Close(int fd) { return Syscall(SYS_close, fd); }
inline long Truncate(int fd, uint64_t size) {
  return Syscall(SYS_ftruncate, fd, static_cast<long>(size));
}
inline long UnlinkAt(int directory, const char* path) {
  return Syscall(SYS_unlinkat, directory, Word(path), 0);
}
// Renames without replacing: a core that is there already is never lost.
inline long RenameNoReplace(int directory, const char* from, const char* to) {
  constexpr long kNoReplace = 1;  // RENAME_NOREPLACE, linux/fs.h
  return Syscall(SYS_renameat2, directory, Word(from), directory, Word(to),
                 kNoReplace);
}
inline long LinkAt(int directory, const char* from, const char* to) {
  return Syscall(SYS_linkat, directory, Word(from), directory, Word(to), 0);
}
// Shows `name` for anonymous memory, as [anon:name] in /proc/self/maps. From Linux 5.17 on,
// if CONFIG_ANON_VMA_NAME is set; nothing depends on it.
inline void NameMemory(const void* begin, size_t size, const char* name) {
  constexpr long kSetVma = 0x53564d41;  // PR_SET_VMA, linux/prctl.h
  constexpr long kAnonName = 0;         // PR_SET_VMA_ANON_NAME
  Syscall(SYS_prctl, kSetVma, kAnonName, Word(begin), static_cast<long>(size), Word(name));
}
inline int GetPid() { return static_cast<int>(Syscall(SYS_getpid)); }
inline int GetTid() { return static_cast<int>(Syscall(SYS_gettid)); }
inline long TgKill(int pid, int tid, int signal) {
  return Syscall(SYS_tgkill, pid, tid, signal);
}

// The kernel's own sigaction: what libc's structure is translated to.
struct KernelSigaction {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};
inline constexpr unsigned long kSaRestorer = 0x04000000;  // SA_RESTORER

inline long SigAction(int signal, const KernelSigaction* action,
                      KernelSigaction* old) {
  return Syscall(SYS_rt_sigaction, signal, Word(action), Word(old),
                 sizeof(uint64_t));
}
inline long SigProcMask(int how, const uint64_t* mask, uint64_t* old) {
  return Syscall(SYS_rt_sigprocmask, how, Word(mask), Word(old),
                 sizeof(uint64_t));
}

// Sets the calling thread's mask, whatever a seccomp filter says to rt_sigprocmask(): then
// by a return from a signal handler that never was, which no filter can refuse to a program
// that has handlers. That leaves the vector registers as they are at the start of a
// program.
void SetSignalMask(uint64_t mask);

// Waits until *word is no longer `value`, a wake-up, or the timeout (null: none).
inline long FutexWait(const void* word, uint32_t value, const timespec* timeout) {
  return Syscall(SYS_futex, Word(word), FUTEX_WAIT_PRIVATE, value,
                 Word(timeout));
}
inline long FutexWake(const void* word, int waiters) {
  return Syscall(SYS_futex, Word(word), FUTEX_WAKE_PRIVATE, waiters);
}

// 0 where the clock can't be read: no time passes then.
inline uint64_t NowMicroseconds() {
  timespec now{};
  Syscall(SYS_clock_gettime, CLOCK_MONOTONIC, Word(&now));
  return static_cast<uint64_t>(now.tv_sec) * 1000000 +
         static_cast<uint64_t>(now.tv_nsec) / 1000;
}

}  // namespace minicore::safe

#endif  // MINICORE_DUMP_SAFE_SYSCALLS_H_
