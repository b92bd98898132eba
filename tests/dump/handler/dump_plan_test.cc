#include "dump/handler/dump_plan.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include "tests/support/made_up_process.h"
#include "tests/support/plan_promises.h"

namespace minicore {
namespace {

constexpr Address kHeap = 0x100000000;
constexpr Address kStack = 0x7ffff0000000;

class DumpPlanTest : public testing::Test {
 protected:
  DumpPlanTest() {
    process_.map.Reserve(process_.arena);
    process_.scan.reached.Reserve(process_.arena, 65536);
  }

  void AddRoot(AddressRange range, SegmentKind kind = SegmentKind::kModuleData,
               FileGroup group = FileGroup::kModuleData,
               Content content = Content::kMemory, uint32_t tid = 0) {
    ASSERT_TRUE(process_.roots.pieces.Push({range, kind, group, content, false, tid}));
  }
  void AddAbsent(AddressRange range) {
    AddRoot(range, SegmentKind::kText, FileGroup::kForeign, Content::kAbsent);
  }
  void AddStack(AddressRange range, bool crashed) {
    AddRoot(range, SegmentKind::kStack,
            crashed ? FileGroup::kCrashedStack : FileGroup::kStacks,
            Content::kMemory, crashed ? 1 : 2);
  }
  void AddReached(AddressRange range, SegmentKind kind = SegmentKind::kHeap) {
    Reached reached;
    reached.range = range;
    reached.kind = kind;
    ASSERT_TRUE(process_.scan.reached.Push(reached));
  }

  void Build() {
    BuildPlan(process_.runtime, process_.map, process_.roots, process_.scan,
              process_.redactor, process_.arena, plan_, process_.outcome);
    LayOut(1000, 2000, plan_);
    EXPECT_EQ(BrokenPromise(plan_), "");
  }

  // The segment that has this byte in the file; null if none has.
  const Segment* InFile(Address address) const {
    for (const Segment& segment : plan_.segments) {
      if (segment.range.Contains(address) &&
          address - segment.range.begin < segment.file_bytes) {
        return &segment;
      }
    }
    return nullptr;
  }

  // The piece whose bytes stand there; null for a marker or for nothing.
  const Piece* PieceAt(Address address) const {
    const Piece* found = nullptr;
    for (const Segment& segment : plan_.segments) {
      for (uint32_t i = 0; i < segment.piece_count; ++i) {
        const Piece& piece = plan_.pieces[segment.first_piece + i];
        if (!piece.range.Contains(address)) continue;
        EXPECT_EQ(found, nullptr)
            << "twice in the file: " << std::hex << address;
        found = &piece;
      }
    }
    return found;
  }

