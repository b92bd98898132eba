// sigaction() and its kin, sigaltstack(), abort(), pthread_create(), thrd_create(),
// timer_create(): the calls by which a program would notice, or undo, that minicore stands
// where the kernel's default action stood; and madvise(), by which it says what must be in
// no core, and mremap(), by which it moves that.
//
// Asking for SIG_DFL installs ours; asking what is installed answers SIG_DFL. So it is with
// SIG_IGN of the signal of a fault. The kernel holds the state, so that this is as atomic
// as the system call, but for what it is not told: the signals of faults in handlers'
// masks.

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "dump/alt_stack.h"
#include "dump/default_action.h"
#include "dump/handler/advised_ranges.h"
#include "dump/handler/entry.h"
#include "dump/own_handler.h"
#include "dump/safe/syscalls.h"
#include "dump/signal_mask.h"
#include "dump/timer_callback.h"
#include "minicore/minicore.h"

extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*);
// libc.a's pthread_create and timer_create under second names (glibc 2.36, nptl/
// pthread_create.c, sysdeps/unix/sysv/linux/timer_create.c); null in a program with
// libc.so.6, which does not export them. //dump:minicore asks the linker for them, since a
// weak reference alone takes nothing out of an archive.
extern "C" int __pthread_create(pthread_t*, const pthread_attr_t*, void* (*)(void*),
                                void*) __attribute__((weak));
extern "C" int ___timer_create(clockid_t, sigevent*, timer_t*) __attribute__((weak));

