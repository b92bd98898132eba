#include "dump/handler/freeze.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <errno.h>
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>

#include "dump/handler/proc_files.h"
#include "dump/handler/signal_frame.h"
#include "dump/handler/signal_limit.h"
#include "dump/handler/silent_threads.h"
#include "dump/handler/thread_status.h"
#include "dump/handler/tid_set.h"
#include "dump/safe/format.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

struct Slot {
  std::atomic<uint32_t> ready;  // number of the freeze for which it is filled
  int tid;
  const ucontext_t* context;
  uint64_t fs_base;
  uint64_t gs_base;
  char name[16];
};

Slot* g_slots = nullptr;
// A freeze's number in the upper half of each, since two words would have to agree.
std::atomic<uint64_t> g_freeze{0};  // and the next free slot; futex: the upper half
std::atomic<uint64_t> g_ready{0};   // and how many have filled one; futex: the lower half
std::atomic<uint32_t> g_expected{0};  // of these
// futex: threads between a try to join any freeze and their leaving. What interleaves:
//
//   the end of a freeze between a thread's load of `g_freeze` and its compare-and-swap:
//       that fails, and the thread leaves;
//   between its joining and its mark: the next freeze has slots behind its own, as the
//       thread counts as inside, and its mark and count bear an old number;
//   between its mark and its sleep: the futex's word has another value;
//   between its last look at the number and its leaving: the signal of the next freeze
//       waits until the handler returns, and the thread joins once more.
//
// Sound in this order: a thread enters, then joins (release); who ends a freeze sees it
// joined (acquire), and so sees it inside.
std::atomic<uint32_t> g_inside{0};

uint64_t Word(uint32_t number, uint32_t count) { return uint64_t{number} << 32 | count; }
uint32_t NumberOf(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
uint32_t CountOf(uint64_t word) { return static_cast<uint32_t>(word); }
bool IsOn(uint32_t number) { return number % 2 != 0; }

// Their addresses, for the futex: x86-64 is little endian.
const void* LowerHalf(const std::atomic<uint64_t>& word) { return &word; }
const void* UpperHalf(const std::atomic<uint64_t>& word) {
  return reinterpret_cast<const uint32_t*>(&word) + 1;
}

uint64_t BaseRegister(int which) {
  uint64_t base = 0;
  safe::Syscall(SYS_arch_prctl, which, safe::Word(&base));
  return base;
}

// Adds one to the count of `word` if its number is `number`.
// Returns: whether it was; `count` is what it had before.
bool CountIn(std::atomic<uint64_t>& word, uint32_t number, uint32_t* count) {
  uint64_t now = word.load(std::memory_order_acquire);
  do {
    if (NumberOf(now) != number) return false;
  } while (!word.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire));
  *count = CountOf(now);
  return true;
}

void FillSlot(Slot& slot, uint32_t number, int tid, const ucontext_t* context) {
  slot.tid = tid;
  slot.context = context;
  slot.fs_base = BaseRegister(ARCH_GET_FS);
  slot.gs_base = BaseRegister(ARCH_GET_GS);
  safe::Syscall(SYS_prctl, PR_GET_NAME, safe::Word(slot.name));
  slot.ready.store(number, std::memory_order_release);
}

// Joins freeze `number`, unless it is over, and sleeps until it is.
void Park(uint32_t number, int tid, const ucontext_t* context) {
  g_inside.fetch_add(1, std::memory_order_relaxed);
  uint32_t index;
  if (CountIn(g_freeze, number, &index)) {
    if (g_slots != nullptr && index < kMaxThreads) {
      FillSlot(g_slots[index], number, tid, context);
    }
    uint32_t ready;
    if (CountIn(g_ready, number, &ready) &&
        ready + 1 >= g_expected.load(std::memory_order_relaxed)) {
      safe::FutexWake(LowerHalf(g_ready), 1);
    }
    while (NumberOf(g_freeze.load(std::memory_order_acquire)) == number) {
      safe::FutexWait(UpperHalf(g_freeze), number, nullptr);
    }
  }
  // Release: it is done with its slot.
  if (g_inside.fetch_sub(1, std::memory_order_release) == 1) safe::FutexWake(&g_inside, 1);
}

// Marks the freeze signal: "mcfr". It says nothing of which freeze it asks for: one that a
// thread takes late asks for the one that is on by then.
constexpr uint64_t kCookie = 0x6d636672;

long SendFreezeSignal(int pid, int tid) {
  siginfo_t info;
  __builtin_memset(&info, 0, sizeof(info));
  info.si_signo = kFreezeSignal;
  info.si_code = SI_QUEUE;
  info.si_pid = pid;
  info.si_value.sival_ptr = reinterpret_cast<void*>(kCookie);
  return safe::Syscall(SYS_rt_tgsigqueueinfo, pid, tid, kFreezeSignal,
                       safe::Word(&info));
}

