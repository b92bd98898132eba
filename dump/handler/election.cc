#include "dump/handler/election.h"

#include <errno.h>
#include <sys/wait.h>

#include <atomic>

#include "dump/handler/dying.h"
#include "dump/handler/freeze.h"
#include "dump/handler/runtime.h"
#include "dump/handler/signal_limit.h"
#include "dump/handler/waiting_crash.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// Process and thread id of the dumper, 0 for none: the process too, since a child of
// vfork() shares this memory and has an election of its own.
std::atomic<uint64_t> g_dumper{0};

uint64_t Elector(int pid, int tid) {
  return static_cast<uint64_t>(pid) << 32 | static_cast<uint32_t>(tid);
}

// What `g_dumper` was when its dump was complete: that process only has to die yet.
std::atomic<uint64_t> g_finished{0};

int PidOf(uint64_t elector) { return static_cast<int>(elector >> 32); }

void Nap() {
  const timespec pause{0, 1000000};
  safe::Syscall(SYS_nanosleep, safe::Word(&pause));
}

// Whether a process has ended, perhaps without anybody having waited for it: kill()
// still finds it then. We are its parent, its child (and then have another parent now),
// or a relative further off, for which the deadline is all there is.
bool HasEnded(int pid, int parent_at_first) {
  if (safe::Syscall(SYS_kill, pid, 0) == -ESRCH) return true;
  if (pid == parent_at_first) return safe::Syscall(SYS_getppid) != parent_at_first;
  siginfo_t info;
  info.si_pid = 0;
  constexpr long kLook = WEXITED | WNOHANG | WNOWAIT | __WALL;
  return safe::Syscall(SYS_waitid, P_PID, pid, safe::Word(&info), kLook) == 0 &&
         info.si_pid == pid;
}

// Another process that dumps in this memory: the parent of our vfork(), or its child.
// (Or, without a mark, the parent whose memory we have a copy of: then waiting is in vain,
// but ends.) Not inlined: who does not wait shall not take its stack, a signal stack.
[[gnu::noinline]] void WaitForOtherProcess(uint64_t holder, uint64_t until_us) {
  const int parent = static_cast<int>(safe::Syscall(SYS_getppid));
  while (g_dumper.load(std::memory_order_acquire) == holder &&
         g_finished.load(std::memory_order_acquire) != holder &&
         !HasEnded(PidOf(holder), parent) && safe::NowMicroseconds() < until_us) {
    Nap();
  }
}

// What this memory holds of dumps: nobody's but of processes that share it; what fork()
// copied; or somebody is about to clear that away.
constexpr uint32_t kCopied = 0;  // by the kernel, see Runtime::fork_mark
constexpr uint32_t kOurs = 1;
constexpr uint32_t kClearing = 2;
uint32_t g_no_mark = kOurs;

uint32_t* Mark() {
  return g_runtime.fork_mark != nullptr ? g_runtime.fork_mark : &g_no_mark;
}

// What `holder` left unfinished in this memory, or fork() copied, is in the way: of all,
// the election last, since until then nobody here can win it, nor lose it and look for a
// freeze.
void ClearAway(uint32_t mark, uint64_t holder) {
  if (!__atomic_compare_exchange_n(Mark(), &mark, kClearing, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_RELAXED)) {
    return;  // another thread does it
  }
  if (mark == kCopied || g_dumper.load(std::memory_order_acquire) == holder) {
    safe::ForgetReading();
    ResetFreeze();
    ForgetSignalLimit();
    ForgetFirstSignal();
    SetCrashWaits(false);
    g_finished.store(0, std::memory_order_relaxed);
    g_dumper.compare_exchange_strong(holder, 0, std::memory_order_acq_rel);
  }
  __atomic_store_n(Mark(), kOurs, __ATOMIC_RELEASE);
}

}  // namespace

// Whoever comes first while this one looks or waits is waited for in turn: two dumpers at
// once would spoil each other's memory. Bounded by the deadline, after which the memory
// is taken from whom it belongs to.
bool WinElection(int pid, int tid) {
  const uint64_t until = safe::NowMicroseconds() + g_runtime.policy.deadline_us;
  for (;;) {
    const uint32_t mark = __atomic_load_n(Mark(), __ATOMIC_ACQUIRE);
    uint64_t holder = g_dumper.load(std::memory_order_acquire);
    if (mark == kClearing && safe::NowMicroseconds() < until) {
      Nap();
      continue;
    }
    if (mark != kCopied && holder == 0) {
      if (g_dumper.compare_exchange_strong(holder, Elector(pid, tid),
                                           std::memory_order_acq_rel)) {
        return true;
      }
      continue;
    }
    if (mark != kCopied) {
      if (PidOf(holder) == pid) return false;
      WaitForOtherProcess(holder, until);
      // Somebody else may have come first.
      if (g_dumper.load(std::memory_order_acquire) != holder) continue;
    }
    ClearAway(mark, holder);
  }
}

void LeaveToOtherProcesses() {
  g_finished.store(g_dumper.load(std::memory_order_relaxed), std::memory_order_release);
}

void WaitForDumper() {
  const auto tid = static_cast<uint32_t>(g_dumper.load(std::memory_order_acquire));
  const timespec timeout{0, 1000000};
  if (tid != 0) safe::FutexWait(&g_dumper, tid, &timeout);
}

void EndDump() {
  g_dumper.store(0, std::memory_order_release);
  safe::FutexWake(&g_dumper, INT32_MAX);
}

bool IsDumper(int pid, int tid) {
  return g_dumper.load(std::memory_order_acquire) == Elector(pid, tid);
}

bool NobodyDumps() { return g_dumper.load(std::memory_order_acquire) == 0; }

}  // namespace minicore
