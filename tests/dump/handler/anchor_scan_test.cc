#include "dump/handler/anchor_scan.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <memory>
#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

// A heap of real memory, whose index says what malloc would have said; a stack
// and registers that hold what a test puts there.
class AnchorScanTest : public testing::Test {
 protected:
  AnchorScanTest() : process_(std::make_unique<MadeUpProcess>()) {
    InstallFaultHandler();
  }

  MadeUpProcess& process() { return *process_; }
  TestHeap& heap() { return process_->heap; }
  Policy& policy() { return process_->runtime.policy; }

  // Scans with these words on the crashed thread's stack.
  void ScanFrom(const std::vector<uint64_t>& words) {
    stack_ = words;
    process_->ScanAsStack(stack_.data(), stack_.size());
    process_->Scan();
  }

  // A list of `length` allocations of `size` bytes, the first word pointing to
  // the next.
  std::vector<Address> List(size_t length, ByteCount size) {
    std::vector<Address> nodes;
    for (size_t i = 0; i < length; ++i) {
      nodes.push_back(heap().Allocate(size));
      if (i != 0) heap().Word(nodes[i - 1]) = nodes[i];
    }
    return nodes;
  }

  size_t CountKept(const std::vector<Address>& addresses) {
    size_t kept = 0;
    for (Address address : addresses) kept += process_->Kept(address);
    return kept;
  }

