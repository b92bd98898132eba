// Stops the other threads, collects every thread's registers, lets them go again.
//
// The dumping thread lists /proc/self/task, sends each thread kFreezeSignal, and lists
// again until no new thread shows up. The signal's handler parks: it publishes the
// thread's signal frame in a slot and sleeps. A thread that meanwhile arrives in a crash
// handler parks there. Nothing is copied: the frames stand still as long as their
// threads do. Threads that never get the signal are left to silent_threads.h.
//
// Writers, readers, publication. `g_freeze` holds the freeze's number, odd while it is on,
// and the next free slot, in one word: a thread joins by compare-and-swap, which fails once
// the freeze is over, so that none joins too late. A thread fills its slot and then marks
// it with the number (release); the dumping thread reads slots that it has seen marked
// (acquire). The end of a freeze takes the number on and wakes all, and nobody waits: a
// thread that has joined may be anywhere between that and its first instruction of its own
// when the next freeze begins. So that freeze takes its slots behind those that such a
// thread may still write to, and counts nobody's readiness but its own threads'.
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

// Takes room for the slots: the first of the dumper's memory, zero.
void ReserveFreezeSlots(safe::Arena& arena);

// For the handler of kFreezeSignal: if the signal asks for a freeze, joins it and sleeps
// until it is over.
// Returns: whether it was one.
bool ParkIfAsked(const siginfo_t* info, const ucontext_t* context);

// For a thread that crashed while another dumps: joins the freeze that is on, if one is,
// and sleeps until it is over. `tid`: itself; a filter may not let it ask.
void ParkCrashed(int tid, const ucontext_t* context);

// Makes `threads` the table of one thread: the crashed one.
void AddCrashedThread(const CrashContext& crash, safe::Arena& arena,
                      ThreadTable& threads);

// Stops every other thread, or gives up on those that don't answer in
// `policy.freeze_us`, and adds them all to `threads`, behind the crashed one. Ends the
// freeze first that a phase which was abandoned has left on.
// Requires: kFreezeSignal's handler calls ParkIfAsked().
void FreezeThreads(const CrashContext& crash, const Runtime& runtime,
                   safe::Arena& arena, ThreadTable& threads, Outcome& outcome);

// Lets the threads go, and whoever holds some of them. Nothing if no freeze is on; may be
// called again by whoever was interrupted in it.
void EndFreeze();

// Whether all who ever joined a freeze have gone on: their memory of it, the slots, is
// nobody's.
bool AllHaveLeft();

// Waits for that, at most until `until_us` on the monotonic clock.
// Returns: AllHaveLeft().
bool AwaitLeaving(uint64_t until_us);

// Forgets a freeze that another process left behind in this memory.
// Requires: no thread of this process can have joined one.
void ResetFreeze();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_FREEZE_H_
