// Pointers given to free(), realloc() and malloc_usable_size() that are not of
// our heap.

#ifndef MINICORE_ALLOC_FOREIGN_H_
#define MINICORE_ALLOC_FOREIGN_H_

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

}  // namespace minicore

#endif  // MINICORE_ALLOC_FOREIGN_H_
