// A crash that waits until a live dump is over: it comes before any other live dump, and
// one that itself only waits, for the reader of a pipe, gives way to it.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_WAITING_CRASH_H_
#define MINICORE_DUMP_HANDLER_WAITING_CRASH_H_

#include <atomic>

namespace minicore {

// Writers: a thread whose crash waits sets it over and over; whoever waits no more clears
// it.
// Readers: threads that make a live dump, or want to. Relaxed: nothing is published with
// it, and who reads it late does so again.
inline std::atomic<bool> g_crash_waits{false};

inline void SetCrashWaits(bool waits) {
  g_crash_waits.store(waits, std::memory_order_relaxed);
}
inline bool CrashWaits() { return g_crash_waits.load(std::memory_order_relaxed); }

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_WAITING_CRASH_H_
