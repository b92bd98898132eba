#include "dump/handler/freeze.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>

#include "dump/handler/proc_files.h"
#include "dump/handler/signal_frame.h"
#include "dump/handler/silent_threads.h"
#include "dump/handler/thread_status.h"
#include "dump/handler/tid_set.h"
#include "dump/safe/format.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

struct Slot {
  std::atomic<uint32_t> ready;
  int tid;
  const ucontext_t* context;
  uint64_t fs_base;
  uint64_t gs_base;
  char name[16];
};

Slot* g_slots = nullptr;
TidSet g_answered;
// Number of the freeze in the upper half, odd while one is on; threads that joined it in
// the lower. Two futexes would have to agree: one word always does.
std::atomic<uint64_t> g_freeze{0};
std::atomic<uint32_t> g_ready{0};     // futex: slots that are filled
std::atomic<uint32_t> g_expected{0};  // of these
std::atomic<uint32_t> g_left{0};      // futex: threads that have left the freeze

uint32_t g_to_leave = 0;  // those who joined the last freeze that is over

uint32_t NumberOf(uint64_t freeze) { return static_cast<uint32_t>(freeze >> 32); }
bool IsOn(uint32_t number) { return number % 2 != 0; }

// The upper half's address, for the futex: x86-64 is little endian.
const void* NumberWord() { return reinterpret_cast<const uint32_t*>(&g_freeze) + 1; }

uint64_t BaseRegister(int which) {
  uint64_t base = 0;
  safe::Syscall(SYS_arch_prctl, which, safe::Word(&base));
  return base;
}

// Joins freeze `number`, unless it is over, and sleeps until it is.
void Park(uint32_t number, const ucontext_t* context) {
  uint64_t freeze = g_freeze.load(std::memory_order_acquire);
  do {
    if (NumberOf(freeze) != number) return;
  } while (!g_freeze.compare_exchange_weak(freeze, freeze + 1,
                                           std::memory_order_acq_rel));
  const auto index = static_cast<uint32_t>(freeze);
  if (g_slots != nullptr && index < kMaxThreads) {
    Slot& slot = g_slots[index];
    slot.tid = safe::GetTid();
    slot.context = context;
    slot.fs_base = BaseRegister(ARCH_GET_FS);
    slot.gs_base = BaseRegister(ARCH_GET_GS);
    safe::Syscall(SYS_prctl, PR_GET_NAME, safe::Word(slot.name));
    g_answered.Insert(static_cast<uint32_t>(slot.tid));
    slot.ready.store(1, std::memory_order_release);
  }
  // Release: pairs with the acquire in WaitForReady(), after which slots are read.
  const uint32_t ready = g_ready.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (ready >= g_expected.load(std::memory_order_relaxed)) {
    safe::FutexWake(&g_ready, 1);
  }
  while (NumberOf(g_freeze.load(std::memory_order_acquire)) == number) {
    safe::FutexWait(NumberWord(), number, nullptr);
  }
  g_left.fetch_add(1, std::memory_order_acq_rel);
  safe::FutexWake(&g_left, 1);
}

// Marks the freeze signal's value: "mcfr", and the number of the freeze.
constexpr uint64_t kCookie = 0x6d63667200000000;

long SendFreezeSignal(int pid, int tid, uint32_t number) {
  siginfo_t info;
  __builtin_memset(&info, 0, sizeof(info));
  info.si_signo = kFreezeSignal;
  info.si_code = SI_QUEUE;
  info.si_pid = pid;
  info.si_value.sival_ptr = reinterpret_cast<void*>(kCookie | number);
  return safe::Syscall(SYS_rt_tgsigqueueinfo, pid, tid, kFreezeSignal,
                       safe::Word(&info));
}

class Signaller {
 public:
  Signaller(const CrashContext& crash, uint32_t number, uint64_t until_us,
            safe::Arena& arena)
      : crash_(crash), number_(number), until_us_(until_us), signalled_(arena) {
    sent_.Reserve(arena, kMaxThreads);
  }

  // Sends the freeze signal to every thread that has not had it.
  // Returns: how many new ones there were.
  int SignalNewThreads(const Preopened& preopened);

  // The threads that were signalled and of which nothing else is known yet.
  safe::FixedVector<int>& sent() { return sent_; }

