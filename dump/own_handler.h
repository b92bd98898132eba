// Handlers of the program that stand behind one of ours:
//
//   - those for one time (SA_RESETHAND, and signal() of System V): the kernel puts SIG_DFL in
//     their place by itself before they run, and would then dump core without us;
//   - those of signals of faults, which the kernel is never told to block (signal_mask.h):
//     one that was sent waits here until the program does not believe it blocked any more.
//
// There is one of ours for each of theirs, so that the kernel's action says which stands
// behind it: asking and setting is as atomic as the system call, and a child of vfork() has
// its own.

#ifndef MINICORE_DUMP_OWN_HANDLER_H_
#define MINICORE_DUMP_OWN_HANDLER_H_

#include <signal.h>

namespace minicore {

// The action to install for a program that wants `wanted`, with a handler of its own:
// `wanted` itself if that needs none of ours, or if there is none left for it.
//
// Context: any.
struct sigaction StandFor(int signal, const struct sigaction& wanted);

// If `action` is one of StandFor()'s, makes it what the program had asked for.
//
// Context: any.
void TellOwn(struct sigaction* action);

}  // namespace minicore

#endif  // MINICORE_DUMP_OWN_HANDLER_H_
