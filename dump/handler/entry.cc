#include "dump/handler/entry.h"

#include <asm/prctl.h>
#include <errno.h>

#include "dump/handler/dumper.h"
#include "dump/handler/dying.h"
#include "dump/handler/election.h"
#include "dump/handler/freeze.h"
#include "dump/handler/live_dump.h"
#include "dump/handler/runtime.h"
#include "dump/handler/seccomp_filter.h"
#include "dump/handler/waiting_crash.h"
#include "dump/handler/watchdog.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {

namespace {

// Linux clears DF, TF and RF before it calls a handler, but not AC (arch/x86/kernel/
// signal.c, handle_signal()); our code makes unaligned accesses.
__attribute__((always_inline)) inline void ClearAlignmentCheck() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\t"
      "pushfq\n\t"
      "andl $~0x40000, (%%rsp)\n\t"
      "popfq\n\t"
      "lea 128(%%rsp), %%rsp" ::
          : "cc", "memory");
}

// A system call of ours that a filter answers with a signal: from then on, that it is
// not permitted.
bool FixupRefusedCall(int signal, const siginfo_t* info, ucontext_t* context) {
  constexpr int kSysSeccomp = 1;  // SYS_SECCOMP
  greg_t* registers = context->uc_mcontext.gregs;
  if (signal != SIGSYS || info->si_code != kSysSeccomp ||
      registers[REG_R12] != safe::kCallMark) {
    return false;
  }
  registers[REG_RAX] = -EPERM;
  return true;
}

// Whether the thread pointer can be followed to thread-locals: to a control block of
// glibc's, which holds its own address (sysdeps/x86_64/nptl/tls.h, tcbhead_t::self). The
// kernel looks whether the lower half of it is there, in a call that moves none of the
// waiters and does not wait itself, so that no signal interrupts it (Linux 6.1,
// kernel/futex/requeue.c, futex_requeue()).
bool HasThreadPointer() {
  Address base = 0;
  if (safe::Syscall(SYS_arch_prctl, ARCH_GET_FS, safe::Word(&base)) != 0) return true;
  const auto self = static_cast<long>(base + 16);
  return safe::Syscall(SYS_futex, self, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, self,
                       static_cast<uint32_t>(base)) == 0;
}

// Whether the program has blocked a signal that the kernel was not told to block.
bool BelievesBlocked(int signal, const ucontext_t& context) {
  return g_runtime.believes_blocked != nullptr && HasThreadPointer() &&
         g_runtime.believes_blocked(signal, context.uc_sigmask.__val[0]);
}

bool IsOurAction(int signal) {
  safe::KernelSigaction action{};
  return safe::SigAction(signal, nullptr, &action) != 0 || IsOurHandler(action.handler);
}

// Gives a signal to whom it belongs, now that no dump is on: a live one may have stood in
// for a handler of the program. Blocked, so that the signal finds the thread where it was,
// and not in here. A fault would happen again by itself, if it is one: a program can send
// itself what looks like it, and a breakpoint is behind its instruction.
void HandBack(const CrashContext& crash) {
  const uint64_t bit = SignalBit(crash.signal);
  safe::SigProcMask(SIG_BLOCK, &bit, nullptr);
  if (!IsFault(crash.info)) return SendAgain(crash);
  safe::Syscall(SYS_rt_tgsigqueueinfo, crash.pid, crash.tid, crash.signal,
                safe::Word(crash.info));
}

}  // namespace

void OnFreezeSignal(int signal, siginfo_t* info, void* context_pointer) {
  ClearAlignmentCheck();
  auto* context = static_cast<ucontext_t*>(context_pointer);
  if (OnWatchdogTick(info, context)) return;
  if (ParkIfAsked(info, context)) return;
  if (DumpIfAsked(info, context)) return;
  PassOn(signal, info, context);
}

bool IsOurHandler(const void* handler) {
  return handler == reinterpret_cast<void*>(&OnFatalSignal) ||
         handler == reinterpret_cast<void*>(&OnIgnoredSignal);
}

void OnIgnoredSignal(int signal, siginfo_t* info, void* context) {
  if (IsFault(info)) OnFatalSignal(signal, info, context);
}

void OnFatalSignal(int signal, siginfo_t* info, void* context_pointer) {
  ClearAlignmentCheck();
  auto* context = static_cast<ucontext_t*>(context_pointer);
  if (FixupRefusedCall(signal, info, context)) return;
  // Whoever dumps has learned it.
  if (NobodyDumps()) LearnFilter();
  const int pid = OwnPid();
  const int tid = OwnTid();
  if (IsDumper(pid, tid)) {
    // Sent, not caused: of a crash it adds nothing, and the program of a live dump gets it
    // when that is over.
    if (!IsFault(info)) {
      if (!MustDie()) KeepForLater(signal);
      return;
    }
    // In a guarded copy, in a phase, or else beyond repair.
    if (!safe::FixupFault(context)) DieOfFirst(signal, context);
    return;
  }
  // The kernel does not let a sent signal's default action reach a namespace's init
  // (kernel/signal.c, sig_task_ignored(), SIGNAL_UNKILLABLE).
  if (pid == 1 && !IsFault(info)) return;
  if (!IsFault(info) && BelievesBlocked(signal, *context)) {
    Postpone(MakeContext(signal, info, context), context);
    return;
  }
  // Behind a fatal dump there is nothing to wait for: the process ends. Behind a live
  // one, this crash is the next to be dumped.
  while (!WinElection(pid, tid)) {
    // Whoever waits must not be sent more and more signals, one frame on the other;
    // own_handler.h comes by here with a mask of the program's.
    const uint64_t waiting = kEntryMask;
    safe::SigProcMask(SIG_SETMASK, &waiting, nullptr);
    SetCrashWaits(true);
    ParkCrashed(tid, context);
    WaitForDumper();
    if (NobodyDumps() && !IsOurAction(signal)) {
      SetCrashWaits(false);
      return HandBack(MakeContext(signal, info, context));
    }
  }
  SetCrashWaits(false);
  if (HasStoodIn() && !IsOurAction(signal)) {
    EndDump();
    return HandBack(MakeContext(signal, info, context));
  }
  Request request{};
  request.crash = MakeContext(signal, info, context);
  request.runtime = &g_runtime;
  RememberFirstSignal(request.crash);
  // Our part on this stack has fitted: a fault from here on is one of the dumper.
  safe::SetSignalMask(kFatalMask);
  Dump(request);
  LeaveToOtherProcesses();
  DieAsBefore(request.crash);
}

}  // namespace minicore