 private:
  bool Signal(int tid);
  int GuessThreads();

  const CrashContext& crash_;
  const uint32_t number_;
  const uint64_t until_us_;
  TidSet signalled_;
  safe::FixedVector<int> sent_;
  bool guessed_ = false;
};

// Returns: whether there is such a thread, and it is new.
bool Signaller::Signal(int tid) {
  if (tid == crash_.tid || sent_.size() == sent_.capacity()) return false;
  if (!signalled_.Insert(static_cast<uint32_t>(tid))) return false;
  g_expected.fetch_add(1, std::memory_order_relaxed);
  long error;
  // EAGAIN: RLIMIT_SIGPENDING is used up, perhaps by signals that are on their way and
  // leave the queue as threads park. What gets none is left to the helper.
  while ((error = SendFreezeSignal(crash_.pid, tid, number_)) == -EAGAIN &&
         safe::NowMicroseconds() < until_us_) {
    const timespec pause{0, 100000};
    if (safe::Syscall(SYS_nanosleep, safe::Word(&pause)) == -EPERM) break;
  }
  if (error == -ESRCH) {
    g_expected.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  (void)sent_.Push(tid);
  return true;
}

// Without a list, every number near the process's own is tried once: threads get the next
// free ones.
int Signaller::GuessThreads() {
  constexpr int kReach = 32768;
  if (guessed_) return 0;
  guessed_ = true;
  int fresh = 0;
  for (int tid = crash_.pid; tid < crash_.pid + kReach; ++tid) fresh += Signal(tid);
  return fresh;
}

int Signaller::SignalNewThreads(const Preopened& preopened) {
  const int before = preopened.pid == crash_.pid ? preopened.tasks : -1;
  const int fd = OpenProc("/proc/self/task", O_RDONLY | O_DIRECTORY, before);
  if (fd < 0) return GuessThreads();
  int fresh = 0;
  bool is_list = false;
  bool is_ours = false;
  alignas(8) char buffer[8192];
  // Bounded by the threads that can exist: each adds at most one entry to a pass.
  for (;;) {
    const long bytes =
        safe::Syscall(SYS_getdents64, fd, safe::Word(buffer), sizeof(buffer));
    if (bytes <= 0) break;
    for (long at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      const auto tid = static_cast<int>(ParseDecimal(entry->d_name));
      is_list = is_list || tid != 0;
      is_ours = is_ours || tid == crash_.tid;
      if (tid != 0) fresh += Signal(tid);
    }
  }
  CloseProc(fd, before);
  // A /proc of another pid namespace has other numbers for our threads.
  return is_list && !is_ours ? GuessThreads() : fresh;
}

constexpr uint64_t kNapMicroseconds = 10000;
constexpr uint64_t kThawMicroseconds = 10000000;

// Waits until all expected threads are ready, at most until `until_us` and a nap's
// length: a thread that ended before it got the signal is only noticed between naps.
// Returns: whether they are.
bool WaitForReady(uint64_t until_us) {
  for (;;) {
    const uint32_t ready = g_ready.load(std::memory_order_acquire);
    if (ready >= g_expected.load(std::memory_order_relaxed)) return true;
    const uint64_t now = safe::NowMicroseconds();
    if (now >= until_us) return false;
    const uint64_t nap = std::min(until_us - now, kNapMicroseconds);
    const timespec timeout{0, static_cast<long>(nap * 1000)};
    if (safe::FutexWait(&g_ready, ready, &timeout) == -ETIMEDOUT) return false;
  }
}

// Whether the kernel holds the freeze signal back for good: blocked by a raw
// rt_sigprocmask().
bool BlocksFreezeSignal(int tid) {
  char text[kStatusBytes];
  TaskFile(tid, "status", text, sizeof(text));
  return HoldsBack(text, kFreezeSignal);
}

// Whether a thread only lacks a processor: nothing keeps the signal from it.
bool IsOnItsWay(int tid) {
  char text[kStatusBytes];
  TaskFile(tid, "status", text, sizeof(text));
  return Runs(text) && !HoldsBack(text, kFreezeSignal);
}

bool OneIsOnItsWay(const safe::FixedVector<int>& tids) {
  for (int tid : tids) {
    if (IsOnItsWay(tid)) return true;
  }
  return false;
}

// Waiting for more than a few threads is cheaper than asking about each.
bool AllBlockFreezeSignal(const safe::FixedVector<int>& tids) {
  constexpr size_t kMost = 64;
  if (tids.empty() || tids.size() > kMost) return false;
  for (int tid : tids) {
    if (!BlocksFreezeSignal(tid)) return false;
  }
  return true;
}

// Leaves in `sent` the threads that are there and have not answered; takes those that
// are gone off the expectation.
void ForgetEndedThreads(const CrashContext& crash, safe::FixedVector<int>& sent) {
  size_t kept = 0;
  for (size_t i = 0; i < sent.size(); ++i) {
    const int tid = sent[i];
    if (g_answered.Contains(static_cast<uint32_t>(tid))) continue;
    if (safe::TgKill(crash.pid, tid, 0) == -ESRCH) {
      g_expected.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    sent[kept++] = tid;
  }
  sent.Truncate(kept);
}

rlimit g_signal_limit;  // as it was; meaningful if raised
bool g_raised_limit = false;

// The soft limit is for the program; what its owner may raise, we may.
void RaiseSignalLimit() {
  rlimit& old = g_signal_limit;
  if (safe::Syscall(SYS_prlimit64, 0, RLIMIT_SIGPENDING, 0, safe::Word(&old)) == 0 &&
      old.rlim_cur < old.rlim_max) {
    const rlimit raised = {old.rlim_max, old.rlim_max};
    g_raised_limit = safe::Syscall(SYS_prlimit64, 0, RLIMIT_SIGPENDING,
                                   safe::Word(&raised), 0) == 0;
  }
}

void RestoreSignalLimit() {
  if (!g_raised_limit) return;
  g_raised_limit = false;
  safe::Syscall(SYS_prlimit64, 0, RLIMIT_SIGPENDING, safe::Word(&g_signal_limit), 0);
}

void AddParkedThreads(ThreadTable& threads) {
  const auto joined = static_cast<uint32_t>(g_freeze.load(std::memory_order_acquire));
  for (uint32_t i = 0; i < joined && i < kMaxThreads; ++i) {
    const Slot& slot = g_slots[i];
    if (slot.ready.load(std::memory_order_acquire) == 0) continue;
    Thread thread;
    FillThread(slot.tid, ThreadSource::kSignal, *slot.context, slot.fs_base,
               slot.gs_base, slot.name, &thread);
    if (!threads.Push(thread)) break;
  }
}

// Requires: no freeze is on.
void ResetCounters() {
  g_left.store(0, std::memory_order_relaxed);
  g_ready.store(0, std::memory_order_relaxed);
  g_expected.store(0, std::memory_order_relaxed);
  g_to_leave = 0;
}

void ForgetLastFreeze() {
  for (uint32_t i = 0; g_slots != nullptr && i < g_to_leave && i < kMaxThreads; ++i) {
    g_answered.Erase(static_cast<uint32_t>(g_slots[i].tid));
    g_slots[i].ready.store(0, std::memory_order_relaxed);
  }
  ResetCounters();
}

}  // namespace

void ReserveFreezeSlots(safe::Arena& arena) {
  g_slots = arena.AllocateArray<Slot>(kMaxThreads);
  g_answered = TidSet(arena);
}

// The freeze signal, which libc leaves out of every handler's mask, must wait meanwhile:
// it would park the thread a second time, and count it twice. If the freeze begins
// between the look and the return, it finds the thread behind it.
void ParkCrashed(const siginfo_t*, const ucontext_t* context) {
  const uint64_t all = ~uint64_t{0};
  uint64_t old = 0;
  safe::SigProcMask(SIG_SETMASK, &all, &old);
  const uint32_t number = NumberOf(g_freeze.load(std::memory_order_acquire));
  if (IsOn(number)) Park(number, context);
  safe::SigProcMask(SIG_SETMASK, &old, nullptr);
}

bool ParkIfAsked(const siginfo_t* info, const ucontext_t* context) {
  const auto value = reinterpret_cast<uint64_t>(info->si_value.sival_ptr);
  if (info->si_code != SI_QUEUE || (value & ~0xffffffffull) != kCookie) return false;
  // If that freeze is over, the thread was too slow and nobody waits for it.
  Park(static_cast<uint32_t>(value), context);
  return true;
}

void AddCrashedThread(const CrashContext& crash, safe::Arena& arena,
                      ThreadTable& threads) {
  threads.Reserve(arena, kMaxThreads);
  Thread crashed;
  char name[16] = {};
  safe::Syscall(SYS_prctl, PR_GET_NAME, safe::Word(name));
  FillThread(crash.tid, ThreadSource::kCrashed, *crash.context,
             BaseRegister(ARCH_GET_FS), BaseRegister(ARCH_GET_GS), name, &crashed);
  (void)threads.Push(crashed);
}

void FreezeThreads(const CrashContext& crash, const Runtime& runtime,
                   safe::Arena& arena, ThreadTable& threads, Outcome& outcome) {
  RaiseSignalLimit();
  // Who has not left the last one by now does nothing any more but count himself.
  ForgetLastFreeze();
  const uint32_t number =
      NumberOf(g_freeze.fetch_add(uint64_t{1} << 32, std::memory_order_acq_rel)) + 1;
  uint64_t until = safe::NowMicroseconds() + runtime.policy.freeze_us;
  // A machine may be so busy that a thread does not get to run for so long; the rest of
  // the dump needs no more than half of the time.
  const uint64_t patience = std::max(
      until, outcome.started_us + outcome.deadline_us / 2);
  Signaller signaller(crash, number, until, arena);
  safe::FixedVector<int>& sent = signaller.sent();
  // A thread can start others until it is parked, so the list is taken again until it
  // shows nobody new and everybody is parked. Bounded by freeze_us, and for threads that
  // only wait for a processor by half of the deadline.
  for (;;) {
    const int fresh = signaller.SignalNewThreads(runtime.preopened);
    const bool all_ready = WaitForReady(until);
    if (fresh == 0 && all_ready) break;
    if (!all_ready) {
      ForgetEndedThreads(crash, sent);
      const uint64_t now = safe::NowMicroseconds();
      if (now >= until) {
        if (now >= patience || !OneIsOnItsWay(sent)) break;
        until = std::min(now + kNapMicroseconds, patience);
      }
      if (fresh == 0 && AllBlockFreezeSignal(sent)) break;
    }
  }
  AddParkedThreads(threads);
  ForgetEndedThreads(crash, sent);
  outcome.threads_silent = static_cast<uint32_t>(sent.size());
  if (!sent.empty()) AddSilentThreads(crash, sent, arena, threads, outcome);
  if (threads.size() > 1) {
    std::sort(threads.begin() + 1, threads.end(),
              [](const Thread& a, const Thread& b) { return a.tid < b.tid; });
  }
  outcome.threads = static_cast<uint32_t>(threads.size());
}

bool ThawThreads() {
  ReleaseSilentThreads();
  RestoreSignalLimit();
  // Nobody can join any more, and `joined` is final.
  const uint64_t freeze = g_freeze.load(std::memory_order_acquire);
  uint64_t now = freeze;
  while (!g_freeze.compare_exchange_weak(
      now, (uint64_t{NumberOf(now)} + 1) << 32, std::memory_order_acq_rel)) {
  }
  const auto joined = static_cast<uint32_t>(now);
  safe::FutexWake(NumberWord(), INT32_MAX);
  // On a busy machine the last of them may take long to get a processor.
  const uint64_t until = safe::NowMicroseconds() + kThawMicroseconds;
  // By the clock: each that leaves wakes us.
  while (safe::NowMicroseconds() < until) {
    const uint32_t left = g_left.load(std::memory_order_acquire);
    if (left >= joined) break;
    const timespec timeout{0, 1000000};
    safe::FutexWait(&g_left, left, &timeout);
  }
  g_to_leave = joined;
  return AllHaveLeft();
}

bool AllHaveLeft() {
  if (g_left.load(std::memory_order_acquire) < g_to_leave) return false;
  ForgetLastFreeze();
  return true;
}

void ResetFreeze() {
  const uint64_t freeze = g_freeze.load(std::memory_order_acquire);
  const uint64_t next = uint64_t{NumberOf(freeze)} + (IsOn(NumberOf(freeze)) ? 1 : 2);
  g_freeze.store(next << 32, std::memory_order_release);
  ResetCounters();
}

}  // namespace minicore
