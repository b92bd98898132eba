// How many threads, how silent, how many of them fault at once.

#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/live.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {

#define NOINLINE __attribute__((noinline))

namespace {

std::atomic<int> g_running{0};

int Number(const Arguments& arguments, size_t index) {
  return index < arguments.size() ? atoi(arguments[index].c_str()) : 0;
}

void StartQuietly(void* (*body)(void*), void* argument = nullptr) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  pthread_t thread;
  if (pthread_create(&thread, &attributes, body, argument) != 0)
    Fail("pthread_create");
  pthread_detach(thread);
}

// Every signal that there is, which libc's functions would not do.
void BlockEverySignalRaw() {
  const uint64_t all = UINT64_MAX;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
}

void BlockEverySignal() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace

NOINLINE void* ParkAmongMany(void*) {
  g_running.fetch_add(1);
  victim::Park();
  return nullptr;
}

namespace {

// N threads in all.
void Many(const Arguments& arguments) {
  const int threads = Number(arguments, 0) - 1;
  for (int i = 0; i < threads; ++i) StartQuietly(ParkAmongMany);
  victim::AwaitParked(threads);
  NameTheCrasher();
  CrashHere();
}

}  // namespace

namespace {

// main has ended by pthread_exit(): [live] dumps of what goes on without it.
void MainIsGone(const Arguments& arguments) {
  static bool live = !arguments.empty();
  victim::StartThread("crasher", [] {
    while (StateOf(getpid()) != 'Z') sched_yield();
    if (!live) CrashHere();
    if (DumpTo("core.live") != 0) Fail("minicore_dump");
    _exit(0);
  });
  pthread_exit(nullptr);
}

}  // namespace

// --- created and ended all the time ---

NOINLINE void* ShortLife(void*) {
  g_running.fetch_add(1);
  return nullptr;
}

NOINLINE void* StartOthers(void*) {
  for (;;) {
    pthread_t thread;
    if (pthread_create(&thread, nullptr, ShortLife, nullptr) != 0) continue;
    pthread_join(thread, nullptr);
  }
}

namespace {

void Churn(const Arguments& arguments) {
  for (int i = 0; i < 4; ++i) StartQuietly(StartOthers);
  const int instant = 50 + Number(arguments, 0);
  while (g_running < instant) sched_yield();
  NameTheCrasher();
  CrashHere();
}

}  // namespace

// --- the crasher's own mask ---

NOINLINE void CrashWithSignalsBlocked() {
  BlockEverySignal();
  CrashHere();
}

NOINLINE void CrashWithSignalsBlockedRaw() {
  BlockEverySignalRaw();
  CrashHere();
}

NOINLINE void AbortWithSignalsBlocked() {
  BlockEverySignal();
  abort();
}

namespace {

void CrasherBlocks(const Arguments& arguments) {
  CrashIn(arguments, CrashWithSignalsBlocked);
}
void CrasherBlocksRaw(const Arguments& arguments) {
  CrashIn(arguments, CrashWithSignalsBlockedRaw);
}
void AborterBlocks(const Arguments& arguments) {
  CrashIn(arguments, AbortWithSignalsBlocked);
}

// The mask comes from the thread that made this one, as in every program with
// one thread for signals.
void CrasherInheritsMask(const Arguments&) {
  StartBystanders(2);
  BlockEverySignal();
  pthread_join(victim::StartThread("crasher", CrashHere), nullptr);
}

}  // namespace

// --- threads that do not answer ---

NOINLINE void SleepDeaf() {
  BlockEverySignalRaw();
  victim::Park();
}

NOINLINE void SleepBlocked() {
  BlockEverySignal();
  victim::Park();
}

NOINLINE void SpinBlocked() {
  BlockEverySignal();
  victim::CountAsParked();
  for (volatile uint64_t i = 0;; ++i) {
  }
}

NOINLINE void SpinDeaf() {
  BlockEverySignalRaw();
  victim::CountAsParked();
  for (volatile uint64_t i = 0;; ++i) {
  }
}

NOINLINE void WaitInVfork() {
  if (vfork() == 0) {
    // Only async-signal-safe calls here; the parent's thread sleeps until we
    // are gone.
    for (;;) pause();
  }
}

