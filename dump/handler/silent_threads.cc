#include "dump/handler/silent_threads.h"

#include <elf.h>
#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>

#include "dump/handler/freeze.h"
#include "dump/handler/proc_files.h"
#include "dump/handler/thread_status.h"
#include "dump/safe/clone.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr size_t kHelperStackBytes = 64 * 1024;
constexpr size_t kStateBytes = 11264;  // XSAVE with AMX: 11,008 bytes
constexpr uint64_t kSleepersMicroseconds = 200000;  // for all that sleep together
constexpr uint64_t kStopMicroseconds = 20000;       // for one of them

// The helper sets it, but for the answer to kRefused, which is kAtWork.
enum HelperState : uint32_t {
  kAtWork,
  kRefused,  // it may not trace; perhaps if we allow it
  kDone,     // all were tried
};

// What the dumping thread and the helper share. The helper writes a thread's registers
// before it counts it as done (release).
struct Helper {
  const int* tids;
  size_t count;
  struct State {
    bool traced;  // it stops, if not yet, before it executes code of the program's
    bool stopped;
    uint32_t state_bytes;
    user_regs_struct registers;
    uint8_t state[kStateBytes];
  }* states;
  std::atomic<uint32_t> state;  // futex: a HelperState
  std::atomic<uint32_t> leave;  // futex: 1 when the threads may go
  int pid;            // written by the kernel; 0: there is none
  int target;         // the process that it serves
  uint64_t until_us;  // the end of its time, on the monotonic clock
};
Helper g_helper;

long Ptrace(long request, int tid, long address, const void* data) {
  return safe::Syscall(SYS_ptrace, request, tid, address, safe::Word(data));
}

void Nap(long microseconds) {
  const timespec pause{0, microseconds * 1000};
  safe::Syscall(SYS_nanosleep, safe::Word(&pause));
}

// Whether the thread runs, or would: a busy machine may let it wait for long. Our own
// /proc/self is the helper's.
bool WouldRun(int pid, int tid) {
  char path[64];
  char text[kStatusBytes];
  safe::Text(path, sizeof(path))
      .String("/proc/")
      .Decimal(static_cast<uint64_t>(pid))
      .String("/task/")
      .Decimal(static_cast<uint64_t>(tid))
      .String("/status");
  ReadStatus(path, text, sizeof(text));
  return Runs(text);
}

bool MustLeave(const Helper& helper) {
  return helper.leave.load(std::memory_order_acquire) != 0 ||
         safe::NowMicroseconds() >= helper.until_us;
}

// Takes what a thread that sleeps on has cost from `patience_us`.
// Returns: whether the thread has stopped.
bool WaitForStop(const Helper& helper, int tid, uint64_t* patience_us) {
  const uint64_t start = safe::NowMicroseconds();
  const uint64_t first = std::min(kStopMicroseconds, *patience_us);
  // Bounded by the helper's time.
  for (;;) {
    int status = 0;
    const long result =
        safe::Syscall(SYS_wait4, tid, safe::Word(&status), WNOHANG | __WALL, 0);
    if (result == tid) return WIFSTOPPED(status);
    if (result != 0 && result != -EINTR) return false;
    if (MustLeave(helper)) return false;
    const uint64_t now = safe::NowMicroseconds();
    if (now - start >= first && !WouldRun(helper.target, tid)) {
      *patience_us -= first;
      return false;
    }
    Nap(now - start < kStopMicroseconds ? 50 : 1000);
  }
}

void ReadStopped(int tid, Helper::State& state) {
  iovec general = {&state.registers, sizeof(state.registers)};
  if (Ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &general) != 0) return;
  state.stopped = true;
  iovec extended = {state.state, sizeof(state.state)};
  if (Ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &extended) == 0) {
    state.state_bytes = static_cast<uint32_t>(extended.iov_len);
  }
}

void SetState(Helper& helper, HelperState state) {
  helper.state.store(state, std::memory_order_release);
  safe::FutexWake(&helper.state, 1);
}

// Becomes the tracer of a thread. A refusal is Yama's, perhaps, which lets no child trace
// its parent without that one's leave: it is asked for once.
bool Seize(Helper& helper, int tid, bool* has_asked) {
  long error = Ptrace(PTRACE_SEIZE, tid, 0, nullptr);
  if (error == -EPERM && !*has_asked) {
    *has_asked = true;
    SetState(helper, kRefused);
    while (helper.state.load(std::memory_order_acquire) == kRefused && !MustLeave(helper)) {
      const timespec timeout{0, 10000000};
      safe::FutexWait(&helper.state, kRefused, &timeout);
    }
    error = Ptrace(PTRACE_SEIZE, tid, 0, nullptr);
  }
  return error == 0;
}

