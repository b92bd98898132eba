// What the reader of the shadow index says of made-up bytes.

#include "alloc/index_view.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "tests/alloc/made_up_index.h"

namespace minicore {
namespace {

constexpr uint64_t kAt = 0x12340;  // an offset with nothing special

Allocation ResolveAt(MadeUpIndex& index, uint64_t offset) {
  return Resolve(index.state(), index.at(offset));
}

void ExpectLive(MadeUpIndex& index, uint64_t offset, uint64_t begin,
                ByteCount size) {
  const Allocation found = ResolveAt(index, offset);
  EXPECT_EQ(found.state, AllocationState::kLive) << offset;
  EXPECT_EQ(found.begin, index.at(begin)) << offset;
  EXPECT_EQ(found.size, size) << offset;
}

void ExpectFreed(MadeUpIndex& index, uint64_t offset, uint64_t begin,
                 ByteCount size) {
  const Allocation found = ResolveAt(index, offset);
  EXPECT_EQ(found.state, AllocationState::kFreed) << offset;
  EXPECT_EQ(found.begin, index.at(begin)) << offset;
  EXPECT_EQ(found.size, size) << offset;
}

void ExpectUnknown(MadeUpIndex& index, uint64_t offset) {
  EXPECT_EQ(ResolveAt(index, offset).state, AllocationState::kUnknown)
      << offset;
}

void MakeLarge(MadeUpIndex& index, uint64_t offset, ByteCount size,
               uint8_t byte = kShadowLarge) {
  index.SetLarge(offset, size | (offset % kPageSize >> kGranuleShift));
  index.SetShadow(offset + 16, kShadowNotLive | kShadowLarge);
  index.SetShadow(offset, byte);
  // The ways back, one by one, without the writer's arithmetic.
  const uint64_t back = offset / 16 * 4096 + kLargeBack;
  for (uint64_t page = offset / 4096 * 4096 + 4096; page < offset + size;
       page += 4096) {
    const bool same_group = page / 65536 == offset / 65536;
    const bool same_chunk = page / kChunkSize == offset / kChunkSize;
    if (same_group || (same_chunk && page % 65536 == 0)) {
      index.SetLarge(page, back);
    }
    if (page % kChunkSize == 0) {
      index.chunk(static_cast<unsigned>(page / kChunkSize)).large_before =
          index.at(offset);
    }
  }
}

TEST(IndexView, ZeroStateResolvesNothing) {
  const IndexState none = {};
  for (Address address : {Address{0}, Address{1}, Address{4096},
                          MadeUpIndex::kRegion, ~Address{0}}) {
    EXPECT_FALSE(InHeap(none, address));
    EXPECT_EQ(Resolve(none, address).state, AllocationState::kUnknown);
  }
}

TEST(IndexView, NothingOutsideTheCommittedHeapIsLookedAt) {
  MadeUpIndex index(1);
  index.Fill(1);  // a live 16-byte allocation at every granule
  ExpectLive(index, 0, 0, 16);
  ExpectLive(index, index.bytes() - 1, index.bytes() - 16, 16);
  ExpectUnknown(index, index.bytes());
  ExpectUnknown(index, 2 * index.bytes());
  ExpectUnknown(index, ~uint64_t{0});
}

TEST(IndexView, CommittedBeyondTheRegionIsNotBelieved) {
  MadeUpIndex index(1);
  index.state().region_bytes = index.bytes();
  index.state().committed = 100 * index.bytes();
  ExpectUnknown(index, index.bytes());
}

TEST(IndexView, EveryByteOfASmallAllocationResolvesToIt) {
  for (unsigned size_class = 1; size_class <= kSmallClasses; ++size_class) {
    MadeUpIndex index;
    const ByteCount size = kSmallClassSize[size_class];
    index.SetShadow(kAt, static_cast<uint8_t>(size_class));
    ExpectLive(index, kAt, kAt, size);
    ExpectLive(index, kAt + size / 2, kAt, size);
    ExpectLive(index, kAt + size - 1, kAt, size);
    ExpectUnknown(index, kAt + size);
    ExpectUnknown(index, kAt - 1);
  }
}

TEST(IndexView, SmallAllocationsAtBothEndsOfTheHeap) {
  MadeUpIndex index(1);
  index.SetShadow(0, 35);
  ExpectLive(index, 0, 0, kSmallMax);
  ExpectLive(index, kSmallMax - 1, 0, kSmallMax);
  const uint64_t last = index.bytes() - kSmallMax;
  index.SetShadow(last, 35);
  ExpectLive(index, index.bytes() - 1, last, kSmallMax);
}

TEST(IndexView, NothingReachesBeyondTheHeap) {
  MadeUpIndex index(1);
  const uint64_t last = index.bytes() - 16;
  index.SetShadow(last, 2);
  ExpectUnknown(index, last);
  index.SetShadow(last, kShadowLarge);
  index.SetLarge(last, 0x4000 | (last % kPageSize >> kGranuleShift));
  ExpectUnknown(index, last);
}

TEST(IndexView, TheByteAfterResolvesToTheNeighbourOnly) {
  MadeUpIndex index;
  index.SetShadow(kAt, 3);       // 48 bytes
  index.SetShadow(kAt + 48, 3);  // and the next
  ExpectLive(index, kAt + 47, kAt, 48);
  ExpectLive(index, kAt + 48, kAt + 48, 48);
}

TEST(IndexView, StaleBytesInsideALiveAllocationDoNotCount) {
  MadeUpIndex index;
  index.SetShadow(kAt, 20);  // 1 KiB, where smaller ones were freed before
  for (uint64_t stale = 16; stale < 1024; stale += 16) {
    index.SetShadow(kAt + stale, stale % 64 == 0
                                     ? kShadowFreed
                                     : kShadowNotLive | (stale / 16 % 36));
  }
  for (uint64_t inside = 0; inside < 1024; ++inside) {
    ExpectLive(index, kAt + inside, kAt, 1024);
  }
}

TEST(IndexView, BytesThatAreNoClassAreNoStart) {
  for (int byte :
       {0x00, 0x24, 0x3e, 0x80, 0xa4, 0xbe, 0x40, 0x7f, 0xc0, 0xff}) {
    MadeUpIndex index;
    index.SetShadow(kAt, 8);  // 128 bytes below must not be hidden by garbage
    index.SetShadow(kAt + 32, static_cast<uint8_t>(byte));
    ExpectLive(index, kAt + 32, kAt, 128);
  }
}

TEST(IndexView, EveryByteOfALargeAllocationResolvesToIt) {
  for (ByteCount size : {ByteCount{16384}, ByteCount{20480}, ByteCount{1} << 20,
                         ByteCount{5} << 20}) {
    for (uint64_t in_page : {0, 64, 4032}) {
      MadeUpIndex index(5);
      const uint64_t begin = 0x3000 + in_page;
      MakeLarge(index, begin, size);
      for (uint64_t inside :
           {ByteCount{0}, ByteCount{15}, ByteCount{14335}, ByteCount{14336},
            size / 2, size - 4096, size - 1}) {
        ExpectLive(index, begin + inside, begin, size);
      }
      for (uint64_t inside = 0; inside < size; inside += 997) {
        ExpectLive(index, begin + inside, begin, size);
      }
      ExpectUnknown(index, begin + size);
      ExpectUnknown(index, begin - 1);
    }
  }
}

TEST(IndexView, ALargeAllocationEndsInAnyChunk) {
  MadeUpIndex index(4);
  const uint64_t begin = kChunkSize - kPageSize + 64;
  const ByteCount size = 2 * kChunkSize + kPageSize;
  MakeLarge(index, begin, size);
  ExpectLive(index, kChunkSize, begin, size);
  ExpectLive(index, 2 * kChunkSize, begin, size);
  ExpectLive(index, begin + size - 1, begin, size);
  ExpectUnknown(index, begin + size);
}

TEST(IndexView, TheNearestLargeAllocationDecides) {
  MadeUpIndex index;
  MakeLarge(index, 0x3000, 0x8000);
  MakeLarge(index, 0x40000, 0x5000);
  ExpectLive(index, 0x3000 + 0x7fff, 0x3000, 0x8000);
  ExpectUnknown(index, 0x3000 + 0x8000);
  ExpectUnknown(index, 0x40000 + 0x5000);
}

TEST(IndexView, ASmallAllocationAfterALargeOneOnTheSamePages) {
  MadeUpIndex index;
  MakeLarge(index, 0x3000, 0x10000, kShadowFreed);
  index.SetShadow(0x8000, 8);
  ExpectLive(index, 0x8000 + 100, 0x8000, 128);
}

TEST(IndexView, AStaleLargeWordIsNotBelieved) {
  MadeUpIndex index;
  MakeLarge(index, 0x3000, 0x5000);
  index.SetShadow(0x3000, kShadowFreed);
  index.SetShadow(0x3040, kShadowLarge);  // no word of its own
  EXPECT_NE(ResolveAt(index, 0x3050).state, AllocationState::kLive);
}

TEST(IndexView, LargeWordsWithImpossibleSizesAreNotBelieved) {
  for (uint64_t word :
       {uint64_t{0}, uint64_t{0x1000}, uint64_t{0x3000}, uint64_t{0x5800},
        ~uint64_t{0} << 12, uint64_t{4} * kChunkSize}) {
    MadeUpIndex index;
    index.SetShadow(0x3000, kShadowLarge);
    index.SetLarge(0x3000, word);
    ExpectUnknown(index, 0x3000);
    ExpectUnknown(index, 0x9000);
  }
}

TEST(IndexView, LargeBeforeMustPointToAnEarlierChunk) {
  MadeUpIndex index;
  MakeLarge(index, 0x3000, 0x5000);
  for (Address before :
       {Address{0}, Address{1}, index.at(kChunkSize), index.at(kChunkSize + 8),
        index.at(3 * kChunkSize), index.at(0x3008), ~Address{0}}) {
    index.chunk(1).large_before = before;
    ExpectUnknown(index, kChunkSize + 0x100);
  }
}

TEST(IndexView, WaysBackToWhatDoesNotReachHereAreNotFollowed) {
  MadeUpIndex index;
  MakeLarge(index, 0x13000, 0x5000);
  for (uint64_t start : {uint64_t{0x1300}, uint64_t{0x1301}, uint64_t{0x2000},
                         uint64_t{0x9000}, ~uint64_t{0}}) {
    for (uint64_t page : {0x19000, 0x20000, 0x21000}) {
      index.SetLarge(page, start << kLargeBackShift | kLargeBack);
      ExpectUnknown(index, page + 0x10);
    }
  }
}

TEST(IndexView, AWayBackOfAnEarlierLargeAllocationHidesNoneThatLives) {
  MadeUpIndex index;
  // The later one starts before and covers it; the earlier one's words for the
  // pages of its own group are still there.
  MakeLarge(index, 0x25000, 0x6000, kShadowFreed);
  MakeLarge(index, 0x13000, 0x40000);
  index.SetLarge(0x26000, uint64_t{0x2500} << kLargeBackShift | kLargeBack);
  for (uint64_t at = 0x13000; at < 0x53000; at += 0x800) {
    ExpectLive(index, at, 0x13000, 0x40000);
  }
}

TEST(IndexView, ALiveAllocationHasItsTag) {
  MadeUpIndex index;
  index.SetShadow(kAt, kShadowTagged | 4);
  index.SetTagAndCheck(kAt, 7);
  EXPECT_EQ(ResolveAt(index, kAt + 63).own_tag, 7);
  index.SetShadow(kAt + 0x10000, kShadowTagged | 1);
  index.SetTag(kAt + 0x10000, 7);
  index.SetTaggedGroup(kAt + 0x10000);
  EXPECT_EQ(ResolveAt(index, kAt + 0x1000f).own_tag, 7);
}

TEST(IndexView, ATagOfWhichTheEntriesDisagreeIsUnknown) {
  MadeUpIndex index;
  const auto tag = [&] { return ResolveAt(index, kAt + 63).own_tag; };
  index.SetShadow(kAt, kShadowTagged | 4);
  EXPECT_EQ(tag(), kUnknownTag);  // a mark in a group without tags
  index.SetTagAndCheck(kAt, 7);
  EXPECT_EQ(tag(), 7);
  index.SetShadow(kAt, 4);
  EXPECT_EQ(tag(), kUnknownTag);
  index.SetShadow(kAt, kShadowTagged | 4);
  index.SetTag(kAt + 16, 7);
  EXPECT_EQ(tag(), kUnknownTag);
  index.SetTagAndCheck(kAt, kNoTag);
  index.SetTag(kAt + 16, 0);
  EXPECT_EQ(tag(), kUnknownTag);
  index.SetShadow(kAt, 4);
  EXPECT_EQ(tag(), kNoTag);
}

TEST(IndexView, AnAllocationOfATaggedExtentHasItsTag) {
  MadeUpIndex index;
  index.chunk(0).tags = ChunkTags(kAllGroups, 9);
  index.SetShadow(kAt, 4);
  EXPECT_EQ(ResolveAt(index, kAt).own_tag, kNoTag);
  EXPECT_EQ(ResolveAt(index, kAt).extent_tag, 9);
  index.SetShadow(kAt, kShadowTagged | 4);
  index.SetTagAndCheck(kAt, 7);
  EXPECT_EQ(ResolveAt(index, kAt).own_tag, 7);
  EXPECT_EQ(ResolveAt(index, kAt).extent_tag, 9);
  EXPECT_EQ(ResolveAt(index, kAt + 0x1000).extent_tag,
            9);  // nothing lives there
}

TEST(IndexView, ATaggedLargeAllocation) {
  MadeUpIndex index;
  MakeLarge(index, 0x3000, 3 * kChunkSize, kShadowTagged | kShadowLarge);
  index.SetTagAndCheck(0x3000, 3);
  EXPECT_EQ(ResolveAt(index, 2 * kChunkSize).own_tag, 3);
}

// Freed allocations: the size comes from the second granule.

TEST(IndexView, AFreedAllocationIsKnownAsFreedWithItsSize) {
  for (unsigned size_class = 2; size_class <= kSmallClasses; ++size_class) {
    MadeUpIndex index;
    const ByteCount size = kSmallClassSize[size_class];
    index.SetShadow(kAt, kShadowFreed);
    index.SetShadow(kAt + 16,
                    static_cast<uint8_t>(kShadowNotLive | size_class));
    ExpectFreed(index, kAt, kAt, size);
    ExpectFreed(index, kAt + size - 1, kAt, size);
    ExpectUnknown(index, kAt + size);
  }
}

TEST(IndexView, AFreedGranuleIsKnownAsFreed) {
  MadeUpIndex index;
  index.SetShadow(kAt, kShadowFreed);
  ExpectFreed(index, kAt + 15, kAt, 16);
  ExpectUnknown(index, kAt + 16);
}

TEST(IndexView, ALiveNeighbourTellsTheSizeOfAFreedAllocation) {
  for (int neighbour : {-3, -1, 1, 2}) {
    MadeUpIndex index;
    const uint64_t slot = 0x9000 + 10 * 48;
    index.SetShadow(slot, kShadowFreed);  // and nothing in its second granule
    index.SetShadow(slot + neighbour * 48, 3);
    ExpectFreed(index, slot, slot, 48);
    ExpectFreed(index, slot + 47, slot, 48);
  }
}

TEST(IndexView, TheSlabOfALiveNeighbourWinsOverStaleBytes) {
  MadeUpIndex index;
  // 96-byte slots now; a 48-byte allocation was freed here before.
  index.SetShadow(0x9000, 6);
  index.SetShadow(0x9000 + 96, kShadowFreed);
  index.SetShadow(0x9000 + 96 + 48, kShadowFreed);
  index.SetShadow(0x9000 + 96 + 64, kShadowNotLive | 3);
  ExpectFreed(index, 0x9000 + 96 + 50, 0x9000 + 96, 96);
}

TEST(IndexView, AMarkInsideAFreedLargeAllocationIsYoungerWhereThoseAreErased) {
  MadeUpIndex index;
  const uint64_t begin = 0x9000;
  MakeLarge(index, begin, 0x80000, kShadowFreed);
  for (ByteCount inside : {kShadowErased - 0x1000, kShadowErased + 0x1000}) {
    index.SetShadow(begin + inside, kShadowFreed);
    index.SetShadow(begin + inside + 16, kShadowNotLive | 20);
  }
  ExpectFreed(index, begin + kShadowErased - 0x1000 + 50,
              begin + kShadowErased - 0x1000, 1024);
  ExpectFreed(index, begin + kShadowErased + 0x1000 + 50, begin, 0x80000);
}

TEST(IndexView, ALiveAllocationThatReachesIntoThePageIsANeighbour) {
  MadeUpIndex index;
  const uint64_t live = 0x9000 - 1280;  // ends in the middle of the page
  index.SetShadow(live, 25);            // 2,560 bytes
  index.SetShadow(live + 2560, kShadowFreed);
  ExpectFreed(index, live + 2560 + 100, live + 2560, 2560);
}

TEST(IndexView, WhatALiveAllocationCoversIsNotFreed) {
  MadeUpIndex index;
  index.SetShadow(kAt, kShadowFreed);  // a freed kilobyte ...
  index.SetShadow(kAt + 16, kShadowNotLive | 20);
  index.SetShadow(kAt + 0x2000, 4);  // ... two pages below a live allocation
  ExpectUnknown(index, kAt + 0x2000 + 64);
}

TEST(IndexView, AFreedLargeAllocationKeepsItsSize) {
  MadeUpIndex index;
  const uint64_t begin = 0x3040;
  const ByteCount size = kChunkSize + 0x5000;
  MakeLarge(index, begin, size, kShadowFreed);
  ExpectFreed(index, begin, begin, size);
  ExpectFreed(index, begin + 0x8000, begin, size);
  ExpectFreed(index, begin + size - 1, begin, size);
  ExpectUnknown(index, begin + size);
}

// ForEachLive

std::vector<Address> LiveIn(MadeUpIndex& index, AddressRange range) {
  std::vector<Address> found;
  ForEachLive(
      index.state(), range,
      [](void* context, const Allocation& allocation) {
        EXPECT_EQ(allocation.state, AllocationState::kLive);
        static_cast<std::vector<Address>*>(context)->push_back(
            allocation.begin);
        return true;
      },
      &found);
  return found;
}

TEST(IndexView, ForEachLiveVisitsTheStartsInTheRangeInOrder) {
  MadeUpIndex index;
  index.SetShadow(0, 1);
  index.SetShadow(0x1000, 3);
  index.SetShadow(0x1030, kShadowFreed);
  index.SetShadow(0x1060, kShadowTagged | 3);
  MakeLarge(index, 0x4040, 0x200000);
  index.SetShadow(index.bytes() - 16, 1);
  EXPECT_EQ(
      LiveIn(index, {0, ~Address{0}}),
      (std::vector<Address>{index.at(0), index.at(0x1000), index.at(0x1060),
                            index.at(0x4040), index.at(index.bytes() - 16)}));
  EXPECT_EQ(LiveIn(index, {index.at(1), index.at(0x1060)}),
            (std::vector<Address>{index.at(0x1000)}));
  EXPECT_EQ(LiveIn(index, {index.at(0x1060), index.at(0x1061)}),
            (std::vector<Address>{index.at(0x1060)}));
  EXPECT_TRUE(LiveIn(index, {index.at(0x1061), index.at(0x4040)}).empty());
  EXPECT_TRUE(LiveIn(index, {5, 6}).empty());
  EXPECT_TRUE(LiveIn(index, {index.at(7), index.at(7)}).empty());
}

TEST(IndexView, ForEachLiveStopsWhenTold) {
  MadeUpIndex index;
  index.Fill(1);
  int visits = 0;
  ForEachLive(
      index.state(), {0, ~Address{0}},
      [](void* context, const Allocation&) {
        return ++*static_cast<int*>(context) < 3;
      },
      &visits);
  EXPECT_EQ(visits, 3);
}

// Any bytes at all: no fault, and nothing impossible in the answer.

void ExpectPossible(MadeUpIndex& index, const Allocation& found,
                    Address address) {
  if (found.state == AllocationState::kUnknown) return;
  const uint64_t offset = found.begin - MadeUpIndex::kRegion;
  EXPECT_LT(offset, index.bytes());
  if (found.state == AllocationState::kLive) {
    EXPECT_LE(offset + found.size, index.bytes());
  }
  EXPECT_EQ(offset % kGranuleSize, 0u);
  EXPECT_TRUE(found.range().Contains(address));
}

TEST(IndexView, RandomPlanesNeverGiveAnImpossibleAnswer) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20; ++round) {
    MadeUpIndex index(2);
    const uint8_t masks[] = {0xff, 0x7f, 0x3f, 0x41};
    for (uint64_t offset = 0; offset < index.bytes(); offset += 16) {
      if (random() % 4 != 0) continue;
      index.SetShadow(offset,
                      static_cast<uint8_t>(random()) & masks[round % 4]);
    }
    for (uint64_t offset = 0; offset < index.bytes(); offset += kPageSize) {
      index.SetLarge(offset,
                     random() & (random() % 2 != 0 ? ~uint64_t{0} : 0xff70ff));
    }
    for (unsigned chunk = 0; chunk < 2; ++chunk) {
      index.chunk(chunk).large_before = index.at(random() % index.bytes());
    }
    for (int i = 0; i < 20000; ++i) {
      const Address address = index.at(random() % index.bytes());
      ExpectPossible(index, Resolve(index.state(), address), address);
    }
    LiveIn(index, {0, ~Address{0}});
  }
}

