#include "dump/handler/stacks.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

constexpr ByteCount kPthread = 2304;

// A thread's stack as glibc makes it: guard, stack, and the control block at
// its end.
class StacksTest : public testing::Test {
 protected:
  StacksTest() { InstallFaultHandler(); }

  unsigned Find(Address stack_pointer, Address thread_pointer,
                bool main = false) {
    const StackFinder find = {&process_.map, &process_.heap.index(), kPthread};
    Thread thread;
    thread.registers.rsp = stack_pointer;
    thread.registers.fs_base = thread_pointer;
    return FindStacks(find, thread, main, stacks_);
  }

  MadeUpProcess process_;
  AddressRange stacks_[kMaxStacks];
};

TEST_F(StacksTest, BeginsAtThePageOfTheRedZone) {
  process_.Map({0x7fff00000000, 0x7fff00100000}, "rw-p", "[stack]");
  ASSERT_EQ(Find(0x7fff00080010, 0, true), 1u);
  EXPECT_EQ(stacks_[0], (AddressRange{0x7fff0007f000, 0x7fff00100000}));
  ASSERT_EQ(Find(0x7fff00080080, 0, true), 1u);
  EXPECT_EQ(stacks_[0].begin, 0x7fff00080000u);
}

TEST_F(StacksTest, TheRedZoneEndsWithTheMapping) {
  process_.Map({0x7fff00000000, 0x7fff00100000}, "rw-p", "[stack]");
  ASSERT_EQ(Find(0x7fff00000008, 0, true), 1u);
  EXPECT_EQ(stacks_[0].begin, 0x7fff00000000u);
}

// The kernel merges neighbouring mappings, so that the next thread's may follow
// at once.
TEST_F(StacksTest, AThreadsStackEndsBehindItsControlBlock) {
  process_.Map({0x7f0000001000, 0x7f0000801000});
  const Address pointer = 0x7f00003fe6c0;
  ASSERT_EQ(Find(0x7f0000300000, pointer), 1u);
  EXPECT_EQ(stacks_[0].end, AlignUp(pointer + kPthread, kPageSize));
}

TEST_F(StacksTest, AThreadPointerElsewhereDoesNotEndAStack) {
  process_.Map({0x7f0000001000, 0x7f0000801000});
  ASSERT_EQ(Find(0x7f0000300000, 0x7e0000000000), 1u);
  EXPECT_EQ(stacks_[0].end, 0x7f0000801000u);
  ASSERT_EQ(Find(0x7f0000300000, 0x7f0000100000),
            1u);  // below the stack pointer
  EXPECT_EQ(stacks_[0].end, 0x7f0000801000u);
}

TEST_F(StacksTest, AnOverflowBelongsToTheStackAboveTheGuard) {
  process_.Map({0x7f0000000000, 0x7f0000001000}, "---p");
  process_.Map({0x7f0000001000, 0x7f0000801000});
  for (Address pointer : {0x7f0000000ff8, 0x7f0000000000, 0x7effffffff00}) {
    ASSERT_EQ(Find(pointer, 0), 1u) << std::hex << pointer;
    EXPECT_EQ(stacks_[0], (AddressRange{0x7f0000001000, 0x7f0000801000}));
  }
}

TEST_F(StacksTest, AStackPointerFarFromAllStacksHasNone) {
  process_.Map({0x7f0000001000, 0x7f0000801000});
  EXPECT_EQ(Find(0x7e0000000000, 0), 0u);
  EXPECT_EQ(Find(0x7f0010000000, 0), 0u);
}

TEST_F(StacksTest, GarbageInTheStackPointerFindsNothingAndEnds) {
  process_.Map({0x400000, 0x401000}, "r-xp", "/bin/x", 7);
  process_.Map({0x7f0000001000, 0x7f0000801000});
  for (Address pointer :
       {Address{0}, Address{8}, Address{127}, ~Address{0}, ~Address{0} - 128,
        Address{1} << 63, Address{0x3e444544494c453c}}) {
    const unsigned count = Find(pointer, pointer);
    for (unsigned i = 0; i < count; ++i) EXPECT_FALSE(stacks_[i].empty());
  }
}

TEST_F(StacksTest, MemoryThatCannotBeWrittenIsNoStack) {
  process_.Map({0x7f0000001000, 0x7f0000801000}, "r--p");
  EXPECT_EQ(Find(0x7f0000300000, 0), 0u);
}

