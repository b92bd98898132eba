// Real threads, stopped and let go; the dumping thread is the test itself,
// outside of any handler.

#include "dump/handler/freeze.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "dump/handler/thread_status.h"
#include "dump/handler/tid_set.h"
#include "dump/safe/syscalls.h"
#include "tests/support/fault_handler.h"
#include "tests/support/filter_call.h"

namespace minicore {
namespace {

class FreezeTest : public testing::Test {
 protected:
  static constexpr size_t kBytes = 256 * 1024 * 1024;

  FreezeTest() {
    InstallFaultHandler();
    static char* const slots = Map();
    slots_ = slots;
    static const bool reserved = [this] {
      safe::Arena arena;
      arena.Reset(slots_, kBytes);
      ReserveFreezeSlots(arena);
      return true;
    }();
    (void)reserved;
    memory_ = Map();
    crash_.pid = getpid();
    crash_.tid = gettid();
    crash_.context = &context_;
    getcontext(&context_);
    runtime_->policy.freeze_us = 5'000'000;
  }

  ~FreezeTest() {
    stop_ = true;
    for (std::thread& thread : started_) thread.join();
    munmap(memory_, kBytes);
  }

  static char* Map() {
    return static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                   -1, 0));
  }

  static void* Restorer() {
    safe::KernelSigaction action{};
    safe::SigAction(SIGSEGV, nullptr, &action);
    return action.restorer;
  }

  // Starts a thread and waits until it runs.
  void Start(const std::function<void()>& body) {
    std::atomic<bool> runs{false};
    started_.emplace_back([&runs, body] {
      runs = true;
      body();
    });
    while (!runs) sched_yield();
  }

  static void OnFreezeSignal(int, siginfo_t* info, void* context) {
    ParkIfAsked(info, static_cast<const ucontext_t*>(context));
  }

  // As a dump does it: the signal, which libc takes when the first thread
  // starts; zeroed memory, the crashed thread, then all others.
  void Freeze() {
    const safe::KernelSigaction action = {
        reinterpret_cast<void*>(&OnFreezeSignal),
        SA_SIGINFO | SA_RESTART | safe::kSaRestorer, Restorer(),
        ~(uint64_t{1} << (SIGSYS - 1))};
    ASSERT_EQ(safe::SigAction(kFreezeSignal, &action, nullptr), 0);
    madvise(slots_, kBytes, MADV_DONTNEED);
    madvise(memory_, kBytes, MADV_DONTNEED);
    arena_.Reset(memory_, arena_bytes_);
    threads_ = ThreadTable();
    outcome_ = Outcome();
    outcome_.started_us = safe::NowMicroseconds();
    outcome_.deadline_us = deadline_us_;
    AddCrashedThread(crash_, arena_, threads_);
    FreezeThreads(crash_, *runtime_, arena_, threads_, outcome_);
  }

  static bool Thaw() {
    EndFreeze();
    return AwaitLeaving(safe::NowMicroseconds() + 60'000'000);
  }

  static std::set<int> ListedByTheKernel() {
    std::set<int> tids;
    DIR* directory = opendir("/proc/self/task");
    while (const dirent* entry = readdir(directory)) {
      if (entry->d_name[0] != '.') tids.insert(atoi(entry->d_name));
    }
    closedir(directory);
    return tids;
  }

  std::set<int> Found() const {
    std::set<int> tids;
    for (const Thread& thread : threads_) tids.insert(thread.tid);
    return tids;
  }

  const Thread* Find(int tid) const {
    for (const Thread& thread : threads_) {
      if (thread.tid == tid) return &thread;
    }
    return nullptr;
  }

