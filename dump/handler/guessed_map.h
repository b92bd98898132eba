// The list of mappings where there is no /proc to read it from: from the program headers
// of the modules that the dynamic linker lists, and from the crashed thread's registers.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_GUESSED_MAP_H_
#define MINICORE_DUMP_HANDLER_GUESSED_MAP_H_

#include "dump/handler/crash_context.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/thread_table.h"

namespace minicore {

// Fills `map`, which is empty. What it can't know is not in it: other mappings of the
// program, memory of the heap (the index knows that); past the deadline, stacks of
// other threads than the crashed one.
void GuessMemoryMap(const CrashContext& crash, const Runtime& runtime,
                    const ThreadTable& threads, safe::Arena& arena, MemoryMap& map,
                    Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_GUESSED_MAP_H_