// An mlock()ed key, MADV_DONTFORK, a read-only page: a mapping each, and the
// frames above them are still the thread's.
TEST_F(StacksTest, PagesWithOtherAttributesDoNotEndAStack) {
  const Address begin = 0x7f0000001000;
  process_.Map({begin - 0x1000, begin}, "---p");
  for (Address at = begin; at < begin + 0x40000; at += 0x8000) {
    process_.Map({at, at + 0x7000});
    process_.Map({at + 0x7000, at + 0x8000}, "r--p");
  }
  process_.Map({begin + 0x40000, begin + 0x50000});
  const Address pointer = begin + 0x4f6c0;
  ASSERT_EQ(Find(begin + 0x12340, pointer), 1u);
  EXPECT_EQ(stacks_[0], (AddressRange{begin + 0x12000, begin + 0x50000}));
}

TEST_F(StacksTest, PagesOfTheMainStackWithOtherAttributesDoNotEndItEither) {
  process_.Map({0x7fff00000000, 0x7fff00080000}, "rw-p");
  process_.Map({0x7fff00080000, 0x7fff00081000}, "rw-p");
  process_.Map({0x7fff00081000, 0x7fff00100000}, "rw-p", "[stack]");
  ASSERT_EQ(Find(0x7fff00070010, 0, true), 1u);
  EXPECT_EQ(stacks_[0], (AddressRange{0x7fff0006f000, 0x7fff00100000}));
}

TEST_F(StacksTest, WhatLiesBehindAGuardIsAnotherStack) {
  const Address begin = 0x7f0000001000;
  process_.Map({begin, begin + 0x10000});  // a coroutine's
  process_.Map({begin + 0x10000, begin + 0x11000}, "---p");
  process_.Map({begin + 0x11000, begin + 0x50000});
  ASSERT_GE(Find(begin + 0x8010, begin + 0x4f6c0), 1u);
  EXPECT_EQ(stacks_[0], (AddressRange{begin + 0x7000, begin + 0x10000}));
}