  char* slots_;
  char* memory_;
  size_t arena_bytes_ = kBytes;
  safe::Arena arena_;
  ucontext_t context_;
  CrashContext crash_;
  std::unique_ptr<Runtime> runtime_ = std::make_unique<Runtime>();
  ThreadTable threads_;
  Outcome outcome_;
  uint64_t deadline_us_ = 60'000'000;
  // Threads are joined when the test's own variables are gone: what they write
  // to is here.
  static constexpr int kMostThreads = 20;
  std::atomic<uint64_t> turns_[kMostThreads] = {};
  std::atomic<int> tids_[kMostThreads] = {};
  std::atomic<uint64_t> local_{0};
  std::atomic<long> result_{-1};
  std::vector<std::thread> started_;
  std::atomic<bool> stop_{false};
};

TEST_F(FreezeTest, AProcessOfOneThreadHasThatOne) {
  Freeze();
  ASSERT_EQ(threads_.size(), 1u);
  EXPECT_EQ(threads_[0].tid, gettid());
  EXPECT_EQ(threads_[0].source, ThreadSource::kCrashed);
  EXPECT_TRUE(Thaw());
}

TEST_F(FreezeTest, EveryThreadStandsStillUntilTheThaw) {
  constexpr int kThreads = kMostThreads;
  for (auto& turn : turns_) {
    Start([this, &turn] {
      while (!stop_) turn.fetch_add(1, std::memory_order_relaxed);
    });
  }
  Freeze();
  EXPECT_EQ(threads_.size(), kThreads + 1u);
  EXPECT_EQ(Found(), ListedByTheKernel());
  EXPECT_EQ(outcome_.threads_silent, 0u);
  uint64_t before[kThreads];
  for (int i = 0; i < kThreads; ++i) before[i] = turns_[i];
  // They have the processor to themselves, if they want it.
  for (int i = 0; i < 100; ++i) sched_yield();
  for (int i = 0; i < kThreads; ++i) EXPECT_EQ(turns_[i], before[i]) << i;
  EXPECT_TRUE(Thaw());
  for (int i = 0; i < kThreads; ++i) {
    while (turns_[i] == before[i]) sched_yield();
  }
}

TEST_F(FreezeTest, ThreadsForWhichThereIsNoRoomAreCounted) {
  for (int i = 0; i < 3; ++i) {
    Start([this] {
      while (!stop_) sched_yield();
    });
  }
  // With room for one besides the crashed one.
  arena_bytes_ = 2 * kMaxTid / 8;
  for (size_t room = 0; room != 1;) {
    arena_bytes_ += 8;
    arena_.Reset(memory_, arena_bytes_);
    ThreadTable table;
    table.Reserve(arena_, kMaxThreads);
    // Who was signalled, and who has answered.
    if (arena_.Allocate(kMaxTid / 8) == nullptr) continue;
    if (arena_.Allocate(kMaxTid / 8) == nullptr) continue;
    safe::FixedVector<int> sent;
    sent.Reserve(arena_, kMaxThreads);
    room = sent.capacity();
  }
  Freeze();
  EXPECT_EQ(threads_.size(), 2u);
  EXPECT_EQ(outcome_.threads, 2u);
  EXPECT_EQ(outcome_.threads_beyond, 2u);
  EXPECT_TRUE(Thaw());
}

