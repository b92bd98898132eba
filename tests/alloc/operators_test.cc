// operator new when there is no memory.

#include <gtest/gtest.h>

#include <new>

#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

size_t Huge() {
  size_t huge = SIZE_MAX / 2 - 4096;
  __asm__ volatile("" : "+r"(huge));
  return huge;
}

struct Stop {};
int g_calls;

class NewHandler : public testing::Test {
 protected:
  void SetUp() override { g_calls = 0; }
  void TearDown() override { std::set_new_handler(nullptr); }
};

TEST_F(NewHandler, WithoutOneNewThrowsOrReturnsNull) {
  EXPECT_THROW((void)operator new(Huge()), std::bad_alloc);
  EXPECT_THROW((void)operator new[](Huge()), std::bad_alloc);
  EXPECT_THROW((void)operator new(Huge(), std::align_val_t(64)),
               std::bad_alloc);
  EXPECT_EQ(operator new(Huge(), std::nothrow), nullptr);
  EXPECT_EQ(operator new[](Huge(), std::nothrow), nullptr);
  EXPECT_EQ(operator new(Huge(), std::align_val_t(64), std::nothrow), nullptr);
  EXPECT_EQ(operator new[](Huge(), std::align_val_t(64), std::nothrow),
            nullptr);
}

TEST_F(NewHandler, IsCalledUntilItGivesUp) {
  std::set_new_handler([] {
    if (++g_calls == 3) std::set_new_handler(nullptr);
  });
  EXPECT_THROW((void)operator new(Huge()), std::bad_alloc);
  EXPECT_EQ(g_calls, 3);
}

TEST_F(NewHandler, MayThrowWhatItLikes) {
  std::set_new_handler([] { throw Stop(); });
  EXPECT_THROW((void)operator new(Huge()), Stop);
  EXPECT_THROW((void)operator new(Huge(), std::align_val_t(64)), Stop);
  EXPECT_EQ(operator new(Huge(), std::nothrow), nullptr);
}

TEST_F(NewHandler, IsNotCalledWhileThereIsMemory) {
  std::set_new_handler([] { ++g_calls; });
  delete new int(1);
  delete[] new char[100];
  EXPECT_EQ(g_calls, 0);
}

TEST(Operators, OverAlignedTypesAreAlignedAndKnown) {
  struct alignas(256) Aligned {
    char bytes[300];
  };
  auto* one = new Aligned;
  auto* many = new Aligned[3];
  EXPECT_EQ(AddressOf(one) % 256, 0u);
  EXPECT_EQ(AddressOf(many) % 256, 0u);
  EXPECT_EQ(FindAt(one, 299).begin, AddressOf(one));
  EXPECT_EQ(Find(&many[2]).begin, AddressOf(many));
  delete one;
  delete[] many;
  EXPECT_EQ(Find(one).state, AllocationState::kFreed);
}

}  // namespace
}  // namespace minicore
