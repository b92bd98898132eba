#include "dump/signal_mask.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "dump/handler/entry.h"
#include "dump/safe/syscalls.h"
#include "minicore/minicore.h"

extern "C" [[noreturn]] void __chk_fail();

namespace minicore {
namespace {

// glibc's own, which it lets nobody block (glibc 2.36, sysdeps/unix/sysv/linux/
// internal-signals.h, clear_internal_signals).
constexpr uint64_t kInternal = SignalBit(32) | SignalBit(33);

// What a thread believes. `faults`: signals of faults that it has blocked.
// `kernel`: the rest of its mask as the kernel had it then; if that has changed
// by other ways (siglongjmp, swapcontext, the return from a handler), the
// belief is void.
struct MaskBelief {
  uint64_t faults;
  uint64_t kernel;
};

constexpr uint64_t kNotInBelief =
    kFaultSignals | SignalBit(SIGKILL) | SignalBit(SIGSTOP);
thread_local MaskBelief t_belief = {0, 0};
// Of a child of vfork(), which has its parent's thread-locals.
thread_local MaskBelief t_child_belief = {0, 0};
thread_local int t_child = 0;  // its id

// Those that minicore stands for.
uint64_t OurFaults() { return g_runtime.policy.signals & kFaultSignals; }

MaskBelief& OwnBelief() {
  const int noted = NotedTid();
  const int tid = safe::GetTid();
  if (noted == 0 || tid == noted) return t_belief;
  if (tid != t_child) {
    t_child = tid;
    t_child_belief = t_belief;
  }
  return t_child_belief;
}

// The kernel's sigset_t is the first word of libc's.
uint64_t BitsOf(const sigset_t& set) { return set.__val[0]; }

// Of the signals of faults. Relaxed: nothing else is published with it.
std::atomic<uint64_t> g_in_masks[65];

// Whether `mask` is what the kernel makes of `before` when it enters the handler
// that `signal` has now (Linux 6.1, kernel/signal.c, signal_delivered()).
bool IsEntered(int signal, uint64_t mask, uint64_t before) {
  safe::KernelSigaction action{};
  if (safe::SigAction(signal, nullptr, &action) != 0) return false;
  uint64_t entered = before | action.mask;
  if ((action.flags & SA_NODEFER) == 0) entered |= SignalBit(signal);
  return ((entered ^ mask) & ~kFaultSignals) == 0;
}

// Which signals of faults the thread believes blocked, `mask` being its own for
// the kernel. A handler that runs has changed that, and is known by it.
uint64_t BelievedWith(const MaskBelief& belief, uint64_t mask) {
  if (belief.kernel == (mask & ~kFaultSignals)) return belief.faults;
  for (int signal = 1; signal <= 64; ++signal) {
    const uint64_t faults =
        g_in_masks[signal].load(std::memory_order_relaxed);
    if (faults != 0 && IsEntered(signal, mask, belief.kernel)) {
      return belief.faults | faults;
    }
  }
  return 0;
}

// As rt_sigprocmask(2), for libc's sets. Returns: 0 or an error number.
int ChangeMask(int how, const sigset_t* set, sigset_t* old) {
  const uint64_t faults = OurFaults();
  uint64_t wanted = set == nullptr ? 0 : BitsOf(*set) & ~kInternal;
  const uint64_t told = how == SIG_UNBLOCK ? wanted : wanted & ~faults;
  MaskBelief& own = OwnBelief();
  const MaskBelief belief = own;
  // What is unblocked and pending comes at once, and must find it so.
  if (set != nullptr && how == SIG_SETMASK) {
    own = {wanted & faults, told & ~kNotInBelief};
  } else if (set != nullptr && how == SIG_UNBLOCK) {
    own = {belief.faults & ~wanted, belief.kernel & ~wanted};
  }
  uint64_t before = 0;
  const long error =
      safe::SigProcMask(how, set == nullptr ? nullptr : &told, &before);
  if (error != 0) {
    own = belief;
    return static_cast<int>(-error);
  }
  const uint64_t believed = BelievedWith(belief, before);
  if (set != nullptr && how == SIG_BLOCK) {
    own = {believed | (wanted & faults), (before | told) & ~kNotInBelief};
  } else if (set != nullptr && how == SIG_UNBLOCK) {
    own = {believed & ~wanted, before & ~told & ~kNotInBelief};
  }
  if (old != nullptr) old->__val[0] = before | believed;
  return 0;
}

int ChangeMaskOrErrno(int how, const sigset_t* set, sigset_t* old) {
  const int error = ChangeMask(how, set, old);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

// The masks of 4.2BSD: 32 signals in an int.
int ChangeOldMask(int how, int mask) {
  sigset_t set;
  sigset_t old;
  sigemptyset(&set);
  sigemptyset(&old);
  set.__val[0] = static_cast<unsigned>(mask);
  ChangeMask(how, &set, &old);
  return static_cast<int>(BitsOf(old));
}

int ChangeOne(int how, int signal) {
  sigset_t set;
  sigemptyset(&set);
  if (sigaddset(&set, signal) != 0) return -1;
  return ChangeMaskOrErrno(how, &set, nullptr);
}

// The mask that a call sets for its own time, without the signals of faults, and
// what the thread believes in that time.
class MaskOfCall {
 public:
  // `mask` may be null: the call sets none.
  explicit MaskOfCall(const sigset_t* mask);
  ~MaskOfCall();
  MaskOfCall(const MaskOfCall&) = delete;
  MaskOfCall& operator=(const MaskOfCall&) = delete;

  // For the kernel.
  const uint64_t* get() const { return has_mask_ ? &kernel_mask_ : nullptr; }

 private:
  const bool has_mask_;
  const MaskBelief before_;
  uint64_t kernel_mask_ = 0;
  uint64_t new_ = 0;  // blocked in the call, and not around it
};

// What is delivered in the call finds the thread's own mask in its signal frame
// (Linux 6.1, include/linux/sched/signal.h, sigmask_to_save()): that is what
// the belief is about.
MaskOfCall::MaskOfCall(const sigset_t* mask)
    : has_mask_(mask != nullptr), before_(OwnBelief()) {
  if (!has_mask_) return;
  const uint64_t faults = BitsOf(*mask) & OurFaults();
  kernel_mask_ = BitsOf(*mask) & ~faults;
  if (faults == before_.faults) return;
  uint64_t own = 0;
  if (safe::SigProcMask(SIG_BLOCK, nullptr, &own) != 0) return;
  new_ = faults & ~own & ~BelievedWith(before_, own);
  OwnBelief() = {faults, own & ~kFaultSignals};
}

// One that was sent in the call has been postponed, and is due now.
MaskOfCall::~MaskOfCall() {
  if (!has_mask_) return;
  OwnBelief() = before_;
  if (new_ != 0) safe::SigProcMask(SIG_UNBLOCK, &new_, nullptr);
}

// A system call that waits, and is a cancellation point as libc's functions are
// (glibc 2.36, nptl/cancellation.c).
template <class... Arguments>
int WaitingCall(long number, Arguments... arguments) {
  int type = 0;
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
  const long result = syscall(number, arguments...);
  pthread_setcanceltype(type, nullptr);
  return static_cast<int>(result);
}

constexpr size_t kMaskBytes = 8;  // the kernel's sigset_t

}  // namespace

void AdoptMask() {
  uint64_t mask = 0;
  if (safe::SigProcMask(SIG_BLOCK, nullptr, &mask) != 0) return;
  const uint64_t blocked = mask & OurFaults();
  MaskBelief& belief = OwnBelief();
  belief = {BelievedWith(belief, mask) | blocked, mask & ~kFaultSignals};
  // The belief first: what is pending now comes at once.
  if (blocked != 0) safe::SigProcMask(SIG_UNBLOCK, &blocked, nullptr);
}

InheritableMask::InheritableMask() {
  const MaskBelief& belief = OwnBelief();
  uint64_t mask = 0;
  if (belief.faults == 0 ||
      safe::SigProcMask(SIG_BLOCK, nullptr, &mask) != 0) {
    return;
  }
  blocked_ = BelievedWith(belief, mask) & ~mask;
  if (blocked_ != 0) safe::SigProcMask(SIG_BLOCK, &blocked_, nullptr);
}

InheritableMask::~InheritableMask() {
  if (blocked_ != 0) safe::SigProcMask(SIG_UNBLOCK, &blocked_, nullptr);
}

uint64_t StripFaults(sigset_t* mask) {
  const uint64_t stripped = BitsOf(*mask) & OurFaults();
  mask->__val[0] &= ~stripped;
  return stripped;
}

std::atomic<uint64_t>& FaultsInMaskOf(int signal) { return g_in_masks[signal]; }

bool IsKeptUnblocked(int signal) { return (OurFaults() & SignalBit(signal)) != 0; }

bool BelievesBlocked(int signal, uint64_t kernel_mask) {
  return (BelievedWith(OwnBelief(), kernel_mask) & SignalBit(signal)) != 0;
}

}  // namespace minicore

extern "C" {

MINICORE_API int pthread_sigmask(int how, const sigset_t* set,
                                 sigset_t* old) noexcept {
  return minicore::ChangeMask(how, set, old);
}

MINICORE_API int sigprocmask(int how, const sigset_t* set,
                             sigset_t* old) noexcept {
  return minicore::ChangeMaskOrErrno(how, set, old);
}

MINICORE_API int sigblock(int mask) noexcept {
  return minicore::ChangeOldMask(SIG_BLOCK, mask);
}

MINICORE_API int sigsetmask(int mask) noexcept {
  return minicore::ChangeOldMask(SIG_SETMASK, mask);
}

MINICORE_API int sighold(int signal) noexcept {
  return minicore::ChangeOne(SIG_BLOCK, signal);
}

MINICORE_API int sigrelse(int signal) noexcept {
  return minicore::ChangeOne(SIG_UNBLOCK, signal);
}

// A postponed signal ends these calls by EINTR, though no handler of the
// program has run.
MINICORE_API int sigsuspend(const sigset_t* mask) {
  const minicore::MaskOfCall in_call(mask);
  return minicore::WaitingCall(SYS_rt_sigsuspend, in_call.get(),
                               minicore::kMaskBytes);
}

// The kernel writes into the timeouts of the next two; libc's functions do not
// let that be seen.
MINICORE_API int pselect(int count, fd_set* read, fd_set* write, fd_set* except,
                         const timespec* timeout, const sigset_t* mask) {
  timespec rest = {};
  if (timeout != nullptr) rest = *timeout;
  const minicore::MaskOfCall in_call(mask);
  const struct {
    const uint64_t* mask;
    size_t bytes;
  } both = {in_call.get(), minicore::kMaskBytes};
  return minicore::WaitingCall(SYS_pselect6, count, read, write, except,
                               timeout != nullptr ? &rest : nullptr, &both);
}

MINICORE_API int ppoll(pollfd* fds, nfds_t count, const timespec* timeout,
                       const sigset_t* mask) {
  timespec rest = {};
  if (timeout != nullptr) rest = *timeout;
  const minicore::MaskOfCall in_call(mask);
  return minicore::WaitingCall(SYS_ppoll, fds, count,
                               timeout != nullptr ? &rest : nullptr,
                               in_call.get(), minicore::kMaskBytes);
}

// ppoll() with _FORTIFY_SOURCE (glibc 2.36, debug/ppoll_chk.c).
MINICORE_API int __ppoll_chk(pollfd* fds, nfds_t count, const timespec* timeout,
                             const sigset_t* mask, size_t bytes) {
  if (bytes / sizeof(*fds) < count) __chk_fail();
  return ppoll(fds, count, timeout, mask);
}

MINICORE_API int epoll_pwait(int epoll, epoll_event* events, int count,
                             int timeout, const sigset_t* mask) {
  const minicore::MaskOfCall in_call(mask);
  return minicore::WaitingCall(SYS_epoll_pwait, epoll, events, count, timeout,
                               in_call.get(), minicore::kMaskBytes);
}

MINICORE_API int epoll_pwait2(int epoll, epoll_event* events, int count,
                              const timespec* timeout, const sigset_t* mask) {
  const minicore::MaskOfCall in_call(mask);
  return minicore::WaitingCall(SYS_epoll_pwait2, epoll, events, count, timeout,
                               in_call.get(), minicore::kMaskBytes);
}

}  // extern "C"