// What can't answer, and has no frames to show: the main thread behind its pthread_exit(),
// which stays until the others have ended (kernel/exit.c, delay_group_leader()).
bool HasExited(int pid, int tid) {
  if (tid != pid) return false;
  char text[kStatusBytes];
  ReadStatus(tid, text, sizeof(text));
  return IsZombie(text);
}

// Threads that did not answer, of this freeze and of those before it. In each one's queue
// there still is a signal of ours: another one at each live dump would use up the queue of
// the user (RLIMIT_SIGPENDING). Written and read by the dumping thread; a child of fork()
// has its parent's, and drops them by its own /proc.
struct Unanswering {
  int tid;
  bool kernels;  // a thread that takes no signals
};
constexpr size_t kMostUnanswering = 256;
Unanswering g_unanswering[kMostUnanswering];
size_t g_unanswering_count = 0;

const Unanswering* FindUnanswering(int tid) {
  for (size_t i = 0; i < g_unanswering_count; ++i) {
    if (g_unanswering[i].tid == tid) return &g_unanswering[i];
  }
  return nullptr;
}

bool HasSignalOfOurs(int tid) {
  char text[kStatusBytes];
  ReadStatus(tid, text, sizeof(text));
  return ShowsSignal(text, "SigPnd", kFreezeSignal);
}

bool IsKernelsThread(int tid) {
  char text[512];
  TaskFile(tid, "stat", text, sizeof(text));
  return IsKernels(text);
}

// Keeps those of whom that still holds; thread numbers are used again.
void LookAtUnanswering() {
  size_t kept = 0;
  for (size_t i = 0; i < g_unanswering_count; ++i) {
    const Unanswering thread = g_unanswering[i];
    if (thread.kernels ? IsKernelsThread(thread.tid) : HasSignalOfOurs(thread.tid)) {
      g_unanswering[kept++] = thread;
    }
  }
  g_unanswering_count = kept;
}

// The dumping thread's side of one freeze.
class Freeze {
 public:
  Freeze(const CrashContext& crash, uint32_t number, uint32_t first_slot,
         uint64_t until_us, safe::Arena& arena, Outcome& outcome)
      : crash_(crash),
        number_(number),
        first_slot_(first_slot),
        until_us_(until_us),
        outcome_(outcome),
        signalled_(arena),
        answered_(arena) {
    sent_.Reserve(arena, kMaxThreads);
  }

  // Sends the freeze signal to every thread that has not had it.
  // Returns: how many new ones there were.
  int SignalNewThreads(const Preopened& preopened);

  // Leaves in sent() the threads that are there and have not answered; takes those that
  // are gone off the expectation.
  void ForgetEndedThreads();

  // Remembers the threads in sent(), which have not answered, and takes out those of the
  // kernel's, of which there is nothing to show.
  void RememberUnanswering();

  void AddParkedThreads(ThreadTable& threads) const;

  // The threads that were signalled and of which nothing else is known yet.
  const safe::FixedVector<int>& sent() const { return sent_; }

 private:
  bool Signal(int tid);
  int GuessThreads();

  template <typename Visit>
  void ForEachParked(Visit visit) const {
    const uint32_t joined = CountOf(g_freeze.load(std::memory_order_acquire));
    const uint32_t end = g_slots == nullptr ? 0 : std::min(joined, kMaxThreads);
    for (uint32_t i = first_slot_; i < end; ++i) {
      const Slot& slot = g_slots[i];
      if (slot.ready.load(std::memory_order_acquire) == number_) visit(slot);
    }
  }

  const CrashContext& crash_;
  const uint32_t number_;
  const uint32_t first_slot_;
  const uint64_t until_us_;
  Outcome& outcome_;
  TidSet signalled_;
  TidSet answered_;
  safe::FixedVector<int> sent_;
  bool guessed_ = false;
};