// The helper process. Its threads stay stopped as long as it lives, and it dies with the
// process that it serves.
int RunHelper(void* argument) {
  Helper& helper = *static_cast<Helper*>(argument);
  safe::Syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  uint64_t patience_us = kSleepersMicroseconds;
  bool has_asked = false;
  for (size_t i = 0; i < helper.count && !MustLeave(helper); ++i) {
    const int tid = helper.tids[i];
    if (!Seize(helper, tid, &has_asked)) continue;
    if (Ptrace(PTRACE_INTERRUPT, tid, 0, nullptr) != 0) continue;
    helper.states[i].traced = true;
    if (WaitForStop(helper, tid, &patience_us)) ReadStopped(tid, helper.states[i]);
  }
  SetState(helper, kDone);
  while (helper.leave.load(std::memory_order_acquire) == 0) {
    safe::FutexWait(&helper.leave, 0, nullptr);
  }
  return 0;  // tracing ends with the tracer: the threads go on
}

bool StartHelper(int pid_served, const safe::FixedVector<int>& tids,
                 const Outcome& outcome, safe::Arena& arena) {
  g_helper.tids = tids.begin();
  g_helper.count = tids.size();
  g_helper.target = pid_served;
  g_helper.until_us =
      std::max(safe::NowMicroseconds() + kSleepersMicroseconds,
               outcome.started_us + outcome.deadline_us / 4 * 3);
  g_helper.states = arena.AllocateArray<Helper::State>(tids.size());
  char* stack = arena.AllocateArray<char>(kHelperStackBytes);
  if (g_helper.states == nullptr || stack == nullptr) return false;
  g_helper.state.store(kAtWork, std::memory_order_relaxed);
  g_helper.leave.store(0, std::memory_order_relaxed);
  // Not a thread, and no SIGCHLD at its end, for the program not to hear of it; its threads
  // that wait with __WALL stand still, too.
  if (safe::Clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED,
                  stack + kHelperStackBytes, &RunHelper, &g_helper, &g_helper.pid) < 0) {
    return false;
  }
  const uint64_t until = g_helper.until_us + kSleepersMicroseconds;
  for (;;) {
    const uint32_t state = g_helper.state.load(std::memory_order_acquire);
    if (state == kDone) return true;
    if (safe::NowMicroseconds() >= until) return false;
    if (state == kRefused) {
      // Yama forgets it with the helper (security/yama/yama_lsm.c, yama_task_free()); whom
      // the program had allowed before it cannot be asked, and is not allowed any more.
      safe::Syscall(SYS_prctl, PR_SET_PTRACER, g_helper.pid);
      SetState(g_helper, kAtWork);
      continue;
    }
    const timespec timeout{0, 10000000};
    safe::FutexWait(&g_helper.state, state, &timeout);
  }
}

// fs/proc/base.c, proc_pid_syscall(): "nr arg0..arg5 sp pc", or "running".
void ReadFromProc(Thread& thread) {
  char text[256];
  TaskFile(thread.tid, "syscall", text, sizeof(text));
  uint64_t words[9] = {};
  if (ParseWords(text, words, 9) != 9) return;
  thread.source = ThreadSource::kProc;
  thread.registers.orig_rax = words[0];
  thread.registers.rax = static_cast<uint64_t>(-EINTR);
  thread.registers.rsp = words[7];
  thread.registers.rip = words[8];
  thread.registers.cs = 0x33;  // user code and stack, arch/x86/include/asm/segment.h
  thread.registers.ss = 0x2b;
}

// Whether the freeze signal stops it before it executes code of the program's: it waits in
// the kernel, or for a processor.
bool WillTakeSignal(int tid) {
  char text[kStatusBytes];
  ReadStatus(tid, text, sizeof(text));
  return ShowsSignal(text, "SigPnd", kFreezeSignal) &&
         !ShowsSignal(text, "SigBlk", kFreezeSignal);
}

}  // namespace

void AddSilentThreads(const CrashContext& crash, const safe::FixedVector<int>& tids,
                      safe::Arena& arena, ThreadTable& threads, Outcome& outcome) {
  const bool helped = StartHelper(crash.pid, tids, outcome, arena);
  for (size_t i = 0; i < tids.size(); ++i) {
    Thread thread;
    thread.tid = tids[i];
    if (helped && g_helper.states[i].stopped) {
      Helper::State& state = g_helper.states[i];
      thread.source = ThreadSource::kPtrace;
      thread.registers = state.registers;
      thread.xstate = state.state_bytes >= 512 ? state.state : nullptr;
      thread.xstate_bytes = static_cast<uint16_t>(state.state_bytes);
    } else {
      ReadFromProc(thread);
      const bool traced = helped && g_helper.states[i].traced;
      if (!traced && !WillTakeSignal(thread.tid)) ++outcome.threads_running;
    }
    TaskFile(thread.tid, "comm", thread.name, sizeof(thread.name));
    if (!threads.Push(thread)) ++outcome.threads_beyond;
  }
}

void ReleaseSilentThreads() {
  if (g_helper.pid == 0) return;
  g_helper.leave.store(1, std::memory_order_release);
  safe::FutexWake(&g_helper.leave, 1);
  safe::Syscall(SYS_wait4, g_helper.pid, 0, __WALL, 0);
  g_helper.pid = 0;
}

}  // namespace minicore
