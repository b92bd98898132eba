// From words to memory: every aligned word of the roots that points into a live
// allocation keeps it, and so do the words of what is kept.
//
// What is tagged "keep" comes first, and whole. The rest of the budget is spent fairly:
// each root word in turn first gets `root_bytes` for what it leads to, and only then goes
// the search on, first in first out, until `max_bytes` are spent. Without the first round,
// one big tree would eat the budget; without the second, no big container would be whole.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ANCHOR_SCAN_H_
#define MINICORE_DUMP_HANDLER_ANCHOR_SCAN_H_

#include "alloc/index_format.h"
#include "alloc/index_view.h"
#include "dump/handler/address_set.h"
#include "dump/handler/crash_context.h"
#include "dump/handler/images.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"
#include "dump/handler/roots.h"
#include "dump/handler/thread_table.h"

namespace minicore {

// What was reached: an allocation, or a window into other writable memory.
struct Reached {
  AddressRange range;      // what of it is kept; empty: nothing is
  Address pointer = 0;     // the word that led here first
  SegmentKind kind = SegmentKind::kHeap;
  uint8_t tag = kNoTag;
  bool scanned = false;    // its words have been followed
  bool directly = false;   // from a register or a stack
  bool look = false;       // at what nothing is known of: the first to go
  bool counted = false;    // an allocation, in Outcome and TagCount
  uint16_t hops = 0;
};

// How many at most. With the default budget of 8 MiB this allows one of 16 bytes each.
inline constexpr size_t kMaxReached = 512 * 1024;

struct TagCount {
  uint32_t kept;
  uint32_t cut;
  uint32_t elided;
  uint64_t bytes_in;
  uint64_t bytes_out;
};

struct ScanResult {
  safe::FixedVector<Reached> reached;
  TagCount tags[kMaxTags + 1] = {};
  safe::FixedVector<AnchorRow> anchors;  // registers of the crashed thread

  // It will not be in the file: its range is empty then, and it is no longer counted.
  void Drop(size_t index, Outcome& outcome);
};

// `before`: what was reached a moment ago, if that is known; then the scan goes on from
// there, and only what registers and stacks point to is new.
void ScanAnchors(const CrashContext& crash, const Runtime& runtime,
                 const MemoryMap& map, const ThreadTable& threads,
                 const Roots& roots, const Redactor& redactor, safe::Arena& arena,
                 ScanResult& result, Outcome& outcome,
                 const ScanResult* before = nullptr);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ANCHOR_SCAN_H_
