#include "tests/support/plan_promises.h"

#include <elf.h>

#include <vector>

namespace minicore {
namespace {

std::string InMemory(const DumpPlan& plan) {
  for (size_t i = 0; i < plan.segments.size(); ++i) {
    const Segment& segment = plan.segments[i];
    if (segment.range.empty()) return "an empty segment";
    if (segment.range.begin % 16 != 0 || segment.range.end % 16 != 0) {
      return "a segment of no whole granules";
    }
    if (segment.file_bytes > segment.range.size())
      return "more bytes than memory";
    if (segment.file_offset % 16 != 0) return "an offset of no whole granules";
    if (i == 0) continue;
    const Segment& before = plan.segments[i - 1];
    if (segment.range.begin < before.range.end) return "segments overlap";
    if (segment.range.begin == before.range.end &&
        before.file_bytes == before.range.size() &&
        (segment.flags & before.flags & PF_W) != 0 &&
        segment.file_offset != before.file_offset + before.file_bytes) {
      return "segments touch in memory and not in the file";
    }
  }
  return "";
}

// Its pieces in order, without overlap, within it; first all that is in the
// file.
std::string InSegment(const DumpPlan& plan, const Segment& segment) {
  if (segment.piece_count == 0) return "a segment without pieces";
  Address at = segment.range.begin;
  bool absent = false;
  for (uint32_t i = 0; i < segment.piece_count; ++i) {
    const Piece& piece = plan.pieces[segment.first_piece + i];
    if (piece.range.empty()) return "an empty piece";
    if (piece.range.begin < at) return "pieces overlap, or are not in order";
    if (piece.content == Content::kAbsent) {
      if (piece.range.begin != at)
        return "a gap before what is not in the file";
      absent = true;
    } else {
      if (absent) return "bytes behind what is not in the file";
      if (piece.range.end - segment.range.begin > segment.file_bytes) {
        return "a piece beyond the segment's bytes";
      }
    }
    at = piece.range.end;
  }
  return at == segment.range.end ? "" : "pieces do not fill their segment";
}

// Headers, notes, report, segments by importance, or the report last; nothing overlaps.
std::string InFile(const DumpPlan& plan) {
  uint64_t at =
      sizeof(Elf64_Ehdr) + (plan.segments.size() + 2) * sizeof(Elf64_Phdr);
  if (plan.notes_offset < at) return "notes over headers";
  at = plan.notes_offset + plan.notes_bytes;
  if (!plan.report_last) {
    if (plan.report_offset < at) return "the report over notes";
    at = plan.report_offset + plan.report_bytes;
  }
  if (plan.file_order.size() != plan.segments.size())
    return "segments without a place";
  std::vector<bool> seen(plan.segments.size());
  FileGroup group = FileGroup::kMetadata;
  for (uint32_t index : plan.file_order) {
    if (index >= plan.segments.size() || seen[index])
      return "an order that is none";
    seen[index] = true;
    const Segment& segment = plan.segments[index];
    if (segment.group < group) return "the less important first";
    group = segment.group;
    if (segment.file_offset < at) return "segments overlap in the file";
    at = segment.file_offset + segment.file_bytes;
  }
  if (plan.report_last) {
    if (plan.report_offset < at) return "the report over segments";
    at = plan.report_offset + plan.report_bytes;
  }
  if (plan.file_bytes != at) return "a wrong size";
  if (plan.least_bytes > plan.file_bytes) return "a least size above the size";
  return "";
}

}  // namespace

std::string BrokenPromise(const DumpPlan& plan) {
  std::string broken = InMemory(plan);
  for (const Segment& segment : plan.segments) {
    if (broken.empty()) broken = InSegment(plan, segment);
  }
  return broken.empty() ? InFile(plan) : broken;
}

}  // namespace minicore