TEST(IndexView, PlanesOfOneByteNeverGiveAnImpossibleAnswer) {
  for (int byte = 0; byte < 256; ++byte) {
    MadeUpIndex index(1);
    index.Fill(static_cast<uint8_t>(byte));
    for (uint64_t offset = 0; offset < index.bytes(); offset += 65521) {
      const Address address = index.at(offset);
      ExpectPossible(index, Resolve(index.state(), address), address);
    }
  }
}

// Dispositions

TEST(IndexView, BuiltInTagsAreKnownWithoutATable) {
  const auto tags = std::make_unique<TagState>();
  EXPECT_EQ(DispositionOf(*tags, kNoTag), Disposition::kKeep);
  EXPECT_EQ(DispositionOf(*tags, kTagSecret), Disposition::kElide);
  EXPECT_EQ(DispositionOf(*tags, kTagCache), Disposition::kCut);
  EXPECT_EQ(DispositionOf(*tags, kTagKeep), Disposition::kKeepAlways);
  char name[kMaxTagName + 1];
  NameOf(*tags, kTagSecret, name);
  EXPECT_STREQ(name, "secret");
}

TEST(IndexView, AnUnknownTagIsElided) {
  const auto tags = std::make_unique<TagState>();
  for (unsigned tag = kFirstUserTag; tag < 256; ++tag) {
    EXPECT_EQ(DispositionOf(*tags, static_cast<uint8_t>(tag)),
              Disposition::kElide);
  }
  tags->entries[5].ready = 1;
  EXPECT_EQ(DispositionOf(*tags, 5), Disposition::kElide);
  tags->entries[5].rule = 77;
  EXPECT_EQ(DispositionOf(*tags, 5), Disposition::kElide);
  char name[kMaxTagName + 1] = "x";
  NameOf(*tags, 200, name);
  EXPECT_STREQ(name, "");
}