  // Real memory that is no heap, in the map.
  AddressRange Foreign(ByteCount bytes, const char* permissions = "rw-p",
                       const char* name = "") {
    if (foreign_ == 0) {
      foreign_ = reinterpret_cast<Address>(
          mmap(nullptr, kForeignBytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      foreign_begin_ = foreign_;
    }
    const AddressRange range = {foreign_, foreign_ + bytes};
    foreign_ = range.end + kPageSize;  // the map is in ascending order
    process_->Map(range, permissions, name);
    return range;
  }

  ~AnchorScanTest() {
    if (foreign_ != 0)
      munmap(reinterpret_cast<void*>(foreign_begin_), kForeignBytes);
  }

  static constexpr ByteCount kForeignBytes = 4 << 20;
  Address foreign_ = 0;
  Address foreign_begin_ = 0;
  std::unique_ptr<MadeUpProcess> process_;
  std::vector<uint64_t> stack_;
};

TEST_F(AnchorScanTest, AnAllocationThatAStackWordPointsToIsKeptWhole) {
  const Address block = heap().Allocate(100);
  const Address other = heap().Allocate(100);
  ScanFrom({0, block, 0});
  EXPECT_EQ(process().KeptBytes({block, block + 112}), 112u);
  EXPECT_FALSE(process().Kept(other));
  EXPECT_EQ(process().outcome.allocations, 1u);
  EXPECT_EQ(process().outcome.heap_bytes, 112u);
}

TEST_F(AnchorScanTest, AnInteriorPointerKeepsTheWholeAllocation) {
  for (ByteCount offset : {1u, 8u, 50u, 111u}) {
    process_ = std::make_unique<MadeUpProcess>();
    const Address block = heap().Allocate(112);
    ScanFrom({block + offset});
    EXPECT_EQ(process().KeptBytes({block, block + 112}), 112u) << offset;
  }
}

TEST_F(AnchorScanTest, TheByteBehindAnAllocationIsNotIts) {
  const Address block = heap().Allocate(100 * 1024);
  ScanFrom({block + 100 * 1024});
  EXPECT_FALSE(process().Kept(block));
}

TEST_F(AnchorScanTest, EveryRegisterIsAnAnchor) {
  user_regs_struct empty{};
  for (size_t i = 0; i < sizeof(empty) / 8; ++i) {
    process_ = std::make_unique<MadeUpProcess>();
    const Address block = heap().Allocate(64);
    reinterpret_cast<uint64_t*>(&process().registers())[i] = block + 8;
    process().Scan();
    EXPECT_TRUE(process().Kept(block)) << i;
    ASSERT_EQ(process().scan.anchors.size(), 1u) << i;
    EXPECT_EQ(process().scan.anchors[0].number, i);
    EXPECT_EQ(process().scan.anchors[0].begin, block);
    EXPECT_EQ(process().scan.anchors[0].value, block + 8);
  }
}

TEST_F(AnchorScanTest, VectorRegistersAreAnchorsToo) {
  alignas(64) uint8_t image[832] = {};
  const Address low = heap().Allocate(64);
  const Address high = heap().Allocate(64);
  __builtin_memcpy(image + 160 + 15 * 16 + 8, &low, 8);  // xmm15, upper half
  __builtin_memcpy(image + 576 + 7 * 16, &high, 8);      // ymm7's upper half
  process().threads[0].xstate = image;
  process().threads[0].xstate_bytes = sizeof(image);
  process().Scan();
  EXPECT_TRUE(process().Kept(low));
  EXPECT_TRUE(process().Kept(high));
}

TEST_F(AnchorScanTest, WordsOfOtherThreadsAreAnchors) {
  Thread other;
  other.tid = 4712;
  const Address from_register = heap().Allocate(64);
  const Address from_stack = heap().Allocate(64);
  other.registers.r12 = from_register;
  ASSERT_TRUE(process().threads.Push(other));
  ScanFrom({from_stack});
  EXPECT_TRUE(process().Kept(from_register));
  EXPECT_TRUE(process().Kept(from_stack));
}

TEST_F(AnchorScanTest, FollowsPointersWithoutALimitByDefault) {
  const auto nodes = List(10000, 48);
  ScanFrom({nodes[0]});
  EXPECT_EQ(CountKept({nodes.back()}), 1u);
  EXPECT_EQ(process().outcome.allocations, nodes.size());
}

TEST_F(AnchorScanTest, FollowsAnyAlignedWordOfAnAllocation) {
  const Address block = heap().Allocate(256);
  const Address first = heap().Allocate(32);
  const Address last = heap().Allocate(32);
  const Address crooked = heap().Allocate(32);
  heap().Word(block) = first;
  heap().Word(block + 248) = last;
  __builtin_memcpy(heap().Bytes(block + 101), &crooked, 8);
  ScanFrom({block});
  EXPECT_TRUE(process().Kept(first));
  EXPECT_TRUE(process().Kept(last));
  EXPECT_FALSE(process().Kept(crooked));
}

TEST_F(AnchorScanTest, ACircleEnds) {
  const auto nodes = List(100, 64);
  heap().Word(nodes.back()) = nodes[0];
  heap().Word(nodes[50] + 8) = nodes[50];
  ScanFrom({nodes[7], nodes[7], nodes[8]});
  EXPECT_EQ(CountKept(nodes), 100u);
  EXPECT_EQ(process().outcome.allocations, 100u);
}

TEST_F(AnchorScanTest, HopsAreCountedFromTheRoot) {
  policy().hops = 3;
  const auto nodes = List(10, 64);
  ScanFrom({nodes[0]});
  EXPECT_EQ(CountKept(nodes), 4u);
  EXPECT_TRUE(process().Kept(nodes[3]));
  EXPECT_FALSE(process().Kept(nodes[4]));
}

// What a register or a stack still points to is kept as it was left, but where it pointed
// to is nobody's concern any more.
TEST_F(AnchorScanTest, AFreedAllocationIsKeptAndNotFollowed) {
  const Address block = heap().Allocate(48);
  heap().Allocate(48);
  const Address behind = heap().Allocate(4096);
  const Address also_freed = heap().Allocate(100);
  heap().Word(block) = behind;
  heap().Free(block);
  heap().Free(also_freed);
  heap().Word(behind) = also_freed;
  process().registers().rdi = block + 16;
  process().Scan();
  EXPECT_EQ(process().KeptBytes({block, block + 48}), 48u);
  EXPECT_FALSE(process().Kept(behind));
  EXPECT_FALSE(process().Kept(also_freed));
  EXPECT_EQ(process().outcome.allocations, 0u);
  EXPECT_EQ(process().outcome.freed_anchors, 1u);
  // And a crash report can say so.
  ASSERT_EQ(process().scan.anchors.size(), 1u);
  EXPECT_EQ(process().scan.anchors[0].state,
            static_cast<uint8_t>(AllocationState::kFreed));
  EXPECT_EQ(process().scan.anchors[0].begin, block);
  EXPECT_EQ(process().scan.anchors[0].size, 48u);
}

TEST_F(AnchorScanTest, AFreedSecretIsNotKept) {
  const Address secret = heap().Allocate(64, heap().Tag("secret"));
  heap().Free(secret);
  const uint64_t chunk = (secret - heap().region().begin) >> kChunkShift;
  heap().index().chunks[chunk].tags.store(ChunkTags(kAllGroups, kTagSecret));
  ScanFrom({secret});
  EXPECT_FALSE(process().Kept(secret));
}

// What nothing is known of, in an extent of secrets or up to one.
TEST_F(AnchorScanTest, NoLookIsTakenAtExtentsOfSecrets) {
  const Address begin = heap().region().begin;
  heap().Allocate(64);
  const Address unknown = begin + kChunkSize + 0x8000;
  ScanFrom({unknown});
  EXPECT_TRUE(process().Kept(unknown));
  for (const Address word :
       {unknown, begin + kChunkSize, begin + kChunkSize - 32, begin + 2 * kChunkSize - 16}) {
    process_ = std::make_unique<MadeUpProcess>();
    heap().Allocate(64);
    const Address secrets = heap().region().begin + kChunkSize;
    heap().index().chunks[1].tags.store(ChunkTags(0, kTagSecret));
    ScanFrom({word - begin + heap().region().begin});
    EXPECT_EQ(process().KeptBytes({secrets, secrets + kChunkSize}), 0u) << std::hex << word;
  }
}

// The frame of the fatal signal lies there, with all registers in it: of a stack, single
// words are searched for secrets.
TEST_F(AnchorScanTest, ALookAtASignalStackIsOneAtAStack) {
  const AddressRange stack = Foreign(64 * 1024);
  process().roots.unused_stacks.Reserve(process().arena, 1);
  process().roots.unused_stacks.Add(stack);
  process().roots.unused_stacks.Sort();
  ScanFrom({stack.end - 2000});
  ASSERT_EQ(process().scan.reached.size(), 1u);
  EXPECT_EQ(process().scan.reached[0].kind, SegmentKind::kStack);
  EXPECT_TRUE(process().scan.reached[0].look);
}

TEST_F(AnchorScanTest, TheFaultAddressIsDescribedForAFaultOnly) {
  const Address block = heap().Allocate(48);
  process().info.si_code = SEGV_ACCERR;
  process().info.si_addr = reinterpret_cast<void*>(block + 8);
  process().Scan();
  ASSERT_EQ(process().scan.anchors.size(), 1u);
  EXPECT_EQ(process().scan.anchors[0].source, AnchorSource::kFaultAddress);

  process_ = std::make_unique<MadeUpProcess>();
  const Address sent = heap().Allocate(48);
  process().info.si_code = SI_USER;  // kill(): the union holds a pid
  process().info.si_addr = reinterpret_cast<void*>(sent);
  process().Scan();
  EXPECT_TRUE(process().scan.anchors.empty());
}

TEST_F(AnchorScanTest, TagsInTheHighAndLowBitsOfAPointerAreNoneOfIt) {
  for (uint64_t tag : {5ull, 0xabcdull << 48, 0x7full << 56, 0xffffull << 48 | 7}) {
    for (bool wanted : {true, false}) {
      process_ = std::make_unique<MadeUpProcess>();
      policy().tagged_pointers = wanted;
      const Address block = heap().Allocate(64);
      const Address behind = heap().Allocate(64);
      heap().Word(block) = behind | tag;
      ScanFrom({block | tag});
      const bool followed = wanted || tag >> 48 == 0;
      EXPECT_EQ(process().Kept(block), followed) << tag;
      EXPECT_EQ(process().Kept(behind), followed) << tag;
    }
  }
}

// With many words that point to much, each gets something before one gets all.
TEST_F(AnchorScanTest, WhatWordsPointToThemselvesComesBeforeWhatThatLeadsTo) {
  policy().max_bytes = 256 * 1024;
  policy().root_bytes = 64 * 1024;
  std::vector<uint64_t> words;
  for (int i = 0; i < 30; ++i) words.push_back(List(1000, 64)[0]);
  const auto big = heap().Allocate(512 * 1024);
  words.push_back(big);
  ScanFrom(words);
  EXPECT_EQ(CountKept({words.begin(), words.end() - 1}), 30u);
  EXPECT_TRUE(process().Kept(big));
}

// Budget

TEST_F(AnchorScanTest, NeverKeepsMoreThanTheBudget) {
  policy().max_bytes = 100 * 1024;
  const auto nodes = List(10000, 64);
  ScanFrom({nodes[0]});
  EXPECT_LE(process().outcome.heap_bytes, policy().max_bytes);
  EXPECT_GE(process().outcome.heap_bytes, policy().max_bytes - 64);
  EXPECT_GT(process().outcome.hole_count[static_cast<int>(HoleReason::kBudget)],
            0u);
}

TEST_F(AnchorScanTest, ABudgetOfNothingKeepsNothing) {
  policy().max_bytes = 0;
  const Address block = heap().Allocate(64);
  ScanFrom({block});
  EXPECT_TRUE(process().scan.reached.empty());
}

// One big list must not starve what the other words of the frame lead to.
TEST_F(AnchorScanTest, EveryRootWordGetsItsQuotaBeforeOneGetsTheRest) {
  policy().max_bytes = 1 << 20;
  policy().root_bytes = 16 << 10;
  std::vector<std::vector<Address>> lists;
  std::vector<uint64_t> roots;
  for (int i = 0; i < 20; ++i) {
    lists.push_back(
        List(i == 0 ? 100000 : 100, 64));  // 6.4 MB, and 6.4 KB each
    roots.push_back(lists.back()[0]);
  }
  ScanFrom(roots);
  for (size_t i = 1; i < lists.size(); ++i) {
    EXPECT_EQ(CountKept(lists[i]), 100u) << "the list of word " << i;
  }
  // What the others did not want is the big one's.
  EXPECT_GE(process().outcome.heap_bytes, policy().max_bytes - 64);
}

// As a hash table is: its buckets lead to every node, and each node to the next. What gdb
// prints of it is the chain.
TEST_F(AnchorScanTest, ATableDoesNotEndTheChainOfItsElements) {
  policy().root_bytes = 16 << 10;
  policy().max_bytes = 128 << 10;
  const auto nodes = List(4096, 64);
  const Address buckets = heap().Allocate(4096 * 8);
  for (size_t i = 0; i < 4096; ++i) {
    heap().Word(buckets + i * 8) = nodes[i * 1103 % 4096];
  }
  ScanFrom({buckets, nodes.size(), nodes[0]});
  EXPECT_EQ(CountKept({nodes.begin(), nodes.begin() + 256}), 256u);
  EXPECT_GT(CountKept(nodes), 500u);
}

TEST_F(AnchorScanTest, TheQuotaIsOfARootWordNotOfAllocations) {
  policy().root_bytes = 4096;
  policy().max_bytes = 5000;
  const auto list = List(1000, 64);
  const auto other = List(5, 64);
  ScanFrom({list[0], other[0]});
  EXPECT_EQ(CountKept(other), 5u);
  EXPECT_LE(CountKept(list), 73u);
  EXPECT_GE(CountKept(list), 64u);
}

// What does not fit leaves room for what does.
TEST_F(AnchorScanTest, AnAllocationAboveTheBudgetDoesNotEndTheSearch) {
  policy().max_bytes = 64 * 1024;
  const Address big = heap().Allocate(256 * 1024);
  const auto small = List(100, 64);
  ScanFrom({big, small[0]});
  EXPECT_EQ(CountKept(small), 100u);
  EXPECT_TRUE(process().Kept(big));
  EXPECT_TRUE(process().Hole(big + 64 * 1024, HoleReason::kBudget));
}

TEST_F(AnchorScanTest, TheCrashedThreadsRegistersComeFirst) {
  policy().max_bytes = 16 * 1024;
  policy().root_bytes = 16 * 1024;
  const auto of_register = List(250, 64);
  const auto of_stack = List(250, 64);
  process().registers().rax = of_register[0];
  ScanFrom({of_stack[0]});
  EXPECT_EQ(CountKept(of_register), 250u);
  EXPECT_LT(CountKept(of_stack), 20u);
}

// Large allocations

TEST_F(AnchorScanTest, ALargeAllocationIsKeptAroundThePointer) {
  policy().object_bytes = 64 * 1024;
  policy().max_bytes = 100 * 1024;
  const ByteCount size = 4 << 20;
  const Address block = heap().Allocate(size);
  const Address pointer = block + (2 << 20) + 40;
  ScanFrom({pointer});
  EXPECT_TRUE(process().Kept(pointer - 30 * 1024));
  EXPECT_TRUE(process().Kept(pointer + 30 * 1024));
  EXPECT_FALSE(process().Kept(block));
  EXPECT_FALSE(process().Kept(pointer + 40 * 1024));
  EXPECT_TRUE(process().Hole(block, HoleReason::kObjectLimit));
  EXPECT_TRUE(process().Hole(block + size - 1, HoleReason::kObjectLimit));
}

// The usual pointer is to the beginning: as much is kept, and the rest is told
// of.
TEST_F(AnchorScanTest, OfALargeAllocationThatBeginsAtThePointerAsMuchIsKept) {
  policy().object_bytes = 64 * 1024;
  policy().max_bytes = 100 * 1024;
  const ByteCount size = 4 << 20;
  const Address block = heap().Allocate(size);
  ScanFrom({block});
  EXPECT_EQ(process().KeptBytes({block, block + size}), policy().object_bytes);
  EXPECT_TRUE(process().Hole(block + size - 1, HoleReason::kObjectLimit));
}

TEST_F(AnchorScanTest, OfALargeAllocationThatEndsAtThePointerAsMuchIsKept) {
  policy().object_bytes = 64 * 1024;
  policy().max_bytes = 100 * 1024;
  const ByteCount size = 4 << 20;
  const Address block = heap().Allocate(size);
  ScanFrom({block + size - 8});
  EXPECT_EQ(process().KeptBytes({block, block + size}), policy().object_bytes);
  EXPECT_TRUE(process().Hole(block, HoleReason::kObjectLimit));
}

TEST_F(AnchorScanTest, BudgetThatIsLeftMakesALargeAllocationWhole) {
  policy().object_bytes = 64 * 1024;
  for (ByteCount offset : {0u, 1u << 19, (1u << 20) - 8}) {
    process_ = std::make_unique<MadeUpProcess>();
    policy().object_bytes = 64 * 1024;
    const Address block = heap().Allocate(1 << 20);
    ScanFrom({block + offset});
    EXPECT_EQ(process().KeptBytes({block, block + (1 << 20)}),
              ByteCount{1} << 20)
        << offset;
    EXPECT_EQ(process().outcome.heap_bytes, 1u << 20) << offset;
  }
}

// What frames lead to first, then what data leads to; and what the rest of it leads to.
TEST_F(AnchorScanTest, BudgetThatIsLeftMakesWhatDataPointsToWholeToo) {
  policy().object_bytes = 64 * 1024;
  const AddressRange data = Foreign(kPageSize);
  const ByteCount size = 1 << 20;
  const Address of_data = heap().Allocate(size);
  const Address of_stack = heap().Allocate(size);
  const Address behind = heap().Allocate(64);
  heap().Word(data.begin) = of_data;
  heap().Word(of_data + size - 8) = behind;
  ASSERT_TRUE(process().roots.static_data.Push(data));
  policy().max_bytes = size + 256 * 1024;
  ScanFrom({of_stack});
  EXPECT_EQ(process().KeptBytes({of_stack, of_stack + size}), size);
  EXPECT_EQ(process().KeptBytes({of_data, of_data + size}), 64u * 1024);
  process_->scan = ScanResult();
  policy().max_bytes = 3 * size;
  process().Scan();
  EXPECT_EQ(process().KeptBytes({of_data, of_data + size}), size);
  EXPECT_TRUE(process().Kept(behind));
}

TEST_F(AnchorScanTest, AnAllocationOfTheLimitIsWhole) {
  policy().object_bytes = 64 * 1024;
  policy().max_bytes = 70 * 1024;
  const Address block = heap().Allocate(64 * 1024);
  ScanFrom({block + 60 * 1024});
  EXPECT_EQ(process().KeptBytes({block, block + 64 * 1024}), 64u * 1024);
}

// Tags

TEST_F(AnchorScanTest, ASecretIsNotKeptAndNotFollowed) {
  const Address secret = heap().Allocate(64, heap().Tag("secret"));
  const Address behind = heap().Allocate(64);
  heap().Word(secret) = behind;
  ScanFrom({secret, secret + 8});
  EXPECT_FALSE(process().Kept(secret));
  EXPECT_FALSE(process().Kept(behind));
  EXPECT_TRUE(process().Hole(secret, HoleReason::kSecret));
  EXPECT_EQ(process().scan.tags[kTagSecret].elided, 1u);
  EXPECT_EQ(process().scan.tags[kTagSecret].bytes_out, 64u);
}

TEST_F(AnchorScanTest, ASecretIsNotKeptWhateverItsSizeOrPointer) {
  for (ByteCount size : {1u, 16u, 100u, 14336u, 100000u, 3u << 20}) {
    for (bool whole_budget : {false, true}) {
      process_ = std::make_unique<MadeUpProcess>();
      if (!whole_budget) policy().object_bytes = 64;
      const Address secret = heap().Allocate(size, heap().Tag("secret"));
      ScanFrom({secret, secret + size - 1, secret + size / 2});
      EXPECT_EQ(process().KeptBytes(heap().region()), 0u) << size;
    }
  }
}

TEST_F(AnchorScanTest, OfACacheTheFirstBytesAreKeptAndNotFollowed) {
  const Address cache = heap().Allocate(4096, heap().Tag("cache"));
  const Address behind = heap().Allocate(64);
  heap().Word(cache) = behind;
  ScanFrom({cache + 2000});
  EXPECT_EQ(process().KeptBytes({cache, cache + 4096}), 256u);
  EXPECT_TRUE(process().Kept(cache));
  EXPECT_FALSE(process().Kept(behind));
  EXPECT_TRUE(process().Hole(cache + 256, HoleReason::kCut));
  EXPECT_EQ(process().scan.tags[kTagCache].cut, 1u);
  EXPECT_EQ(process().scan.tags[kTagCache].bytes_in, 256u);
  EXPECT_EQ(process().scan.tags[kTagCache].bytes_out, 3840u);
}

TEST_F(AnchorScanTest, ASmallCacheIsWhole) {
  const Address cache = heap().Allocate(64, heap().Tag("cache"));
  ScanFrom({cache});
  EXPECT_EQ(process().KeptBytes({cache, cache + 64}), 64u);
  EXPECT_EQ(process().scan.tags[kTagCache].bytes_out, 0u);
}

TEST_F(AnchorScanTest, WhatIsTaggedKeepIsKeptThoughNobodyPointsToIt) {
  const Address kept = heap().Allocate(64, heap().Tag("keep"));
  const Address behind = heap().Allocate(64);
  const Address other = heap().Allocate(64);
  heap().Word(kept) = behind;
  process().Scan();
  EXPECT_TRUE(process().Kept(kept));
  EXPECT_TRUE(process().Kept(behind));
  EXPECT_FALSE(process().Kept(other));
}

TEST_F(AnchorScanTest, WhatIsTaggedKeepIsWholeWhateverItsSizeAndWhoeverPointsToIt) {
  const ByteCount size = 4 << 20;
  const Address kept = heap().Allocate(size, heap().Tag("keep"));
  const Address behind = heap().Allocate(64);
  heap().Word(kept + size - 8) = behind;
  ScanFrom({kept + 100});
  EXPECT_EQ(process().KeptBytes({kept, kept + size}), size);
  EXPECT_TRUE(process().Kept(behind));
  EXPECT_EQ(process().scan.tags[kTagKeep].kept, 1u);
  EXPECT_EQ(process().scan.tags[kTagKeep].bytes_out, 0u);
}

TEST_F(AnchorScanTest, WhatIsTaggedKeepComesBeforeAllElse) {
  policy().max_bytes = 1 << 20;
  const AddressRange other = Foreign(8 * kPageSize);
  TagRange& range = heap().tags().ranges[0];
  range.begin = other.begin;
  range.end = other.end;
  range.state = kRangeLive | heap().Tag("keep");
  std::vector<uint64_t> words;
  for (int i = 0; i < 400; ++i) words.push_back(heap().Allocate(4096));
  const Address kept = heap().Allocate(512 << 10, heap().Tag("keep"));
  ScanFrom(words);
  EXPECT_EQ(process().KeptBytes({kept, kept + (512 << 10)}), 512u << 10);
  EXPECT_EQ(process().KeptBytes(other), other.size());
  EXPECT_GT(CountKept(words), 100u);
}

TEST_F(AnchorScanTest, WhatIsTaggedKeepIsKeptAsFarAsTheBudgetGoes) {
  policy().max_bytes = 64 << 10;
  const Address kept = heap().Allocate(1 << 20, heap().Tag("keep"));
  process().Scan();
  EXPECT_EQ(process().KeptBytes({kept, kept + (1 << 20)}), 64u << 10);
  EXPECT_TRUE(process().Kept(kept));
  EXPECT_TRUE(process().Hole(kept + (64 << 10), HoleReason::kBudget));
  EXPECT_FALSE(process().Hole(kept + (64 << 10), HoleReason::kObjectLimit));
}

TEST_F(AnchorScanTest, ALabelIsKeptWhenReachedOnly) {
  const Address reached =
      heap().Allocate(64, heap().Tag("session", Disposition::kKeep));
  const Address other = heap().Allocate(64, heap().Tag("session"));
  ScanFrom({reached});
  EXPECT_TRUE(process().Kept(reached));
  EXPECT_FALSE(process().Kept(other));
  EXPECT_EQ(process().scan.tags[heap().Tag("session")].kept, 1u);
}

TEST_F(AnchorScanTest, ARuleChangesWhatATagDoes) {
  heap().Tag("cache", Disposition::kKeepAlways);
  heap().Tag("session", Disposition::kElide);
  const Address cache = heap().Allocate(4096, kTagCache);
  const Address session = heap().Allocate(64, heap().Tag("session"));
  ScanFrom({session});
  EXPECT_EQ(process().KeptBytes({cache, cache + 4096}), 4096u);
  EXPECT_FALSE(process().Kept(session));
}

// A scribbled index: nobody knows what the tag was.
TEST_F(AnchorScanTest, AnUnknownTagIsElided) {
  const Address block =
      heap().Allocate(64, heap().Tag("label", Disposition::kKeep));
  const uint64_t granule = (block - heap().region().begin) >> kGranuleShift;
  heap().index().tags[granule].store(200);
  ScanFrom({block});
  EXPECT_FALSE(process().Kept(block));
}

// Memory that is no heap

TEST_F(AnchorScanTest, OtherWritableMemoryIsKeptInAWindow) {
  const AddressRange other = Foreign(1 << 20);
  const Address pointer = other.begin + 500'000;
  ScanFrom({pointer});
  EXPECT_TRUE(process().Kept(pointer));
  EXPECT_TRUE(process().Kept(pointer - 64));
  EXPECT_TRUE(process().Kept(pointer + 1023));
  const ByteCount kept = process().KeptBytes(other);
  EXPECT_GE(kept, 1088u);
  EXPECT_LE(kept, 4096u);
}

TEST_F(AnchorScanTest, AWindowIsAsLongAsThePolicySays) {
  const AddressRange other = Foreign(1 << 20);
  const Address pointer = other.begin + 500'000;
  policy().window_bytes = 100'000;
  ScanFrom({pointer});
  EXPECT_TRUE(process().Kept(pointer + 99'999));
  EXPECT_FALSE(process().Kept(pointer + 101'000));
}

TEST_F(AnchorScanTest, WindowsCanBeSwitchedOff) {
  const AddressRange other = Foreign(1 << 20);
  policy().window_bytes = 0;
  ScanFrom({other.begin + 500'000});
  EXPECT_TRUE(process().scan.reached.empty());
}

// Neighbouring windows don't pay for their common memory twice.
TEST_F(AnchorScanTest, OverlappingWindowsAreKeptOnce) {
  const AddressRange other = Foreign(64 * kPageSize);
  std::vector<uint64_t> words;
  for (Address at = other.begin; at < other.end; at += 200) words.push_back(at);
  policy().max_bytes = other.size();
  ScanFrom(words);
  EXPECT_EQ(process().KeptBytes(other), other.size());
  ByteCount paid = 0;
  for (const Reached& reached : process().scan.reached) paid += reached.range.size();
  EXPECT_EQ(paid, other.size());
}

TEST_F(AnchorScanTest, AWindowEndsWithItsMapping) {
  const AddressRange other = Foreign(kPageSize);
  ScanFrom({other.end - 8, other.begin});
  for (const Reached& reached : process().scan.reached) {
    EXPECT_TRUE(other.Contains(reached.range));
  }
  EXPECT_TRUE(process().Kept(other.end - 1));
}

TEST_F(AnchorScanTest, PointersInWindowsAreFollowed) {
  const AddressRange other = Foreign(kPageSize);
  const Address block = heap().Allocate(64);
  heap().Word(other.begin + 512) = block;
  ScanFrom({other.begin + 512});
  EXPECT_TRUE(process().Kept(block));
}

TEST_F(AnchorScanTest, ManyPointersIntoOneWindowAreOneWindow) {
  const AddressRange other = Foreign(kPageSize);
  std::vector<uint64_t> words;
  for (Address at = other.begin + 64; at < other.begin + 512; at += 8)
    words.push_back(at);
  ScanFrom(words);
  EXPECT_EQ(process().scan.reached.size(), 1u);
}

TEST_F(AnchorScanTest, MemoryThatCannotBeWrittenOrReadIsNoData) {
  const AddressRange text = Foreign(kPageSize, "r-xp");
  const AddressRange rodata = Foreign(kPageSize, "r--p");
  const AddressRange guard = Foreign(kPageSize, "---p");
  ScanFrom({text.begin, rodata.begin + 8, guard.begin + 16, 0x1234, 64 * 1024,
            0x8000'0000'0000, ~0ull});
  EXPECT_TRUE(process().scan.reached.empty());
}

// Reading a device's memory may do something.
TEST_F(AnchorScanTest, DevicesAreNotRead) {
  const AddressRange device = Foreign(kPageSize, "rw-s", "/dev/dri/card0");
  const AddressRange shared = Foreign(kPageSize, "rw-s", "/dev/shm/mine");
  ScanFrom({device.begin, shared.begin});
  EXPECT_FALSE(process().Kept(device.begin));
  EXPECT_TRUE(process().Kept(shared.begin));
}

TEST_F(AnchorScanTest, WhatTheRootsKeepAnywayIsNotKeptTwice) {
  const AddressRange data = Foreign(8 * kPageSize);
  ASSERT_TRUE(process().roots.pieces.Push({data, SegmentKind::kModuleData,
                                           FileGroup::kModuleData,
                                           Content::kMemory, false, 0}));
  ScanFrom({data.begin, data.begin + 5000, data.end - 8});
  EXPECT_TRUE(process().scan.reached.empty());
}

// Each saved frame pointer leads into it.
TEST_F(AnchorScanTest, PointersDoNotBringBackWhatStackBytesLeavesOut) {
  const AddressRange stack = Foreign(8 * kPageSize);
  RangeSet& left_out = process().roots.left_out_stacks;
  left_out.Reserve(process().arena, 1);
  left_out.Add({stack.begin + 2 * kPageSize, stack.begin + 6 * kPageSize});
  left_out.Sort();
  ScanFrom({stack.begin + 2 * kPageSize, stack.begin + 4 * kPageSize,
            stack.begin + 6 * kPageSize - 8});
  EXPECT_TRUE(process().scan.reached.empty());
  process().scan.reached.Clear();
  ScanFrom({stack.begin + 6 * kPageSize + 64});
  EXPECT_TRUE(process().Kept(stack.begin + 6 * kPageSize + 64));
}

// Static data is kept up to a cap; past it, where somebody points to it.
TEST_F(AnchorScanTest, StaticDataPastTheCapIsKeptAroundPointers) {
  const AddressRange data = Foreign(64 * kPageSize, "rw-p", "/lib/a.so");
  const AddressRange kept = {data.begin, data.begin + 8 * kPageSize};
  ASSERT_TRUE(process().roots.pieces.Push({kept, SegmentKind::kModuleData,
                                           FileGroup::kModuleData,
                                           Content::kMemory, false, 0}));
  const Address pointer = data.begin + 40 * kPageSize;
  const Address block = heap().Allocate(64);
  heap().Word(pointer) = block;
  heap().Word(kept.begin + 8) = pointer;
  ASSERT_TRUE(process().roots.static_data.Push(kept));
  process().Scan();
  EXPECT_TRUE(process().Kept(pointer));
  EXPECT_TRUE(process().Kept(block));
  EXPECT_FALSE(process().Kept(data.end - 1));
}

TEST_F(AnchorScanTest, TheDumpersOwnMemoryIsNotKept) {
  const AddressRange arena = Foreign(8 * kPageSize);
  process().runtime.arena_range = arena;
  ScanFrom({arena.begin + 64});
  EXPECT_TRUE(process().scan.reached.empty());
}

TEST_F(AnchorScanTest, ARangeTaggedKeepIsKept) {
  const AddressRange other = Foreign(8 * kPageSize);
  TagRange& range = heap().tags().ranges[0];
  range.begin = other.begin + 100;
  range.end = other.begin + 5000;
  range.state = kRangeLive | heap().Tag("keep");
  process().Scan();
  EXPECT_GE(process().KeptBytes(other), 4900u);
  EXPECT_TRUE(process().Kept(other.begin + 100));
  EXPECT_TRUE(process().Kept(other.begin + 4999));
}

// Somebody stopped in minicore_tag_range(): a slot whose bounds make sense counts, one
// that is being freed doesn't.
TEST_F(AnchorScanTest, ARangeThatIsJustBeingTaggedKeepIsKept) {
  const AddressRange other = Foreign(8 * kPageSize);
  for (unsigned slot : {0u, kMaxTagRanges - 1}) {
    TagRange& range = heap().tags().ranges[slot];
    range.begin = other.begin + slot;
    range.end = other.begin + slot + 64;
    range.state = kRangeClaimed | heap().Tag("keep");
  }
  heap().tags().ranges[1].begin = other.begin + 2 * kPageSize;
  heap().tags().ranges[1].state = kRangeLive | heap().Tag("keep");
  process().Scan();
  EXPECT_TRUE(process().Kept(other.begin));
  EXPECT_TRUE(process().Kept(other.begin + kMaxTagRanges + 62));
  EXPECT_FALSE(process().Kept(other.begin + 2 * kPageSize));
}

TEST_F(AnchorScanTest, ARangeAboveTheBudgetIsListed) {
  policy().max_bytes = 4096;
  const AddressRange other = Foreign(8 * kPageSize);
  TagRange& range = heap().tags().ranges[0];
  range.begin = other.begin;
  range.end = other.end;
  range.state = kRangeLive | heap().Tag("keep");
  process().Scan();
  EXPECT_EQ(process().KeptBytes(other), 0u);
  EXPECT_TRUE(process().Hole(other.begin + 100, HoleReason::kBudget));
}

// Memory that is gone

TEST_F(AnchorScanTest, AStackWithAHoleIsScannedOnBothSides) {
  auto* const pages = static_cast<uint64_t*>(
      mmap(nullptr, 3 * kPageSize, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const Address before = heap().Allocate(64);
  const Address behind = heap().Allocate(64);
  pages[511] = before;
  pages[1024] = behind;
  mprotect(pages + 512, kPageSize, PROT_NONE);
  process().ScanAsStack(pages, 3 * 512);
  process().Scan();
  EXPECT_TRUE(process().Kept(before));
  EXPECT_TRUE(process().Kept(behind));
  munmap(pages, 3 * kPageSize);
}

TEST_F(AnchorScanTest, AnAllocationWithAHoleIsFollowedOnBothSides) {
  const ByteCount size = 16 * kPageSize;
  const Address block = heap().Allocate(size);
  const Address before = heap().Allocate(64);
  const Address behind = heap().Allocate(64);
  heap().Word(block) = before;
  heap().Word(block + size - 8) = behind;
  void* const hole = reinterpret_cast<void*>(block + 4 * kPageSize);
  mprotect(hole, kPageSize, PROT_NONE);
  ScanFrom({block});
  mprotect(hole, kPageSize, PROT_READ | PROT_WRITE);
  EXPECT_TRUE(process().Kept(before));
  EXPECT_TRUE(process().Kept(behind));
}

TEST_F(AnchorScanTest, ADeadlineEndsTheSearchAndKeepsWhatItHas) {
  const auto nodes = List(100000, 64);
  process().outcome.deadline_us = 0;
  process().outcome.started_us -= 1000;
  ScanFrom({nodes[0]});
  EXPECT_LT(process().scan.reached.size(), nodes.size() / 2);
  EXPECT_TRUE(process().outcome.past_deadline);
}

TEST_F(AnchorScanTest, WithoutAHeapThereIsNothingToFollow) {
  IndexState none{};
  process().runtime.index = &none;
  const Address block = heap().Allocate(64);
  ScanFrom({block, 0, ~0ull});
  EXPECT_TRUE(process().scan.reached.empty());
}

TEST_F(AnchorScanTest, WithoutAnArenaNothingIsKeptAndNothingHangs) {
  const Address block = heap().Allocate(64);
  while (process().arena.Allocate(64) != nullptr) {
  }
  ScanFrom({block});
  EXPECT_TRUE(process().scan.reached.empty());
  EXPECT_TRUE(process().Hole(block, HoleReason::kOutOfRoom));
}

// Metadata

TEST_F(AnchorScanTest, WhatDebuggersNeedIsKeptOutsideTheBudget) {
  policy().max_bytes = 64;
  const Address link_map = heap().Allocate(1024);
  const Address name = heap().Allocate(32);
  heap().Word(link_map + 8) = name;
  ASSERT_TRUE(process().roots.metadata.Push(link_map));
  process().Scan();
  EXPECT_TRUE(process().Kept(link_map));
  EXPECT_TRUE(process().Kept(name));
  for (const Reached& reached : process().scan.reached) {
    EXPECT_EQ(reached.kind, SegmentKind::kThreadData);
  }
}

TEST_F(AnchorScanTest, WhatDebuggersNeedHasABoundToo) {
  const auto nodes =
      List(5000, 4096);  // a list in a circle, or a DTV of garbage
  for (Address node : nodes) {
    if (!process().roots.metadata.Push(node)) break;
  }
  policy().max_bytes = 0;
  process().Scan();
  EXPECT_LE(process().KeptBytes(heap().region()), 4u << 20);
  EXPECT_GT(process().outcome.hole_bytes[static_cast<int>(HoleReason::kBudget)], 0u);
}

// A list of modules that was overwritten may lead anywhere.
TEST_F(AnchorScanTest, ALargeAllocationWhereDebuggersLookIsKeptInPart) {
  const ByteCount size = 6 << 20;
  const Address large = heap().Allocate(size);
  const Address link_map = heap().Allocate(1024);
  const Address name = heap().Allocate(32);
  const Address behind = heap().Allocate(size);
  heap().Word(link_map + 8) = name;
  heap().Word(link_map + 16) = behind;
  policy().max_bytes = 64;
  for (const Address address : {large + 100, link_map}) {
    ASSERT_TRUE(process().roots.metadata.Push(address));
  }
  process().Scan();
  EXPECT_TRUE(process().Kept(large + 100));
  EXPECT_EQ(process().KeptBytes({large, large + size}), 1u << 20);
  EXPECT_TRUE(process().Hole(large + size - 1, HoleReason::kObjectLimit));
  EXPECT_TRUE(process().Kept(link_map));
  EXPECT_TRUE(process().Kept(name));
  EXPECT_EQ(process().KeptBytes({behind, behind + size}), 1u << 20);
}

TEST_F(AnchorScanTest, ASecretIsElidedEvenWhereDebuggersLook) {
  const Address secret = heap().Allocate(64, heap().Tag("secret"));
  ASSERT_TRUE(process().roots.metadata.Push(secret));
  process().Scan();
  EXPECT_FALSE(process().Kept(secret));
}

// An index that was scribbled over: anything may be kept, but only within the
// heap, and the search ends.
TEST_F(AnchorScanTest, AScribbledIndexEndsTheSearchWithinTheHeap) {
  for (int i = 0; i < 64; ++i) heap().Allocate(64);
  const uint64_t granules = heap().region().size() >> kGranuleShift;
  uint32_t state = 1;
  for (uint64_t i = 0; i < granules; ++i) {
    state = state * 1664525 + 1013904223;
    heap().index().shadow[i].store(static_cast<uint8_t>(state >> 24));
  }
  std::vector<uint64_t> words;
  for (Address at = heap().region().begin; at < heap().region().end;
       at += 100'000) {
    words.push_back(at + 3);
  }
  ScanFrom(words);
  for (const Reached& reached : process().scan.reached) {
    ASSERT_TRUE(heap().region().Contains(reached.range));
  }
}

}  // namespace
}  // namespace minicore