// Returns: whether there is such a thread, and it is new and has room.
bool Freeze::Signal(int tid) {
  if (tid == crash_.tid || !signalled_.Insert(static_cast<uint32_t>(tid))) return false;
  if (HasExited(crash_.pid, tid)) return false;
  const Unanswering* const unanswering = FindUnanswering(tid);
  if (unanswering != nullptr && unanswering->kernels) return false;
  if (sent_.size() == sent_.capacity()) {
    if (safe::TgKill(crash_.pid, tid, 0) != -ESRCH) {
      ++outcome_.threads_beyond;
      ++outcome_.threads_running;
    }
    return false;
  }
  g_expected.fetch_add(1, std::memory_order_relaxed);
  long error = 0;
  // EAGAIN: RLIMIT_SIGPENDING is used up, perhaps by signals that are on their way and
  // leave the queue as threads park. What gets none is left to the helper.
  while (unanswering == nullptr &&
         (error = SendFreezeSignal(crash_.pid, tid)) == -EAGAIN &&
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
int Freeze::GuessThreads() {
  constexpr int kReach = 32768;
  if (guessed_) return 0;
  guessed_ = true;
  int fresh = 0;
  for (int tid = crash_.pid; tid < crash_.pid + kReach; ++tid) fresh += Signal(tid);
  return fresh;
}

int Freeze::SignalNewThreads(const Preopened& preopened) {
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

// Waits until all expected threads are ready, at most until `until_us` and a nap's
// length: a thread that ended before it got the signal is only noticed between naps.
// Returns: whether they are.
bool WaitForReady(uint64_t until_us) {
  for (;;) {
    const uint32_t ready = CountOf(g_ready.load(std::memory_order_acquire));
    if (ready >= g_expected.load(std::memory_order_relaxed)) return true;
    const uint64_t now = safe::NowMicroseconds();
    if (now >= until_us) return false;
    const uint64_t nap = std::min(until_us - now, kNapMicroseconds);
    const timespec timeout{0, static_cast<long>(nap * 1000)};
    if (safe::FutexWait(LowerHalf(g_ready), ready, &timeout) == -ETIMEDOUT) return false;
  }
}

// Whether the kernel holds the freeze signal back for good: it is blocked by a raw
// rt_sigprocmask(). A thread that runs so may just have begun, with all signals blocked by
// libc (glibc 2.36, nptl/pthread_create.c); but not if it did so in an earlier freeze, or
// is the kernel's. Or the thread sleeps on, where no signal reaches it, as it did then.
bool WillNotAnswer(int tid) {
  char text[kStatusBytes];
  ReadStatus(tid, text, sizeof(text));
  const bool did_not = FindUnanswering(tid) != nullptr;
  if (!Runs(text)) return did_not || HoldsBack(text, kFreezeSignal);
  return HoldsBack(text, kFreezeSignal) && (did_not || IsKernelsThread(tid));
}

// Whether a thread only lacks a processor: nothing keeps the signal from it.
bool IsOnItsWay(int tid) {
  char text[kStatusBytes];
  ReadStatus(tid, text, sizeof(text));
  return Runs(text) && !HoldsBack(text, kFreezeSignal);
}

bool OneIsOnItsWay(const safe::FixedVector<int>& tids) {
  for (int tid : tids) {
    if (IsOnItsWay(tid)) return true;
  }
  return false;
}

// Waiting for more than a few threads is cheaper than asking about each.
bool NoneWillAnswer(const safe::FixedVector<int>& tids) {
  constexpr size_t kMost = 64;
  if (tids.empty() || tids.size() > kMost) return false;
  for (int tid : tids) {
    if (!WillNotAnswer(tid)) return false;
  }
  return true;
}

void Freeze::ForgetEndedThreads() {
  ForEachParked(
      [this](const Slot& slot) { answered_.Insert(static_cast<uint32_t>(slot.tid)); });
  size_t kept = 0;
  for (const int tid : sent_) {
    if (answered_.Contains(static_cast<uint32_t>(tid))) continue;
    if (safe::TgKill(crash_.pid, tid, 0) == -ESRCH || HasExited(crash_.pid, tid)) {
      g_expected.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    sent_[kept++] = tid;
  }
  sent_.Truncate(kept);
}

void Freeze::RememberUnanswering() {
  size_t kept = 0;
  for (const int tid : sent_) {
    const bool kernels = IsKernelsThread(tid);
    if (!kernels) sent_[kept++] = tid;
    if (FindUnanswering(tid) == nullptr && g_unanswering_count < kMostUnanswering) {
      g_unanswering[g_unanswering_count++] = {tid, kernels};
    }
  }
  sent_.Truncate(kept);
}

void Freeze::AddParkedThreads(ThreadTable& threads) const {
  ForEachParked([&](const Slot& slot) {
    Thread thread;
    FillThread(slot.tid, ThreadSource::kSignal, *slot.context, slot.fs_base,
               slot.gs_base, slot.name, &thread);
    if (!threads.Push(thread)) ++outcome_.threads_beyond;
  });
}

}  // namespace

void ReserveFreezeSlots(safe::Arena& arena) {
  g_slots = arena.AllocateArray<Slot>(kMaxThreads);
}

// The freeze signal, which libc leaves out of every handler's mask, must wait meanwhile:
// it would park the thread a second time, and count it twice. If the freeze begins
// between the look and the return, it finds the thread behind it.
void ParkCrashed(int tid, const ucontext_t* context) {
  uint64_t old = 0;
  safe::SigProcMask(SIG_SETMASK, &safe::kAllButRefusals, &old);
  const uint32_t number = NumberOf(g_freeze.load(std::memory_order_acquire));
  if (IsOn(number)) Park(number, tid, context);
  safe::SigProcMask(SIG_SETMASK, &old, nullptr);
}

bool ParkIfAsked(const siginfo_t* info, const ucontext_t* context) {
  const auto value = reinterpret_cast<uint64_t>(info->si_value.sival_ptr);
  if (info->si_code != SI_QUEUE || value != kCookie) return false;
  // If that freeze is over, the thread was too slow and nobody waits for it.
  const uint32_t number = NumberOf(g_freeze.load(std::memory_order_acquire));
  if (IsOn(number)) Park(number, safe::GetTid(), context);
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
  EndFreeze();
  RaiseSignalLimit();
  LookAtUnanswering();
  const uint64_t last = g_freeze.load(std::memory_order_relaxed);
  const uint32_t first_slot = AllHaveLeft() ? 0 : CountOf(last);
  const uint32_t number = NumberOf(last) + 1;
  g_expected.store(0, std::memory_order_relaxed);
  g_ready.store(Word(number, 0), std::memory_order_relaxed);
  // Release: whoever joins counts from these. No thread writes it while no freeze is on.
  g_freeze.store(Word(number, first_slot), std::memory_order_release);
  uint64_t until = safe::NowMicroseconds() + runtime.policy.freeze_us;
  // A machine may be so busy that a thread does not get to run for so long; the rest of
  // the dump needs no more than half of the time.
  const uint64_t patience = std::max(
      until, outcome.started_us + outcome.deadline_us / 2);
  Freeze freeze(crash, number, first_slot, until, arena, outcome);
  const safe::FixedVector<int>& sent = freeze.sent();
  // A thread can start others until it is parked, so the list is taken again until it
  // shows nobody new and everybody is parked. Bounded by freeze_us, and for threads that
  // only wait for a processor by half of the deadline.
  for (;;) {
    const int fresh = freeze.SignalNewThreads(runtime.preopened);
    const bool all_ready = WaitForReady(until);
    if (fresh == 0 && all_ready) break;
    if (!all_ready) {
      freeze.ForgetEndedThreads();
      const uint64_t now = safe::NowMicroseconds();
      if (now >= until) {
        if (now >= patience || !OneIsOnItsWay(sent)) break;
        until = std::min(now + kNapMicroseconds, patience);
      }
      if (fresh == 0 && NoneWillAnswer(sent)) break;
    }
  }
  freeze.AddParkedThreads(threads);
  freeze.ForgetEndedThreads();
  freeze.RememberUnanswering();
  outcome.threads_silent = static_cast<uint32_t>(sent.size());
  if (!sent.empty()) AddSilentThreads(crash, sent, arena, threads, outcome);
  if (threads.size() > 1) {
    std::sort(threads.begin() + 1, threads.end(),
              [](const Thread& a, const Thread& b) { return a.tid < b.tid; });
  }
  outcome.threads = static_cast<uint32_t>(threads.size());
}

void EndFreeze() {
  ReleaseSilentThreads();
  RestoreSignalLimit();
  uint64_t now = g_freeze.load(std::memory_order_relaxed);
  // Bounded by the threads that can still join. Acquire: whoever has, is seen inside.
  while (IsOn(NumberOf(now)) &&
         !g_freeze.compare_exchange_weak(now, Word(NumberOf(now) + 1, CountOf(now)),
                                         std::memory_order_acq_rel)) {
  }
  safe::FutexWake(UpperHalf(g_freeze), INT32_MAX);
}

bool AllHaveLeft() { return g_inside.load(std::memory_order_acquire) == 0; }

bool AwaitLeaving(uint64_t until_us) {
  for (;;) {
    const uint32_t inside = g_inside.load(std::memory_order_acquire);
    if (inside == 0) return true;
    if (safe::NowMicroseconds() >= until_us) return false;
    const timespec timeout{0, 1000000};
    safe::FutexWait(&g_inside, inside, &timeout);
  }
}

void ResetFreeze() {
  const uint32_t number = NumberOf(g_freeze.load(std::memory_order_relaxed));
  g_inside.store(0, std::memory_order_relaxed);
  g_freeze.store(Word(IsOn(number) ? number + 1 : number, 0), std::memory_order_release);
}

}  // namespace minicore
