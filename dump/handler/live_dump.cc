#include "dump/handler/live_dump.h"

#include <errno.h>

#include "dump/handler/dumper.h"
#include "dump/handler/dying.h"
#include "dump/handler/election.h"
#include "dump/handler/entry.h"
#include "dump/handler/freeze.h"
#include "dump/handler/own_memory.h"
#include "dump/handler/runtime.h"
#include "dump/handler/signal_limit.h"
#include "dump/handler/waiting_crash.h"
#include "dump/safe/format.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// A live dump's: the policy with another place for the file.
Runtime g_live_runtime = {};

// What DumpLive() asks of its own thread, by kFreezeSignal with this value.
constexpr uint64_t kLiveCookie = 0x6d636c69;  // "mcli"
struct LiveRequest {
  const char* path;
  int fd;
  int result;
  bool taken;
};
LiveRequest* g_live_request = nullptr;

// For threads to go on behind a dump: they have had all the time in which it was written.
constexpr uint64_t kLeavingMicroseconds = 1000000;

// Signals that a write to a pipe or beyond RLIMIT_FSIZE leaves pending: the program has
// not written anything, and must not get them.
constexpr uint64_t kWriteSignals =
    SignalBit(SIGPIPE) | SignalBit(SIGXFSZ);

uint64_t PendingWriteSignals() {
  uint64_t pending = 0;
  safe::Syscall(SYS_rt_sigpending, safe::Word(&pending), sizeof(pending));
  return pending & kWriteSignals;
}

// Requires: they are blocked.
void TakePending(uint64_t signals) {
  const timespec now{0, 0};
  while (signals != 0 &&
         safe::Syscall(SYS_rt_sigtimedwait, safe::Word(&signals), 0, safe::Word(&now),
                       sizeof(signals)) > 0) {
    signals &= PendingWriteSignals();
  }
}

int RunLive(const siginfo_t* info, const void* context, const char* path, int fd) {
  Request request{};
  // No signal: what debuggers show of a process that did not crash.
  siginfo_t none;
  __builtin_memset(&none, 0, sizeof(none));
  request.crash = MakeContext(0, info != nullptr ? &none : nullptr, context);
  request.live = true;
  __builtin_memcpy(static_cast<void*>(&g_live_runtime), &g_runtime, sizeof(g_runtime));
  request.runtime = &g_live_runtime;
  Policy& policy = g_live_runtime.policy;
  g_live_runtime.preopened.pid = 0;  // that is for the crash
  if (path != nullptr) {
    safe::Text(policy.path, sizeof(policy.path)).String(path);
    policy.fd = -1;
  } else if (fd >= 0) {
    policy.fd = fd;
  }
  const uint64_t pending = PendingWriteSignals();
  Dump(request);
  TakePending(PendingWriteSignals() & ~pending);
  // Who has not left yet still looks at it.
  if (AwaitLeaving(safe::NowMicroseconds() + kLeavingMicroseconds)) CloseMemory();
  // In the handler: a fatal signal that came meanwhile is taken when it returns, and has a
  // dump of its own then.
  const uint64_t all = ~uint64_t{0};
  safe::SigProcMask(SIG_SETMASK, &all, nullptr);
  SendKept(request.crash.pid);
  EndDump();
  return request.result.failed != nullptr ? request.result.error : 0;
}

// Sends it, for the sake of its frame: the dump is made, and the signal's handler has
// returned, before the system call does.
long AskThisThread(int pid, int tid) {
  siginfo_t info;
  __builtin_memset(&info, 0, sizeof(info));
  info.si_signo = kFreezeSignal;
  info.si_code = SI_QUEUE;
  info.si_pid = pid;
  info.si_value.sival_ptr = reinterpret_cast<void*>(kLiveCookie);
  const uint64_t only_freeze = SignalBit(kFreezeSignal);
  safe::SigProcMask(SIG_UNBLOCK, &only_freeze, nullptr);
  long error =
      safe::Syscall(SYS_rt_tgsigqueueinfo, pid, tid, kFreezeSignal, safe::Word(&info));
  // Without room in the queue (RLIMIT_SIGPENDING), a signal that seems to come from kill()
  // arrives all the same, without its siginfo (kernel/signal.c, __send_signal_locked()).
  if (error == -EAGAIN) {
    info.si_code = SI_USER;
    error =
        safe::Syscall(SYS_rt_tgsigqueueinfo, pid, tid, kFreezeSignal, safe::Word(&info));
  }
  return error;
}

void Nap() {
  const timespec pause{0, 1000000};
  safe::Syscall(SYS_nanosleep, safe::Word(&pause));
}

// Waits for whoever dumps now, until the deadline: two who ask get two cores; and for a
// crash that waits, which ends the process.
// Returns: whether the calling thread is the dumper. Not if it was already: it asks from a
//          handler of its own, and would wait for itself.
bool BecomeDumper(int pid, int tid) {
  const uint64_t until = safe::NowMicroseconds() + g_runtime.policy.deadline_us;
  while (CrashWaits() || !WinElection(pid, tid)) {
    if (IsDumper(pid, tid)) return false;
    if (safe::NowMicroseconds() > until) {
      // Of another process, if at all: a crash of ours would not have waited so long.
      SetCrashWaits(false);
      return false;
    }
    if (NobodyDumps()) {
      Nap();
    } else {
      WaitForDumper();
    }
  }
  // A thread that never leaves would cost slots with each dump.
  if (AwaitLeaving(until)) return true;
  EndDump();
  return false;
}

}  // namespace

bool DumpIfAsked(const siginfo_t* info, const void* context) {
  const auto value = reinterpret_cast<uint64_t>(info->si_value.sival_ptr);
  const bool asks = (info->si_code == SI_QUEUE && value == kLiveCookie) ||
                    (info->si_code == SI_USER && IsDumper(safe::GetPid(), safe::GetTid()));
  if (!asks || g_live_request == nullptr) return false;
  RestoreSignalLimit();
  LiveRequest& request = *g_live_request;
  g_live_request = nullptr;
  request.taken = true;
  request.result = RunLive(info, context, request.path, request.fd);
  return true;
}

void OnDumpSignal(int, siginfo_t* info, void* context) {
  if (!BecomeDumper(safe::GetPid(), safe::GetTid())) return;
  if (TakeFreezeSignal(SA_RESTART) != 0) return EndDump();
  RunLive(info, context, nullptr, -1);
}

int DumpLive(const char* path, int fd) {
  const int pid = safe::GetPid();
  const int tid = safe::GetTid();
  // What kills waits until the dump is over: its end is in a handler that blocks it.
  const uint64_t fatal = kFatalMask;
  uint64_t mask;
  safe::SigProcMask(SIG_BLOCK, &fatal, &mask);
  if (!BecomeDumper(pid, tid)) {
    safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
    return -EBUSY;
  }
  LiveRequest request = {path, fd, 0, false};
  g_live_request = &request;
  RaiseSignalLimit();
  long error = TakeFreezeSignal(SA_RESTART);
  if (error == 0) error = AskThisThread(pid, tid);
  if (!request.taken) {
    g_live_request = nullptr;
    RestoreSignalLimit();
    EndDump();
    request.result = error != 0 ? static_cast<int>(error) : -EAGAIN;
  }
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
  return request.result;
}

}  // namespace minicore
