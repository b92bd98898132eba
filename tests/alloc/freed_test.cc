// What is known of memory after free().

#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <vector>

#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

bool IsKnownAsFreed(const Allocation& was, ByteCount inside) {
  const Allocation now = Resolve(g_index_state, was.begin + inside);
  return now.state == AllocationState::kFreed && now.begin == was.begin &&
         now.size == was.size;
}

// Exit status of a child that allocates some of a size and frees one of them:
// the heap of each child is as young as this process's.
int FreeOne(size_t size, int others) {
  std::vector<void*> before, after;
  for (int i = 0; i < others; ++i) before.push_back(Opaque(malloc(size)));
  void* pointer = Opaque(malloc(size));
  for (int i = 0; i < others; ++i) after.push_back(Opaque(malloc(size)));
  const Allocation was = Find(pointer);
  free(pointer);
  for (ByteCount inside : {ByteCount{0}, was.size / 2, was.size - 1}) {
    if (!IsKnownAsFreed(was, inside)) return 1;
  }
  return 0;
}

class Freed : public testing::TestWithParam<size_t> {};

TEST_P(Freed, IsKnownWithItsSizeAloneAndAmongOthers) {
  for (int others : {0, 1, 4, 100}) {
    const pid_t child = fork();
    if (child == 0) _exit(FreeOne(GetParam(), others));
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << others;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Freed,
                         testing::Values(1, 16, 24, 48, 100, 256, 1000, 1024,
                                         3000, 4096, 9000, 13 * 1024, 14336,
                                         20 * 1024, 100'000, 1 << 20, 5 << 20,
                                         50 << 20));

// In a heap that has lived, where each page has held several sizes: most of
// what is freed is still described rightly, and nothing is called live.
TEST(FreedTest, InAnOldHeapMostAreDescribedRightly) {
  std::mt19937 random(1);
  std::vector<void*> slots(2000);
  const auto some_size = [&random] {
    return size_t{16} << random() % 9 | random() % 1000;
  };
  for (int i = 0; i < 200'000; ++i) {
    void*& slot = slots[random() % slots.size()];
    free(slot);
    slot = Opaque(malloc(some_size()));
  }
  int right = 0, tried = 0;
  for (void*& slot : slots) {
    const Allocation was = Find(slot);
    ASSERT_EQ(was.state, AllocationState::kLive);
    free(slot);
    slot = nullptr;
    const ByteCount inside = random() % was.size;
    EXPECT_NE(Resolve(g_index_state, was.begin + inside).state,
              AllocationState::kLive);
    ++tried;
    if (IsKnownAsFreed(was, inside)) ++right;
    slot = Opaque(malloc(some_size()));
  }
  RecordProperty("right_of_2000", right);
  EXPECT_GT(right, tried * 9 / 10);
  for (void* slot : slots) free(slot);
}

}  // namespace
}  // namespace minicore
