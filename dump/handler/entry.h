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
#include "dump/handler/runtime.h"

namespace minicore {

// The mask of a dump: every signal but those of faults (SIGSEGV and SIGBUS of guarded
// copies, SIGSYS of seccomp filters, all of a dumper gone wrong) and the freeze signal, by
// which the watchdog ticks.
inline constexpr uint64_t kFatalMask = ~(kFaultSignals | SignalBit(kFreezeSignal));

// All but the freeze signal and SIGSYS: until the dump has a stack of its own, a fault of
// ours, on a signal stack that is too small for us say, is no fault to be dumped. With its
// signal blocked the kernel kills (kernel/signal.c, force_sig_info_to_task()); a handler
// would begin at the top of the same stack, and fault again.
inline constexpr uint64_t kEntryMask = ~(SignalBit(kFreezeSignal) | SignalBit(SIGSYS));

// The handler of every signal in Policy::signals: SA_SIGINFO, SA_ONSTACK, SA_NODEFER (which
// SIGSYS needs), kEntryMask.
void OnFatalSignal(int signal, siginfo_t* info, void* context);

// What stands for SIG_IGN of a fault's signal, likewise: a sent one is ignored, a fault
// cannot be (kernel/signal.c, force_sig_info_to_task()).
void OnIgnoredSignal(int signal, siginfo_t* info, void* context);

// Whether it is one of those two.
bool IsOurHandler(const void* handler);

// The handler of kFreezeSignal: joins a freeze, makes a live dump of its own thread, takes
// a tick of the watchdog, or passes the signal on.
void OnFreezeSignal(int signal, siginfo_t* info, void* context);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ENTRY_H_