TEST_F(FreezeTest, RegistersAreThoseOfTheThread) {
  for (uint64_t i = 0; i < 4; ++i) {
    Start([this, i] {
      const uint64_t word = 0x1111'0000'0000'0000 * (i + 1) + 0xabc;
      tids_[i] = gettid();
      // The word in r12 to r15 and in xmm7, as long as it turns.
      asm volatile(
          "mov %0, %%r12\n mov %0, %%r13\n mov %0, %%r14\n mov %0, %%r15\n"
          "movq %0, %%xmm7\n"
          "1: cmpb $0, (%1)\n je 1b\n"
          :
          : "r"(word), "r"(&stop_)
          : "r12", "r13", "r14", "r15", "xmm7", "memory", "cc");
    });
  }
  for (int i = 0; i < 4; ++i) {
    while (tids_[i] == 0) sched_yield();
  }
  // A thread that has told its number may not have come to its loop yet: the
  // freeze is repeated until it has.
  for (uint64_t i = 0; i < 4; ++i) {
    const uint64_t word = 0x1111'0000'0000'0000 * (i + 1) + 0xabc;
    for (;;) {
      Freeze();
      const Thread* thread = Find(tids_[i]);
      ASSERT_NE(thread, nullptr);
      EXPECT_EQ(thread->source, ThreadSource::kSignal);
      if (thread->registers.r15 == word) {
        EXPECT_EQ(thread->registers.r12, word);
        EXPECT_EQ(thread->registers.r13, word);
        EXPECT_EQ(thread->registers.r14, word);
        // xmm7 in the legacy area: 160 + 7 * 16.
        ASSERT_NE(thread->xstate, nullptr);
        uint64_t vector;
        __builtin_memcpy(&vector, thread->xstate + 160 + 7 * 16, 8);
        EXPECT_EQ(vector, word);
        EXPECT_TRUE(Thaw());
        break;
      }
      EXPECT_TRUE(Thaw());
      sched_yield();
    }
  }
}

TEST_F(FreezeTest, EachThreadHasItsOwnThreadPointerStackAndName) {
  Start([this] {
    pthread_setname_np(pthread_self(), "the worker");
    volatile int on_stack = 0;
    local_ = reinterpret_cast<uint64_t>(&on_stack);
    tids_[0] = gettid();
    while (!stop_) sched_yield();
  });
  while (tids_[0] == 0) sched_yield();
  const auto pointer = static_cast<uint64_t>(started_[0].native_handle());
  Freeze();
  const Thread* thread = Find(tids_[0]);
  ASSERT_NE(thread, nullptr);
  EXPECT_STREQ(thread->name, "the worker");
  EXPECT_EQ(thread->registers.fs_base, pointer);  // glibc: pthread_t is it
  EXPECT_LT(thread->stack_pointer(), local_);
  EXPECT_GT(thread->stack_pointer(), local_ - (1 << 20));
  EXPECT_TRUE(Thaw());
}

// sigfillset() leaves the freeze signal out, and so does pthread_sigmask().
TEST_F(FreezeTest, ThreadsThatBlockEverySignalByLibcAreStopped) {
  for (int i = 0; i < 4; ++i) {
    Start([&] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_SETMASK, &all, nullptr);
      while (!stop_) sched_yield();
    });
  }
  for (int i = 0; i < 10; ++i) {
    Freeze();
    EXPECT_EQ(threads_.size(), 5u);
    EXPECT_EQ(outcome_.threads_silent, 0u);
    EXPECT_TRUE(Thaw());
  }
}

TEST_F(FreezeTest, AThreadThatBlocksTheSignalItselfIsListedInTime) {
  Start([&] {
    const uint64_t all = ~uint64_t{0};
    uint64_t old;
    safe::SigProcMask(SIG_SETMASK, &all, &old);
    tids_[0] = gettid();
    while (!stop_) usleep(1000);
    safe::SigProcMask(SIG_SETMASK, &old, nullptr);
  });
  while (tids_[0] == 0) sched_yield();
  const uint64_t before = safe::NowMicroseconds();
  Freeze();
  EXPECT_LT(safe::NowMicroseconds() - before, runtime_->policy.freeze_us);
  EXPECT_EQ(Found(), ListedByTheKernel());
  EXPECT_EQ(outcome_.threads_silent, 1u);
  const Thread* thread = Find(tids_[0]);
  ASSERT_NE(thread, nullptr);
  // From a helper that traces it, or from /proc where that is forbidden: at
  // least where it is.
  EXPECT_NE(thread->source, ThreadSource::kSignal);
  if (thread->source != ThreadSource::kNone) {
    EXPECT_NE(thread->stack_pointer(), 0u);
    EXPECT_NE(thread->program_counter(), 0u);
  }
  EXPECT_EQ(outcome_.threads_running, thread->source == ThreadSource::kPtrace ? 0u : 1u);
  EXPECT_TRUE(Thaw());
}

