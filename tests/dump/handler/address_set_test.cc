#include "dump/handler/address_set.h"

#include <gtest/gtest.h>

#include <random>
#include <unordered_set>

#include "tests/support/test_arena.h"

namespace minicore {
namespace {

using Answer = AddressSet::Answer;

TEST(AddressSetTest, KnowsWhatItHasSeen) {
  TestArena arena(1 << 20);
  AddressSet set;
  set.Reserve(arena, 10);
  std::mt19937_64 random(1);
  std::unordered_set<Address> model;
  for (int i = 0; i < 700; ++i) {
    // Few enough to meet again, and neighbours, as allocations are.
    const Address address = 0x700000000000 + 16 * (random() % 400);
    EXPECT_EQ(set.Insert(address),
              model.insert(address).second ? Answer::kNew : Answer::kSeen);
  }
}

// Bounds: a search ends since a quarter of the slots stays empty.
TEST(AddressSetTest, SaysThatItIsFullInsteadOfSearchingForever) {
  TestArena arena(1 << 20);
  AddressSet set;
  set.Reserve(arena, 6);
  unsigned fresh = 0;
  Answer last = Answer::kNew;
  for (Address address = 1; address <= 1000; ++address) {
    last = set.Insert(address * 4096);
    fresh += last == Answer::kNew;
  }
  EXPECT_EQ(last, Answer::kFull);
  EXPECT_GE(fresh, 45u);
  EXPECT_LT(fresh, 64u);
}

TEST(AddressSetTest, WithoutRoomItIsFull) {
  TestArena arena(2048);
  AddressSet set;
  set.Reserve(arena, 20);
  EXPECT_EQ(set.Insert(0x1000), Answer::kFull);
}

}  // namespace
}  // namespace minicore
