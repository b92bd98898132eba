#include "dump/handler/address_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "tests/support/test_arena.h"

namespace minicore {
namespace {

TEST(AddressOrderTest, IsByAddressAndThenAsItWasAdded) {
  TestArena arena;
  std::mt19937_64 random(4711);
  for (const size_t count : {0u, 1u, 2u, 1000u, 100'000u}) {
    AddressOrder order;
    order.Reserve(arena, count);
    std::vector<std::pair<Address, uint32_t>> expected;
    for (uint32_t number = 0; number < count; ++number) {
      // From everywhere, and many at the same place.
      const Address address =
          (random() >> random() % 47 & (AddressOrder::kAddresses - 1)) & ~Address{15};
      ASSERT_TRUE(order.Add(address, number));
      expected.emplace_back(address, number);
    }
    std::stable_sort(expected.begin(), expected.end());
    order.Sort();
    ASSERT_EQ(order.size(), count);
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(order[i], expected[i].second) << i;
  }
}

TEST(AddressOrderTest, TakesTheLastNumberAndTheLastAddress) {
  TestArena arena;
  AddressOrder order;
  order.Reserve(arena, 2);
  EXPECT_FALSE(order.Add(AddressOrder::kAddresses, 0));
  EXPECT_FALSE(order.Add(0, AddressOrder::kNumbers));
  EXPECT_TRUE(order.Add(AddressOrder::kAddresses - 16, AddressOrder::kNumbers - 1));
  EXPECT_TRUE(order.Add(16, 7));
  EXPECT_FALSE(order.Add(32, 8)) << "it is full";
  order.Sort();
  EXPECT_EQ(order[0], 7u);
  EXPECT_EQ(order[1], AddressOrder::kNumbers - 1);
}

TEST(AddressOrderTest, WithoutAnArenaItHasNoRoom) {
  safe::Arena none;
  AddressOrder order;
  order.Reserve(none, 100);
  EXPECT_FALSE(order.Add(16, 1));
  order.Sort();
  EXPECT_EQ(order.size(), 0u);
}

}  // namespace
}  // namespace minicore