// The dumping thread may not trace, nor its helper.
TEST_F(FreezeTest, AThreadThatNothingStopsIsSaidToRunOn) {
  Start([&] {
    const uint64_t all = ~uint64_t{0};
    uint64_t old;
    safe::SigProcMask(SIG_SETMASK, &all, &old);
    tids_[0] = gettid();
    while (!stop_) turns_[0].fetch_add(1, std::memory_order_relaxed);
    safe::SigProcMask(SIG_SETMASK, &old, nullptr);
  });
  while (tids_[0] == 0) sched_yield();
  deadline_us_ = 100'000;
  runtime_->policy.freeze_us = 50'000;
  std::thread([this] {
    ASSERT_TRUE(FilterCall(SYS_ptrace, SECCOMP_RET_ERRNO | EPERM));
    crash_.tid = gettid();
    Freeze();
    EXPECT_EQ(Find(tids_[0])->source, ThreadSource::kNone);
    EXPECT_EQ(Find(getpid())->source, ThreadSource::kSignal);
    EXPECT_EQ(outcome_.threads_running, 1u);
    const uint64_t turn = turns_[0];
    while (turns_[0] == turn) sched_yield();
    EXPECT_TRUE(Thaw());
  }).join();
}

// As libc does while a thread begins, on a busy machine perhaps for long.
TEST_F(FreezeTest, AThreadThatRunsWithTheSignalBlockedForAWhileIsWaitedFor) {
  Start([&] {
    const uint64_t all = ~uint64_t{0};
    uint64_t old;
    safe::SigProcMask(SIG_SETMASK, &all, &old);
    tids_[0] = gettid();
    const uint64_t freeze = uint64_t{1} << (kFreezeSignal - 1);
    uint64_t pending = 0;
    while ((pending & freeze) == 0) {
      safe::Syscall(SYS_rt_sigpending, safe::Word(&pending), sizeof(pending));
    }
    // Some looks at the list of threads long.
    const uint64_t until = safe::NowMicroseconds() + 50'000;
    while (safe::NowMicroseconds() < until) {
    }
    safe::SigProcMask(SIG_SETMASK, &old, nullptr);
    while (!stop_) sched_yield();
  });
  while (tids_[0] == 0) sched_yield();
  Freeze();
  EXPECT_EQ(outcome_.threads_silent, 0u);
  const Thread* thread = Find(tids_[0]);
  ASSERT_NE(thread, nullptr);
  EXPECT_EQ(thread->source, ThreadSource::kSignal);
  EXPECT_TRUE(Thaw());
}

// Each live dump stops the threads twice, and queued signals are counted against the user's
// limit (RLIMIT_SIGPENDING).
TEST_F(FreezeTest, AThreadThatNeverTakesTheSignalHasOneInItsQueueAtMost) {
  Start([&] {
    const uint64_t all = ~uint64_t{0};
    uint64_t old;
    safe::SigProcMask(SIG_SETMASK, &all, &old);
    tids_[0] = gettid();
    while (local_ == 0) usleep(1000);
    const uint64_t freeze = uint64_t{1} << (kFreezeSignal - 1);
    const timespec now = {0, 0};
    long count = 0;
    while (safe::Syscall(SYS_rt_sigtimedwait, safe::Word(&freeze), 0, safe::Word(&now),
                         sizeof(freeze)) > 0) {
      ++count;
    }
    result_ = count;
    safe::SigProcMask(SIG_SETMASK, &old, nullptr);
    while (!stop_) sched_yield();
  });
  while (tids_[0] == 0) sched_yield();
  for (int i = 0; i < 5; ++i) {
    Freeze();
    EXPECT_EQ(Found(), ListedByTheKernel());
    EXPECT_EQ(outcome_.threads_silent, 1u);
    EXPECT_TRUE(Thaw());
  }
  local_ = 1;
  while (result_ == -1) sched_yield();
  EXPECT_EQ(result_, 1);
  // Having none, it is sent one again.
  do {
    Freeze();
    EXPECT_TRUE(Thaw());
  } while (outcome_.threads_silent != 0);
}

