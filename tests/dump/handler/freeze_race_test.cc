// The freeze without its handler, for ThreadSanitizer, which cannot be entered from one:
// the threads wait for the signal with sigtimedwait() and park in ordinary code. What the
// dumping thread reads of them, and what they read of it, are plain variables: only the
// freeze's own atomics stand between.

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "dump/handler/freeze.h"
#include "dump/handler/silent_threads.h"
#include "dump/safe/syscalls.h"

namespace minicore {

// In place of the archive's: a sanitizer's own thread never answers, and the helper is a
// process that a sanitizer knows nothing of.
void AddSilentThreads(const CrashContext&, const safe::FixedVector<int>&, safe::Arena&,
                      ThreadTable&, Outcome&) {}
void ReleaseSilentThreads() {}

namespace {

constexpr size_t kBytes = 256 * 1024 * 1024;
constexpr int kThreads = 6;
#ifdef __SANITIZE_THREAD__
// ThreadSanitizer's own thread is never parked, and waited for in every round.
constexpr int kRounds = 30;
constexpr uint64_t kFreezeMicroseconds = 50'000;
#else
constexpr int kRounds = 100;
constexpr uint64_t kFreezeMicroseconds = 60'000'000;
#endif

char* Map() {
  return static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

class FreezeRaceTest : public testing::Test {
 protected:
  FreezeRaceTest() {
    safe::Arena arena;
    arena.Reset(Map(), kBytes);
    ReserveFreezeSlots(arena);
    crash_.pid = getpid();
    crash_.tid = static_cast<int>(syscall(SYS_gettid));
    getcontext(&context_);
    crash_.context = &context_;
    runtime_.policy.freeze_us = kFreezeMicroseconds;
  }

  ~FreezeRaceTest() override {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    munmap(memory_, kBytes);
  }

  void Start(bool crashes) {
    for (int i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this, i, crashes] { Live(i, crashes); });
    }
    while (running_ < kThreads) sched_yield();
  }

  // All of them are stopped then.
  void Freeze() {
    safe::Arena arena;
    arena.Reset(memory_, kBytes);
    madvise(memory_, kBytes, MADV_DONTNEED);
    ThreadTable table;
    Outcome outcome;
    outcome.started_us = safe::NowMicroseconds();
    outcome.deadline_us = 60'000'000;
    AddCrashedThread(crash_, arena, table);
    FreezeThreads(crash_, runtime_, arena, table, outcome);
    for (const int tid : tids_) {
      int there = 0;
      for (const Thread& thread : table) {
        there += thread.tid == tid && thread.source == ThreadSource::kSignal;
      }
      EXPECT_EQ(there, 1) << tid;
    }
  }

  // Writes its own number, parks when it is asked to, and reads what was written meanwhile.
  void Live(int number, bool crashes) {
    ucontext_t context;
    getcontext(&context);
    // Not in the main thread: the first pthread_create() unblocks it (glibc 2.36,
    // nptl/pthread_create.c), and between two waits the signal would be lost.
    const uint64_t freeze = uint64_t{1} << (kFreezeSignal - 1);
    safe::SigProcMask(SIG_BLOCK, &freeze, nullptr);
    tids_[number] = static_cast<int>(syscall(SYS_gettid));
    running_.fetch_add(1);
    while (!stop_) {
      // As one does that crashes while another dumps.
      if (crashes && number % 2 != 0) {
        ParkCrashed(tids_[number], &context);
        seen_[number] = written_;
      }
      siginfo_t info;
      const timespec nap = {0, crashes ? 1'000'000 : 100'000'000};
      if (safe::Syscall(SYS_rt_sigtimedwait, safe::Word(&freeze), safe::Word(&info),
                        safe::Word(&nap), sizeof(freeze)) != kFreezeSignal) {
        continue;
      }
      ++turns_[number];
      if (ParkIfAsked(&info, &context)) seen_[number] = written_;
    }
  }

  char* const memory_ = Map();
  std::vector<std::thread> threads_;
  Runtime runtime_{};
  CrashContext crash_;
  ucontext_t context_;
  std::atomic<int> running_{0};
  std::atomic<bool> stop_{false};
  int tids_[kThreads] = {};
  // Plain, all of them.
  int turns_[kThreads] = {};
  int seen_[kThreads] = {};
  int written_ = 0;
};

TEST_F(FreezeRaceTest, WhatEitherSideWroteBeforeTheOtherSees) {
  Start(false);
  for (int round = 1; round <= kRounds; ++round) {
    Freeze();
    for (int i = 0; i < kThreads; ++i) {
      EXPECT_EQ(turns_[i], round);
      EXPECT_EQ(seen_[i], round - 1);
    }
    written_ = round;
    EndFreeze();
    ASSERT_TRUE(AwaitLeaving(safe::NowMicroseconds() + 60'000'000));
  }
}

// The next freeze begins while threads are anywhere on their way out of the last one, and
// half of them come by themselves.
TEST_F(FreezeRaceTest, AFreezeNeedsNotWaitForTheEndOfTheLastOne) {
  Start(true);
  for (int round = 1; round <= kRounds; ++round) {
    Freeze();
    // One that came by itself may have left before anything was written again.
    for (int i = 0; i < kThreads; ++i) EXPECT_LE(seen_[i], round - 1);
    written_ = round;
    EndFreeze();
  }
  EXPECT_TRUE(AwaitLeaving(safe::NowMicroseconds() + 60'000'000));
}

}  // namespace
}  // namespace minicore
