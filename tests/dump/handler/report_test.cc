#include "dump/handler/report.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

constexpr Address kHeap = 0x100000000;
constexpr Address kStack = 0x7ffff0000000;

class ReportTest : public testing::Test {
 protected:
  void AddReached(AddressRange range, SegmentKind kind = SegmentKind::kHeap) {
    Reached reached;
    reached.range = range;
    reached.kind = kind;
    ASSERT_TRUE(process_.scan.reached.Push(reached));
  }

  void Fill() {
    MadeUpProcess& p = process_;
    BuildPlan(p.runtime, p.map, p.roots, p.scan, p.redactor, p.arena, plan_, p.outcome);
    ReserveReport(p.threads, plan_, p.scan, p.outcome, p.arena, report_);
    LayOut(0, report_.notes.size(), plan_);
    FillReport(p.crash, p.runtime, p.map, p.threads, p.scan, plan_, p.redactor, report_,
               p.outcome);
  }

  std::vector<SegmentRow> Segments() const {
    NoteRowHeader header;
    memcpy(&header, report_.segments - sizeof(header), sizeof(header));
    EXPECT_EQ(header.row_bytes, sizeof(SegmentRow));
    std::vector<SegmentRow> rows(header.rows);
    memcpy(rows.data(), report_.segments, header.rows * sizeof(SegmentRow));
    return rows;
  }

  std::string Text() const { return reinterpret_cast<const char*>(report_.text); }

  ReportTest() { process_.scan.reached.Reserve(process_.arena, 65536); }
  MadeUpProcess process_;
  DumpPlan plan_;
  Report report_;
};

// What stands in the file between two pieces is nobody's memory.
TEST_F(ReportTest, RowsTileTheSegmentsAndTellWhatOfThemIsFiller) {
  AddReached({kHeap, kHeap + 0x20});
  AddReached({kHeap + 0x60, kHeap + 0x80});
  AddReached({kHeap + 0x90, kHeap + 0xa0}, SegmentKind::kForeign);
  AddReached({kHeap + 0xa0, kHeap + 0xb0}, SegmentKind::kForeign);
  AddReached({kHeap + 0x1000, kHeap + 0x1040});
  ASSERT_TRUE(process_.roots.pieces.Push({{kStack, kStack + 0x1000},
                                          SegmentKind::kStack,
                                          FileGroup::kCrashedStack,
                                          Content::kMemory,
                                          false,
                                          1}));
  ASSERT_TRUE(process_.roots.pieces.Push({{kStack + 0x1000, kStack + 0x2000},
                                          SegmentKind::kModuleData,
                                          FileGroup::kModuleData,
                                          Content::kAbsent,
                                          false,
                                          0}));
  Fill();
  const auto rows = Segments();
  ASSERT_EQ(rows.size(), 4u);
  const auto is = [](const SegmentRow& row, AddressRange range, SegmentKind kind,
                     uint64_t filler) {
    return row.begin == range.begin && row.end == range.end && row.kind == kind &&
           row.filler == filler;
  };
  EXPECT_TRUE(is(rows[0], {kHeap, kHeap + 0x90}, SegmentKind::kHeap, 0x50));
  EXPECT_TRUE(is(rows[1], {kHeap + 0x90, kHeap + 0xb0}, SegmentKind::kForeign, 0));
  EXPECT_TRUE(is(rows[2], {kHeap + 0x1000, kHeap + 0x1040}, SegmentKind::kHeap, 0));
  EXPECT_TRUE(is(rows[3], {kStack, kStack + 0x1000}, SegmentKind::kStack, 0));
  ByteCount in_file = 0;
  for (const Segment& segment : plan_.segments) in_file += segment.file_bytes;
  ByteCount in_rows = 0;
  for (const SegmentRow& row : rows) in_rows += row.end - row.begin;
  EXPECT_EQ(in_rows, in_file);
}

}  // namespace
}  // namespace minicore
