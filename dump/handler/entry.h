// Where a fatal signal arrives: elect one dumper, let the others wait, dump, and die of
// the signal as if minicore were not there.
//
//   crashing thread                     any other thread that crashes meanwhile
//     OnFatalSignal                       OnFatalSignal
//       wins the election                   loses it: Park(), for ever
//       own stack, altstack off
//       RunDump()
//       SIG_DFL, signal sent again
//     returns to the faulting frame: the kernel takes over, registers untouched
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ENTRY_H_
#define MINICORE_DUMP_HANDLER_ENTRY_H_

#include <signal.h>

#include "dump/handler/crash_context.h"

namespace minicore {

// Everything but SIGSEGV and SIGBUS, which GuardedCopy() needs.
inline constexpr uint64_t kFatalMask =
    ~(uint64_t{1} << (SIGSEGV - 1) | uint64_t{1} << (SIGBUS - 1));

// Set by install before any handler is; constant-initialised to "off".
extern Runtime g_runtime;

// The handler of every signal in Policy::signals: SA_SIGINFO, SA_ONSTACK, SA_NODEFER,
// kFatalMask.
void OnFatalSignal(int signal, siginfo_t* info, void* context);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ENTRY_H_