TEST(IndexView, ANameWithoutAnEndIsCut) {
  const auto tags = std::make_unique<TagState>();
  std::memset(tags->entries[5].name, 'x', sizeof(tags->entries[5].name));
  tags->entries[5].ready = 1;
  char name[kMaxTagName + 1];
  NameOf(*tags, 5, name);
  EXPECT_EQ(std::strlen(name), kMaxTagName);
}

// The more protective of its own tag and that of its extents

TEST(IndexView, OfTwoTagsTheMoreProtectiveCounts) {
  const auto tags = std::make_unique<TagState>();
  const auto tag_of = [&tags](uint8_t own, uint8_t of_extent) {
    Allocation allocation;
    allocation.own_tag = own;
    allocation.extent_tag = of_extent;
    return TagOf(*tags, allocation);
  };
  EXPECT_EQ(tag_of(kNoTag, kNoTag), kNoTag);
  EXPECT_EQ(tag_of(kTagCache, kNoTag), kTagCache);
  EXPECT_EQ(tag_of(kNoTag, kTagCache), kTagCache);
  EXPECT_EQ(tag_of(kTagSecret, kTagCache), kTagSecret);
  EXPECT_EQ(tag_of(kTagCache, kTagSecret), kTagSecret);
  EXPECT_EQ(tag_of(kUnknownTag, kTagCache), kUnknownTag);
  // Labels: its own.
  for (const int label : {4, 5}) {
    tags->entries[label].rule = RuleOf(Disposition::kKeep);
  }
  EXPECT_EQ(tag_of(4, 5), 4);
  EXPECT_EQ(tag_of(5, 4), 5);
  tags->entries[5].rule = RuleOf(Disposition::kElide);
  EXPECT_EQ(tag_of(4, 5), 5);
  EXPECT_EQ(tag_of(kNoTag, 5), 5);
}

