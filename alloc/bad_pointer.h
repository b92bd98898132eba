// Pointers given to free(), realloc() and malloc_usable_size() that are none of
// ours, or no allocations.

#ifndef MINICORE_ALLOC_BAD_POINTER_H_
#define MINICORE_ALLOC_BAD_POINTER_H_

namespace minicore {

// Whether a pointer outside the region can be jemalloc's at all: only if some
// heap lies outside (kIndexUnindexedHeap).
bool SomeHeapIsOutside();

// Returns if `pointer`, outside the region, may be jemalloc's. Otherwise the
// program has passed something that malloc never returned; jemalloc would
// follow it into the dark, and realloc() would copy it into the heap and free
// it later. Says so in one line on standard error and aborts, as glibc's malloc
// does: the crash then shows who did it.
void CheckForeign(const void* pointer, const char* function);

// From now on free() and realloc() look at the start byte of what they are given,
// and where no allocation begins or begins no more, ReportDead() is called; or
// no more. Without it they ask nothing, as jemalloc does, and what goes wrong goes
// wrong later.
//
// Context: ordinary.
void CheckFrees(bool wanted);

// Says on standard error what `pointer`, of the region, is instead of a live
// allocation, in the words of a core's report, and aborts.
[[noreturn]] void ReportDead(const void* pointer, const char* function);

}  // namespace minicore

#endif  // MINICORE_ALLOC_BAD_POINTER_H_
