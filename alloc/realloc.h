// Moving and resizing. Ours, not jemalloc's: je_realloc frees the old
// allocation inside, where another thread can get its address and record it
// before we could retire it.
//
// At no instant is a live allocation unknown: the new one is recorded before
// the old one is retired. In between both are live, which is harmless.

#ifndef MINICORE_ALLOC_REALLOC_H_
#define MINICORE_ALLOC_REALLOC_H_

#include <cstddef>

namespace minicore {

// As rallocx(3): `flags` are jemalloc's (alignment, zero, cache, arena), `size`
// is not 0. The tag of the allocation follows it; memory of a tag that is
// elided is always moved and the old place wiped; memory of a tagged extent
// stays in the extents of its tag.
//
// Context: ordinary.
// Returns: null, with `pointer` untouched, if there is no memory, or for a secret
//          none that the index knows of. errno is not set.
void* Reallocate(void* pointer, size_t size, int flags, const char* function);

// As xallocx(3): in place or not at all.
//
// Returns: the usable size afterwards.
size_t ResizeInPlace(void* pointer, size_t size, size_t extra, int flags);

}  // namespace minicore

#endif  // MINICORE_ALLOC_REALLOC_H_
