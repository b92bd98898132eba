#include "dump/handler/rehearsal.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <atomic>
#include <new>

#include "dump/handler/freeze.h"
#include "dump/handler/images.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/redactor.h"
#include "dump/handler/roots.h"
#include "dump/handler/runtime.h"
#include "dump/handler/secrets.h"
#include "dump/safe/clone.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr size_t kHelperStackBytes = 128 * 1024;
// For the helper to notice by itself that it is late.
constexpr uint64_t kPatienceMicroseconds = 250000;

struct State {
  const CrashContext* crash;
  const Runtime* runtime;
  std::atomic<uint32_t> done;  // futex: 1 once the scan is
  safe::Arena arena;
  Outcome outcome;
  ThreadTable threads;
  MemoryMap map;
  Images images;
  Roots roots;
  ScanResult scan;
  Redactor redactor;
};
alignas(State) char g_state[sizeof(State)];

// What else it could do: a core, with which Linux before 5.16 ends all processes of its
// memory (fs/coredump.c, zap_threads()).
void LeaveHelper(int, siginfo_t*, void*) { safe::Syscall(SYS_exit, 1); }

void LeaveAtFaults(void* restorer) {
  const safe::KernelSigaction leave = {reinterpret_cast<void*>(&LeaveHelper),
                                       SA_SIGINFO | safe::kSaRestorer, restorer, 0};
  for (int signal = 1; signal <= 64; ++signal) {
    if (IsFaultSignal(signal)) safe::SigAction(signal, &leave, nullptr);
  }
  safe::SetSignalMask(~kFaultSignals);
}

// All that reads the program's memory. A page may be a userfaultfd's that nobody serves:
// the call that reads it then ends with its process and not before (Linux 6.1,
// fs/userfaultfd.c, handle_userfault()), so that this is one of its own, which shares our
// memory.
int RunHelper(void* argument) {
  State& s = *static_cast<State*>(argument);
  const CrashContext& crash = *s.crash;
  const Runtime& runtime = *s.runtime;
  safe::Syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  LeaveAtFaults(runtime.restorer);
  if (!safe::CopyByCalls(safe::GetPid())) return 1;
  FindImages(s.map, s.arena, s.images);
  CollectRoots(crash, runtime, s.map, s.images, s.threads, s.arena, s.roots, s.outcome);
  FindSecrets(runtime, s.map, s.threads, s.roots, s.arena, s.redactor,
              s.outcome);
  ScanAnchors(crash, runtime, s.map, s.threads, s.roots, s.redactor, s.arena, s.scan,
              s.outcome, nullptr);
  s.done.store(1, std::memory_order_release);
  safe::FutexWake(&s.done, 1);
  return 0;
}

}  // namespace

void Rehearsal::Run(const CrashContext& crash, const Runtime& runtime, void* memory,
                    ByteCount bytes) {
  State& s = *new (g_state) State;
  begun_ = true;
  s.crash = &crash;
  s.runtime = &runtime;
  s.done.store(0, std::memory_order_relaxed);
  s.arena.Reset(memory, bytes);
  s.outcome.started_us = safe::NowMicroseconds();
  s.outcome.deadline_us = runtime.policy.deadline_us / 4;
  if (!safe::CopyByCalls(crash.pid)) return;
  AddCrashedThread(crash, s.arena, s.threads);
  FreezeThreads(crash, runtime, s.arena, s.threads, s.outcome);
  // The frames that `threads` points into are gone soon: what they hold then is as good as
  // any other words.
  EndFreeze();
  ReadMemoryMap(s.arena, -1, s.map, s.outcome);
  char* const stack = s.arena.AllocateArray<char>(kHelperStackBytes);
  // Not a thread, and no SIGCHLD at its end: the program hears of it only if it waits with
  // __WALL or __WCLONE (Linux 6.1, kernel/exit.c, eligible_child()). One table of
  // descriptors, as the end of another would flush all that is in it (fs/open.c,
  // filp_close()).
  if (stack == nullptr ||
      safe::Clone(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED,
                  stack + kHelperStackBytes, &RunHelper, &s, &helper_) < 0) {
    helper_ = 0;
    return;
  }
  const uint64_t until =
      s.outcome.started_us + s.outcome.deadline_us + kPatienceMicroseconds;
  while (s.done.load(std::memory_order_acquire) == 0 && !HelperHasEnded() &&
         safe::NowMicroseconds() < until) {
    const timespec timeout{0, 10000000};
    safe::FutexWait(&s.done, 0, &timeout);
  }
  if (s.done.load(std::memory_order_acquire) != 0 && !s.outcome.past_deadline) {
    found_ = &s.scan;
  }
}

// Whether it has ended by itself, of a fault perhaps.
bool Rehearsal::HelperHasEnded() {
  const long ended = safe::Syscall(SYS_wait4, helper_, 0, WNOHANG | __WALL, 0);
  if (ended == helper_ || ended == -ECHILD) helper_ = 0;
  return helper_ == 0;
}

void Rehearsal::EndHelper() {
  if (helper_ == 0) return;
  safe::Syscall(SYS_kill, helper_, SIGKILL);
  while (safe::Syscall(SYS_wait4, helper_, 0, __WALL, 0) == -EINTR) {
  }
  helper_ = 0;
}

void Rehearsal::End() {
  EndFreeze();
  EndHelper();
  (void)safe::CopyByCalls(0);
  // A secret that was known then may be nobody's when the threads stand still, and then
  // no copy of it is looked for.
  if (begun_) std::launder(reinterpret_cast<State*>(g_state))->redactor.Wipe();
}

}  // namespace minicore