namespace minicore {
namespace {

bool IsHandler(const struct sigaction& action) {
  return action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
}

int SetAction(int signal, const struct sigaction* wanted, struct sigaction* old) {
  if (signal < 1 || signal > 64) return __sigaction(signal, wanted, old);
  std::atomic<uint64_t>& faults = FaultsInMaskOf(signal);
  const uint64_t faults_before = faults.load(std::memory_order_relaxed);
  struct sigaction ours;
  if (wanted != nullptr && IsHandler(*wanted)) {
    ours = IsOurs(signal) ? StandFor(signal, *wanted) : *wanted;
    faults.store(StripFaults(&ours.sa_mask), std::memory_order_relaxed);
    wanted = &ours;
  } else if (wanted != nullptr && StandForKernel(signal, wanted->sa_handler, &ours)) {
    wanted = &ours;
  }
  if (__sigaction(signal, wanted, old) != 0) {
    faults.store(faults_before, std::memory_order_relaxed);
    return -1;
  }
  if (old == nullptr) return 0;
  HideOurs(old);
  if (!IsHandler(*old)) return 0;
  TellOwn(old);
  old->sa_mask.__val[0] |= faults_before;
  return 0;
}

// The signals that siginterrupt() has named, for signal().
std::atomic<uint64_t> g_interrupting{0};

sighandler_t SetHandler(int signal, sighandler_t handler, int flags,
                        bool blocks_itself = false) {
  struct sigaction action;
  struct sigaction old;
  memset(&action, 0, sizeof(action));
  action.sa_handler = handler;
  action.sa_flags = flags;
  if (blocks_itself) sigaddset(&action.sa_mask, signal);
  return SetAction(signal, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

struct ThreadStart {
  union {
    void* (*routine)(void*);
    thrd_start_t c11_routine;
  };
  void* argument;
};

ThreadStart Begin(void* pointer) {
  const ThreadStart start = *static_cast<ThreadStart*>(pointer);
  free(pointer);
  EnsureAltStack();
  AdoptMask();
  return start;
}

void* StartThread(void* pointer) {
  const ThreadStart start = Begin(pointer);
  return start.routine(start.argument);
}

// What thrd_join() takes a result for is pthread_join()'s (glibc 2.36, nptl/thrd_join.c).
void* StartC11Thread(void* pointer) {
  const ThreadStart start = Begin(pointer);
  const int result = start.c11_routine(start.argument);
  return reinterpret_cast<void*>(static_cast<intptr_t>(result));
}

using PthreadCreate = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);

PthreadCreate RealPthreadCreate() {
  if (&__pthread_create != nullptr) return &__pthread_create;
  static const auto real =
      reinterpret_cast<PthreadCreate>(dlsym(RTLD_NEXT, "pthread_create"));
  return real;
}

// `starter` is called with a copy of `start`.
int CreateThread(pthread_t* thread, const pthread_attr_t* attributes,
                 void* (*starter)(void*), ThreadStart start) {
  auto* copy = static_cast<ThreadStart*>(malloc(sizeof(ThreadStart)));
  if (copy == nullptr) return EAGAIN;
  *copy = start;
  const InheritableMask mask;
  const int error = RealPthreadCreate()(thread, attributes, starter, copy);
  if (error != 0) free(copy);
  return error;
}

using TimerCreate = int (*)(clockid_t, sigevent*, timer_t*);

TimerCreate RealTimerCreate() {
  if (&___timer_create != nullptr) return &___timer_create;
  static const auto real =
      reinterpret_cast<TimerCreate>(dlsym(RTLD_NEXT, "timer_create"));
  return real;
}

}  // namespace
}  // namespace minicore

extern "C" {

MINICORE_API int sigaction(int signal, const struct sigaction* action,
                           struct sigaction* old) noexcept {
  return minicore::SetAction(signal, action, old);
}

// BSD semantics (glibc 2.36, sysdeps/posix/signal.c).
MINICORE_API sighandler_t signal(int number, sighandler_t handler) noexcept {
  if (handler == SIG_ERR) {
    errno = EINVAL;
    return SIG_ERR;
  }
  const bool interrupts =
      number >= 1 && number <= 64 &&
      (minicore::g_interrupting.load(std::memory_order_relaxed) &
       minicore::SignalBit(number)) != 0;
  return minicore::SetHandler(number, handler, interrupts ? 0 : SA_RESTART, true);
}
MINICORE_API sighandler_t bsd_signal(int number, sighandler_t handler) noexcept
    __attribute__((alias("signal")));
MINICORE_API sighandler_t ssignal(int number, sighandler_t handler) noexcept
    __attribute__((alias("signal")));

// As libc's (glibc 2.36, sysdeps/posix/sigintr.c), whose list of signals only its own
// signal() reads.
MINICORE_API int siginterrupt(int number, int interrupt) noexcept {
  struct sigaction action;
  if (minicore::SetAction(number, nullptr, &action) != 0) return -1;
  const uint64_t bit = minicore::SignalBit(number);
  if (interrupt != 0) {
    minicore::g_interrupting.fetch_or(bit, std::memory_order_relaxed);
    action.sa_flags &= ~SA_RESTART;
  } else {
    minicore::g_interrupting.fetch_and(~bit, std::memory_order_relaxed);
    action.sa_flags |= SA_RESTART;
  }
  return minicore::SetAction(number, &action, nullptr);
}

// System V semantics (glibc 2.36, sysdeps/posix/sysv_signal.c).
MINICORE_API sighandler_t sysv_signal(int number, sighandler_t handler) noexcept {
  if (handler == SIG_ERR) {
    errno = EINVAL;
    return SIG_ERR;
  }
  return minicore::SetHandler(number, handler, SA_RESETHAND | SA_NODEFER);
}
MINICORE_API sighandler_t __sysv_signal(int number, sighandler_t handler) noexcept
    __attribute__((alias("sysv_signal")));

// System V's other ones (glibc 2.36, signal/sigset.c and sigignore.c).
MINICORE_API sighandler_t sigset(int number, sighandler_t disposition) noexcept {
  sigset_t set;
  sigset_t old;
  sigemptyset(&set);
  if (disposition == SIG_ERR || sigaddset(&set, number) != 0) {
    errno = EINVAL;
    return SIG_ERR;
  }
  struct sigaction before;
  if (disposition == SIG_HOLD) {
    if (sigprocmask(SIG_BLOCK, &set, &old) != 0) return SIG_ERR;
    if (sigismember(&old, number) == 1) return SIG_HOLD;
    return minicore::SetAction(number, nullptr, &before) == 0 ? before.sa_handler
                                                              : SIG_ERR;
  }
  const sighandler_t handler = minicore::SetHandler(number, disposition, 0);
  if (handler == SIG_ERR || sigprocmask(SIG_UNBLOCK, &set, &old) != 0) return SIG_ERR;
  return sigismember(&old, number) == 1 ? SIG_HOLD : handler;
}
MINICORE_API int sigignore(int number) noexcept {
  return minicore::SetHandler(number, SIG_IGN, 0) == SIG_ERR ? -1 : 0;
}

// As libc's (glibc 2.36, stdlib/abort.c), whose SIG_DFL goes behind our back: if SIGABRT
// is ignored, or its handler returns, it is sent again, to the default action, which may be
// ours. Weak, for static programs: something in libc.a may ask for that of libc.
MINICORE_API __attribute__((weak)) void abort() noexcept {
  const uint64_t bit = minicore::SignalBit(SIGABRT);
  minicore::safe::SigProcMask(SIG_UNBLOCK, &bit, nullptr);
  raise(SIGABRT);
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = SIG_DFL;
  minicore::SetAction(SIGABRT, &action, nullptr);
  raise(SIGABRT);
  // It does not reach the init of a PID namespace.
  for (;;) asm volatile("hlt");
}

MINICORE_API int sigaltstack(const stack_t* stack, stack_t* old) noexcept {
  if (minicore::g_runtime.policy.signals == 0) {
    return static_cast<int>(syscall(SYS_sigaltstack, stack, old));
  }
  return minicore::ChangeAltStack(stack, old);
}

MINICORE_API int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                void* (*routine)(void*), void* argument) noexcept {
  if (minicore::g_runtime.policy.signals == 0) {
    return minicore::RealPthreadCreate()(thread, attributes, routine, argument);
  }
  minicore::ThreadStart start = {};
  start.routine = routine;
  start.argument = argument;
  return minicore::CreateThread(thread, attributes, &minicore::StartThread, start);
}

// libc's own calls pthread_create() where nobody comes in between.
MINICORE_API int thrd_create(thrd_t* thread, thrd_start_t routine, void* argument) {
  minicore::ThreadStart start = {};
  start.c11_routine = routine;
  start.argument = argument;
  switch (minicore::CreateThread(thread, nullptr, &minicore::StartC11Thread, start)) {
    case 0:
      return thrd_success;
    case ENOMEM:
      return thrd_nomem;
    default:
      return thrd_error;
  }
}

MINICORE_API int timer_create(clockid_t clock, sigevent* event, timer_t* timer) noexcept {
  const auto real = minicore::RealTimerCreate();
  if (event == nullptr || event->sigev_notify != SIGEV_THREAD ||
      minicore::g_runtime.policy.signals == 0) {
    return real(clock, event, timer);
  }
  sigevent ours = *event;
  ours.sigev_notify_function = minicore::CallbackFor(event->sigev_notify_function);
  return real(clock, &ours, timer);
}

MINICORE_API int madvise(void* begin, size_t size, int advice) noexcept {
  using minicore::g_advised;
  if (advice != MADV_DONTDUMP && advice != MADV_DODUMP) {
    return static_cast<int>(syscall(SYS_madvise, begin, size, advice));
  }
  const minicore::AddressRange range = minicore::AdvisedRanges::Pages(
      reinterpret_cast<minicore::Address>(begin), size);
  bool taken_back = false;
  if (advice == MADV_DONTDUMP) {
    g_advised.Add(range);
  } else {
    taken_back = g_advised.Remove(range);
  }
  const auto result = static_cast<int>(syscall(SYS_madvise, begin, size, advice));
  if (result != 0 ? taken_back : advice == MADV_DONTDUMP && !g_advised.Covers(range)) {
    g_advised.Lose();
  }
  return result;
}

MINICORE_API void* mremap(void* old, size_t old_size, size_t new_size, int flags,
                          ...) noexcept {
  va_list arguments;
  va_start(arguments, flags);
  // Garbage if it was not given, for which the kernel has no use then.
  void* const to = va_arg(arguments, void*);
  va_end(arguments);
  // What it was advised goes with it. Of shared memory, size 0 makes another mapping.
  const auto begin = reinterpret_cast<minicore::Address>(old);
  const minicore::AddressRange range = {begin, begin + (old_size == 0 ? 1 : old_size)};
  if (minicore::g_advised.Touches(range)) minicore::g_advised.Lose();
  return reinterpret_cast<void*>(syscall(SYS_mremap, old, old_size, new_size, flags, to));
}

}  // extern "C"