// ForEachOf

std::vector<uint64_t> OffsetsOf(MadeUpIndex& index, const TagState& tags,
                                Disposition wanted) {
  std::vector<uint64_t> found;
  for (uint64_t at = 0; at < index.bytes(); at += kChunkSize) {
    ForEachOf(
        index.state(), tags, at, wanted,
        [](void* context, const Allocation& allocation) {
          static_cast<std::vector<uint64_t>*>(context)->push_back(
              allocation.begin - MadeUpIndex::kRegion);
          return true;
        },
        &found);
  }
  return found;
}

TEST(IndexView, WhatIsTaggedIsFoundByItsDisposition) {
  const auto tags = std::make_unique<TagState>();
  MadeUpIndex index;
  for (uint64_t at = 0; at < index.bytes(); at += 64) index.SetShadow(at, 4);
  const auto tag = [&index](uint64_t at, uint8_t of) {
    index.SetShadow(at, kShadowTagged | 4);
    index.SetTagAndCheck(at, of);
  };
  tag(0, kTagSecret);
  tag(0xffc0, kTagKeep);
  tag(0x1ffc0, kTagSecret);
  tag(kChunkSize - 64, kTagSecret);
  tag(kChunkSize, kTagCache);
  tag(index.bytes() - 64, kTagSecret);
  EXPECT_EQ(
      OffsetsOf(index, *tags, Disposition::kElide),
      (std::vector<uint64_t>{0, 0x1ffc0, kChunkSize - 64, index.bytes() - 64}));
  EXPECT_EQ(OffsetsOf(index, *tags, Disposition::kKeepAlways),
            (std::vector<uint64_t>{0xffc0}));
  EXPECT_EQ(OffsetsOf(index, *tags, Disposition::kCut),
            (std::vector<uint64_t>{kChunkSize}));
}

