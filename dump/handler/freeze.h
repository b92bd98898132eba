// Stops the other threads and collects every thread's registers.
//
// The crashed thread lists /proc/self/task, sends each thread kFreezeSignal, and lists
// again until no new thread shows up. The signal's handler (Park) publishes the thread's
// signal frame in a slot and sleeps. A thread that is itself in a crash handler parks
// there. Nothing is copied: the frames stand still as long as their threads do.
//
// Writers and readers of a slot: the parking thread fills it and then sets `ready`
// (release); the dumping thread reads it after it has seen `ready` (acquire).
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_FREEZE_H_
#define MINICORE_DUMP_HANDLER_FREEZE_H_

#include <signal.h>
#include <ucontext.h>

#include "dump/handler/crash_context.h"
#include "dump/handler/outcome.h"
#include "dump/handler/thread_table.h"
#include "dump/safe/arena.h"

namespace minicore {

// glibc's SIGSETXID: the one signal that no program can block through libc, since
// sigfillset() and pthread_sigmask() leave it out (glibc 2.36,
// sysdeps/unix/sysv/linux/internal-signals.h, clear_internal_signals).
inline constexpr int kFreezeSignal = 33;

// Reserves the slots. Called once by install, in ordinary context.
void ReserveFreezeSlots(safe::Arena& arena);

// Stops every other thread, or gives up on those that don't answer in
// `policy.freeze_us`, and returns them all in `threads`.
void FreezeThreads(const CrashContext& crash, const Runtime& runtime,
                   safe::Arena& arena, ThreadTable& threads, Outcome& outcome);

// Publishes the calling thread's frame and sleeps until the process is gone.
void Park(const siginfo_t* info, const ucontext_t* context);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_FREEZE_H_
