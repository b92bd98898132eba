#include "dump/one_shot.h"

#include <atomic>

#include "dump/handler/entry.h"
#include "dump/install.h"

extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*);

namespace minicore {
namespace {

using Handler = void (*)(int, siginfo_t*, void*);

// Writers: sigaction() of the program, before the action is installed. Readers: the same,
// and the handler below. Whether a handler has had its one time is the action's to say,
// which is the process's own: a child of vfork() shares this table with its parent.
// Relaxed: nothing else is published with it.
std::atomic<void*> g_handlers[65];

bool IsRunOnce(const struct sigaction& action);

// Puts our default action where a handler for one time stands.
// Returns: whether one stood there: of two threads that get the signal, one takes it.
bool TakeOneTime(int signal) {
  struct sigaction found;
  if (__sigaction(signal, nullptr, &found) != 0 || !IsRunOnce(found)) return false;
  const struct sigaction ours = DefaultAction();
  if (__sigaction(signal, &ours, &found) != 0) return false;
  if (IsRunOnce(found)) return true;
  // Another thread was first, and its handler may have put another in its own place.
  __sigaction(signal, &found, nullptr);
  return false;
}

void RunOnce(int signal, siginfo_t* info, void* context) {
  void* const handler = g_handlers[signal].load(std::memory_order_relaxed);
  if (TakeOneTime(signal)) {
    reinterpret_cast<Handler>(handler)(signal, info, context);
  } else {
    // For this thread it is as if the kernel had reset it.
    OnFatalSignal(signal, info, context);
  }
}

// Two of them, so that the kernel's state says whether the program had asked for
// SA_SIGINFO.
void RunPlainOnce(int signal, siginfo_t* info, void* context) {
  RunOnce(signal, info, context);
}
void RunInfoOnce(int signal, siginfo_t* info, void* context) {
  RunOnce(signal, info, context);
}

bool IsRunOnce(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 &&
         (action.sa_sigaction == &RunPlainOnce || action.sa_sigaction == &RunInfoOnce);
}

}  // namespace

bool IsOneShot(const struct sigaction& action) {
  return (action.sa_flags & static_cast<int>(SA_RESETHAND)) != 0 &&
         action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
}

struct sigaction OneShotAction(int signal, const struct sigaction& wanted,
                               void** previous) {
  *previous = g_handlers[signal].exchange(reinterpret_cast<void*>(wanted.sa_handler),
                                          std::memory_order_relaxed);
  struct sigaction action = wanted;
  const bool info = (wanted.sa_flags & SA_SIGINFO) != 0;
  action.sa_sigaction = info ? &RunInfoOnce : &RunPlainOnce;
  action.sa_flags |= SA_SIGINFO;
  action.sa_flags &= ~static_cast<int>(SA_RESETHAND);
  return action;
}

void* OneShotHandler(int signal) {
  return g_handlers[signal].load(std::memory_order_relaxed);
}

void SetOneShotHandler(int signal, void* handler) {
  g_handlers[signal].store(handler, std::memory_order_relaxed);
}

void HideOneShot(void* handler, struct sigaction* action) {
  if (!IsRunOnce(*action)) return;
  if (action->sa_sigaction == &RunPlainOnce) action->sa_flags &= ~SA_SIGINFO;
  action->sa_flags |= static_cast<int>(SA_RESETHAND);
  action->sa_handler = reinterpret_cast<void (*)(int)>(handler);
}

}  // namespace minicore