// What waited for the thread stops it as well as a signal of this freeze.
TEST_F(FreezeTest, AThreadThatTakesTheSignalLateIsFound) {
  Start([&] {
    const uint64_t all = ~uint64_t{0};
    uint64_t old;
    safe::SigProcMask(SIG_SETMASK, &all, &old);
    tids_[0] = gettid();
    while (local_ == 0) usleep(1000);
    safe::SigProcMask(SIG_SETMASK, &old, nullptr);
    while (!stop_) sched_yield();
  });
  while (tids_[0] == 0) sched_yield();
  Freeze();
  EXPECT_EQ(outcome_.threads_silent, 1u);
  EXPECT_TRUE(Thaw());
  local_ = 1;
  do {
    Freeze();
    EXPECT_EQ(Found(), ListedByTheKernel());
    EXPECT_TRUE(Thaw());
  } while (Find(tids_[0])->source != ThreadSource::kSignal);
}

char StateOf(int tid) {
  char text[kStatusBytes];
  ReadStatus(tid, text, sizeof(text));
  return StatusValue(text, "State")[0];
}

// Else each dump would hold up all others for as long as that one may take.
TEST_F(FreezeTest, AThreadThatSleepsOnBeyondAFreezeIsNotWaitedForInTheNext) {
  static int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Start([this] {
    tids_[0] = gettid();
    const pid_t child = vfork();
    if (child == 0) {
      char byte;
      syscall(SYS_close, ends[1]);
      syscall(SYS_read, ends[0], &byte, 1);
      _exit(0);
    }
    waitpid(child, nullptr, 0);
  });
  while (tids_[0] == 0 || StateOf(tids_[0]) != 'D') sched_yield();
  runtime_->policy.freeze_us = 20'000;
  Freeze();
  EXPECT_EQ(outcome_.threads_silent, 1u);
  EXPECT_TRUE(Thaw());
  runtime_->policy.freeze_us = 60'000'000;
  Freeze();
  EXPECT_LT(outcome_.Elapsed(), runtime_->policy.freeze_us);
  EXPECT_EQ(Found(), ListedByTheKernel());
  EXPECT_EQ(outcome_.threads_silent, 1u);
  EXPECT_TRUE(Thaw());
  close(ends[1]);
  started_.back().join();
  started_.pop_back();
  close(ends[0]);
}

// A polling thread of io_uring stands in the list of threads (kernel/fork.c,
// create_io_thread()), and takes no signals; it has nothing to show, either.
TEST_F(FreezeTest, AThreadOfTheKernelsIsLeftAlone) {
  io_uring_params parameters = {};
  parameters.flags = IORING_SETUP_SQPOLL;
  const long ring = syscall(SYS_io_uring_setup, 8, &parameters);
  if (ring < 0) GTEST_SKIP() << "SKIPPED: io_uring is not allowed here";
  ASSERT_EQ(ListedByTheKernel().size(), 2u);
  for (int i = 0; i < 3; ++i) {
    Freeze();
    EXPECT_EQ(Found(), std::set<int>{gettid()});
    EXPECT_EQ(outcome_.threads_silent, 0u);
    EXPECT_TRUE(Thaw());
  }
  close(static_cast<int>(ring));
  while (ListedByTheKernel().size() != 1) sched_yield();
}

// Systems with thread pools of short-lived threads: some start, some end, some
// are between.
TEST_F(FreezeTest, ThreadsThatComeAndGoMeanwhileAreAllFound) {
  for (int i = 0; i < 3; ++i) {
    Start([&] {
      while (!stop_) {
        std::thread([] {}).join();
      }
    });
  }
  for (int i = 0; i < 100; ++i) {
    Freeze();
    // Whoever the kernel lists now stands still, and has registers, but for one
    // that was about to end.
    for (int tid : ListedByTheKernel()) {
      const Thread* thread = Find(tid);
      EXPECT_NE(thread, nullptr) << "turn " << i;
    }
    EXPECT_TRUE(Thaw());
  }
}

