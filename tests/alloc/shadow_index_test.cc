// What the writer leaves, as the reader sees it: also in the middle of a write.

#include "alloc/shadow_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "alloc/index_view.h"
#include "alloc/size_class.h"
#include "tests/alloc/made_up_index.h"

namespace minicore {
namespace {

Allocation ResolveAt(MadeUpIndex& index, uint64_t offset) {
  return Resolve(index.state(), index.at(offset));
}

TEST(ShadowIndex, ASmallAllocationIsKnownUntilItIsRetired) {
  for (unsigned size_class = 1; size_class <= kSmallClasses; ++size_class) {
    MadeUpIndex index;
    const uint64_t at = 0x7000;
    const ByteCount size = kSmallClassSize[size_class];
    RecordSmall(index.state(), at, size_class);
    Allocation found = ResolveAt(index, at + size - 1);
    EXPECT_EQ(found.state, AllocationState::kLive);
    EXPECT_EQ(found.begin, index.at(at));
    EXPECT_EQ(found.size, size);
    Retire(index.state(), at);
    found = ResolveAt(index, at + size - 1);
    EXPECT_EQ(found.state, AllocationState::kFreed);
    EXPECT_EQ(found.size, size);
  }
}

TEST(ShadowIndex, NeighboursOfOneGranuleDoNotTouchEachOther) {
  MadeUpIndex index;
  RecordSmall(index.state(), 0x1010, 1);
  RecordSmall(index.state(), 0x1000, 1);
  EXPECT_EQ(ResolveAt(index, 0x1010).begin, index.at(0x1010));
  EXPECT_EQ(ResolveAt(index, 0x1010).state, AllocationState::kLive);
  RecordSmall(index.state(), 0x1030, 1);
  RecordSmall(index.state(), 0x1010, 2);
  EXPECT_EQ(ResolveAt(index, 0x1030).size, 16u);
  EXPECT_EQ(ResolveAt(index, 0x102f).begin, index.at(0x1010));
}

TEST(ShadowIndex, ALargeAllocationIsKnownUntilItIsRetired) {
  MadeUpIndex index(8);
  const uint64_t at = kChunkSize - 0x2000 + 0x40;
  const ByteCount size = 5 * kChunkSize + kPageSize;
  RecordLarge(index.state(), at, size);
  for (ByteCount inside = 0; inside < size; inside += 10007) {
    const Allocation found = ResolveAt(index, at + inside);
    ASSERT_EQ(found.state, AllocationState::kLive);
    ASSERT_EQ(found.begin, index.at(at));
    ASSERT_EQ(found.size, size);
  }
  EXPECT_EQ(ResolveAt(index, at + size).state, AllocationState::kUnknown);
  Retire(index.state(), at);
  EXPECT_EQ(ResolveAt(index, at + size - 1).state, AllocationState::kFreed);
  EXPECT_EQ(ResolveAt(index, at + size - 1).size, size);
}

TEST(ShadowIndex, ALargeAllocationErasesWhatWasFreedInside) {
  MadeUpIndex index(4);
  const uint64_t at = 0x10040;
  const ByteCount size = 0x20000;
  const uint64_t before = 0x10000 - 16, after = 0x33000;  // these stay
  RecordSmall(index.state(), before, 1);
  RecordSmall(index.state(), after, 4);
  for (uint64_t inside = 0; inside < size; inside += 0x3000) {
    RecordLarge(index.state(), at + inside, 0x4000);
    Retire(index.state(), at + inside);
    RecordSmall(index.state(), at + inside + 0x1c40, 20);
    Retire(index.state(), at + inside + 0x1c40);
  }
  RecordLarge(index.state(), at, size);
  Retire(index.state(), at);
  for (uint64_t inside = 0; inside < size; inside += 16) {
    const Allocation found = ResolveAt(index, at + inside);
    ASSERT_EQ(found.begin, index.at(at)) << inside;
    ASSERT_EQ(found.size, size) << inside;
  }
  EXPECT_EQ(ResolveAt(index, before).size, 16u);
  EXPECT_EQ(ResolveAt(index, after).size, 64u);
}

TEST(ShadowIndex, WhatTellsOfFreedLargeAllocationsIsNotForgotten) {
  MadeUpIndex index(4);
  const ByteCount end = 16 * kGroupSize;
  // Freed small ones in every group, a freed large one in the sixth, and one
  // that is told of no more in the ninth.
  for (ByteCount group = 0; group < end; group += kGroupSize) {
    RecordSmall(index.state(), group + 0x300, 5);
    Retire(index.state(), group + 0x300);
  }
  const ByteCount large = 5 * kGroupSize + 0x7040;
  RecordLarge(index.state(), large, 0x5000);
  Retire(index.state(), large);
  const ByteCount forgotten = 8 * kGroupSize + 0x2000;
  RecordLarge(index.state(), forgotten, 0x5000);
  Retire(index.state(), forgotten);
  RecordSmall(index.state(), forgotten, 1);
  RecordSmall(index.state(), forgotten + 16, 1);
  Retire(index.state(), forgotten);

  const auto next = [&](ByteCount from) {
    return NextForgettable(index.state(), from, end - 0x1000);
  };
  AddressRange stretch = next(0x10);
  EXPECT_EQ(stretch.begin, kGroupSize);
  EXPECT_EQ(stretch.end, 5 * kGroupSize);
  stretch = next(stretch.end);
  EXPECT_EQ(stretch.begin, 6 * kGroupSize);
  EXPECT_EQ(stretch.end, 15 * kGroupSize);
  EXPECT_TRUE(next(stretch.end).empty());
}

// Marks are erased by whole words, and the last word may reach farther than
// what is erased: what stays there is not taken for younger.
TEST(ShadowIndex, AMarkThatIsJustNotErasedDoesNotHideALargeAllocation) {
  for (uint64_t in_page = 0; in_page < kPageSize; in_page += 64) {
    for (ByteCount back = 16; back <= 256; back += 16) {
      MadeUpIndex index(1);
      const uint64_t at = 0x10000 + in_page;
      const uint64_t mark = at + kShadowErased - back;
      RecordSmall(index.state(), mark, 29);
      Retire(index.state(), mark);
      RecordLarge(index.state(), at, 0x5000);
      Retire(index.state(), at);
      ASSERT_EQ(ResolveAt(index, at + 0x4fff).begin, index.at(at))
          << in_page << " " << back;
    }
  }
}

// As jemalloc's extents do: cut, joined and cut again elsewhere, large ones
// over small ones over large ones; the answer is what a list of the live ones
// says.
TEST(ShadowIndex, LargeAllocationsAreFoundWhateverWasThereBefore) {
  constexpr uint64_t kPages = 8 * kChunkSize / kPageSize;
  MadeUpIndex index(8);
  std::minstd_rand random(7);
  std::map<uint64_t, ByteCount> live;  // by offset, page-aligned parts apart
  std::vector<bool> taken(kPages);
  const auto pages_of = [](uint64_t at, ByteCount size) {
    return std::pair(at / kPageSize, (at + size - 1) / kPageSize + 1);
  };
  const auto take = [&](uint64_t at, ByteCount size, bool value) {
    const auto [first, end] = pages_of(at, size);
    std::fill(taken.begin() + static_cast<int64_t>(first),
              taken.begin() + static_cast<int64_t>(end), value);
  };
  for (int step = 0; step < 4000; ++step) {
    const uint64_t lg = 2 + random() % 9;  // 16 KiB to 4 MiB
    const ByteCount size = (4 + random() % 4) * (kPageSize << lg) / 4;
    const uint64_t at = random() % kPages * kPageSize + random() % 64 * 64;
    const auto [first, end] = pages_of(at, size);
    if (end <= kPages &&
        std::none_of(taken.begin() + static_cast<int64_t>(first),
                     taken.begin() + static_cast<int64_t>(end),
                     [](bool is) { return is; })) {
      RecordLarge(index.state(), at, size);
      live[at] = size;
      take(at, size, true);
    } else if (!live.empty()) {
      auto victim = live.lower_bound(random() % kPages * kPageSize);
      if (victim == live.end()) victim = live.begin();
      const auto [start, old] = *victim;
      if (random() % 4 == 0 && old >= 2 * 0x5000) {
        const ByteCount less = AlignUp(old / 2, kPageSize);
        ResizeLarge(index.state(), start, less);
        take(start, old, false);
        take(start, less, true);
        victim->second = less;
      } else {
        Retire(index.state(), start);
        take(start, old, false);
        live.erase(victim);
      }
    }
    for (int look = 0; look < 8; ++look) {
      const uint64_t where = random() % (kPages * kPageSize / 16) * 16 + 5;
      auto above = live.upper_bound(where);
      const Allocation found = ResolveAt(index, where);
      if (above == live.begin() ||
          where >= std::prev(above)->first + std::prev(above)->second) {
        ASSERT_NE(found.state, AllocationState::kLive) << where;
        continue;
      }
      --above;
      ASSERT_EQ(found.state, AllocationState::kLive) << where;
      ASSERT_EQ(found.begin, index.at(above->first)) << where;
      ASSERT_EQ(found.size, above->second) << where;
    }
  }
}

TEST(ShadowIndex, AResizedLargeAllocationHasItsNewSizeInEveryChunk) {
  MadeUpIndex index(8);
  const uint64_t at = 0x1000;
  RecordLarge(index.state(), at, 0x5000);
  ResizeLarge(index.state(), at, 4 * kChunkSize);
  EXPECT_EQ(ResolveAt(index, at + 4 * kChunkSize - 1).begin, index.at(at));
  EXPECT_EQ(ResolveAt(index, at).size, 4 * kChunkSize);
  ResizeLarge(index.state(), at, kChunkSize);
  EXPECT_EQ(ResolveAt(index, at + kChunkSize).state, AllocationState::kUnknown);
  EXPECT_EQ(ResolveAt(index, at + kChunkSize - 1).state,
            AllocationState::kLive);
}

TEST(ShadowIndex, AnAllocationBornTaggedIsNeverPlain) {
  MadeUpIndex index;
  ExpectTags(index.state(), 0x1000);
  RecordSmall(index.state(), 0x1000, 5, kShadowTagged);
  EXPECT_EQ(ResolveAt(index, 0x1000).own_tag, kUnknownTag);
  SetTagBytes(index.state(), 0x1000, 5, kTagSecret);
  EXPECT_EQ(ResolveAt(index, 0x1000).own_tag, kTagSecret);
  EXPECT_EQ(RetireAndTell(index.state(), 0x1000), kShadowTagged | 5);
}

TEST(ShadowIndex, OnlyGroupsInWhichSomethingWasTaggedAreLookedAt) {
  MadeUpIndex index;
  const auto groups = [&index] {
    std::set<uint64_t> found;
    for (uint64_t at = 0; at < index.bytes(); at += 0x8000) {
      if (MayHaveTag(index.state(), at)) found.insert(at / 0x10000);
    }
    return found;
  };
  EXPECT_EQ(groups(), (std::set<uint64_t>{}));
  ExpectTags(index.state(), 0x1000);
  ExpectTags(index.state(), kChunkSize - 16);
  ExpectTags(index.state(), kChunkSize + 0x50000);
  EXPECT_EQ(groups(), (std::set<uint64_t>{0, 31, 37}));
  EXPECT_EQ(ExtentTagAt(index.state(), kChunkSize), kNoTag);
  ExpectTagsOfExtent(index.state(), 2 * kChunkSize, kTagSecret);
  EXPECT_EQ(groups().size(), 3u + 32u);
  EXPECT_EQ(ExtentTagAt(index.state(), 3 * kChunkSize - 1), kTagSecret);
}

TEST(ShadowIndex, TagsOfOneChunkThatComeAtOnceAreAllThere) {
  MadeUpIndex index(1);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([&index, t] {
      for (unsigned i = 0; i < 8; ++i) {
        ExpectTags(index.state(), (i * 4 + t) * kGroupSize);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(index.chunk(0).tags, ChunkTags(kAllGroups, kNoTag));
}

// A writer may be frozen between any two of its stores. These are the stores
// of each operation, one after the other, with the answer expected after each.

TEST(ShadowIndex, AHalfRecordedAllocationIsNotLive) {
  MadeUpIndex index;
  index.SetShadow(0x1010, kShadowNotLive | 5);  // second granule only
  EXPECT_NE(ResolveAt(index, 0x1000).state, AllocationState::kLive);
  EXPECT_NE(ResolveAt(index, 0x1010).state, AllocationState::kLive);
  index.SetShadow(0x1000, 5);
  EXPECT_EQ(ResolveAt(index, 0x1010).state, AllocationState::kLive);
}

TEST(ShadowIndex, AHalfRecordedLargeAllocationIsNotLive) {
  MadeUpIndex index;
  const auto nowhere_live = [&index] {
    for (uint64_t at : {uint64_t{0x3000}, uint64_t{0x9000}, kChunkSize}) {
      EXPECT_NE(ResolveAt(index, at).state, AllocationState::kLive);
    }
  };
  index.SetLarge(0x3000, kChunkSize);
  nowhere_live();
  index.chunk(1).large_before = index.at(0x3000);
  nowhere_live();
  index.SetShadow(0x3010, kShadowNotLive | kShadowLarge);
  nowhere_live();
  index.SetShadow(0x3000, kShadowLarge);
  EXPECT_EQ(ResolveAt(index, kChunkSize).begin, index.at(0x3000));
}

TEST(ShadowIndex, ReusedMemoryResolvesToItsLatestAllocation) {
  MadeUpIndex index;
  const uint64_t page = 0x5000;
  RecordLarge(index.state(), page, 0x4000);
  Retire(index.state(), page);
  for (uint64_t at = page; at < page + 0x1000; at += 64) {
    RecordSmall(index.state(), at, 4);
  }
  EXPECT_EQ(ResolveAt(index, page + 0x7ff).begin, index.at(page + 0x7c0));
  for (uint64_t at = page; at < page + 0x1000; at += 64) {
    Retire(index.state(), at);
  }
  RecordLarge(index.state(), page + 0x40, 0x8000);
  EXPECT_EQ(ResolveAt(index, page + 0x7ff).begin, index.at(page + 0x40));
  EXPECT_EQ(ResolveAt(index, page + 0x8000).size, 0x8000u);
}

// The reader may run at any time beside a writer: each answer is one of the
// two that were ever true. (ThreadSanitizer watches this, too.)
TEST(ShadowIndex, AReaderBesideAWriterSeesOneStateOrTheOther) {
  MadeUpIndex index;
  const uint64_t small = 0x1000, large = 0x10040;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 0; i < 200000; ++i) {
      RecordSmall(index.state(), small, i % 2 != 0 ? 5 : 20);
      RecordLarge(index.state(), large, i % 2 != 0 ? 0x5000 : 0x300000);
      Retire(index.state(), small);
      Retire(index.state(), large);
    }
    stop = true;
  });
  while (!stop) {
    Allocation found = ResolveAt(index, small + 40);
    if (found.state == AllocationState::kLive) {
      ASSERT_EQ(found.begin, index.at(small));
      ASSERT_TRUE(found.size == 80 || found.size == 1024);
    }
    found = ResolveAt(index, large + 0x4000);
    if (found.state == AllocationState::kLive) {
      ASSERT_EQ(found.begin, index.at(large));
      ASSERT_TRUE(found.size == 0x5000 || found.size == 0x300000);
    }
  }
  writer.join();
}

TEST(SizeClass, EveryRequestHasTheSmallestClassThatHoldsIt) {
  for (size_t size = 0; size <= kSmallMax; ++size) {
    const unsigned size_class = SizeClassOf(size);
    ASSERT_GE(kSmallClassSize[size_class], size);
    if (size_class > 1) {
      ASSERT_LT(kSmallClassSize[size_class - 1], size);
    }
  }
}

}  // namespace
}  // namespace minicore
