// Masks without the signals of faults.
//
// A thread that faults while the fault's signal is blocked is ended by the
// kernel at once, and no handler runs (kernel/signal.c,
// force_sig_info_to_task()). Programs block everything all the time:
// sigfillset(&action.sa_mask), worker threads with a full mask. So the kernel
// is never told to block the signals of faults that minicore stands for; what
// the program believes is kept beside it, per thread, and
//
//   - asking for the mask answers what the program had set;
//   - such a signal that was *sent* (kill, raise) and that the program believes
//   blocked is
//     blocked for real when it comes, and sent again: it is then pending, as it
//     should be.
//
// The same holds for the masks of handlers, and for those that sigsuspend(),
// pselect(), ppoll(), epoll_pwait() and epoll_pwait2() set for their own time.
// What is not seen: rt_sigprocmask behind libc's back; a handler in a handler,
// or in one of these calls, whose masks have such a signal that is then sent.

#ifndef MINICORE_DUMP_SIGNAL_MASK_H_
#define MINICORE_DUMP_SIGNAL_MASK_H_

#include <signal.h>
#include <stdint.h>

#include <atomic>

namespace minicore {

// Unblocks the signals of faults that the kernel has blocked for the calling
// thread, and believes them blocked: what it started with, if it is a new one.
//
// Context: ordinary.
void AdoptMask();

// While it lives, the kernel blocks what the calling thread believes blocked: a
// thread that it makes starts with that, from its first instruction, and
// adopts it.
//
// Context: ordinary.
class InheritableMask {
 public:
  InheritableMask();
  ~InheritableMask();
  InheritableMask(const InheritableMask&) = delete;
  InheritableMask& operator=(const InheritableMask&) = delete;

 private:
  uint64_t blocked_ = 0;
};

// Takes the signals of faults out of a handler's mask.
// Returns: which there were.
uint64_t StripFaults(sigset_t* mask);

// The signals of faults that the mask of a signal's handler has for the
// program, and not for the kernel.
//
// Requires: 1 <= signal <= 64.
// Context: any. The program's sigaction() writes it, before the action is
// installed.
std::atomic<uint64_t>& FaultsInMaskOf(int signal);

// Whether the kernel is never told to block `signal`.
bool IsKeptUnblocked(int signal);

// Whether the calling thread believes `signal` blocked, `kernel_mask` being its
// mask.
//
// Context: handler. Requires: the thread pointer is valid.
bool BelievesBlocked(int signal, uint64_t kernel_mask);

}  // namespace minicore

#endif  // MINICORE_DUMP_SIGNAL_MASK_H_
