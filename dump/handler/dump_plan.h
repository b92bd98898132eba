// The decision, as data: which bytes stand where in the file. The writer adds nothing
// to it and decides nothing.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_DUMP_PLAN_H_
#define MINICORE_DUMP_HANDLER_DUMP_PLAN_H_

#include <cstdint>

#include "alloc/address.h"
#include "dump/handler/anchor_scan.h"
#include "dump/handler/crash_context.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/handler/piece.h"
#include "dump/handler/redactor.h"
#include "dump/handler/roots.h"

namespace minicore {

// One PT_LOAD. Sorted by address; segments that touch in memory touch in the file.
struct Segment {
  AddressRange range;     // of the process
  ByteCount file_bytes;   // of it, from its beginning; the rest is absent
  uint64_t file_offset;   // multiple of 16
  uint32_t flags;         // PF_R, PF_W, PF_X
  uint32_t first_piece;   // in DumpPlan::pieces, in address order
  uint32_t piece_count;
  FileGroup group;
};

struct DumpPlan {
  Pieces pieces;  // disjoint, sorted, 16-byte aligned; gaps of a segment are markers
  safe::FixedVector<Segment> segments;     // by address
  safe::FixedVector<uint32_t> file_order;  // indices of segments
  uint64_t notes_offset = 0;  // first PT_NOTE
  uint64_t notes_bytes = 0;
  uint64_t report_offset = 0;  // second PT_NOTE, minicore's own
  uint64_t report_bytes = 0;
  // It is filled when all else is written, but stands behind the first notes, so that a
  // file that is cut short has it (and gdb opens that: BFD refuses a PT_NOTE behind the
  // end of the file). Only what can't be gone back in, a pipe, has it last.
  bool report_last = false;
  uint64_t file_bytes = 0;
  // With the crashed thread's stack and what stands before it, the file is worth having.
  uint64_t least_bytes = 0;
};

// Decides on the pieces and the segments. When tables or program headers run short, it is
// what the scan reached that goes, the last of it first; roots only when there is nothing
// else. What goes is taken out of `scan`, and a hole.
void BuildPlan(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
               ScanResult& scan, const Redactor& redactor, safe::Arena& arena,
               DumpPlan& plan, Outcome& outcome);

// Gives everything its place in the file; `notes_bytes` and `report_bytes` are the sizes
// of the two note segments.
void LayOut(uint64_t notes_bytes, uint64_t report_bytes, DumpPlan& plan);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_DUMP_PLAN_H_
