// Which memory is a thread's stack.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_STACKS_H_
#define MINICORE_DUMP_HANDLER_STACKS_H_

#include "alloc/address.h"
#include "alloc/index_format.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/thread_table.h"

namespace minicore {

struct StackFinder {
  const MemoryMap* map;
  const IndexState* index;
  ByteCount pthread_bytes;
};

// The one it runs on, and behind a signal handler's alternate stack (or a coroutine's)
// the one it came from.
inline constexpr unsigned kMaxStacks = 2;

// The live parts of `thread`'s stacks, the current one first. `main`: it is the
// process's first thread.
// Returns: how many.
unsigned FindStacks(const StackFinder& find, const Thread& thread, bool main,
                    AddressRange stacks[kMaxStacks]);

// What a thread's frames may lie in, living and dead ones: the memory around its stack
// pointer, where it lives when that is elsewhere, and its signal stack.
inline constexpr unsigned kMaxStackMemory = 3;

// Returns: how many.
unsigned FindStackMemory(const StackFinder& find, const Thread& thread, bool main,
                         AddressRange memory[kMaxStackMemory]);

// Cuts the middle out of a stack above `limit` bytes.
// Returns: how many parts are left, 1 or 2.
unsigned SplitStack(AddressRange stack, ByteCount limit, AddressRange parts[2]);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_STACKS_H_