// Coroutines, fibers: from malloc.
TEST_F(StacksTest, AStackFromTheHeapEndsWithItsAllocation) {
  const Address block = process_.heap.Allocate(64 * 1024);
  ASSERT_EQ(Find(block + 60'000, 0), 1u);
  EXPECT_EQ(stacks_[0].end, block + 64 * 1024);
  EXPECT_LE(stacks_[0].begin, block + 60'000 - 128);
  EXPECT_GE(stacks_[0].begin, block);
  ASSERT_EQ(Find(block + 8, 0), 1u);
  EXPECT_EQ(stacks_[0].begin, block) << "a neighbour's bytes";
}

// A coroutine that runs on, or a stack pointer that is garbage: nobody knows.
TEST_F(StacksTest, BehindAFreedStackIsTheEndOfTheThreadsOwn) {
  const Address block = process_.heap.Allocate(64 * 1024);
  process_.heap.Free(block);
  ASSERT_EQ(Find(block + 10'000, 0), 1u);
  EXPECT_EQ(stacks_[0],
            (AddressRange{AlignDown(block + 10'000 - 128, kPageSize), block + 64 * 1024}));
  const AddressRange home = {0x7f0000001000, 0x7f0000801000};
  process_.Map(home);
  ASSERT_EQ(Find(block + 10'000, 0x7f00008006c0), 2u);
  EXPECT_EQ(stacks_[1].end, 0x7f00008006c0u);
}

TEST_F(StacksTest, HeapThatNobodyHasIsNoStack) {
  const Address nobodys = process_.heap.Allocate(16) + 4096;
  EXPECT_EQ(Find(nobodys, 0), 0u);
}

// An alternate signal stack, with the signal frame that says where the thread
// was.
TEST_F(StacksTest, BehindAnAlternateStackIsTheOneItCameFrom) {
  alignas(4096) static uint64_t alternate[2048];
  const auto begin = reinterpret_cast<Address>(alternate);
  const AddressRange home = {0x7f0000001000, 0x7f0000801000};
  const Address thread_pointer = 0x7f00008006c0;
  const bool below = begin < home.begin;
  if (below) process_.Map({begin, begin + sizeof(alternate)});
  process_.Map(home);
  if (!below) process_.Map({begin, begin + sizeof(alternate)});
  alternate[1500] = home.begin + 0x500000;  // the frame's rsp
  alternate[1600] = home.begin + 0x600000;  // an older frame's address
  ASSERT_EQ(Find(begin + 8 * 1024, thread_pointer), 2u);
  EXPECT_EQ(stacks_[0].begin, begin + 8 * 1024 - 4096);
  EXPECT_EQ(stacks_[0].end, begin + sizeof(alternate));
  EXPECT_EQ(stacks_[1].begin, home.begin + 0x500000 - 4096);
  EXPECT_EQ(stacks_[1].end, AlignUp(thread_pointer + kPthread, kPageSize));
}

class StackMemoryTest : public StacksTest {
 protected:
  std::vector<AddressRange> FindMemory(Address stack_pointer, Address thread_pointer,
                                       AddressRange alternate = {}) {
    const StackFinder find = {&process_.map, &process_.heap.index(), kPthread};
    Thread thread;
    thread.registers.rsp = stack_pointer;
    thread.registers.fs_base = thread_pointer;
    thread.alternate_stack = alternate;
    AddressRange memory[kMaxStackMemory];
    const unsigned count = FindStackMemory(find, thread, false, memory);
    return {memory, memory + count};
  }
};

// Dead frames lie below the stack pointer, in the same mapping or allocation.
TEST_F(StackMemoryTest, IsAllThatTheStackPointerLiesIn) {
  const AddressRange mapping = {0x7f0000001000, 0x7f0000801000};
  process_.Map(mapping);
  EXPECT_EQ(FindMemory(0x7f0000300000, 0),
            std::vector<AddressRange>{mapping});
  const Address block = process_.heap.Allocate(64 * 1024);
  const AddressRange whole = {block, block + 64 * 1024};
  EXPECT_EQ(FindMemory(block + 1000, 0), std::vector<AddressRange>{whole});
  process_.heap.Free(block);
  EXPECT_EQ(FindMemory(block + 1000, 0), std::vector<AddressRange>{whole});
}

TEST_F(StackMemoryTest, OfHeapThatNobodyHasIsWhatAPointerKeeps) {
  const Address nobodys = process_.heap.Allocate(16) + 4096;
  const auto memory = FindMemory(nobodys, 0);
  ASSERT_EQ(memory.size(), 1u);
  EXPECT_TRUE(memory[0].Contains({nobodys - 128, nobodys + 64}));
}

TEST_F(StackMemoryTest, IsTheHomeAndTheSignalStackToo) {
  const AddressRange other = {0x7e0000001000, 0x7e0000101000};
  const AddressRange home = {0x7f0000001000, 0x7f0000801000};
  const AddressRange alternate = {0x7f1000000000, 0x7f1000004000};
  process_.Map(other);
  process_.Map(home);
  const Address thread_pointer = 0x7f00008006c0;
  EXPECT_EQ(FindMemory(other.begin + 4096, thread_pointer, alternate),
            (std::vector<AddressRange>{other, {home.begin, thread_pointer}, alternate}));
}

TEST_F(StackMemoryTest, OfAStackThatOverflowedIsTheOneAboveTheGuard) {
  const AddressRange stack = {0x7f0000001000, 0x7f0000801000};
  process_.Map({0x7f0000000000, 0x7f0000001000}, "---p");
  process_.Map(stack);
  EXPECT_EQ(FindMemory(0x7f0000000ff8, 0), std::vector<AddressRange>{stack});
  EXPECT_TRUE(FindMemory(0x1234, 0).empty());
}

TEST_F(StacksTest, ASmallStackIsNotSplit) {
  AddressRange parts[2];
  const AddressRange stack = {0x7f0000000000, 0x7f0000000000 + (1 << 20)};
  EXPECT_EQ(SplitStack(stack, 1 << 20, parts), 1u);
  EXPECT_EQ(parts[0], stack);
}

// The newest frames, and main()'s.
TEST_F(StacksTest, ALargeStackKeepsBothEnds) {
  AddressRange parts[2];
  const AddressRange stack = {0x7f0000000000, 0x7f0000000000 + (8 << 20)};
  ASSERT_EQ(SplitStack(stack, 1 << 20, parts), 2u);
  EXPECT_EQ(parts[0], (AddressRange{stack.begin, stack.begin + (1 << 20)}));
  EXPECT_EQ(parts[1], (AddressRange{stack.end - 65536, stack.end}));
}

TEST_F(StacksTest, PartsOfAStackNeverOverlapNorLoseAByteWithoutNeed) {
  for (ByteCount size = 4096; size <= 400 * 1024; size += 4096) {
    for (ByteCount limit : {ByteCount{0}, ByteCount{1}, ByteCount{65536},
                            ByteCount{100'000}, ~ByteCount{0}}) {
      AddressRange parts[2];
      const AddressRange stack = {0x7f0000000000, 0x7f0000000000 + size};
      const unsigned count = SplitStack(stack, limit, parts);
      ByteCount kept = 0;
      for (unsigned i = 0; i < count; ++i) {
        EXPECT_TRUE(stack.Contains(parts[i])) << size << " " << limit;
        kept += parts[i].size();
      }
      if (count == 2) {
        EXPECT_LE(parts[0].end, parts[1].begin) << size << " " << limit;
      }
      EXPECT_GE(kept, std::min(size, limit)) << size << " " << limit;
      EXPECT_LE(kept, size);
    }
  }
}

}  // namespace
}  // namespace minicore
