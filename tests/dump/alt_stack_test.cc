// The signal stacks that threads get, and leave to the next ones.

#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "minicore/minicore.h"

namespace minicore {
namespace {

size_t Mappings() {
  std::ifstream maps("/proc/self/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

class AltStack : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(minicore_install(nullptr), 0); }
};

TEST_F(AltStack, EachThreadHasOneOfItsOwn) {
  constexpr int kThreads = 8;
  std::vector<void*> stacks(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&stacks, i] {
      stack_t stack;
      if (sigaltstack(nullptr, &stack) == 0 && (stack.ss_flags & SS_DISABLE) == 0) {
        stacks[i] = stack.ss_sp;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (void* stack : stacks) EXPECT_NE(stack, nullptr);
}

// Who ends leaves his stack to who begins, also when many do both at once.
TEST_F(AltStack, ThreadsThatComeAndGoLeaveNoMappings) {
  constexpr int kStarters = 6;
  constexpr int kThreads = 4000;
  const size_t before = Mappings();
  std::vector<std::thread> starters;
  for (int i = 0; i < kStarters; ++i) {
    starters.emplace_back([] {
      for (int j = 0; j < kThreads; ++j) std::thread([] {}).join();
    });
  }
  for (std::thread& starter : starters) starter.join();
  // A stack and its guard, for as many as there were at once, and what libc and
  // malloc keep.
  EXPECT_LT(Mappings(), before + 60);
}

}  // namespace
}  // namespace minicore
