// The writer of the shadow index: what malloc and free leave behind for a
// crash.
//
// Writers. An allocation's shadow bytes are written by whoever allocates it,
// then by whoever frees it: never by two at a time, unless the program races
// with itself. Only a tag may come at the same time, by compare-and-swap on the
// start byte.
//
// Readers. A crashed process, at any instant, without a hand-over
// (index_view.h).
//
// Publication. The start byte publishes an allocation and is written last, with
// release: before it, the second granule, `large` and `large_before` are in
// place. On x86 a release store is a plain store; it keeps the compiler from
// reordering. free() writes only that byte, so what the others say stays true of
// the freed allocation.
//
// Tags. A tag is entered three times: `tags` of the start, the check behind it,
// and the mark in the start byte (OwnTag() in index_format.h). Before any of
// them, the group has its bit. What each writer does, in this order, and what a
// crash in between makes of it:
//
//   born tagged   start byte with mark | tag | check
//   tag           tag | check | mark, if it lives; then look again
//   untag         check = 0 | tag = 0 | mark away; then look again
//   free, realloc start byte = freed | (wipe) | check = 0 | tag = 0 | je_free
//
// A live start of which the three disagree is of an unknown tag and elided: in
// the first three lines, wherever the writer stops, the memory is as it was, as
// it will be, or elided. A freed start with a tag is elided as if it lived, so
// that the fourth can wipe without hurry. So a tag stands only where an
// allocation starts that lives or was just freed, and a check only behind such a
// tag or a live start: anything else has been overwritten (Contradicts() in
// index_view.h).
//
// Two that tag or untag the same allocation at once may mix their stores. Each
// looks again after its last one, so the one whose last store is the very last
// sees what is there in the end, and if that disagrees, writes anew. One that
// tags what another frees: either its compare-and-swap comes before the exchange
// of the start byte, then the tag is there for free() to see; or it fails, and
// the tag is taken back. In between a crash may find a tag or a check where none
// can stand, and elides everything. (A program that does this has no right to
// the pointer any more. The place may be another allocation's by then, and that
// one's tag become unknown.) fork() in another thread may make any of these
// instants last: the same answers.
//
// Sequentially consistent, all of it: "look again" and "then the tag is there"
// need one order for all. free() pays for it only in groups with tags.
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
// allocation that is born tagged, whose tag comes next, else 0.
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

// A blind store: no load, no cache miss to wait for. Only for groups without
// tags.
inline void Retire(const IndexState& index, uint64_t offset) {
  index.shadow[offset >> kGranuleShift].store(kShadowFreed,
                                              std::memory_order_release);
}

// Returns: the start byte as it was, with the mark of a tag if there is one.
inline uint8_t RetireAndTell(const IndexState& index, uint64_t offset) {
  return index.shadow[offset >> kGranuleShift].exchange(kShadowFreed);
}

// The same only if the start byte is `*seen`; else that becomes what it is.
inline bool RetireIfStill(const IndexState& index, uint64_t offset,
                          uint8_t* seen) {
  return index.shadow[offset >> kGranuleShift].compare_exchange_strong(
      *seen, kShadowFreed);
}

inline uint8_t StartByte(const IndexState& index, uint64_t offset) {
  return index.shadow[offset >> kGranuleShift].load();
}

inline bool IsLiveStart(uint8_t byte) {
  const unsigned size_class = byte & ~kShadowTagged;
  return (size_class - 1 < kSmallClasses) || size_class == kShadowLarge;
}

// Marks the group of an allocation that is about to be tagged: from then on
// free() looks before it writes. To come before the tag in every order.
void ExpectTags(IndexState& index, uint64_t offset);

// Gives a chunk's extents to `tag`, before anything is allocated in them.
void ExpectTagsOfExtent(IndexState& index, uint64_t offset, uint8_t tag);

// free() looks before it writes, from now on.
inline void StopBlindFrees(IndexState& index) {
  if (index.blind_bytes.load() != 0) index.blind_bytes.store(0);
}

// Whether the program wants to know of what it frees twice (bad_pointer.h).
inline bool ChecksFrees(const IndexState& index) {
  return (index.flags.load(std::memory_order_relaxed) & kIndexCheckFrees) != 0;
}

// Whether this one, or its group, may have a tag.
inline bool MayHaveTag(const IndexState& index, uint64_t offset) {
  return __builtin_expect(
             (index.flags.load(std::memory_order_relaxed) & kIndexHasTags) != 0,
             0) &&
         (ChunkOf(index, offset).tags.load(std::memory_order_relaxed) &
          GroupBit(offset)) != 0;
}

inline uint8_t ExtentTagAt(const IndexState& index, uint64_t offset) {
  return ExtentTag(ChunkOf(index, offset).tags.load(std::memory_order_relaxed));
}

// The tag of a start, live or just retired, whatever the other entries say.
inline uint8_t TagByte(const IndexState& index, uint64_t offset) {
  return index.tags[offset >> kGranuleShift].load();
}

// The tag and the check behind it, if the class of `byte` has one.
inline void SetTagBytes(const IndexState& index, uint64_t offset, uint8_t byte,
                        uint8_t tag) {
  std::atomic<uint8_t>* tags = index.tags + (offset >> kGranuleShift);
  if (tag != kNoTag) tags[0].store(tag);
  if ((byte & kShadowClassMask) > 1) tags[1].store(TagCheck(tag));
  if (tag == kNoTag) tags[0].store(tag);
}

// Gives the live allocation that starts at `offset` another tag, or none.
//
// Requires: ExpectTags(), unless `tag` is kNoTag.
// Returns: false if nothing lives there any more.
bool PutTag(const IndexState& index, uint64_t offset, uint8_t tag);

}  // namespace minicore

#endif  // MINICORE_ALLOC_SHADOW_INDEX_H_