TEST_F(FreezeTest, SystemCallsThatWaitGoOnAfterTheThaw) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Start([this, from = ends[0]] {
    char byte;
    result_ = read(from, &byte, 1);
  });
  for (int i = 0; i < 20; ++i) {
    Freeze();
    EXPECT_EQ(threads_.size(), 2u);
    EXPECT_TRUE(Thaw());
    EXPECT_EQ(result_, -1);
  }
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  while (result_ == -1) sched_yield();
  EXPECT_EQ(result_, 1);
  close(ends[0]);
  close(ends[1]);
}

// The crashed thread is first whatever its number, the others follow by theirs.
TEST_F(FreezeTest, TheCrashedThreadComesFirst) {
  for (int i = 0; i < 5; ++i) {
    Start([&] {
      while (!stop_) sched_yield();
    });
  }
  Freeze();
  ASSERT_EQ(threads_.size(), 6u);
  EXPECT_EQ(threads_[0].tid, gettid());
  for (size_t i = 2; i < threads_.size(); ++i) {
    EXPECT_LT(threads_[i - 1].tid, threads_[i].tid);
  }
  EXPECT_TRUE(Thaw());
}

// A phase that the watchdog abandons leaves its freeze on.
TEST_F(FreezeTest, WhatAFreezeHasLeftBehindTheNextOneEnds) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
  const rlimit low = {before.rlim_max / 2, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &low), 0);
  for (int i = 0; i < 3; ++i) {
    Start([this, i] {
      while (!stop_) turns_[i].fetch_add(1, std::memory_order_relaxed);
    });
  }
  Start([this] {
    const uint64_t all = ~uint64_t{0};
    uint64_t old;
    safe::SigProcMask(SIG_SETMASK, &all, &old);
    tids_[0] = gettid();
    while (!stop_) usleep(1000);
    safe::SigProcMask(SIG_SETMASK, &old, nullptr);
  });
  while (tids_[0] == 0) sched_yield();
  for (int i = 0; i < 5; ++i) {
    Freeze();
    ASSERT_EQ(Found(), ListedByTheKernel());
    EXPECT_EQ(outcome_.threads_silent, 1u);
    for (const Thread& thread : threads_) {
      if (thread.tid == gettid()) continue;
      EXPECT_EQ(thread.source == ThreadSource::kSignal, thread.tid != tids_[0]);
      // The helper of the freeze before may have been in its way.
      if (thread.tid == tids_[0]) {
        EXPECT_NE(thread.source, ThreadSource::kNone);
      }
    }
  }
  EXPECT_TRUE(Thaw());
  for (int i = 0; i < 3; ++i) {
    const uint64_t turn = turns_[i];
    while (turns_[i] == turn) sched_yield();
  }
  // The helpers are children, too.
  EXPECT_EQ(waitpid(-1, nullptr, __WALL), -1);
  rlimit after;
  ASSERT_EQ(getrlimit(RLIMIT_SIGPENDING, &after), 0);
  EXPECT_EQ(after.rlim_cur, low.rlim_cur);
  setrlimit(RLIMIT_SIGPENDING, &before);
}

// Where a thread is held, by a filter of its own: in the middle of its parking.
std::atomic<int> g_held{0};
std::atomic<bool> g_go{false};
std::atomic<bool> g_lets_go{false};

void Hold(int, siginfo_t*, void* context) {
  // Parking asks for two base registers: the one that lets the other go waits until that
  // one parks once more.
  const bool lets_go =
      static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RAX] == SYS_prctl;
  if (lets_go) {
    g_go = true;
    while (g_held < 3) sched_yield();
    g_lets_go = true;
  } else {
    ++g_held;
    while (!g_go) sched_yield();
  }
}