  MadeUpProcess process_;
  DumpPlan plan_;
};

TEST_F(DumpPlanTest, WithoutPiecesThereAreHeadersNotesAndTheReport) {
  Build();
  EXPECT_TRUE(plan_.segments.empty());
  EXPECT_GT(plan_.file_bytes, 3000u);
}

TEST_F(DumpPlanTest, OverlappingPiecesStandInTheFileOnce) {
  AddRoot({kHeap, kHeap + 0x100});
  AddReached({kHeap + 0x80, kHeap + 0x180});
  AddReached({kHeap + 0x40, kHeap + 0x60});
  Build();
  ASSERT_EQ(plan_.segments.size(), 1u);
  EXPECT_EQ(plan_.segments[0].range, (AddressRange{kHeap, kHeap + 0x180}));
  EXPECT_EQ(plan_.segments[0].file_bytes, 0x180u);
}

TEST_F(DumpPlanTest, TheSamePieceManyTimesIsOne) {
  for (int i = 0; i < 1000; ++i) AddReached({kHeap, kHeap + 0x40});
  Build();
  ASSERT_EQ(plan_.segments.size(), 1u);
  EXPECT_EQ(plan_.pieces.size(), 1u);
}

TEST_F(DumpPlanTest, NeighboursOfOneKindAreOnePiece) {
  for (Address at = kHeap; at < kHeap + 0x1000; at += 0x40)
    AddReached({at, at + 0x40});
  Build();
  ASSERT_EQ(plan_.segments.size(), 1u);
  EXPECT_EQ(plan_.pieces.size(), 1u);
}

TEST_F(DumpPlanTest, AGapUpToOneProgramHeaderIsFilledWithTheMarker) {
  AddReached({kHeap, kHeap + 0x20});
  AddReached({kHeap + 0x60, kHeap + 0x80});  // 64 bytes between
  AddReached({kHeap + 0xd0, kHeap + 0xe0});  // 80
  Build();
  ASSERT_EQ(plan_.segments.size(), 2u);
  EXPECT_EQ(plan_.segments[0].range, (AddressRange{kHeap, kHeap + 0x80}));
  EXPECT_NE(InFile(kHeap + 0x40), nullptr);
  EXPECT_EQ(PieceAt(kHeap + 0x40), nullptr) << "a neighbour's bytes";
}

TEST_F(DumpPlanTest, PiecesOfOtherPermissionsAreOtherSegments) {
  process_.Map({kHeap, kHeap + 0x1000}, "r-xp");
  process_.Map({kHeap + 0x1000, kHeap + 0x2000}, "rw-p");
  AddRoot({kHeap + 0xff0, kHeap + 0x1000});
  AddReached({kHeap + 0x1000, kHeap + 0x1010});
  Build();
  ASSERT_EQ(plan_.segments.size(), 2u);
  EXPECT_EQ(plan_.segments[0].flags, unsigned{PF_R | PF_X});
  EXPECT_EQ(plan_.segments[1].flags, unsigned{PF_R | PF_W});
}

// lldb reads zeros across a boundary that does not touch in the file.
// Or eu-stack finds none of its functions.
TEST_F(DumpPlanTest, AnImageBeginsASegment) {
  const Address data = 0x7f0000000000;  // of one module, read-only, and the next one's
  const Address headers = data + 0x1000;
  process_.Map({data, headers}, "r--p", "/lib/a.so", 1);
  process_.Map({headers, headers + 0x1000}, "r--p", "/lib/b.so", 2);
  process_.Map({headers + 0x1000, headers + 0x2000}, "r-xp", "/lib/b.so", 2);
  process_.Map({headers + 0x2000, headers + 0x3000}, "r--p", "/lib/b.so", 2);
  AddRoot({data, headers});
  AddRoot({headers, headers + 0x800}, SegmentKind::kHeaders, FileGroup::kMetadata);
  AddAbsent({headers, headers + 0x1000});
  AddAbsent({headers + 0x1000, headers + 0x2000});
  AddAbsent({headers + 0x2000, headers + 0x3000});
  Build();
  ASSERT_EQ(plan_.segments.size(), 4u);
  EXPECT_EQ(plan_.segments[1].range, (AddressRange{headers, headers + 0x1000}));
  EXPECT_EQ(plan_.segments[1].file_bytes, 0x800u);
  // What isn't in the file has the permissions that it had, too.
  EXPECT_EQ(plan_.segments[2].flags, PF_R | PF_X);
  EXPECT_EQ(plan_.segments[3].flags, PF_R);
}

TEST_F(DumpPlanTest, WritableSegmentsThatTouchInMemoryTouchInTheFile) {
  process_.Map({kHeap, kHeap + 0x1000}, "rwxp");
  process_.Map({kHeap + 0x1000, kHeap + 0x2000}, "rw-p");
  AddRoot({kHeap + 0xff0, kHeap + 0x1000});
  AddReached({kHeap + 0x1000, kHeap + 0x1010});
  Build();
  ASSERT_EQ(plan_.segments.size(), 2u);
  EXPECT_EQ(plan_.segments[1].file_offset, plan_.segments[0].file_offset + 16);
  EXPECT_EQ(plan_.segments[0].group, plan_.segments[1].group);
}

TEST_F(DumpPlanTest, AbsentMemoryHasAProgramHeaderAndNoBytes) {
  AddAbsent({kHeap, kHeap + 0x4000});
  Build();
  ASSERT_EQ(plan_.segments.size(), 1u);
  EXPECT_EQ(plan_.segments[0].file_bytes, 0u);
  EXPECT_EQ(plan_.segments[0].range.size(), 0x4000u);
}

TEST_F(DumpPlanTest, WhatIsKeptIsNeverHiddenByWhatIsAbsent) {
  AddAbsent({kHeap, kHeap + 0x4000});
  AddRoot({kHeap + 0x1000, kHeap + 0x1100}, SegmentKind::kText,
          FileGroup::kMetadata);
  AddReached({kHeap + 0x3ff0, kHeap + 0x4010});
  Build();
  EXPECT_NE(InFile(kHeap + 0x1000), nullptr);
  EXPECT_NE(InFile(kHeap + 0x10ff), nullptr);
  EXPECT_NE(InFile(kHeap + 0x4000), nullptr);
  EXPECT_EQ(InFile(kHeap + 0xfff), nullptr);
  EXPECT_EQ(InFile(kHeap + 0x1100), nullptr);
  // And the rest has its program headers still.
  for (Address at : {kHeap, kHeap + 0xfff, kHeap + 0x1100, kHeap + 0x3fef}) {
    const Piece* piece = PieceAt(at);
    ASSERT_NE(piece, nullptr) << std::hex << at;
    EXPECT_EQ(piece->content, Content::kAbsent);
  }
}

// Two program headers of an image that is not what it seems may overlap.
TEST_F(DumpPlanTest, AbsentPiecesThatOverlapAreOne) {
  AddAbsent({kHeap, kHeap + 0x3000});
  AddAbsent({kHeap + 0x1000, kHeap + 0x4000});
  AddAbsent({kHeap + 0x1000, kHeap + 0x2000});
  AddReached({kHeap + 0x1800, kHeap + 0x1900});
  Build();
  EXPECT_NE(InFile(kHeap + 0x1800), nullptr);
  EXPECT_NE(PieceAt(kHeap + 0x2800), nullptr);
}

TEST_F(DumpPlanTest, TheCrashedStackComesBeforeOtherStacksDataAndHeap) {
  AddReached({kHeap, kHeap + 0x40});
  AddRoot({kHeap + 0x10000, kHeap + 0x11000});
  AddStack({kStack, kStack + 0x1000}, false);
  AddStack({kStack + 0x10000, kStack + 0x11000}, true);
  AddRoot({kHeap + 0x20000, kHeap + 0x20100}, SegmentKind::kThreadData,
          FileGroup::kMetadata);
  Build();
  const auto offset = [&](Address address) {
    return InFile(address)->file_offset;
  };
  EXPECT_LT(offset(kHeap + 0x20000), offset(kStack + 0x10000));
  EXPECT_LT(offset(kStack + 0x10000), offset(kStack));
  EXPECT_LT(offset(kStack), offset(kHeap + 0x10000));
  EXPECT_LT(offset(kHeap + 0x10000), offset(kHeap));
  // A file that ends here still has its backtrace.
  EXPECT_GE(plan_.least_bytes, offset(kStack + 0x10000) + 0x1000);
  EXPECT_LE(plan_.least_bytes, offset(kStack));
}

TEST_F(DumpPlanTest, WhatTouchesTheCrashedStackMovesForwardWithIt) {
  AddStack({kStack, kStack + 0x1000}, true);
  AddReached({kStack + 0x1000, kStack + 0x1100}, SegmentKind::kForeign);
  AddReached({kHeap, kHeap + 0x40});
  Build();
  EXPECT_LT(InFile(kStack + 0x1000)->file_offset, InFile(kHeap)->file_offset);
}

// A deep overlap: the piece that begins first owns the common part, and its
// segment the better place in the file.
TEST_F(DumpPlanTest, AnOverlapHasTheBetterPlaceInTheFile) {
  AddReached({kStack - 0x400, kStack + 0x400}, SegmentKind::kForeign);
  AddStack({kStack, kStack + 0x1000}, true);
  AddRoot({kHeap, kHeap + 0x1000});
  Build();
  EXPECT_LT(InFile(kStack)->file_offset, InFile(kHeap)->file_offset);
  EXPECT_LT(InFile(kStack - 0x400)->file_offset, InFile(kHeap)->file_offset);
}

// Single words of frames may be of secrets: whatever kept them, they are searched so.
TEST_F(DumpPlanTest, MemoryThatMayHoldFramesIsAStackWhateverItIsKeptFor) {
  process_.roots.stack_memory.Reserve(process_.arena, 2);
  process_.roots.stack_memory.Add({kHeap + 0x1000, kHeap + 0x3000});
  process_.roots.stack_memory.Add({kStack, kStack + 0x4000});
  process_.roots.stack_memory.Sort();
  AddReached({kHeap, kHeap + 0x8000});  // a coroutine's stack in it
  AddReached({kStack + 0x400, kStack + 0x1000}, SegmentKind::kForeign);
  AddStack({kStack + 0x1000, kStack + 0x2000}, true);
  AddRoot({kStack + 0x3000, kStack + 0x5000}, SegmentKind::kThreadData,
          FileGroup::kMetadata);
  Build();
  const auto stack = [&](Address address) { return PieceAt(address)->stack; };
  EXPECT_FALSE(stack(kHeap));
  EXPECT_FALSE(stack(kHeap + 0xff0));
  EXPECT_TRUE(stack(kHeap + 0x1000));
  EXPECT_TRUE(stack(kHeap + 0x2ff0));
  EXPECT_FALSE(stack(kHeap + 0x3000));
  EXPECT_TRUE(stack(kStack + 0x400));
  EXPECT_TRUE(stack(kStack + 0x1000));
  EXPECT_TRUE(stack(kStack + 0x3ff0));
  EXPECT_FALSE(stack(kStack + 0x4000));
}

TEST_F(DumpPlanTest, WithoutRoomForAllStacksEverythingIsOne) {
  process_.roots.stack_memory.Reserve(process_.arena, 1);
  process_.roots.stack_memory.Add({kStack, kStack + 0x1000});
  process_.roots.stack_memory.Add({kStack + 0x2000, kStack + 0x3000});
  process_.roots.stack_memory.Sort();
  AddReached({kHeap, kHeap + 0x40});
  Build();
  EXPECT_TRUE(PieceAt(kHeap)->stack);
}

TEST_F(DumpPlanTest,
       WithoutProgramHeadersWiderGapsAreFilledBeforeMemoryIsLost) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 1000; ++i) {
    AddReached({kHeap + i * 0x200, kHeap + i * 0x200 + 0x40});
  }
  Build();
  EXPECT_LE(plan_.segments.size(), 64u);
  for (Address i = 0; i < 1000; ++i)
    EXPECT_NE(PieceAt(kHeap + i * 0x200), nullptr) << i;
}

