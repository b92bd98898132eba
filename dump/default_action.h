// The actions that stand for the kernel's: for SIG_DFL of the signals that dump core, and
// for SIG_IGN of those of faults, which the kernel itself lets nobody ignore.
//
// Context: any, unless said otherwise.

#ifndef MINICORE_DUMP_DEFAULT_ACTION_H_
#define MINICORE_DUMP_DEFAULT_ACTION_H_

#include <signal.h>

#include <cstdint>

namespace minicore {

// Whether the default action of `signal` is ours to be.
bool IsOurs(int signal);

// The action that stands for SIG_DFL of such a signal.
struct sigaction DefaultAction();

// What to install for `handler`, SIG_DFL or SIG_IGN, of `signal`: `*action` is changed if
// that is ours to be.
// Returns: whether it is.
bool StandForKernel(int signal, sighandler_t handler, struct sigaction* action);

// If `action` is one of these, makes it what the program had asked for.
void HideOurs(struct sigaction* action);

// Takes the signals of the policy, and gives those of `former_signals` back; handlers of
// the program are left alone. Its dump_signal instead of `former_dump_signal`.
//
// Context: ordinary; g_runtime can be written.
void TakeSignals(uint64_t former_signals);
void TakeDumpSignal(int former_dump_signal);

}  // namespace minicore

#endif  // MINICORE_DUMP_DEFAULT_ACTION_H_