TEST(IndexView, OfATaggedExtentAllAreFoundThatAreNotMoreProtected) {
  const auto tags = std::make_unique<TagState>();
  MadeUpIndex index(1);
  index.chunk(0).tags = ChunkTags(kAllGroups, kTagKeep);
  index.SetShadow(0, 4);
  index.SetShadow(0x40, kShadowTagged | 4);
  index.SetTagAndCheck(0x40, kTagSecret);
  index.SetShadow(0x80, kShadowTagged | 4);
  index.SetTagAndCheck(0x80, kTagCache);
  EXPECT_EQ(OffsetsOf(index, *tags, Disposition::kKeepAlways),
            (std::vector<uint64_t>{0}));
  EXPECT_EQ(OffsetsOf(index, *tags, Disposition::kElide),
            (std::vector<uint64_t>{0x40}));
  index.chunk(0).tags = ChunkTags(kAllGroups, kTagSecret);
  EXPECT_EQ(OffsetsOf(index, *tags, Disposition::kElide),
            (std::vector<uint64_t>{0, 0x40, 0x80}));
  EXPECT_TRUE(OffsetsOf(index, *tags, Disposition::kKeepAlways).empty());
}

TEST(IndexView, AFreedSecretIsFoundAsLongAsItHasItsTag) {
  const auto tags = std::make_unique<TagState>();
  for (const bool of_extent : {false, true}) {
    MadeUpIndex index(1);
    if (of_extent) index.chunk(0).tags = ChunkTags(kAllGroups, kTagSecret);
    index.SetShadow(kAt, kShadowFreed);
    index.SetShadow(kAt + 16, kShadowNotLive | 4);
    index.SetTagAndCheck(kAt, kTagSecret);
    EXPECT_FALSE(Contradicts(index.state(), 0));
    EXPECT_EQ(OffsetsOf(index, *tags, Disposition::kElide),
              (std::vector<uint64_t>{kAt}));
    index.SetTag(kAt + 16, 0);
    EXPECT_FALSE(Contradicts(index.state(), 0));
    index.SetTag(kAt, 0);
    EXPECT_TRUE(OffsetsOf(index, *tags, Disposition::kElide).empty());
  }
}