TEST_F(DumpPlanTest, GapsAreOnlyAsWideAsTheyNeedToBe) {
  process_.runtime.policy.segments = 600;
  // 500 gaps of 192 bytes, 500 of 960: filling some of the first is enough.
  Address at = kHeap;
  for (int i = 0; i < 1000; ++i) {
    AddReached({at, at + 0x40});
    at += i % 2 == 0 ? 0x100 : 0x400;
  }
  Build();
  EXPECT_EQ(plan_.segments.size(), 600u);
  ByteCount bytes = 0;
  for (const Segment& segment : plan_.segments) bytes += segment.file_bytes;
  EXPECT_EQ(bytes, 1000u * 0x40 + 400u * 0xc0);
}

TEST_F(DumpPlanTest, NeverMoreSegmentsThanThePolicyHas) {
  for (uint64_t most : {64u, 1000u, 3000u}) {
    process_.runtime.policy.segments = most;
    process_.arena.Renew();
    process_.outcome.holes.Reserve(process_.arena, 16384);
    process_.map.Reserve(process_.arena);
    process_.roots.pieces.Reserve(process_.arena, 16);
    process_.scan.reached.Reserve(process_.arena, 65536);
    plan_ = DumpPlan();
    for (Address i = 0; i < 5000; ++i) {  // a megabyte apart: no gap to fill
      AddReached({kHeap + (i << 20), kHeap + (i << 20) + 0x40});
    }
    Build();
    EXPECT_LE(plan_.segments.size(), most);
    EXPECT_GE(plan_.segments.size(), most - most / 16 - 2);
  }
}

