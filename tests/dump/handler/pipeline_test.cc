// The whole dump in a child that really crashes: what the parent finds is a
// core that every consumer can read, and a handler that has allocated nothing
// and taken no more stack than it may.

#include "dump/handler/pipeline.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/handler_child.h"
#include "tools/core_reader.h"
#include "tools/minicore_notes.h"
#include "tools/process_notes.h"
#include "tools/verify.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

namespace minicore {
namespace {

// The deepest of the dumps below takes 9.4 KB, most of it a buffer for the list
// of threads. The budget leaves room for two nested signal frames with the
// vector state of AMX (11 KiB each), and is a quarter of the stack.
constexpr size_t kStackBudget = 64 * 1024;
// On the signal stack of the crashed thread, which may be a small one of the program's, besides
// the kernel's frame: until the dump has its own.
constexpr size_t kOnSignalStack = 1024;
// Less than this would mean that nothing was measured.
constexpr size_t kLeastStack = 2 * 1024;

class PipelineTest : public testing::Test {
 protected:
  PipelineTest() {
    char name[] = "/tmp/pipeline_test.XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~PipelineTest() { (void)!system(("rm -r " + directory_).c_str()); }

  // Crashes, and holds the dump to what is true of every dump.
  void Crash(int signal, const std::function<void(Policy&, TestHeap&)>& prepare,
             const std::function<void(TestHeap&)>& crash) {
    const HandlerChild child = CrashInChild(directory_, prepare, crash);
    EXPECT_TRUE(WIFSIGNALED(child.status) && WTERMSIG(child.status) == signal)
        << std::hex << child.status;
    EXPECT_EQ(child.allocations, 0u);
    EXPECT_LE(child.stack_bytes, kStackBudget);
    EXPECT_GE(child.stack_bytes, kLeastStack);
    RecordProperty("stack_bytes", static_cast<int>(child.stack_bytes));
    printf("stack: %zu bytes\n", child.stack_bytes);
    EXPECT_LE(child.signal_stack_bytes, getauxval(AT_MINSIGSTKSZ) + kOnSignalStack);
    EXPECT_GE(child.signal_stack_bytes, kLeastStack);
    std::string error;
    core_ = CoreReader::Open(child.core, &error);
    ASSERT_NE(core_, nullptr) << error;
    for (const auto& fault : VerifyCore(*core_).faults) ADD_FAILURE() << fault;
  }

  std::string Report(const char* key) const {
    Faults faults;
    return DecodeMinicoreNotes(*core_, &faults).ReportValue(key);
  }

  static void Segfault() {
    static int* volatile nowhere = reinterpret_cast<int*>(0x10);
    *nowhere = 1;
  }

  std::string directory_;
  std::unique_ptr<CoreReader> core_;
};

void Nothing(Policy&, TestHeap&) {}

TEST_F(PipelineTest, ASegfaultLeavesAGoodCoreAndItsSignal) {
  Crash(SIGSEGV, &Nothing, [](TestHeap&) { Segfault(); });
}

TEST_F(PipelineTest, AnAbortLeavesAGoodCoreAndItsSignal) {
  Crash(SIGABRT, &Nothing, [](TestHeap&) { abort(); });
}

TEST_F(PipelineTest, WhatAStackWordPointsToIsInTheCore) {
  static Address block;
  block = 0;
  Crash(SIGSEGV, &Nothing, [](TestHeap& heap) {
    volatile Address pointer = heap.Allocate(100);
    heap.Word(pointer) = 0x1122334455667788;
    // Where the parent looks: the child's stack is in the core, too.
    *reinterpret_cast<volatile Address*>(&block) = pointer;
    Segfault();
  });
  const auto pointer =
      core_->ReadAs<Address>(reinterpret_cast<Address>(&block));
  ASSERT_TRUE(pointer.has_value());
  EXPECT_EQ(core_->ReadAs<uint64_t>(*pointer).value_or(0), 0x1122334455667788u);
}

TEST_F(PipelineTest, ManyThreadsAreAllInTheCore) {
  Crash(SIGSEGV, &Nothing, [](TestHeap&) {
    for (int i = 0; i < 50; ++i) {
      std::thread([] {
        for (;;) pause();
      }).detach();
    }
    Segfault();
  });
  EXPECT_EQ(Report("threads"), "51");
  EXPECT_EQ(Report("threads_silent"), "0");
}

// Threads that are in malloc at the moment of the crash hold its locks.
TEST_F(PipelineTest, ThreadsThatAllocateDoNotHoldItUp) {
  Crash(SIGSEGV, &Nothing, [](TestHeap&) {
    for (int i = 0; i < 4; ++i) {
      std::thread([] {
        for (;;) {
          std::vector<std::string> strings;
          for (int k = 0; k < 100; ++k) strings.emplace_back(1000, 'x');
        }
      }).detach();
    }
    usleep(5000);
    Segfault();
  });
  EXPECT_EQ(Report("threads"), "5");
}

TEST_F(PipelineTest, AHeapOfManySmallAllocationsIsSortedWithoutMuchStack) {
  Crash(SIGSEGV, &Nothing, [](TestHeap& heap) {
    // A list that visits its nodes out of order, with others between them.
    std::vector<Address> nodes;
    for (int i = 0; i < 50000; ++i) {
      nodes.push_back(heap.Allocate(32));
      if (i % 3 == 0) heap.Allocate(96);
    }
    for (size_t i = 0; i < nodes.size(); ++i) {
      heap.Word(nodes[i]) = nodes[(i * 7919) % nodes.size()];
      heap.Word(nodes[i] + 8) = nodes[(i + 1) % nodes.size()];
    }
    volatile Address root = nodes[0];
    (void)root;
    nodes.clear();
    Segfault();
  });
  // And whatever else a word of the harness happens to lead to.
  EXPECT_GE(std::stoul(Report("allocations")), 50000u);
}

TEST_F(PipelineTest, SecretsTakeNoMoreStack) {
  Crash(
      SIGSEGV, [](Policy&, TestHeap& heap) { heap.Tag("secret"); },
      [](TestHeap& heap) {
        volatile Address pointers[200];
        uint32_t state = 1;
        for (auto& pointer : pointers) {
          pointer = heap.Allocate(256, kTagSecret);
          for (int i = 0; i < 256; ++i) {
            state = state * 1664525 + 1013904223;
            *heap.Bytes(pointer + i) = static_cast<uint8_t>(state >> 24);
          }
        }
        char copy[256];
        memcpy(copy, heap.Bytes(pointers[7]), sizeof(copy));
        asm volatile("" : : "r"(copy) : "memory");
        Segfault();
      });
  EXPECT_NE(Report("holes.secret_copy"), "");
}

// A fault of the dumper pushes a signal frame onto its own stack, vector state
// and all.
TEST_F(PipelineTest, MemoryThatIsGoneTakesASignalFrameMore) {
  Crash(SIGSEGV, &Nothing, [](TestHeap& heap) {
    volatile Address block = heap.Allocate(64 * 1024);
    mprotect(reinterpret_cast<void*>(AlignUp(block, kPageSize) + 4 * kPageSize),
             2 * kPageSize, PROT_NONE);
    Segfault();
  });
  EXPECT_NE(Report("holes.unreadable"), "");
}

// With one more page below the guard, its own frames would land in somebody's
// data.
TEST_F(PipelineTest, AStackOverflowIsDumpedFromTheAlternateStack) {
  Crash(SIGSEGV, &Nothing, [](TestHeap&) {
    struct Recursion {
      static int Down(int depth) {  // NOLINT(misc-no-recursion)
        volatile char frame[4096];
        frame[0] = static_cast<char>(depth);
        if (depth < 0) return 0;
        return Down(depth + 1) + frame[0];
      }
    };
    exit(Recursion::Down(0));
  });
}

TEST_F(PipelineTest, FewProgramHeadersTakeNoMoreStack) {
  Crash(
      SIGSEGV, [](Policy& policy, TestHeap&) { policy.segments = 128; },
      [](TestHeap& heap) {
        std::vector<Address> nodes;
        for (int i = 0; i < 5000; ++i) {
          nodes.push_back(heap.Allocate(64));
          heap.Allocate(4096);
          if (i != 0) heap.Word(nodes[i - 1]) = nodes[i];
        }
        volatile Address root = nodes[0];
        (void)root;
        Segfault();
      });
  EXPECT_LE(core_->loads().size(), 128u);
}

// ulimit -f, a quota, a full disk: wherever the writing stops, what is left is
// a core that can be read, or no file at all.
TEST_F(PipelineTest, AFileThatCannotGrowIsAGoodShorterCoreOrNone) {
  const auto crash = [](TestHeap& heap) {
    std::vector<Address> nodes;
    for (int i = 0; i < 2000; ++i) {
      nodes.push_back(heap.Allocate(64));
      heap.Allocate(256);
      if (i != 0) heap.Word(nodes[i - 1]) = nodes[i];
    }
    volatile Address root = nodes[0];
    (void)root;
    Segfault();
  };
  Crash(SIGSEGV, &Nothing, crash);
  const uint64_t whole = core_->file_bytes();
  ASSERT_GT(whole, 100'000u);
  unsigned shorter = 0;
  unsigned none = 0;
  constexpr uint64_t kSteps = 40;
  for (uint64_t step = 0; step < kSteps; ++step) {
    const std::string directory = directory_ + "/" + std::to_string(step);
    ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
    const uint64_t limit = whole * step / kSteps + step * 7;
    const HandlerChild child = CrashInChild(
        directory,
        [limit](Policy&, TestHeap&) {
          const rlimit file_size = {limit, limit};
          setrlimit(RLIMIT_FSIZE, &file_size);
        },
        crash);
    EXPECT_TRUE(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGSEGV)
        << limit;
    EXPECT_NE(access((child.core + ".part").c_str(), F_OK), 0) << limit;
    if (access(child.core.c_str(), F_OK) != 0) {
      EXPECT_EQ(shorter, 0u)
          << "no core at " << limit << ", but one at a lower limit";
      ++none;
      continue;
    }
    ++shorter;
    std::string error;
    core_ = CoreReader::Open(child.core, &error);
    ASSERT_NE(core_, nullptr) << error;
    EXPECT_LE(core_->file_bytes(), limit);
    for (const auto& fault : VerifyCore(*core_).faults)
      ADD_FAILURE() << limit << ": " << fault;
    EXPECT_EQ(Report("truncated"), "1") << limit;
  }
  EXPECT_GE(none, 1u);
  EXPECT_GE(shorter, kSteps / 4);
}

TEST_F(PipelineTest, ADeadlineThatHasPassedLeavesAGoodCoreWithLess) {
  Crash(
      SIGSEGV, [](Policy& policy, TestHeap&) { policy.deadline_us = 1000; },
      [](TestHeap& heap) {
        std::vector<Address> nodes;
        for (int i = 0; i < 100000; ++i) {
          nodes.push_back(heap.Allocate(64));
          if (i != 0) heap.Word(nodes[i - 1]) = nodes[i];
        }
        volatile Address root = nodes[0];
        (void)root;
        Segfault();
      });
  EXPECT_EQ(Report("past_deadline"), "1");
}

// The guard itself: what it counts must be countable.
TEST_F(PipelineTest, AnAllocationInTheHandlerWouldBeSeen) {
  const HandlerChild child = CrashInChild(directory_, &Nothing, [](TestHeap&) {
    struct sigaction ours;
    sigaction(SIGSEGV, nullptr, &ours);
    static auto* const dump = ours.sa_sigaction;
    ours.sa_sigaction = [](int signal, siginfo_t* info, void* context) {
      dump(signal, info, context);  // from here on, this thread is the dumper
      void* volatile memory = malloc(100);
      free(memory);
    };
    sigaction(SIGSEGV, &ours, nullptr);
    Segfault();
  });
  EXPECT_GE(child.allocations, 2u);
}

}  // namespace
}  // namespace minicore
