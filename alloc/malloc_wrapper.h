// What every entry point of the malloc family is made of: ask jemalloc, tell
// the index.
//
//   malloc.cc         malloc, free, calloc, aligned_alloc and their kin
//   realloc.cc        realloc and reallocarray
//   operators.cc      operator new and delete
//   jemalloc_api.cc   mallocx and the rest of jemalloc's own interface
//
// Context: ordinary, and before any constructor (the dynamic linker calls
// malloc then):
//          nothing here has state of its own besides g_index_state.
// Errors:  none of these touches errno; the entry points say what they do.

#ifndef MINICORE_ALLOC_MALLOC_WRAPPER_H_
#define MINICORE_ALLOC_MALLOC_WRAPPER_H_

#include <jemalloc/jemalloc.h>

#include "alloc/jemalloc_fast_path.h"
#include "alloc/shadow_index.h"
#include "alloc/size_class.h"
#include "alloc/state.h"

#define MINICORE_EXPORT __attribute__((visibility("default")))
#define MINICORE_INLINE __attribute__((always_inline)) inline
#define MINICORE_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define MINICORE_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

namespace minicore {

// A granule holds one start, so nothing smaller than a granule is asked for.
inline size_t AtLeastGranule(size_t size) {
  return size < kGranuleSize ? kGranuleSize : size;
}

inline bool IsIndexed(uint64_t offset) {
  return offset < g_index_state.region_bytes;
}

// Whether free() of what lies at `offset` is ReleaseSlow()'s.
inline bool NeedsLook(uint64_t offset) {
  return !IsIndexed(offset) || MayHaveTag(g_index_state, offset) ||
         ChecksFrees(g_index_state);
}

// Whether frees are checked, and what begins at `offset` does not live, by its
// start byte `byte`.
inline bool IsDead(uint64_t offset, uint8_t byte) {
  return MINICORE_UNLIKELY(ChecksFrees(g_index_state)) &&
         (offset % kGranuleSize != 0 || !IsLiveStart(byte));
}

// The paths that are not worth a place in the fast ones. `pointer` null is none
// of theirs to report: they return it.
void* RecordOutside(void* pointer) noexcept;
void* RecordUsable(void* pointer, size_t usable, uint8_t tag = kNoTag) noexcept;
void* AllocateUncached(size_t size) noexcept;
void* AllocateLarge(size_t size) noexcept;
void ReleaseOther(void* pointer) noexcept;
void ReleaseSlow(void* pointer, int flags) noexcept;
void GiveBackLarge(void* pointer, uint64_t entry) noexcept;
size_t UsableSizeOutside(void* pointer) noexcept;

// Records a small allocation that jemalloc has just returned.
MINICORE_INLINE void* RecordClass(void* pointer, SizeClassWord word) {
  const uint64_t offset = OffsetOf(g_index_state, pointer);
  if (MINICORE_UNLIKELY(!IsIndexed(offset))) return RecordOutside(pointer);
  RecordSmall(g_index_state, offset, ClassOf(word), SecondOf(word), 0);
  return pointer;
}

// jemalloc's part of a large malloc of `usable` bytes, without a word to the
// index.
inline void* TakeLarge(size_t size, size_t usable) {
  void* pointer;
  if (size <= kCachedMax && !je_opt_prof &&
      TakeCached(CachedLargeClass(size), usable, &pointer)) {
    return pointer;
  }
  return AllocatePastCache(size);
}

// A small allocation from the thread's cache, recorded; false if there is none.
MINICORE_INLINE bool AllocateCached(size_t size, void** pointer) {
  if (MINICORE_UNLIKELY(size > kSmallMax)) return false;
  const SizeClassWord word = SizeClassWordOf(size);
  if (MINICORE_UNLIKELY(!TakeCached(ClassOf(word), SizeOf(word), pointer))) {
    return false;
  }
  *pointer = RecordClass(*pointer, word);
  return true;
}

MINICORE_INLINE void* Allocate(size_t size) {
  if (MINICORE_UNLIKELY(size > kSmallMax)) return AllocateLarge(size);
  void* pointer;
  if (MINICORE_UNLIKELY(!AllocateCached(size, &pointer))) {
    return AllocateUncached(size);
  }
  return pointer;
}

// `alignment` is a power of two. Null for sizes that overflow, too.
void* AllocateAligned(size_t alignment, size_t size) noexcept;

// jemalloc's part of a free, without a word to the index.
MINICORE_INLINE void GiveBack(void* pointer) {
  JemallocThread& thread = ThisThread();
  const uint64_t entry = PageEntry(thread, pointer);
  if (MINICORE_UNLIKELY((entry & 1) == 0)) return GiveBackLarge(pointer, entry);
  if (MINICORE_UNLIKELY(!PutSmall(thread, pointer, entry))) {
    FreePastCache(pointer);
  }
}

MINICORE_INLINE void Release(void* pointer) {
  const uint64_t offset = OffsetOf(g_index_state, pointer);
  if (MINICORE_UNLIKELY(!MayRetireBlindly(g_index_state, offset))) {
    ReleaseOther(pointer);
    return;
  }
  Retire(g_index_state, offset);
  GiveBack(pointer);
}

// As malloc_usable_size(): 0 for null and for what is not of the heap.
MINICORE_INLINE size_t UsableSize(void* pointer) {
  const uint64_t offset = OffsetOf(g_index_state, pointer);
  if (MINICORE_UNLIKELY(!IsIndexed(offset))) return UsableSizeOutside(pointer);
  const uint64_t entry = PageEntry(ThisThread(), pointer);
  if (MINICORE_UNLIKELY((entry & 1) == 0)) return je_malloc_usable_size(pointer);
  return kSmallClassSize[entry >> 48];
}

}  // namespace minicore

#endif  // MINICORE_ALLOC_MALLOC_WRAPPER_H_