// Contradictions: only in groups in which something was tagged.

TEST(IndexView, WhatWritersLeaveDoesNotContradictItself) {
  MadeUpIndex index(4);
  uint64_t at = 0;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned size_class = byte & kShadowClassMask;
    const bool live = (byte & kShadowNotLive) == 0 && size_class != 0;
    const bool tagged = (byte & kShadowTagged) != 0;
    if ((size_class > kSmallClasses && size_class != kShadowLarge) ||
        (tagged && !live)) {
      continue;
    }
    at += 64 * 1024;
    ASSERT_LT(at, index.bytes());
    index.SetTaggedGroup(at);
    index.SetShadow(at, byte);
    if (live && size_class > 1) {
      index.SetShadow(at + 16, kShadowNotLive | size_class);
    }
    if (tagged) index.SetTag(at, kTagSecret);
    if (tagged && size_class > 1) index.SetTagAndCheck(at, kTagSecret);
    if (live && size_class == kShadowLarge) {
      MakeLarge(index, at, 16384, static_cast<uint8_t>(byte));
    }
    EXPECT_FALSE(Contradicts(index.state(), AlignDown(at, kChunkSize))) << byte;
  }
}

TEST(IndexView, EachByteThatNoWriterStoresIsAContradiction) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    MadeUpIndex index(1);
    const unsigned low = byte & 0x7f;
    const bool exists = (low & 0x3f) <= kSmallClasses || (low & 0x3f) == 0x3f;
    const bool live = low >= 1 && (low <= kSmallClasses || low == 0x3f);
    index.SetShadow(kAt, byte);
    index.SetShadow(kAt + 16, kShadowNotLive | (low & 0x3f));
    index.SetTaggedGroup(kAt);
    if (byte >= 0x80) index.SetTagAndCheck(kAt, kTagSecret);
    if (low == 1) index.SetTag(kAt + 16, 0), index.SetShadow(kAt + 16, 0);
    index.SetLarge(kAt, 16384 | (kAt % kPageSize >> kGranuleShift));
    EXPECT_EQ(Contradicts(index.state(), 0), !exists || (byte >= 0x80 && !live))
        << byte;
  }
}

