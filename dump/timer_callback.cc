#include "dump/timer_callback.h"

#include <stddef.h>

#include <atomic>
#include <utility>

#include "dump/alt_stack.h"
#include "dump/signal_mask.h"

namespace minicore {
namespace {

constexpr size_t kCallbacks = 32;

// The program's. Each is set once, by the thread that first brings it. Relaxed: nothing
// else is published with it.
std::atomic<TimerCallback> g_callbacks[kCallbacks];

template <size_t kIndex>
void Run(sigval value) {
  EnsureAltStack();
  AdoptMask();
  g_callbacks[kIndex].load(std::memory_order_relaxed)(value);
}

template <size_t... kIndices>
TimerCallback OursAt(size_t index, std::index_sequence<kIndices...>) {
  static constexpr TimerCallback kOurs[] = {&Run<kIndices>...};
  return kOurs[index];
}

}  // namespace

TimerCallback CallbackFor(TimerCallback callback) {
  for (size_t i = 0; i < kCallbacks; ++i) {
    TimerCallback there = g_callbacks[i].load(std::memory_order_relaxed);
    if ((there == nullptr && g_callbacks[i].compare_exchange_strong(
                                 there, callback, std::memory_order_relaxed)) ||
        there == callback) {
      return OursAt(i, std::make_index_sequence<kCallbacks>());
    }
  }
  return callback;
}

}  // namespace minicore