// It has joined the first freeze, and fills its slot during the second, when another
// thread is about to mark one as filled.
TEST_F(FreezeTest, AThreadThatIsLateForOneFreezeDoesNotDisturbTheNext) {
  struct sigaction hold {};
  struct sigaction old;
  hold.sa_sigaction = &Hold;
  hold.sa_flags = SA_SIGINFO;
  ASSERT_EQ(sigaction(SIGSYS, &hold, &old), 0);
  Start([this] {
    ASSERT_TRUE(FilterCall(SYS_arch_prctl, SECCOMP_RET_TRAP));
    tids_[0] = gettid();
    while (!stop_) sched_yield();
  });
  while (tids_[0] == 0) sched_yield();
  deadline_us_ = 100'000;
  runtime_->policy.freeze_us = 100'000;
  Freeze();
  while (g_held == 0) sched_yield();
  EXPECT_EQ(outcome_.threads_silent, 1u);
  EndFreeze();
  EXPECT_FALSE(AllHaveLeft());

  Start([this] {
    ASSERT_TRUE(FilterCall(SYS_prctl, SECCOMP_RET_TRAP));
    tids_[1] = gettid();
    while (!stop_) sched_yield();
  });
  while (tids_[1] == 0) sched_yield();
  deadline_us_ = 60'000'000;
  runtime_->policy.freeze_us = 20'000'000;
  Freeze();
  EXPECT_TRUE(g_lets_go);
  EXPECT_EQ(outcome_.threads_silent, 0u);
  EXPECT_EQ(threads_.size(), 3u);
  for (const int tid : {tids_[0].load(), tids_[1].load()}) {
    const Thread* thread = Find(tid);
    ASSERT_NE(thread, nullptr) << tid;
    EXPECT_EQ(thread->source, ThreadSource::kSignal);
  }
  // Of a thread whose base registers can't be read they would be zero.
  EXPECT_EQ(Find(tids_[1])->registers.fs_base,
            static_cast<uint64_t>(started_[1].native_handle()));
  EXPECT_TRUE(Thaw());
  sigaction(SIGSYS, &old, nullptr);
}

// A filter answers its calls with a signal, which ends the process where that is blocked.
TEST_F(FreezeTest, AThreadThatCrashesMeanwhileMayBeRefusedCalls) {
  struct sigaction refuse {};
  struct sigaction old;
  refuse.sa_sigaction = [](int, siginfo_t*, void*) {};
  refuse.sa_flags = SA_SIGINFO;
  ASSERT_EQ(sigaction(SIGSYS, &refuse, &old), 0);
  Start([this] {
    const uint64_t freeze_signal = uint64_t{1} << (kFreezeSignal - 1);
    safe::SigProcMask(SIG_BLOCK, &freeze_signal, nullptr);
    ASSERT_TRUE(FilterCall(SYS_prctl, SECCOMP_RET_TRAP));
    ucontext_t context;
    getcontext(&context);
    tids_[0] = gettid();
    while (!stop_) ParkCrashed(tids_[0], &context);
  });
  while (tids_[0] == 0) sched_yield();
  Freeze();
  EXPECT_EQ(outcome_.threads_silent, 0u);
  EXPECT_NE(Find(tids_[0]), nullptr);
  EXPECT_TRUE(Thaw());
  stop_ = true;
  sigaction(SIGSYS, &old, nullptr);
}

// A signal that somebody else queues with the same number is none of ours.
TEST_F(FreezeTest, OtherUsesOfTheSignalAreNotParked) {
  siginfo_t info{};
  info.si_code = SI_QUEUE;
  EXPECT_FALSE(ParkIfAsked(&info, &context_));
  info.si_code = SI_TKILL;
  EXPECT_FALSE(ParkIfAsked(&info, &context_));
}

}  // namespace
}  // namespace minicore
