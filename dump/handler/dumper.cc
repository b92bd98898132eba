#include "dump/handler/dumper.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include <atomic>

#include "dump/handler/core_file.h"
#include "dump/handler/election.h"
#include "dump/handler/entry.h"
#include "dump/handler/error_text.h"
#include "dump/handler/freeze.h"
#include "dump/handler/own_memory.h"
#include "dump/handler/runtime.h"
#include "dump/handler/signal_limit.h"
#include "dump/handler/watchdog.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr size_t kLineBytes = 1024;
constexpr uint64_t kLineMicroseconds = 1000000;  // for who reads it

// Whose kFreezeSignal was before us: glibc's, or nobody's.
safe::KernelSigaction g_other_owner{};

safe::KernelSigaction OurAction(void (*handler)(int, siginfo_t*, void*),
                                unsigned long flags) {
  return {reinterpret_cast<void*>(handler),
          SA_SIGINFO | SA_ONSTACK | safe::kSaRestorer | flags, g_runtime.restorer,
          kFatalMask};
}

void Tell(const DumpResult& result) {
  const bool ordinary = result.failed == nullptr && result.remark == nullptr;
  if (ordinary && g_runtime.policy.verbose == 0) return;
  char line[kLineBytes];
  safe::Text text(line, sizeof(line));
  if (result.failed != nullptr) {
    text.String("minicore: no core: cannot ").String(result.failed).Char(' ');
    text.String(result.path[0] != '\0' ? result.path : "the core").String(": ");
    if (result.reason != nullptr) {
      text.String(result.reason);
    } else {
      AppendError(-result.error, text);
    }
  } else {
    text.String("minicore: wrote ").String(result.path).String(" (");
    text.Decimal(result.file_bytes).String(" bytes, ");
    text.Decimal(result.microseconds / 1000).Char('.');
    text.Decimal(result.microseconds / 100 % 10).String(" ms");
    if (result.remark != nullptr) text.String(", ").String(result.remark);
    text.Char(')');
  }
  text.Char('\n');
  // A program that goes on must not wait for somebody who does not read. At most PIPE_BUF
  // bytes, which a pipe takes whole.
  static_assert(kLineBytes <= PIPE_BUF);
  const uint64_t until = safe::NowMicroseconds() + kLineMicroseconds;
  long error;
  while ((error = AwaitRoom(STDERR_FILENO, until)) == -EINTR) {
  }
  if (error != -ETIMEDOUT) safe::Write(STDERR_FILENO, text.data(), text.length());
}

// As they were, while a dump needs them: two for its guarded copies, SIGSYS for calls
// that a seccomp filter answers with a signal, the others for what else a scribbled
// dumper may run into.
constexpr int kFaultNumbers[] = {SIGSEGV, SIGBUS, SIGSYS, SIGILL, SIGFPE, SIGTRAP};
constexpr int kFaultSignalCount = 6;
safe::KernelSigaction g_old_faults[kFaultSignalCount];

// Restarting: one that is sent to another thread in that time must not end its call.
void TakeFaultSignals(unsigned long flags, uint64_t mask) {
  safe::KernelSigaction ours = OurAction(&OnFatalSignal, SA_RESTART | flags);
  ours.mask = mask;
  for (int i = 0; i < kFaultSignalCount; ++i) {
    // Known before it is changed: see GiveActionsBack().
    safe::SigAction(kFaultNumbers[i], nullptr, &g_old_faults[i]);
    safe::SigAction(kFaultNumbers[i], &ours, &g_old_faults[i]);
  }
}

// A fault in the handler comes by there again.
void TakeFaultSignalsForGood() { TakeFaultSignals(SA_NODEFER, kFatalMask); }

// When the kernel dumps core, it kills the other threads first (fs/coredump.c,
// zap_threads()): no signal that would end or stop the process, nor any handler of the
// program's, comes in between. Here the threads have yet to be stopped. A handler that does
// nothing, and not SIG_IGN, which a program that is just being started would inherit; but
// no call is to be interrupted by what was ignored.
//
// Who forks before he stands still must not hand that down: see GiveActionsBack().
safe::KernelSigaction g_old_others[65];
std::atomic<bool> g_has_taken_actions{false};
void DoNothing(int, siginfo_t*, void*) {}
void IgnoreOtherSignals() {
  constexpr uint64_t kIgnored = SignalBit(SIGCHLD) | SignalBit(SIGCONT) | SignalBit(SIGURG) |
                                SignalBit(SIGWINCH);  // by default
  // A second thread that dies by one of those that are ours stays where it is, and is
  // dumped. 32 is pthread_cancel()'s.
  const uint64_t kept = g_runtime.policy.signals | kFaultSignals | kIgnored |
                        SignalBit(SIGKILL) | SignalBit(SIGSTOP) | SignalBit(32) |
                        SignalBit(kFreezeSignal);
  const safe::KernelSigaction action = OurAction(&DoNothing, SA_RESTART);
  for (int signal = 1; signal <= 64; ++signal) {
    safe::KernelSigaction& old = g_old_others[signal];
    if ((kept & SignalBit(signal)) == 0 && safe::SigAction(signal, nullptr, &old) == 0 &&
        old.handler != reinterpret_cast<void*>(SIG_IGN)) {
      safe::SigAction(signal, &action, nullptr);
    }
  }
}

// Those for which the program has handlers of its own.
uint64_t ProgramsFaults() {
  uint64_t faults = 0;
  for (const int signal : kFaultNumbers) {
    safe::KernelSigaction action;
    if (safe::SigAction(signal, nullptr, &action) == 0 && !IsOurHandler(action.handler)) {
      faults |= SignalBit(signal);
    }
  }
  return faults;
}

