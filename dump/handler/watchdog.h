// Ends what outlasts the deadline: a timer that interrupts the dumping thread.
//
// The first tick, at the deadline, only makes a blocked system call return; every phase
// and the writer then see that it is late and finish with what there is. From the third
// tick on, a phase that still runs is abandoned as if it had faulted. What runs between
// phases, or does not end with them, is ended with the process in time.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_WATCHDOG_H_
#define MINICORE_DUMP_HANDLER_WATCHDOG_H_

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

namespace minicore {

inline constexpr uint64_t kTickMicroseconds = 250000;

// Ticks by `signal` to the calling thread, first after `deadline_us`. Without timers (a
// seccomp filter), the checks on the way are all there is.
void StartWatchdog(int signal, uint64_t deadline_us);
void StopWatchdog();

// For the signal's handler: acts on a tick.
// Returns: whether it was one.
bool OnWatchdogTick(const siginfo_t* info, ucontext_t* context);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_WATCHDOG_H_
