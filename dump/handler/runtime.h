// The handler's one entrance to what install learned, and who we are.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_RUNTIME_H_
#define MINICORE_DUMP_HANDLER_RUNTIME_H_

#include <signal.h>

#include <cstdint>

#include "dump/handler/crash_context.h"

namespace minicore {

// Set by install before any handler is; constant-initialised to "off".
extern Runtime g_runtime;

// The calling thread; where a filter does not let us ask, as it was at install, and as
// glibc has noted it.
int OwnPid();
int OwnTid();

// The calling thread as glibc has noted it; in a child of vfork() its parent's. 0: not
// known.
int NotedTid();

// `info` and `context` are of the calling thread's signal frame.
CrashContext MakeContext(int signal, const siginfo_t* info, const void* context);

constexpr uint64_t SignalBit(int signal) { return uint64_t{1} << (signal - 1); }

// What a fault brings: an instruction, and not another process.
inline constexpr uint64_t kFaultSignals = SignalBit(SIGSEGV) | SignalBit(SIGBUS) |
                                          SignalBit(SIGILL) | SignalBit(SIGTRAP) |
                                          SignalBit(SIGFPE) | SignalBit(SIGSYS);

inline bool IsFaultSignal(int signal) {
  return signal > 0 && signal <= 64 && (SignalBit(signal) & kFaultSignals) != 0;
}

// Whether the signal is the thread's own doing, and not sent. The kernel gives the codes
// of faults to what a terminal or a limit sends as well (SI_KERNEL).
inline bool IsFault(const siginfo_t* info) {
  return info->si_code > 0 && IsFaultSignal(info->si_signo);
}

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_RUNTIME_H_