// Stacks lie at the highest addresses: what is dropped must not be what comes
// last.
TEST_F(DumpPlanTest, WithoutProgramHeadersTheHeapGoesFirstAndTheStackStays) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 1000; ++i) {
    AddReached({kHeap + (i << 20), kHeap + (i << 20) + 0x40});
  }
  AddStack({kStack, kStack + 0x1000}, true);
  AddStack({kStack + 0x100000, kStack + 0x101000}, false);
  AddRoot({kStack + 0x200000, kStack + 0x201000}, SegmentKind::kVdso,
          FileGroup::kMetadata);
  Build();
  EXPECT_NE(PieceAt(kStack), nullptr);
  EXPECT_NE(PieceAt(kStack + 0x100000), nullptr);
  EXPECT_NE(PieceAt(kStack + 0x200000), nullptr);
  EXPECT_LE(plan_.segments.size(), 64u);
}

// The queue is in the order of hops: what registers point to comes first,
// wherever it is.
TEST_F(DumpPlanTest, WithoutProgramHeadersWhatWasReachedLastGoesFirst) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 1000; ++i) {
    const Address begin = kHeap + ((1000 - i) << 20);
    AddReached({begin, begin + 0x40});
  }
  Build();
  bool kept = true;
  unsigned count = 0;
  for (Address i = 0; i < 1000; ++i) {
    const bool keeps = PieceAt(kHeap + ((1000 - i) << 20)) != nullptr;
    EXPECT_TRUE(kept || !keeps) << i << " is kept, one before it is not";
    kept = keeps;
    count += keeps;
  }
  EXPECT_GE(count, 58u);
}

