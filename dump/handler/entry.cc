#include "dump/handler/entry.h"

#include <errno.h>
#include <sys/prctl.h>

#include <atomic>

#include "dump/handler/error_text.h"
#include "dump/handler/freeze.h"
#include "dump/handler/pipeline.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {

Runtime g_runtime{};

namespace {

constexpr size_t kLineBytes = 1024;

// Process and thread id of the dumper, 0 for none: the process too, since a child of
// vfork() shares this memory and has an election of its own.
std::atomic<uint64_t> g_dumper{0};

uint64_t Elector(int pid, int tid) {
  return static_cast<uint64_t>(pid) << 32 | static_cast<uint32_t>(tid);
}

// Acquire and release: a loser that parks must see the winner's slots as they are.
bool WinElection(int pid, int tid) {
  uint64_t holder = g_dumper.load(std::memory_order_acquire);
  do {
    if (holder >> 32 == static_cast<uint64_t>(pid)) return false;
  } while (!g_dumper.compare_exchange_weak(holder, Elector(pid, tid),
                                           std::memory_order_acq_rel));
  return true;
}

void Tell(const DumpResult& result) {
  if (result.failed == nullptr && g_runtime.policy.verbose == 0) return;
  char line[kLineBytes];
  safe::Text text(line, sizeof(line));
  if (result.failed != nullptr) {
    text.String("minicore: no core: cannot ").String(result.failed).Char(' ');
    text.String(result.path).String(": ");
    AppendError(-result.error, text);
  } else {
    text.String("minicore: wrote ").String(result.path).String(" (");
    text.Decimal(result.file_bytes).String(" bytes, ");
    text.Decimal(result.microseconds / 1000).String(" ms");
    if (result.truncated) text.String(", cut short: no more room");
    text.Char(')');
  }
  text.Char('\n');
  safe::Write(2, text.data(), text.length());
}

void DumpOnOwnStack(void* argument) {
  const CrashContext& crash = *static_cast<CrashContext*>(argument);
  // A nested fault (GuardedCopy) must push its frame here: with SA_ONSTACK the kernel
  // would start at the top of the altstack again and overwrite the crash's own frame
  // (arch/x86/kernel/signal.c, get_sigframe()). The return from our handler restores it.
  const stack_t none = {nullptr, SS_DISABLE, 0};
  safe::Syscall(SYS_sigaltstack, safe::Word(&none), 0);
  Tell(RunDump(crash, g_runtime));
}

// Makes the kernel act on the signal as if we had not been there. The signal is sent
// again with its own siginfo; it is blocked until the handler returns, and then finds
// the default action and the registers of the fault. (For a fault, returning would be
// enough; but SIGTRAP is reported behind its instruction, and a fault's cause may be
// gone.)
void DieAsBefore(const CrashContext& crash) {
  const safe::KernelSigaction none = {nullptr, 0, nullptr, 0};
  safe::SigAction(crash.signal, &none, nullptr);
  // kFatalMask lets SIGSEGV and SIGBUS through: here they must wait, too.
  const uint64_t all = ~uint64_t{0};
  safe::SigProcMask(SIG_SETMASK, &all, nullptr);
  const long error =
      safe::Syscall(SYS_rt_tgsigqueueinfo, crash.pid, crash.tid, crash.signal,
                    safe::Word(crash.info));
  if (error != 0) safe::TgKill(crash.pid, crash.tid, crash.signal);
}

}  // namespace

void OnFatalSignal(int signal, siginfo_t* info, void* context_pointer) {
  auto* context = static_cast<ucontext_t*>(context_pointer);
  const int pid = safe::GetPid();
  const int tid = safe::GetTid();
  if (g_dumper.load(std::memory_order_acquire) == Elector(pid, tid)) {
    // A fault of the dumper itself: in a guarded copy or a phase, or else fatal.
    if ((signal == SIGSEGV || signal == SIGBUS) && safe::FixupFault(context)) return;
    const safe::KernelSigaction none = {nullptr, 0, nullptr, 0};
    safe::SigAction(signal, &none, nullptr);
    return;
  }
  if (!WinElection(pid, tid)) Park(info, context);

  CrashContext crash;
  crash.signal = signal;
  crash.pid = pid;
  crash.tid = tid;
  crash.info = info;
  crash.context = context;
  // The guarded copies need these two even if the program has handlers of its own.
  const safe::KernelSigaction ours = {
      reinterpret_cast<void*>(&OnFatalSignal),
      SA_SIGINFO | SA_ONSTACK | SA_NODEFER | safe::kSaRestorer,
      g_runtime.restorer, kFatalMask};
  safe::SigAction(SIGSEGV, &ours, nullptr);
  safe::SigAction(SIGBUS, &ours, nullptr);
  const uint64_t mask = kFatalMask;
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
  safe::RunOnStack(g_runtime.dump_stack_end, &DumpOnOwnStack, &crash);
  DieAsBefore(crash);
}

}  // namespace minicore
