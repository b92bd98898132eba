// What is kept whatever the heap looks like, and where the scan starts: stacks, thread
// data, the modules' data, and what a debugger lists modules and threads from.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ROOTS_H_
#define MINICORE_DUMP_HANDLER_ROOTS_H_

#include "dump/handler/crash_context.h"
#include "dump/handler/images.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/handler/piece.h"
#include "dump/handler/range_set.h"
#include "dump/handler/thread_table.h"

namespace minicore {

inline constexpr size_t kMaxRootPieces = 6 * kMaxThreads + 2 * kMaxMappings;

struct Roots {
  Pieces pieces;
  // What may hold frames, of any thread. Not complete: all memory may.
  RangeSet stack_memory;
  // Scanned word by word, in this order of importance. `stacks` of the crashed thread
  // first.
  safe::FixedVector<AddressRange> stacks;
  safe::FixedVector<AddressRange> thread_data;
  safe::FixedVector<AddressRange> static_data;
  // What stack_bytes leaves out of stacks.
  RangeSet left_out_stacks;
  // Alternate signal stacks that their threads are not on.
  RangeSet unused_stacks;
  // What debuggers find modules by, and where no data of the program stands: headers of files
  // and the vdso, in pages that are as the kernel has mapped them, and the PT_DYNAMIC of each
  // module in the list of the dynamic linker.
  safe::FixedVector<AddressRange> formats;
  // Addresses whose allocations (or small mappings) debuggers need: link maps, their
  // names, each thread's DTV. Kept outside the budget.
  safe::FixedVector<Address> metadata;
};

void CollectRoots(const CrashContext& crash, const Runtime& runtime,
                  const MemoryMap& map, const Images& images,
                  ThreadTable& threads, safe::Arena& arena, Roots& roots,
                  Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ROOTS_H_
