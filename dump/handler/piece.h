// A stretch of memory that somebody decided to keep: what the phases hand to the plan.

#ifndef MINICORE_DUMP_HANDLER_PIECE_H_
#define MINICORE_DUMP_HANDLER_PIECE_H_

#include <cstdint>

#include "alloc/address.h"
#include "dump/elf_core_format.h"
#include "dump/safe/arena.h"

namespace minicore {

// Where in the file: a file that is cut short still has what comes first.
enum class FileGroup : uint8_t {
  kMetadata = 0,  // what debuggers list modules and threads from
  kCrashedStack = 1,
  kStacks = 2,
  kModuleData = 3,
  kForeign = 4,
  kHeap = 5,
};
inline constexpr unsigned kFileGroups = 6;

enum class Content : uint8_t {
  kMemory,  // the bytes of the process
  kAbsent,  // a program header without bytes: read-only file mappings, which debuggers
            // read from the file, and pages that were never touched and are zero
};

struct Piece {
  AddressRange range;
  SegmentKind kind = SegmentKind::kNothing;
  FileGroup group = FileGroup::kHeap;
  Content content = Content::kMemory;
  // May hold frames, whatever it was kept for: single words of it may be of secrets.
  bool stack = false;
  uint32_t tid = 0;
};

using Pieces = safe::FixedVector<Piece>;

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_PIECE_H_
