#include "dump/own_handler.h"

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <utility>

#include "dump/default_action.h"
#include "dump/handler/dying.h"
#include "dump/handler/entry.h"
#include "dump/handler/runtime.h"
#include "dump/signal_mask.h"

extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*);

namespace minicore {
namespace {

using Handler = void (*)(int, siginfo_t*, void*);

// More than a program has; who has more gets the kernel's way for the rest.
constexpr size_t kHandlers = 64;

// A handler of the program, and what it asked for with it: an address of 48 bits, and
// two flags above. Zero: none.
//
// Writers: sigaction() of the program; set once, by the thread that first brings it, before
// the action is installed. Readers: sigaction(), our handlers. Relaxed: nothing else is
// published with it.
constexpr uint64_t kOnce = uint64_t{1} << 63;  // SA_RESETHAND
constexpr uint64_t kInfo = uint64_t{1} << 62;  // SA_SIGINFO
std::atomic<uint64_t> g_handlers[kHandlers];

template <size_t kIndex>
void Run(int signal, siginfo_t* info, void* context);

template <size_t... kIndices>
Handler OursAt(size_t index, std::index_sequence<kIndices...>) {
  static constexpr Handler kOurs[] = {&Run<kIndices>...};
  return kOurs[index];
}
Handler OursAt(size_t index) {
  return OursAt(index, std::make_index_sequence<kHandlers>());
}

// Returns: its index, or kHandlers if there is no room.
size_t IndexOf(uint64_t handler) {
  for (size_t i = 0; i < kHandlers; ++i) {
    uint64_t there = g_handlers[i].load(std::memory_order_relaxed);
    if ((there == 0 && g_handlers[i].compare_exchange_strong(
                           there, handler, std::memory_order_relaxed)) ||
        there == handler) {
      return i;
    }
  }
  return kHandlers;
}

bool Is(const struct sigaction& action, Handler handler) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == handler;
}

// Puts our default action where `handler` stands for one time.
// Returns: whether it stood there: of two threads that get the signal, one takes it.
bool TakeOneTime(int signal, Handler handler) {
  struct sigaction found;
  if (__sigaction(signal, nullptr, &found) != 0 || !Is(found, handler)) return false;
  const struct sigaction ours = DefaultAction();
  if (__sigaction(signal, &ours, &found) != 0) return false;
  if (Is(found, handler)) return true;
  // Another thread was first, and its handler may have put another in its own place.
  __sigaction(signal, &found, nullptr);
  return false;
}

// A fault goes to the handler even if its signal is believed blocked, where the kernel
// would kill: no thread-local is touched for it, since programs that change the thread
// pointer handle their own faults.
template <size_t kIndex>
void Run(int signal, siginfo_t* info, void* context_pointer) {
  auto* context = static_cast<ucontext_t*>(context_pointer);
  if (!IsFault(info) && BelievesBlocked(signal, context->uc_sigmask.__val[0])) {
    Postpone(MakeContext(signal, info, context), context);
    return;
  }
  const uint64_t own = g_handlers[kIndex].load(std::memory_order_relaxed);
  if ((own & kOnce) != 0 && !TakeOneTime(signal, &Run<kIndex>)) {
    // For this thread it is as if the kernel had reset it.
    OnFatalSignal(signal, info, context);
    return;
  }
  reinterpret_cast<Handler>(own & ~(kOnce | kInfo))(signal, info, context);
}

}  // namespace

struct sigaction StandFor(int signal, const struct sigaction& wanted) {
  const bool once = (wanted.sa_flags & static_cast<int>(SA_RESETHAND)) != 0;
  if (!once && !IsKeptUnblocked(signal)) return wanted;
  const bool info = (wanted.sa_flags & SA_SIGINFO) != 0;
  const size_t index = IndexOf(reinterpret_cast<uint64_t>(wanted.sa_handler) |
                               (once ? kOnce : 0) | (info ? kInfo : 0));
  if (index == kHandlers) return wanted;
  struct sigaction action = wanted;
  action.sa_sigaction = OursAt(index);
  action.sa_flags |= SA_SIGINFO;
  action.sa_flags &= ~static_cast<int>(SA_RESETHAND);
  return action;
}

void TellOwn(struct sigaction* action) {
  for (size_t i = 0; i < kHandlers; ++i) {
    const uint64_t own = g_handlers[i].load(std::memory_order_relaxed);
    if (own == 0) return;
    if (!Is(*action, OursAt(i))) continue;
    if ((own & kInfo) == 0) action->sa_flags &= ~SA_SIGINFO;
    if ((own & kOnce) != 0) action->sa_flags |= static_cast<int>(SA_RESETHAND);
    action->sa_handler = reinterpret_cast<void (*)(int)>(own & ~(kOnce | kInfo));
    return;
  }
}

}  // namespace minicore
