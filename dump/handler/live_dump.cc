#include "dump/handler/live_dump.h"

#include <errno.h>

#include "dump/handler/dumper.h"
#include "dump/handler/dying.h"
#include "dump/handler/election.h"
#include "dump/handler/entry.h"
#include "dump/handler/freeze.h"
#include "dump/handler/runtime.h"
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
  // Threads that would not leave may still look at it.
  if (AllThawed()) CloseMemory();
  // In the handler: a fatal signal that came meanwhile is taken when it returns, and has a
  // dump of its own then.
  const uint64_t all = ~uint64_t{0};
  safe::SigProcMask(SIG_SETMASK, &all, nullptr);
  SendKept(request.crash.pid);
  EndDump();
  return request.result.failed != nullptr ? request.result.error : 0;
}

// Waits for whoever dumps now, until the deadline: two who ask get two cores.
// Returns: whether the calling thread is the dumper. Not if it was already: it asks from a
//          handler of its own, and would wait for itself.
bool BecomeDumper(int pid, int tid) {
  const uint64_t until = safe::NowMicroseconds() + g_runtime.policy.deadline_us;
  while (!WinElection(pid, tid)) {
    if (IsDumper(pid, tid) || safe::NowMicroseconds() > until) return false;
    WaitForDumper();
  }
  // Threads that have not left the last live dump's freeze would be counted in this one's.
  if (AllThawed()) return true;
  EndDump();
  return false;
}

}  // namespace

bool DumpIfAsked(const siginfo_t* info, const void* context) {
  const auto value = reinterpret_cast<uint64_t>(info->si_value.sival_ptr);
  if (info->si_code != SI_QUEUE || value != kLiveCookie || g_live_request == nullptr) {
    return false;
  }
  LiveRequest& request = *g_live_request;
  g_live_request = nullptr;
  request.taken = true;
  request.result = RunLive(info, context, request.path, request.fd);
  return true;
}

void OnDumpSignal(int, siginfo_t* info, void* context) {
  if (!BecomeDumper(safe::GetPid(), safe::GetTid())) return;
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
  LiveRequest request = {path, fd, -ETIMEDOUT, false};
  g_live_request = &request;
  TakeFreezeSignal(SA_RESTART);
  siginfo_t info;
  __builtin_memset(&info, 0, sizeof(info));
  info.si_signo = kFreezeSignal;
  info.si_code = SI_QUEUE;
  info.si_pid = pid;
  info.si_value.sival_ptr = reinterpret_cast<void*>(kLiveCookie);
  const uint64_t only_freeze = SignalBit(kFreezeSignal);
  safe::SigProcMask(SIG_UNBLOCK, &only_freeze, nullptr);
  // Delivered before the system call returns, as it is sent to this very thread.
  safe::Syscall(SYS_rt_tgsigqueueinfo, pid, tid, kFreezeSignal, safe::Word(&info));
  if (!request.taken) {
    g_live_request = nullptr;
    EndDump();
  }
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
  return request.result;
}

}  // namespace minicore
