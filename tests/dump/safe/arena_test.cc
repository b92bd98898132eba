#include "dump/safe/arena.h"

#include <gtest/gtest.h>

#include <cstring>

namespace minicore::safe {
namespace {

alignas(64) char g_memory[4096];

TEST(ArenaTest, HandsOutDisjointAlignedMemory) {
  Arena arena;
  arena.Reset(g_memory, sizeof(g_memory));
  char* last_end = g_memory;
  for (size_t bytes : {1u, 63u, 64u, 65u, 0u, 100u}) {
    auto* const memory = static_cast<char*>(arena.Allocate(bytes));
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
    EXPECT_GE(memory, last_end);
    last_end = memory + bytes;
  }
  EXPECT_LE(last_end, g_memory + sizeof(g_memory));
  EXPECT_GE(g_memory + arena.used(), last_end);
}

TEST(ArenaTest, RefusesWhatDoesNotFit) {
  Arena arena;
  arena.Reset(g_memory, sizeof(g_memory));
  EXPECT_EQ(arena.Allocate(sizeof(g_memory) + 1), nullptr);
  EXPECT_NE(arena.Allocate(sizeof(g_memory)),
            nullptr);  // a refusal takes nothing
  EXPECT_EQ(arena.Allocate(1), nullptr);
  EXPECT_EQ(arena.Allocate(SIZE_MAX), nullptr);
}

TEST(ArenaTest, ACountThatOverflowsIsRefused) {
  Arena arena;
  arena.Reset(g_memory, sizeof(g_memory));
  EXPECT_EQ(arena.AllocateArray<uint64_t>(SIZE_MAX / 4), nullptr);
  EXPECT_EQ(arena.AllocateArray<uint64_t>(SIZE_MAX / 8 + 2), nullptr);
}

TEST(ArenaTest, AnArenaWithoutMemoryRefuses) {
  Arena arena;
  EXPECT_EQ(arena.Allocate(1), nullptr);
}

TEST(FixedVectorTest, HoldsWhatItHasRoomFor) {
  Arena arena;
  arena.Reset(g_memory, sizeof(g_memory));
  FixedVector<int> vector;
  vector.Reserve(arena, 3);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(vector.Push(i));
  EXPECT_FALSE(vector.overflowed());
  EXPECT_FALSE(vector.Push(3));
  EXPECT_TRUE(vector.overflowed());
  EXPECT_EQ(vector.size(), 3u);
  EXPECT_EQ(vector.back(), 2);
  int sum = 0;
  for (int item : vector) sum += item;
  EXPECT_EQ(sum, 3);
}

TEST(FixedVectorTest, OnlyEverGetsShorterByTruncate) {
  Arena arena;
  arena.Reset(g_memory, sizeof(g_memory));
  FixedVector<int> vector;
  vector.Reserve(arena, 3);
  (void)vector.Push(1);
  vector.Truncate(2);
  EXPECT_EQ(vector.size(), 1u);
  vector.Truncate(0);
  EXPECT_TRUE(vector.empty());
}

// In a small arena (RLIMIT_AS) every table is smaller, and none leaves the
// others nothing.
TEST(FixedVectorTest, TakesAnEighthOfWhatIsLeftAtMost) {
  Arena arena;
  arena.Reset(g_memory, sizeof(g_memory));
  FixedVector<int> first;
  first.Reserve(arena, 1'000'000);
  EXPECT_EQ(first.capacity(), sizeof(g_memory) / 8 / sizeof(int));
  FixedVector<int> second;
  second.Reserve(arena, 1'000'000);
  EXPECT_LT(second.capacity(), first.capacity());
  EXPECT_GT(second.capacity(), 0u);
}

TEST(FixedVectorTest, WithoutRoomInTheArenaItIsFullAtOnce) {
  Arena arena;
  arena.Reset(g_memory, 64);
  ASSERT_NE(arena.Allocate(64), nullptr);
  FixedVector<int> vector;
  vector.Reserve(arena, 1000);
  EXPECT_EQ(vector.capacity(), 0u);
  EXPECT_FALSE(vector.Push(1));
  EXPECT_TRUE(vector.overflowed());
  // Nothing was ever reserved, either.
  FixedVector<int> never;
  EXPECT_FALSE(never.Push(1));
  EXPECT_EQ(never.begin(), never.end());
}

}  // namespace
}  // namespace minicore::safe