namespace {

// Every thread has blocked all signals, as libc lets it, some asleep, some not.
void ManyBlocked(const Arguments& arguments) {
  const int threads = Number(arguments, 0) - 1;
  for (int i = 0; i < threads; ++i) {
    victim::StartThread(("blocked" + std::to_string(i)).c_str(),
                        i % 4 == 0 ? SpinBlocked : SleepBlocked);
  }
  victim::AwaitParked(threads);
  BlockEverySignal();
  NameTheCrasher();
  CrashHere();
}

void DeafSleeper(const Arguments&) {
  victim::StartThread("deaf", SleepDeaf);
  victim::AwaitParked(1);
  NameTheCrasher();
  CrashHere();
}

void DeafSpinner(const Arguments&) {
  victim::StartThread("deaf", SpinDeaf);
  victim::AwaitParked(1);
  NameTheCrasher();
  CrashHere();
}

void DeafAll(const Arguments& arguments) {
  const int count = Number(arguments, 0);
  for (int i = 0; i < count; ++i) {
    victim::StartThread(("deaf" + std::to_string(i)).c_str(),
                        i % 2 == 0 ? SleepDeaf : SpinDeaf);
  }
  victim::AwaitParked(count);
  NameTheCrasher();
  CrashHere();
}

void VforkParent(const Arguments&) {
  static std::atomic<int> waiter{0};
  victim::StartThread("deaf", [] {
    waiter = gettid();
    WaitInVfork();
  });
  while (waiter == 0) sched_yield();
  while (StateOf(waiter) != 'D') sched_yield();
  NameTheCrasher();
  CrashHere();
}

// The thread stands still under a tracer, which is a process of its own.
void StoppedByTracer(const Arguments&) {
  static std::atomic<int> tid{0};
  victim::StartThread("deaf", [] {
    tid = gettid();
    victim::Park();
  });
  victim::AwaitParked(1);
  AwaitSleep(tid);
  const pid_t victim_pid = getpid();
  const pid_t tracer = fork();
  if (tracer == 0) {
    if (ptrace(PTRACE_SEIZE, static_cast<int>(tid), nullptr, nullptr) != 0)
      _exit(3);
    if (ptrace(PTRACE_INTERRUPT, static_cast<int>(tid), nullptr, nullptr) != 0)
      _exit(3);
    int status = 0;
    if (waitpid(tid, &status, __WALL) != tid) _exit(3);
    // Until the victim is gone, and a little longer.
    while (kill(victim_pid, 0) == 0 && getppid() == victim_pid) usleep(10000);
    _exit(0);
  }
  while (StateOf(tid) != 't') sched_yield();
  NameTheCrasher();
  CrashHere();
}

// No libc thread: no control block, no alternate stack, no thread pointer of
// its own.
int RawThreadBody(void*) {
  victim::CountAsParked();
  for (;;) syscall(SYS_pause);
}

std::atomic<bool> g_raw_crasher_may_go{false};

int RawCrasherBody(void*) {
  while (!g_raw_crasher_may_go) {
  }
  CrashHere();
}

int StartRaw(int (*body)(void*)) {
  constexpr size_t kBytes = 64 * 1024;
  auto* stack = static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  return clone(body, stack + kBytes,
               CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                   CLONE_THREAD | CLONE_SYSVSEM,
               nullptr);
}

void RawThreads(const Arguments&) {
  for (int i = 0; i < 3; ++i)
    victim::Fact("thread.raw" + std::to_string(i), StartRaw(RawThreadBody));
  victim::AwaitParked(3);
  NameTheCrasher();
  CrashHere();
}

void RawCrasher(const Arguments&) {
  StartBystanders(2);
  victim::Fact("thread.crasher", StartRaw(RawCrasherBody));
  g_raw_crasher_may_go = true;
  victim::Park();
}

}  // namespace

// Signals are queued for it faster than it can take them.
NOINLINE void SpinUnderSignals() {
  victim::CountAsParked();
  for (volatile uint64_t i = 0;; ++i) {
  }
}

namespace {

void PendingSignals(const Arguments&) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(SIGRTMIN + 5, &action, nullptr);
  static pthread_t target;
  target = victim::StartThread("spinner", SpinUnderSignals);
  victim::StartThread("sender", [] {
    victim::CountAsParked();
    for (;;) pthread_kill(target, SIGRTMIN + 5);
  });
  victim::AwaitParked(2);
  NameTheCrasher();
  CrashHere();
}

// The queue of real-time signals is full (RLIMIT_SIGPENDING), and stays so.
void SignalQueueFull(const Arguments& arguments) {
  const int threads = Number(arguments, 0);
  for (int i = 0; i < threads; ++i) StartQuietly(ParkAmongMany);
  victim::AwaitParked(threads);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMIN + 5);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  while (sigqueue(getpid(), SIGRTMIN + 5, sigval{}) == 0) {
  }
  // The others must not take them.
  NameTheCrasher();
  CrashHere();
}

// --- several at once ---

pthread_barrier_t g_barrier;

}  // namespace

NOINLINE void* CrashTogether(void*) {
  pthread_barrier_wait(&g_barrier);
  CrashHere();
}

