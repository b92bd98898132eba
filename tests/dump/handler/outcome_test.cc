#include "dump/handler/outcome.h"

#include <gtest/gtest.h>

#include "tests/support/test_arena.h"

namespace minicore {
namespace {

class OutcomeTest : public testing::Test {
 protected:
  OutcomeTest() {
    outcome_.started_us = safe::NowMicroseconds();
    outcome_.deadline_us = 60'000'000;
    outcome_.holes.Reserve(arena_, 4);
  }

  TestArena arena_{1 << 20};
  Outcome outcome_;
};

TEST_F(OutcomeTest, NeighbouringHolesOfOneReasonAreOneRow) {
  outcome_.AddHole(0x1000, 0x2000, HoleReason::kBudget);
  outcome_.AddHole(0x2000, 0x2800, HoleReason::kBudget);
  ASSERT_EQ(outcome_.holes.size(), 1u);
  EXPECT_EQ(outcome_.holes[0].begin, 0x1000u);
  EXPECT_EQ(outcome_.holes[0].end, 0x2800u);
  EXPECT_EQ(outcome_.holes[0].count, 2u);
}

TEST_F(OutcomeTest, HolesOfOtherReasonsTagsOrPlacesStayApart) {
  outcome_.AddHole(0x1000, 0x2000, HoleReason::kSecret, 1);
  outcome_.AddHole(0x2000, 0x3000, HoleReason::kBudget, 1);
  outcome_.AddHole(0x3000, 0x4000, HoleReason::kBudget, 2);
  outcome_.AddHole(0x5000, 0x6000, HoleReason::kBudget, 2);
  EXPECT_EQ(outcome_.holes.size(), 4u);
}

TEST_F(OutcomeTest, CountsHolesThatItHasNoRowFor) {
  for (uint64_t i = 0; i < 10; ++i) {
    outcome_.AddHole(i * 0x2000, i * 0x2000 + 0x1000, HoleReason::kCut);
  }
  EXPECT_EQ(outcome_.holes.size(), 4u);
  EXPECT_EQ(outcome_.holes_dropped, 6u);
  EXPECT_EQ(outcome_.hole_count[static_cast<int>(HoleReason::kCut)], 10u);
  EXPECT_EQ(outcome_.hole_bytes[static_cast<int>(HoleReason::kCut)], 0xa000u);
}

TEST_F(OutcomeTest, AnEmptyHoleIsNone) {
  outcome_.AddHole(0x2000, 0x2000, HoleReason::kCut);
  outcome_.AddHole(0x2000, 0x1000, HoleReason::kCut);
  EXPECT_TRUE(outcome_.holes.empty());
  EXPECT_EQ(outcome_.hole_count[static_cast<int>(HoleReason::kCut)], 0u);
}

// The clock is not read every time, but soon.
TEST_F(OutcomeTest, LateIsNoticedWithinSomeLooksAndStaysLate) {
  for (int i = 0; i < 1000; ++i) ASSERT_FALSE(outcome_.Late());
  outcome_.deadline_us = 0;
  outcome_.started_us -= 10;
  int looks = 1;
  while (!outcome_.Late() && looks < 1000) ++looks;
  EXPECT_LE(looks, 64);
  outcome_.deadline_us = 60'000'000;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(outcome_.Late());
}

TEST_F(OutcomeTest, ALookAtTheClockEachTimeIsNeverLate) {
  EXPECT_FALSE(outcome_.LateByNow());
  outcome_.deadline_us = 0;
  outcome_.started_us -= 10;
  EXPECT_TRUE(outcome_.LateByNow());
  outcome_.deadline_us = 60'000'000;
  EXPECT_TRUE(outcome_.LateByNow());
  EXPECT_TRUE(outcome_.Late());
}

}  // namespace
}  // namespace minicore
