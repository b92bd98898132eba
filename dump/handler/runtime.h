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

// The calling thread; where a filter does not let us ask, the one that can be known.
int OwnPid();
int OwnTid();

// `info` and `context` are of the calling thread's signal frame.
CrashContext MakeContext(int signal, const siginfo_t* info, const void* context);

// Whether the signal is the thread's own doing, and not sent.
inline bool IsFault(const siginfo_t* info) { return info->si_code > 0; }

constexpr uint64_t SignalBit(int signal) { return uint64_t{1} << (signal - 1); }

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_RUNTIME_H_