// With a million of them each turn takes long.
TEST_F(DumpPlanTest, WithoutProgramHeadersMereLooksGoBeforeAllocations) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 500; ++i) {
    AddReached({kHeap + (i << 20), kHeap + (i << 20) + 0x40}, SegmentKind::kForeign);
    process_.scan.reached.back().look = true;
  }
  for (Address i = 0; i < 50; ++i) {
    AddReached({kHeap + (i << 21) + 0x1000, kHeap + (i << 21) + 0x1040});
  }
  Build();
  for (Address i = 0; i < 50; ++i) {
    EXPECT_NE(PieceAt(kHeap + (i << 21) + 0x1000), nullptr) << i;
  }
  EXPECT_EQ(plan_.segments.size(), 50u);
  const auto reason = static_cast<int>(HoleReason::kSegmentLimit);
  EXPECT_EQ(process_.outcome.hole_bytes[reason], 500u * 0x40);
}

// A gap that is filled costs as much as memory that is kept.
TEST_F(DumpPlanTest, MarkersNeverTakeMoreThanTheBudgetOfTheHeap) {
  for (Address i = 0; i < 20000; ++i) {
    const Address begin = kHeap + i * 0xa000;  // 40 KiB: together 800 MB
    AddReached({begin, begin + 0x40});
  }
  Build();
  EXPECT_LE(plan_.file_bytes, process_.runtime.policy.max_bytes + 20000 * 0x40 +
                                  8192 * sizeof(Elf64_Phdr) + 4096);
  EXPECT_GE(plan_.segments.size(), 7000u);
}

// What debuggers need is no part of the budget, nor are the gaps in it.
TEST_F(DumpPlanTest, WithoutABudgetWhatDebuggersNeedIsKept) {
  process_.runtime.policy.max_bytes = 0;
  for (Address i = 0; i < 100; ++i) {
    AddReached({kHeap + i * 0x40, kHeap + i * 0x40 + 0x20}, SegmentKind::kThreadData);
  }
  Build();
  for (Address i = 0; i < 100; ++i) EXPECT_NE(PieceAt(kHeap + i * 0x40), nullptr) << i;
}

TEST_F(DumpPlanTest, NotEvenThoseInTheNarrowestGaps) {
  process_.runtime.policy.max_bytes = 256 * 1024;
  for (Address i = 0; i < 16'000; ++i) {  // 64 bytes between: together a megabyte
    AddReached({kHeap + i * 0x50, kHeap + i * 0x50 + 0x10});
  }
  Build();
  ByteCount bytes = 0;
  for (const Segment& segment : plan_.segments) bytes += segment.file_bytes;
  EXPECT_LE(bytes, 256u * 1024 / 4 * 5);
  EXPECT_GE(bytes, 256u * 1024 / 4 * 5 * 9 / 10);
  EXPECT_NE(PieceAt(kHeap), nullptr);
}

