// Where minicore's own memory is, for those who scribble over it. Only the
// build that has minicore linked in knows; without it, everything is empty.

#ifndef MINICORE_TESTS_TORTURE_INSIDE_H_
#define MINICORE_TESTS_TORTURE_INSIDE_H_

#include <stdint.h>

#include <string>

namespace torture {

struct Range {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

// "heap" (all extents, with jemalloc's metadata), "index" (its planes),
// "dumper" (arena, thread slots). Returns how many ranges there are: eight at
// the most.
unsigned RangesOf(const char* what, Range ranges[8]);

// What the dumper runs on.
Range DumpStack();

// The dumper's memory behind its stack: thread slots, then the arena.
Range DumperMemory();

// The same as /proc/self/smaps has it: permissions, name and flags of each mapping.
std::string DescribeDumperMemory();

// The handler's configuration.
Range HandlerState();

// Of the index, and how many allocations it says live.
uint64_t IndexStateAddress();
uint64_t CountLive();

// malloc_usable_size().
uint64_t UsableSize(void* memory);

}  // namespace torture

#endif  // MINICORE_TESTS_TORTURE_INSIDE_H_