namespace {

void AllAtOnce(const Arguments& arguments) {
  const int threads = Number(arguments, 0);
  pthread_barrier_init(&g_barrier, nullptr, static_cast<unsigned>(threads));
  for (int i = 0; i < threads; ++i) StartQuietly(CrashTogether);
  victim::Park();
}

}  // namespace

NOINLINE void DieOf(int number) {
  pthread_barrier_wait(&g_barrier);
  switch (number) {
    case SIGSEGV:
      CrashHere();
    case SIGABRT:
      abort();
    case SIGFPE:
      asm volatile("xorl %%ecx, %%ecx\n idivl %%ecx"
                   :
                   : "a"(1), "d"(0)
                   : "ecx");
      break;
    case SIGILL:
      asm volatile("ud2");
      break;
    case SIGTRAP:
      asm volatile("int3\n nop");
      break;
    default:
      pthread_kill(pthread_self(), number);
      break;
  }
}

namespace {

void DifferentSignals(const Arguments&) {
  static constexpr int kSignals[] = {SIGSEGV, SIGABRT, SIGFPE,  SIGILL,
                                     SIGTRAP, SIGQUIT, SIGXCPU, SIGSYS};
  pthread_barrier_init(&g_barrier, nullptr, 8);
  for (const int number : kSignals) {
    victim::StartThread(("crasher" + std::to_string(number)).c_str(),
                        [number] { DieOf(number); });
  }
  victim::Park();
}

}  // namespace

// Faults when the process has begun to dump, which this thread does not notice
// otherwise: no signal reaches it. `message` is a pipe that the dumper's file
// appears in... polled.
NOINLINE void CrashDuringTheDump() {
  uint64_t almost_all = UINT64_MAX;
  for (const int fatal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE})
    almost_all &= ~(1ull << (fatal - 1));
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &almost_all, nullptr,
          sizeof(almost_all));
  victim::CountAsParked();
  while (access("core.late.part", F_OK) != 0) {
  }
  CrashHere();
}

namespace {

void WhileAnotherDumps(const Arguments& arguments) {
  victim::StartThread("late", CrashDuringTheDump);
  victim::AwaitParked(1);
  // Something to write for a while.
  const int megabytes = arguments.empty() ? 8 : Number(arguments, 0);
  char* volatile bulk =
      static_cast<char*>(malloc(static_cast<size_t>(megabytes) << 20));
  memset(bulk, 'x', static_cast<size_t>(megabytes) << 20);
  NameTheCrasher();
  CrashHere();
}

}  // namespace

// All that would end or stop the process, once the dumper has asked this thread to stand
// still, which it does not.
NOINLINE void SignalTheProcess() {
  const uint64_t freeze = 1ull << (33 - 1);
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, &freeze, nullptr, sizeof(freeze));
  victim::CountAsParked();
  uint64_t pending = 0;
  while ((pending & freeze) == 0) syscall(SYS_rt_sigpending, &pending, sizeof(pending));
  for (const int number : {SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGALRM, SIGPIPE, SIGTSTP,
                           SIGTTOU, SIGRTMIN + 5}) {
    kill(getpid(), number);
  }
  for (;;) pause();
}

namespace {

// Its handler ends the program.
void SignalledBeforeAllStandStill(const Arguments&) {
  signal(SIGHUP, [](int) { _exit(3); });
  victim::StartThread("sender", SignalTheProcess);
  victim::AwaitParked(1);
  NameTheCrasher();
  CrashHere();
}

constexpr Scenario kScenarios[] = {
    {"many", Many},
    {"main_is_gone", MainIsGone},
    {"churn", Churn},
    {"crasher_blocks", CrasherBlocks},
    {"crasher_blocks_raw", CrasherBlocksRaw},
    {"aborter_blocks", AborterBlocks},
    {"crasher_inherits_mask", CrasherInheritsMask},
    {"many_blocked", ManyBlocked},
    {"deaf_sleeper", DeafSleeper},
    {"deaf_spinner", DeafSpinner},
    {"deaf_all", DeafAll},
    {"vfork_parent", VforkParent},
    {"stopped_by_tracer", StoppedByTracer},
    {"raw_threads", RawThreads},
    {"raw_crasher", RawCrasher},
    {"pending_signals", PendingSignals},
    {"signal_queue_full", SignalQueueFull},
    {"all_at_once", AllAtOnce},
    {"different_signals", DifferentSignals},
    {"while_another_dumps", WhileAnotherDumps},
    {"signalled_before_all_stand_still", SignalledBeforeAllStandStill},
};

}  // namespace

const Theme kThreadsTheme = MakeTheme(kScenarios);

}  // namespace torture