TEST_F(DumpPlanTest, WhatFindsNoProgramHeaderIsAHole) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 1000; ++i) {
    AddReached({kHeap + (i << 20), kHeap + (i << 20) + 0x40});
  }
  Build();
  uint64_t kept = 0;
  for (Address i = 0; i < 1000; ++i)
    kept += PieceAt(kHeap + (i << 20)) != nullptr;
  const auto reason = static_cast<int>(HoleReason::kSegmentLimit);
  EXPECT_EQ(process_.outcome.hole_bytes[reason], (1000 - kept) * 0x40);
}

// file(1) reads 2,048 program headers, and gdb looks through them at every read.
TEST_F(DumpPlanTest, FewSegmentsAreWorthAQuarterOfWhatIsKept) {
  for (Address i = 0; i < 4000; ++i) {
    AddReached({kHeap + i * 0x100, kHeap + i * 0x100 + 0xb0});  // 80 bytes between
  }
  Build();
  EXPECT_EQ(plan_.segments.size(), 2046u);
}

TEST_F(DumpPlanTest, FewSegmentsAreNotWorthMore) {
  for (Address i = 0; i < 4000; ++i) {
    AddReached({kHeap + i * 0x400, kHeap + i * 0x400 + 0x100});  // 768 bytes between
  }
  Build();
  ByteCount bytes = 0;
  for (const Segment& segment : plan_.segments) bytes += segment.file_bytes;
  EXPECT_GT(bytes, 4000u * 0x100 * 5 / 4 - 0x400);
  EXPECT_LE(bytes, 4000u * 0x100 * 5 / 4);
}

// Of gaps alike only as many as it takes.
TEST_F(DumpPlanTest, NoMoreGapsAreFilledThanProgramHeadersAreMissing) {
  process_.runtime.policy.segments = 900;
  for (Address i = 0; i < 1000; ++i) {
    AddReached({kHeap + i * 0x200, kHeap + i * 0x200 + 0x40});
  }
  Build();
  EXPECT_EQ(plan_.segments.size(), 900u);
}

// It costs nothing that others could have.
TEST_F(DumpPlanTest, WithoutProgramHeadersWhatNeedsNoneStays) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 1000; ++i) {
    AddReached({kHeap + (i << 20), kHeap + (i << 20) + 0x40});
  }
  for (Address i = 0; i < 1000; ++i) {
    AddReached({kHeap + (i << 20) + 0x80, kHeap + (i << 20) + 0xc0});
  }
  Build();
  EXPECT_GE(plan_.segments.size(), 58u);
  for (const Segment& segment : plan_.segments) EXPECT_EQ(segment.file_bytes, 0xc0u);
}

TEST_F(DumpPlanTest, WhatFindsNoProgramHeaderIsNotCounted) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 1000; ++i) {
    AddReached({kHeap + (i << 20), kHeap + (i << 20) + 0x40});
    process_.scan.reached.back().counted = true;
  }
  process_.outcome.allocations = 1000;
  process_.outcome.heap_bytes = 1000 * 0x40;
  process_.scan.tags[0].bytes_in = 1000 * 0x40;
  Build();
  uint64_t kept = 0;
  for (Address i = 0; i < 1000; ++i) kept += PieceAt(kHeap + (i << 20)) != nullptr;
  EXPECT_EQ(process_.outcome.allocations, kept);
  EXPECT_EQ(process_.outcome.heap_bytes, kept * 0x40);
  EXPECT_EQ(process_.scan.tags[0].bytes_in, kept * 0x40);
  EXPECT_EQ(process_.scan.tags[0].bytes_out, (1000 - kept) * 0x40);
}

// A debugger reads it from the file; what is zero it cannot know.
TEST_F(DumpPlanTest, OnlyMemoryThatIsInNoFileIsMissedWithoutAProgramHeader) {
  process_.runtime.policy.segments = 64;
  for (Address i = 0; i < 200; ++i) {
    AddAbsent({kHeap + (i << 20), kHeap + (i << 20) + 0x1000});
  }
  const AddressRange zeros = {kHeap + (200 << 20), kHeap + (200 << 20) + 0x3000};
  AddRoot(zeros, SegmentKind::kModuleData, FileGroup::kHeap, Content::kAbsent);
  Build();
  EXPECT_EQ(PieceAt(zeros.begin), nullptr);
  EXPECT_EQ(process_.outcome.holes.size(), 1u);
  EXPECT_TRUE(process_.Hole(zeros.begin, HoleReason::kSegmentLimit));
}

