#include "dump/handler/guessed_map.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

// Three threads, each with a stack of its own between two pages that are not there.
class GuessedMapTest : public testing::Test {
 protected:
  static constexpr size_t kThreads = 3;
  static constexpr ByteCount kStack = 16 * kPageSize;

  GuessedMapTest() {
    InstallFaultHandler();
    for (size_t i = 1; i < kThreads; ++i) {
      Thread other;
      other.tid = process_.crash.tid + static_cast<int>(i);
      (void)process_.threads.Push(other);
    }
    for (size_t i = 0; i < kThreads; ++i) {
      void* const memory = mmap(nullptr, kStack + 2 * kPageSize, PROT_NONE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      stacks_[i].begin = reinterpret_cast<Address>(memory) + kPageSize;
      stacks_[i].end = stacks_[i].begin + kStack;
      mprotect(reinterpret_cast<void*>(stacks_[i].begin), kStack, PROT_READ | PROT_WRITE);
      process_.threads[i].registers.rsp = stacks_[i].begin + 5 * kPageSize + 200;
    }
  }
  ~GuessedMapTest() override {
    for (const AddressRange& stack : stacks_) {
      munmap(reinterpret_cast<void*>(stack.begin - kPageSize), kStack + 2 * kPageSize);
    }
  }

  void Guess() {
    GuessMemoryMap(process_.crash, process_.runtime, process_.threads, process_.arena,
                   process_.map, process_.outcome);
  }
  bool Guessed(size_t thread) const {
    const Mapping* const mapping =
        process_.map.Find(process_.threads[thread].stack_pointer());
    return mapping != nullptr && mapping->writable &&
           mapping->range.end == stacks_[thread].end;
  }

  MadeUpProcess process_;
  AddressRange stacks_[kThreads];
};

TEST_F(GuessedMapTest, StacksReachFromTheirPointersAsFarAsTheyCanBeRead) {
  Guess();
  for (size_t i = 0; i < kThreads; ++i) EXPECT_TRUE(Guessed(i)) << i;
}

TEST_F(GuessedMapTest, PastTheDeadlineTheCrashedThreadHasItsStack) {
  process_.outcome.past_deadline = true;
  Guess();
  EXPECT_TRUE(Guessed(0));
  EXPECT_FALSE(Guessed(1));
  EXPECT_FALSE(Guessed(2));
}

}  // namespace
}  // namespace minicore
