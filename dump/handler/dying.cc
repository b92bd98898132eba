#include "dump/handler/dying.h"

#include <errno.h>

#include "dump/handler/pipeline.h"
#include "dump/handler/runtime.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

int g_first_signal = 0;
siginfo_t g_first_info;
bool g_removed_file = false;
// Bits of signals. Written by the dumping thread only, in and out of its handler.
volatile uint64_t g_kept = 0;

// A fault, wherever it comes from.
extern "C" const char minicore_halt[];
asm(R"(
  .text
  .local minicore_halt
minicore_halt:
  hlt
  jmp minicore_halt
)");

// Makes the frame's next instruction the one that met the fault `signal`. A breakpoint is
// behind it by then, and so is a call that a filter answers, with its number back in rax
// (Linux 6.1, kernel/seccomp.c, __seccomp_filter(), syscall_rollback()).
// Returns: false if it was no fault, or cannot happen again.
bool Repeat(int signal, ucontext_t* context) {
  if (!IsFaultSignal(signal)) return false;
  greg_t& next = context->uc_mcontext.gregs[REG_RIP];
  const auto address = static_cast<Address>(next);
  if (signal == SIGTRAP) {
    uint8_t code = 0;
    if (!safe::GuardedRead(address - sizeof(code), &code) || code != 0xcc) return false;
    next -= sizeof(code);  // int3
  } else if (signal == SIGSYS) {
    uint16_t code = 0;
    if (!safe::GuardedRead(address - sizeof(code), &code) || code != 0x050f) return false;
    next -= sizeof(code);  // syscall
  }
  return true;
}

// Makes the kernel end the process when the handler with the frame `context` returns. It
// must: the other threads may stand still for ever.
//
// `signal` is sent again with its own siginfo; it is blocked until the return, and then
// finds the default action and the frame's registers. The frame's mask has to let it
// through: in a call that sets a mask for its own time (ppoll, sigsuspend), it is the mask
// from before the call (kernel/signal.c, sigmask_to_save()).
//
// A filter may forbid to send it, or to change the action, and of a namespace's init the
// kernel keeps the default action of what is sent (kernel/signal.c, get_signal(),
// SIGNAL_UNKILLABLE). Then the fault `fault` happens again, with its signal blocked, for
// which the kernel kills whatever the action is (kernel/signal.c,
// force_sig_info_to_task()); without one that repeats, another fault is made.
void DieFrom(ucontext_t* context, int signal, const siginfo_t& info, int fault) {
  const safe::KernelSigaction none = {nullptr, 0, nullptr, 0};
  const int pid = OwnPid();
  const int tid = OwnTid();
  long error = pid == 1 ? -EPERM : safe::SigAction(signal, &none, nullptr);
  // kFatalMask lets the signals of faults through: here they must wait, too.
  const uint64_t waiting = safe::kAllButRefusals | SignalBit(signal);
  safe::SigProcMask(SIG_SETMASK, &waiting, nullptr);
  if (error == 0) {
    error = safe::Syscall(SYS_rt_tgsigqueueinfo, pid, tid, signal, safe::Word(&info));
    if (error != 0) error = safe::TgKill(pid, tid, signal);
  }
  auto& mask = context->uc_sigmask.__val[0];
  if (error == 0) {
    mask &= ~SignalBit(signal);
    return;
  }
  if (!Repeat(fault, context)) {
    fault = SIGSEGV;
    context->uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(minicore_halt);
  }
  mask |= SignalBit(fault);
}

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

void DieAsBefore(const CrashContext& crash) {
  DieFrom(const_cast<ucontext_t*>(crash.context), crash.signal, *crash.info,
          IsFault(crash.info) ? crash.signal : 0);
}

void DieOfFirst(int signal, ucontext_t* context) {
  if (!g_removed_file) {
    g_removed_file = true;  // a fault in this comes by here again
    RemoveUnfinishedFile();
  }
  DieFrom(context, g_first_signal != 0 ? g_first_signal : signal, g_first_info, signal);
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