TEST(IndexView, ALiveStartWithAnotherSecondGranuleIsAContradiction) {
  for (const uint64_t at : {kAt, uint64_t{0x120f0}, uint64_t{0x12000}}) {
    for (unsigned size_class = 1; size_class <= kSmallClasses; ++size_class) {
      MadeUpIndex index(1);
      index.SetTaggedGroup(at);
      index.SetShadow(at, size_class);
      EXPECT_EQ(Contradicts(index.state(), 0), size_class != 1);
      index.SetShadow(at + 16, kShadowNotLive | 2);
      EXPECT_EQ(Contradicts(index.state(), 0), size_class > 2);
    }
  }
  MadeUpIndex index(1);
  index.SetTaggedGroup(index.bytes() - 16);
  index.SetShadow(index.bytes() - 16, 2);  // it would reach out of the heap
  EXPECT_TRUE(Contradicts(index.state(), 0));
}

TEST(IndexView, ATaggedLargeStartWithoutASizeIsAContradiction) {
  MadeUpIndex index(1);
  MakeLarge(index, kAt, 16384, kShadowTagged | kShadowLarge);
  index.SetTagAndCheck(kAt, kTagSecret);
  EXPECT_FALSE(Contradicts(index.state(), 0));
  index.SetLarge(kAt, 0);
  EXPECT_TRUE(Contradicts(index.state(), 0));
}

