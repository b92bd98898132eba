#include "dump/default_action.h"

#include <string.h>

#include "dump/handler/entry.h"
#include "dump/handler/live_dump.h"
#include "dump/safe/syscalls.h"

// libc's own, under the name that nobody interposes (glibc 2.36, nptl/sigaction.c).
extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*);

namespace minicore {
namespace {

using Handler = void (*)(int, siginfo_t*, void*);

struct sigaction PlainAction(sighandler_t handler) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = handler;
  return action;
}

struct sigaction ActionOf(Handler handler, int flags) {
  struct sigaction action = PlainAction(SIG_DFL);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | flags;
  // libc leaves its own two signals out.
  for (int signal = 1; signal <= 64; ++signal) {
    if ((kEntryMask & SignalBit(signal)) != 0) sigaddset(&action.sa_mask, signal);
  }
  return action;
}

bool Calls(const struct sigaction& action, Handler handler) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == handler;
}

// libc's restorer, so that debuggers and unwinders recognise our signal frames as they
// do all others: gdb by its symbol, __restore_rt, elfutils by its CFI.
void LearnRestorer(int signal) {
  safe::KernelSigaction action;
  if (safe::SigAction(signal, nullptr, &action) == 0 &&
      (action.flags & safe::kSaRestorer) != 0) {
    g_runtime.restorer = action.restorer;
  }
}

}  // namespace

bool IsOurs(int signal) {
  return signal >= 1 && signal <= 64 &&
         (g_runtime.policy.signals & SignalBit(signal)) != 0;
}

struct sigaction DefaultAction() { return ActionOf(&OnFatalSignal, SA_NODEFER); }

bool StandForKernel(int signal, sighandler_t handler, struct sigaction* action) {
  if (!IsOurs(signal)) return false;
  if (handler == SIG_DFL) {
    *action = DefaultAction();
    return true;
  }
  if (handler != SIG_IGN || !IsFaultSignal(signal)) return false;
  // Restarting: one that is sent shall be as little noticed as can be.
  *action = ActionOf(&OnIgnoredSignal, SA_NODEFER | SA_RESTART);
  return true;
}

void HideOurs(struct sigaction* action) {
  if (Calls(*action, &OnFatalSignal)) *action = PlainAction(SIG_DFL);
  if (Calls(*action, &OnIgnoredSignal)) *action = PlainAction(SIG_IGN);
}

void TakeSignals(uint64_t former_signals) {
  for (int signal = 1; signal <= 64; ++signal) {
    if (!IsOurs(signal) && (former_signals & SignalBit(signal)) == 0) continue;
    struct sigaction action;
    if (__sigaction(signal, nullptr, &action) != 0) continue;
    HideOurs(&action);
    const bool stands = StandForKernel(signal, action.sa_handler, &action);
    // What is neither is the program's own handler, or ignored already.
    if (stands || action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
      __sigaction(signal, &action, nullptr);
    }
    // The program's own is as good where ours are nowhere: a live dump needs one.
    if (stands || g_runtime.restorer == nullptr) LearnRestorer(signal);
  }
}

void TakeDumpSignal(int former_dump_signal) {
  const int wanted = g_runtime.policy.dump_signal;
  struct sigaction action;
  if (former_dump_signal != 0 && former_dump_signal != wanted &&
      __sigaction(former_dump_signal, nullptr, &action) == 0 &&
      Calls(action, &OnDumpSignal)) {
    action = PlainAction(SIG_DFL);
    __sigaction(former_dump_signal, &action, nullptr);
  }
  if (wanted == 0) return;
  action = ActionOf(&OnDumpSignal, SA_RESTART);
  __sigaction(wanted, &action, nullptr);
  LearnRestorer(wanted);
}

}  // namespace minicore
