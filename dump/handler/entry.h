// Where signals arrive: elect one dumper, let the others wait, dump, and die of the
// signal as if minicore were not there; or, of a live dump, go on.
//
//   crashing thread                     any other thread that crashes meanwhile
//     OnFatalSignal                       OnFatalSignal
//       wins the election                   loses it: joins the freeze; tries
//       own stack, altstack off             again if that was a live dump's
//       RunDump()
//       SIG_DFL, signal sent again
//     returns to the faulting frame: the kernel takes over, registers untouched
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ENTRY_H_
#define MINICORE_DUMP_HANDLER_ENTRY_H_

#include <signal.h>

#include "dump/handler/crash_context.h"
#include "dump/handler/freeze.h"

namespace minicore {

constexpr uint64_t SignalBit(int signal) { return uint64_t{1} << (signal - 1); }

// Every signal but those of faults (SIGSEGV and SIGBUS of guarded copies, SIGSYS of
// seccomp filters, all of a dumper gone wrong) and the freeze signal, by which the
// watchdog ticks.
inline constexpr uint64_t kFatalMask =
    ~(SignalBit(SIGSEGV) | SignalBit(SIGBUS) | SignalBit(SIGSYS) | SignalBit(SIGILL) |
      SignalBit(SIGFPE) | SignalBit(SIGTRAP) | SignalBit(kFreezeSignal));

// Set by install before any handler is; constant-initialised to "off".
extern Runtime g_runtime;

// The handler of every signal in Policy::signals: SA_SIGINFO, SA_ONSTACK, SA_NODEFER,
// kFatalMask.
void OnFatalSignal(int signal, siginfo_t* info, void* context);

// The handler of Policy::dump_signal: a live dump to the policy's path.
void OnDumpSignal(int signal, siginfo_t* info, void* context);

// Writes a core of the running process to `path`, or to `fd` if `path` is null, or where
// the policy says if `fd` is negative too. The calling thread counts as the crashed one.
// Returns: 0; -EBUSY while another thread dumps, for longer than the deadline;
//          -ETIMEDOUT if the calling thread could not be signalled; else what failed.
int DumpLive(const char* path, int fd);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ENTRY_H_