// Stacks lie at the highest addresses.
TEST_F(DumpPlanTest, WithoutRoomInTheTablesTheHeapGoesFirstAndTheStackStays) {
  for (Address i = 0; i < 50'000; ++i) {
    AddReached({kHeap + i * 0x40, kHeap + i * 0x40 + 0x20});
  }
  AddStack({kStack, kStack + 0x1000}, true);
  AddAbsent({kStack + 0x2000, kStack + 0x3000});
  AddRoot({kStack + 0x10000, kStack + 0x11000}, SegmentKind::kVdso, FileGroup::kMetadata);
  for (const size_t left : {64u << 20, 2u << 20, 256u << 10, 64u << 10}) {
    SCOPED_TRACE(left);
    process_.arena.Allocate(process_.arena.left() - left);
    plan_ = DumpPlan();
    process_.outcome.holes.Clear();
    Build();
    EXPECT_NE(InFile(kStack), nullptr);
    EXPECT_NE(InFile(kStack + 0x10000), nullptr);
    EXPECT_NE(PieceAt(kHeap), nullptr) << "what was reached first";
    size_t kept = 0;
    for (const Reached& reached : process_.scan.reached) kept += !reached.range.empty();
    EXPECT_EQ(plan_.pieces.size(), kept + 3);
    const auto reason = static_cast<int>(HoleReason::kOutOfRoom);
    EXPECT_EQ(process_.outcome.hole_bytes[reason], (50'000 - kept) * 0x20);
  }
}

// Permissions that alternate, with gaps that only look as if they could be
// filled.
TEST_F(DumpPlanTest, PermissionsThatAlternateDoNotCostMoreThanTheirSegments) {
  process_.runtime.policy.segments = 100;
  for (Address i = 0; i < 400; ++i) {
    const AddressRange page = {kHeap + i * 0x1000, kHeap + (i + 1) * 0x1000};
    process_.Map(page, i % 2 == 0 ? "rw-p" : "r--p");
    AddReached({page.begin, page.begin + 0x40});
  }
  Build();
  EXPECT_LE(plan_.segments.size(), 100u);
  EXPECT_GE(plan_.segments.size(), 90u);
}

// Secrets that could not be taken in: their copies may be anywhere but in what
// debuggers list modules and threads from.
TEST_F(DumpPlanTest, WithTooManySecretsOnlyWhatDebuggersNeedIsKeptOfTheHeap) {
  process_.redactor.GiveUp();
  AddReached({kHeap, kHeap + 0x40});
  AddReached({kHeap + 0x1000, kHeap + 0x1040}, SegmentKind::kThreadData);
  AddReached({kHeap + 0x2000, kHeap + 0x2040}, SegmentKind::kForeign);
  Build();
  EXPECT_EQ(PieceAt(kHeap), nullptr);
  EXPECT_NE(PieceAt(kHeap + 0x1000), nullptr);
  EXPECT_EQ(PieceAt(kHeap + 0x2000), nullptr);
  EXPECT_TRUE(process_.Hole(kHeap, HoleReason::kOutOfRoom));
}

// Around a program counter in an image that begins with code.
TEST_F(DumpPlanTest, WhatIsElidedIsNoHoleWhereSomethingElseKeepsIt) {
  const Address image = 0x7f0000000000;
  process_.Map({image, image + 0x4000}, "r-xp", "/bin/a", 1);
  AddRoot({image, image + 0x1000}, SegmentKind::kHeaders, FileGroup::kMetadata);
  AddRoot({image + 0x1800, image + 0x1900});  // was written to
  AddRoot({image + 0xf00, image + 0x2000}, SegmentKind::kText, FileGroup::kMetadata);
  AddAbsent({image + 0x1000, image + 0x4000});
  process_.redactor.GiveUp();
  Build();
  for (Address at = image + 0xf00; at < image + 0x2000; at += 0x80) {
    const bool kept = at < image + 0x1000 || (at >= image + 0x1800 && at < image + 0x1900);
    EXPECT_EQ(PieceAt(at) != nullptr && PieceAt(at)->content == Content::kMemory, kept);
    EXPECT_EQ(process_.Hole(at, HoleReason::kSecret), !kept) << std::hex << at - image;
  }
}

TEST_F(DumpPlanTest, WithoutAnArenaThePlanIsEmptyAndValid) {
  AddRoot({kHeap, kHeap + 0x1000});
  AddReached({kHeap + 0x2000, kHeap + 0x2040});
  while (process_.arena.Allocate(64) != nullptr) {
  }
  Build();
  EXPECT_TRUE(plan_.segments.empty());
}

// Property: of whatever was decided, every kept byte stands in the file exactly
// once, or a hole says why not; absent bytes stand nowhere. Build()
// sees to the rest.
TEST_F(DumpPlanTest, EveryKeptByteStandsInTheFileOnce) {
  constexpr Address kGranules =
      2048;  // all within 32 KiB, so that much of it meets
  std::mt19937_64 random(4711);
  const auto below = [&](uint64_t limit) { return random() % limit; };
  for (int round = 0; round < 300; ++round) {
    process_.arena.Renew();
    process_.outcome = Outcome();
    process_.outcome.started_us = safe::NowMicroseconds();
    process_.outcome.deadline_us = 60'000'000;
    process_.outcome.holes.Reserve(process_.arena, 16384);
    process_.map.Reserve(process_.arena);
    process_.roots.pieces.Reserve(process_.arena, 65536);
    process_.scan.reached.Reserve(process_.arena, 65536);
    plan_ = DumpPlan();
    process_.runtime.policy.segments = round % 3 == 0 ? 64 : 8192;

    constexpr const char* kPermissions[] = {"r--p", "rw-p", "r-xp", "rw-p"};
    for (Address at = 0; at < kGranules * 16;) {
      const Address size = 0x1000 << below(3);
      process_.Map({kHeap + at, kHeap + at + size}, kPermissions[below(4)]);
      at += size + 0x1000 * below(2);
    }
    enum Fate { kNothing, kGone, kKept };
    std::vector<Fate> fate(kGranules, kNothing);
    const auto add = [&](Fate what, unsigned most_granules) {
      const Address begin = below(kGranules);
      const Address end = std::min(kGranules, begin + 1 + below(most_granules));
      for (Address i = begin; i < end; ++i) fate[i] = std::max(fate[i], what);
      return AddressRange{kHeap + begin * 16, kHeap + end * 16};
    };
    for (uint64_t i = below(4); i != 0; --i) AddAbsent(add(kGone, 600));
    for (uint64_t i = below(6); i != 0; --i) {
      AddRoot(add(kKept, 300), static_cast<SegmentKind>(1 + below(6)),
              static_cast<FileGroup>(below(6)));
    }
    for (uint64_t i = below(200); i != 0; --i) {
      AddReached(add(kKept, 1 + static_cast<unsigned>(below(12))));
    }
    Build();

    const bool dropped =
        process_.outcome
            .hole_count[static_cast<int>(HoleReason::kSegmentLimit)] != 0;
    EXPECT_TRUE(!dropped || round % 3 == 0) << round;
    for (Address i = 0; i < kGranules; ++i) {
      const Piece* piece = PieceAt(kHeap + i * 16);
      switch (fate[i]) {
        case kNothing:
          ASSERT_EQ(piece, nullptr) << round << ": " << i;
          break;
        case kGone:
          if (dropped && piece == nullptr) break;
          ASSERT_NE(piece, nullptr) << round << ": " << i;
          ASSERT_EQ(piece->content, Content::kAbsent) << round << ": " << i;
          break;
        case kKept:
          if (dropped &&
              (piece == nullptr || piece->content == Content::kAbsent)) {
            ASSERT_TRUE(
                process_.Hole(kHeap + i * 16, HoleReason::kSegmentLimit))
                << i;
            break;
          }
          ASSERT_NE(piece, nullptr) << round << ": " << i;
          ASSERT_EQ(piece->content, Content::kMemory) << round << ": " << i;
          break;
      }
    }
  }
}

}  // namespace
}  // namespace minicore
