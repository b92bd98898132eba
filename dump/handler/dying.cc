#include "dump/handler/dying.h"

#include "dump/handler/pipeline.h"
#include "dump/handler/runtime.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

int g_first_signal = 0;
siginfo_t g_first_info;
bool g_removed_file = false;
// Bits of signals. Written by the dumping thread only, in and out of its handler.
volatile uint64_t g_kept = 0;

}  // namespace

void RememberFirstSignal(const CrashContext& crash) {
  g_first_signal = crash.signal;
  __builtin_memcpy(&g_first_info, crash.info, sizeof(g_first_info));
}

void ForgetFirstSignal() {
  g_first_signal = 0;
  g_removed_file = false;
}

bool MustDie() { return g_first_signal != 0; }

// The signal is sent again with its own siginfo; it is blocked until the handler returns,
// and then finds the default action and the registers of the fault. (For a fault,
// returning would be enough; but SIGTRAP is reported behind its instruction, and a
// fault's cause may be gone.)
void DieAsBefore(const CrashContext& crash) {
  const safe::KernelSigaction none = {nullptr, 0, nullptr, 0};
  safe::SigAction(crash.signal, &none, nullptr);
  // kFatalMask lets SIGSEGV and SIGBUS through: here they must wait, too.
  const uint64_t all = ~uint64_t{0};
  safe::SigProcMask(SIG_SETMASK, &all, nullptr);
  long error = safe::Syscall(SYS_rt_tgsigqueueinfo, crash.pid, crash.tid, crash.signal,
                             safe::Word(crash.info));
  if (error != 0) error = safe::TgKill(crash.pid, crash.tid, crash.signal);
  // A filter forbids both, and perhaps the change of the action: the fault happens again
  // with its signal blocked, and for that the kernel kills (kernel/signal.c,
  // force_sig_info_to_task()).
  if (error != 0 && IsFault(crash.info)) {
    auto* context = const_cast<ucontext_t*>(crash.context);
    sigset_t* mask = &context->uc_sigmask;
    mask->__val[0] |= 1ul << (crash.signal - 1);
  }
}

// The first signal is pending when the handler returns, and taken before the faulting
// instruction is tried again. Should that fail, the fault repeats, blocked, and kills.
void DieOfFirst(int signal, ucontext_t* context) {
  const int first = g_first_signal != 0 ? g_first_signal : signal;
  if (!g_removed_file) {
    g_removed_file = true;  // a fault in this comes by here again
    RemoveUnfinishedFile();
  }
  const safe::KernelSigaction none = {nullptr, 0, nullptr, 0};
  safe::SigAction(signal, &none, nullptr);
  safe::SigAction(first, &none, nullptr);
  const uint64_t all = ~uint64_t{0};
  safe::SigProcMask(SIG_SETMASK, &all, nullptr);
  const long error = safe::Syscall(SYS_rt_tgsigqueueinfo, OwnPid(), OwnTid(), first,
                                   safe::Word(&g_first_info));
  context->uc_sigmask.__val[0] |= SignalBit(signal);
  if (error == 0) context->uc_sigmask.__val[0] &= ~SignalBit(first);
}

void Postpone(const CrashContext& crash, ucontext_t* context) {
  const uint64_t bit = SignalBit(crash.signal);
  safe::SigProcMask(SIG_BLOCK, &bit, nullptr);
  context->uc_sigmask.__val[0] |= bit;
  SendAgain(crash);
}

void SendAgain(const CrashContext& crash) {
  const int code = crash.info->si_code;
  const long info = safe::Word(crash.info);
  if (code == SI_TKILL) {
    safe::Syscall(SYS_rt_tgsigqueueinfo, crash.pid, crash.tid, crash.signal, info);
  } else if (code == SI_USER ||
             safe::Syscall(SYS_rt_sigqueueinfo, crash.pid, crash.signal, info) != 0) {
    // Who else sent it is lost: only the main thread may pass that on (kernel/signal.c,
    // do_rt_sigqueueinfo()).
    safe::Syscall(SYS_kill, crash.pid, crash.signal);
  }
}

void KeepForLater(int signal) { g_kept = g_kept | SignalBit(signal); }

void SendKept(int pid) {
  const uint64_t kept = g_kept;
  g_kept = 0;
  for (int signal = 1; signal <= 64; ++signal) {
    if ((kept & SignalBit(signal)) != 0) safe::Syscall(SYS_kill, pid, signal);
  }
}

}  // namespace minicore