// Of a live dump, as long as the program's handlers are in force, the signals that are sent
// for them wait: they would run in here, and might never return. Its faults are ours while
// its threads stand still, and no longer: a child would inherit what another thread finds
// changed.
void BlockProgramsFaults() {
  const uint64_t mask = kFatalMask | ProgramsFaults();
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
}

// Faster than a busy machine lets ours run, they may be sent: no frame of one on top of
// another's.
bool g_has_stood_in = false;
void StandIn() {
  g_has_stood_in = true;
  TakeFaultSignals(0, safe::kAllButRefusals);
  const uint64_t mask = kFatalMask;
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
}

// Between the copy and the file of a live dump. What a thread that could not be stopped has
// set meanwhile stays.
void GoOn() {
  safe::SigProcMask(SIG_BLOCK, &kFaultSignals, nullptr);
  for (int i = 0; i < kFaultSignalCount; ++i) {
    safe::KernelSigaction now;
    if (safe::SigAction(kFaultNumbers[i], &g_old_faults[i], &now) == 0 &&
        now.handler != reinterpret_cast<void*>(&OnFatalSignal)) {
      safe::SigAction(kFaultNumbers[i], &now, nullptr);
    }
  }
  BlockProgramsFaults();
  EndFreeze();
}

void DumpHere(Request& request) {
  static constexpr LiveSteps kLive = {&StandIn, &GoOn};
  request.result =
      RunDump(request.crash, *request.runtime, request.live ? &kLive : nullptr);
  if (!request.live || g_runtime.policy.verbose != 0) Tell(request.result);
}

void DumpOnOwnStack(void* argument) {
  Request& request = *static_cast<Request*>(argument);
  // A nested fault (GuardedCopy) must push its frame elsewhere: with SA_ONSTACK the kernel
  // would start at the top of the thread's signal stack again and overwrite the crash's
  // own frame (arch/x86/kernel/signal.c, get_sigframe()). The return from our handler
  // restores it.
  const stack_t none = {nullptr, SS_DISABLE, 0};
  const stack_t& faults = g_runtime.fault_stack;
  safe::Syscall(SYS_sigaltstack, safe::Word(faults.ss_sp != nullptr ? &faults : &none), 0);
  DumpHere(request);
}

// Whether a filter forbids DumpOnOwnStack(), so that all must happen on the signal stack.
bool MustKeepStack(const ucontext_t& context) {
  stack_t current;
  return (context.uc_stack.ss_flags & SS_DISABLE) == 0 &&
         safe::Syscall(SYS_sigaltstack, 0, safe::Word(&current)) != 0;
}

}  // namespace

// Without SA_RESTART, a tick of the watchdog ends a write that blocks. The owner is known
// before ours can be called.
long TakeFreezeSignal(unsigned long flags) {
  safe::KernelSigaction action = OurAction(&OnFreezeSignal, flags);
  action.mask = safe::kAllButRefusals;  // of the parked, too
  safe::KernelSigaction owner;
  if (safe::SigAction(kFreezeSignal, nullptr, &owner) == 0 &&
      owner.handler != action.handler) {
    g_other_owner = owner;
  }
  return safe::SigAction(kFreezeSignal, &action, nullptr);
}

void PassOn(int signal, siginfo_t* info, void* context) {
  void* const handler = g_other_owner.handler;
  if (handler == nullptr || handler == reinterpret_cast<void*>(SIG_IGN)) return;
  reinterpret_cast<void (*)(int, siginfo_t*, void*)>(handler)(signal, info, context);
}

void GiveActionsBack() {
  if (!g_has_taken_actions.exchange(false, std::memory_order_relaxed)) return;
  const auto give_back = [](int signal, const safe::KernelSigaction& old, auto* taken_by) {
    safe::KernelSigaction now;
    // Those that stand for SIG_DFL have another mask. (The kernel leaves these two out.)
    constexpr uint64_t kMask = kFatalMask & ~(SignalBit(SIGKILL) | SignalBit(SIGSTOP));
    if (safe::SigAction(signal, nullptr, &now) == 0 && now.mask == kMask &&
        now.handler == reinterpret_cast<void*>(taken_by)) {
      safe::SigAction(signal, &old, nullptr);
    }
  };
  for (int signal = 1; signal <= 64; ++signal) {
    give_back(signal, g_old_others[signal], &DoNothing);
  }
  for (int i = 0; i < kFaultSignalCount; ++i) {
    give_back(kFaultNumbers[i], g_old_faults[i], &OnFatalSignal);
  }
}

bool HasStoodIn() { return g_has_stood_in; }

void Dump(Request& request) {
  // Relaxed: who has an action of ours has what was stored before it.
  g_has_taken_actions.store(!request.live, std::memory_order_relaxed);
  if (!request.live) IgnoreOtherSignals();
  OpenMemory();
  // The threads of a crash never go on: nothing of theirs is to be restarted.
  TakeFreezeSignal(request.live ? SA_RESTART : 0);
  if (request.live) {
    BlockProgramsFaults();
  } else {
    TakeFaultSignalsForGood();
  }
  // A timer takes a place in the queue of signals.
  RaiseSignalLimit();
  StartWatchdog(kFreezeSignal, g_runtime.policy.deadline_us);
  if (request.live) RestoreSignalLimit();
  if (MustKeepStack(*request.crash.context)) {
    DumpHere(request);
  } else {
    safe::RunOnStack(g_runtime.dump_stack_end, &DumpOnOwnStack, &request);
  }
  StopWatchdog();
  // The parent of a child of vfork(), whose memory it is, goes on with its own actions.
  g_has_taken_actions.store(false, std::memory_order_relaxed);
}

}  // namespace minicore
