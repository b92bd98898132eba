// The writer of the shadow index: what malloc and free leave behind for a
// crash.
//
// Writers. An allocation's shadow bytes are written by whoever allocates it,
// then by whoever frees it: never by two at a time, unless the program races
// with itself. Only a tag (tag_table.h) may come at the same time, by
// compare-and-swap on the start byte.
//
// Readers. A crashed process, at any instant, without a hand-over
// (index_view.h).
//
// Publication. The start byte publishes an allocation and is written last, with
// release: before it, the second granule, `large`, `large_before` and `tags`
// are in place. On x86 a release store is a plain store; it keeps the compiler
// from reordering. free() writes only that byte, so what the others say stays
// true of the freed allocation.
//
// Order against jemalloc: recorded after je_malloc returns and before malloc
// does, retired before je_free is called. An allocation of which the index
// knows nothing is one that no other thread can know of either.
//
// Context: any. Functions touch only the planes of `index`.
// Requires: granules, pages and chunks below `committed`.

#ifndef MINICORE_ALLOC_SHADOW_INDEX_H_
#define MINICORE_ALLOC_SHADOW_INDEX_H_

#include "alloc/index_format.h"

namespace minicore {

// Offset of a pointer in the region. A pointer that is not of the region, null
// included, gives a value of at least `region_bytes` (also before there is a
// region: 0 bytes).
inline uint64_t OffsetOf(const IndexState& index, const void* pointer) {
  return reinterpret_cast<Address>(pointer) - index.region;
}

inline ChunkEntry& ChunkOf(const IndexState& index, uint64_t offset) {
  return index.chunks[offset >> kChunkShift];
}

// `second` is where the second granule lies, from the first: 1. Class 1 has
// only one: 0, so that its second byte goes to the start, which the next store
// overwrites, and no branch is needed. `mark` is kShadowTagged for an
// allocation that is born tagged, else 0.
inline void RecordSmall(const IndexState& index, uint64_t offset,
                        unsigned size_class, unsigned second, uint8_t mark) {
  std::atomic<uint8_t>* start = index.shadow + (offset >> kGranuleShift);
  start[second].store(static_cast<uint8_t>(kShadowNotLive + size_class),
                      std::memory_order_relaxed);
  start->store(static_cast<uint8_t>(size_class | mark),
               std::memory_order_release);
}

inline void RecordSmall(const IndexState& index, uint64_t offset,
                        unsigned size_class, uint8_t mark = 0) {
  RecordSmall(index, offset, size_class, size_class > 1 ? 1 : 0, mark);
}

// `size` is the usable size, a multiple of a page.
void RecordLarge(const IndexState& index, uint64_t offset, ByteCount size,
                 uint8_t mark = 0);

// Changes the size of a live large allocation in place. Grow: after jemalloc
// has grown it. Shrink: before, or the tail could be another allocation's
// already.
void ResizeLarge(const IndexState& index, uint64_t offset, ByteCount size);

// Finds what the index can do without once the memory of [begin, end) is given
// back: whole groups (kGroupSize, a page of the shadow each) that tell of freed
// small allocations only. A freed large one is told of by two bytes, and those
// are worth their page.
//
// Requires: nothing lives there, and nobody allocates there meanwhile.
// Returns: the first such stretch, as long as it gets; empty at `end` if there
//          is none.
AddressRange NextForgettable(const IndexState& index, ByteCount begin,
                             ByteCount end);

// True if `offset` lies in the region and Retire() is enough for it, as long as
// nothing was ever tagged.
inline bool MayRetireBlindly(const IndexState& index, uint64_t offset) {
  // Relaxed: of a tag on this allocation the caller knows, and the tag came
  // after this word had changed.
  return offset < index.blind_bytes.load(std::memory_order_relaxed);
}

// A blind store: no load, no cache miss to wait for. Only for chunks without
// tags.
inline void Retire(const IndexState& index, uint64_t offset) {
  index.shadow[offset >> kGranuleShift].store(kShadowFreed,
                                              std::memory_order_release);
}

// Returns: the start byte as it was. The exchange orders this against a tag
// that is put on at the same time: either its compare-and-swap fails, or the
// tag is seen here.
inline uint8_t RetireAndTell(const IndexState& index, uint64_t offset) {
  return index.shadow[offset >> kGranuleShift].exchange(
      kShadowFreed, std::memory_order_acq_rel);
}

inline uint8_t StartByte(const IndexState& index, uint64_t offset) {
  return index.shadow[offset >> kGranuleShift].load(std::memory_order_acquire);
}

inline bool IsLiveStart(uint8_t byte) {
  const unsigned size_class = byte & ~kShadowTagged;
  return (size_class - 1 < kSmallClasses) || size_class == kShadowLarge;
}

// Marks the chunk of an allocation that is about to be tagged: from then on
// free() looks before it writes. Sequentially consistent, to come before the
// tag in every order.
inline void ExpectTags(IndexState& index, uint64_t offset) {
  ChunkOf(index, offset).has_tags.store(1);
  if ((index.flags.load() & kIndexHasTags) == 0) {
    index.flags.fetch_or(kIndexHasTags);
  }
  if (index.blind_bytes.load() != 0) index.blind_bytes.store(0);
}

inline bool ChunkHasTags(const IndexState& index, uint64_t offset) {
  return __builtin_expect(
             (index.flags.load(std::memory_order_relaxed) & kIndexHasTags) != 0,
             0) &&
         ChunkOf(index, offset).has_tags.load(std::memory_order_relaxed) != 0;
}

inline uint8_t TagByte(const IndexState& index, uint64_t offset) {
  return index.tags[offset >> kGranuleShift].load(std::memory_order_relaxed);
}

inline void SetTagByte(const IndexState& index, uint64_t offset, uint8_t tag) {
  index.tags[offset >> kGranuleShift].store(tag, std::memory_order_relaxed);
}

}  // namespace minicore

#endif  // MINICORE_ALLOC_SHADOW_INDEX_H_