TEST(IndexView, ATagWhereNothingStartsIsAContradiction) {
  for (const unsigned byte : {0x00, 0x42, 0x7f}) {
    MadeUpIndex index(1);
    index.SetTaggedGroup(kAt);
    index.SetShadow(kAt, byte);
    EXPECT_FALSE(Contradicts(index.state(), 0));
    index.SetTag(kAt, kTagSecret);
    EXPECT_TRUE(Contradicts(index.state(), 0)) << byte;
  }
}

TEST(IndexView, WhereNothingWasTaggedNothingContradicts) {
  MadeUpIndex index(1);
  index.SetTaggedGroup(0);
  index.SetTaggedGroup(index.bytes() - 1);
  for (uint64_t at = kGroupSize; at < index.bytes() - kGroupSize; at += 16) {
    index.SetShadow(at, at / 16 % 251);
    index.SetTag(at, static_cast<uint8_t>(at / 16));
  }
  EXPECT_FALSE(Contradicts(index.state(), 0));
}

TEST(IndexView, AChunkThatNoWriterLeavesIsAContradiction) {
  for (const Address before : {MadeUpIndex::kRegion + kChunkSize, Address{16},
                               MadeUpIndex::kRegion + 1}) {
    MadeUpIndex index(2);
    index.chunk(1).large_before = before;
    EXPECT_TRUE(Contradicts(index.state(), kChunkSize)) << before;
  }
  for (const uint64_t tags :
       {ChunkTags(kAllGroups, kMaxTags + 1), ChunkTags(1, kTagSecret),
        ChunkTags(1, 0) + 1, uint64_t{1}, uint64_t{1} << 63}) {
    MadeUpIndex index(2);
    index.chunk(1).tags = tags;
    EXPECT_TRUE(Contradicts(index.state(), kChunkSize)) << tags;
    EXPECT_FALSE(Contradicts(index.state(), 0));
  }
  MadeUpIndex index(2);
  index.chunk(1).tags = ChunkTags(kAllGroups, kMaxTags);
  EXPECT_FALSE(Contradicts(index.state(), kChunkSize));
}

}  // namespace
}  // namespace minicore
