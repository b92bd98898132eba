// How the process goes on, or does not, after our handler: as if it had not been there.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_DYING_H_
#define MINICORE_DUMP_HANDLER_DYING_H_

#include <signal.h>
#include <ucontext.h>

#include "dump/handler/crash_context.h"

namespace minicore {

// Remembers what the process is to die of, should the dumper itself fault beyond repair.
void RememberFirstSignal(const CrashContext& crash);

// For memory that a process which died of it had shared with this one.
void ForgetFirstSignal();

// Makes the kernel act on the signal, with its own siginfo and the registers of the
// fault, once the handler has returned.
void DieAsBefore(const CrashContext& crash);

// Whether a signal was remembered: not so in a live dump.
bool MustDie();

// For a dumper that has run into `signal` beyond repair: the same for the first signal,
// or for `signal` if there was none. Leaves no unfinished file.
void DieOfFirst(int signal, ucontext_t* context);

// A signal that the program believes blocked (dump/signal_mask.h) was sent: from here on
// it is blocked in this thread, and pending, for it or for the process.
void Postpone(const CrashContext& crash, ucontext_t* context);

// Sends a signal once more, as far as can be to whom it was sent.
void SendAgain(const CrashContext& crash);

// A signal that was sent to the thread that makes a live dump, while its handler was ours.
void KeepForLater(int signal);
// Sends this process what was kept, if anything was.
void SendKept(int pid);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_DYING_H_
