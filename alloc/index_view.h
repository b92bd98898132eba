// The reader of the shadow index: pure functions over (state, address).
//
// Context: any. Called by a crashed process while every writer is frozen
// between two arbitrary instructions, by tests on made-up addresses, and by a
// fuzzer on arbitrary bytes. No lock, no allocation, no hand-over from the
// writers; terminates on any contents of the planes.
//
// Bounds: to find what lives at an address takes no more than 14 KiB / 16
// shadow bytes, three words that name large allocations, and one look at each
// of those: the same for 20 KiB and for 10 GiB, and among a million others. To
// find what was freed there takes some twenty times as much in planes full of
// garbage, and two or three times in real ones.
//
// Why staleness is harmless: a single load decides whether a start is live. An
// allocation whose shadow byte is not yet written has not left malloc; one
// whose byte is already 0x40 has entered free. Either answer is right for a
// thread frozen in between.

#ifndef MINICORE_ALLOC_INDEX_VIEW_H_
#define MINICORE_ALLOC_INDEX_VIEW_H_

#include "alloc/address.h"
#include "alloc/index_format.h"

namespace minicore {

enum class AllocationState : uint8_t {
  kUnknown,  // outside the region, or nothing was ever recorded there
  kLive,
  kFreed,  // the most recent allocation here that we know of was freed
};

struct Allocation {
  AllocationState state = AllocationState::kUnknown;
  uint8_t own_tag = kNoTag;
  uint8_t extent_tag = kNoTag;  // of whatever is there, see TagOf()
  Address begin = 0;
  ByteCount size = 0;  // usable size; 0 for a freed one whose size is not known

  AddressRange range() const { return {begin, begin + size}; }
};

// True if `address` lies in committed heap. One subtraction and one comparison.
inline bool InHeap(const IndexState& index, Address address) {
  return address - index.region <
         index.committed.load(std::memory_order_acquire);
}

// True if `address` lies in the index itself: its planes for the whole region.
inline bool InIndexPlanes(const IndexState& index, Address address) {
  const auto within = [address](const void* plane, ByteCount bytes) {
    return address - reinterpret_cast<Address>(plane) < bytes;
  };
  const ByteCount granules = index.region_bytes >> kGranuleShift;
  return within(index.shadow, granules) || within(index.tags, granules) ||
         within(index.large,
                (index.region_bytes >> kPageShift) * sizeof(uint64_t)) ||
         within(index.chunks,
                (index.region_bytes >> kChunkShift) * sizeof(ChunkEntry));
}

// Resolves `address`, which may be interior, to the allocation that encloses
// it: the live one, else the freed one that was there last. The byte after the
// usable size does not belong to an allocation.
Allocation Resolve(const IndexState& index, Address address);

// Asks for the lines that Resolve(index, address) will read, so that several can
// be on their way at once. A hint: reads nothing, and never faults.
//
// Requires: InHeap(index, address).
inline void PrefetchResolve(const IndexState& index, Address address) {
  const ByteCount offset = address - index.region;
  __builtin_prefetch(index.shadow + (offset >> kGranuleShift));
  __builtin_prefetch(index.large + (offset >> kPageShift));
}

// Calls `visit(context, allocation)` for every live allocation that starts in
// `range` (clipped to the heap), in address order, until it returns false.
// Costs one look at each shadow byte of the range.
void ForEachLive(const IndexState& index, AddressRange range,
                 bool (*visit)(void* context, const Allocation& allocation),
                 void* context);

// Calls `visit` as ForEachLive() does for every allocation that starts in the
// chunk at `offset` and whose disposition is `wanted`, also for one that was
// retired this instant and has not lost its tag yet. Costs one look at each
// shadow byte and tag of the groups in which something was tagged, whatever else
// lives there; of a chunk whose extents have that disposition, as ForEachLive().
//
// Requires: `offset` is a multiple of kChunkSize and below `committed`.
void ForEachOf(const IndexState& index, const TagState& tags, ByteCount offset,
               Disposition wanted,
               bool (*visit)(void* context, const Allocation& allocation),
               void* context);

// True if the index of the chunk at `offset`, as far as it concerns tags, holds
// what no writer leaves at any instant: it was overwritten, and a tag may be
// lost. Whichever byte of a tagged allocation's entries is overwritten, of its
// start, its second granule, its tag or the check of that, this sees it, or the
// tag is unknown, or still what it was; but for the tag of 16 bytes, which has no
// check. Costs one look at each shadow byte and tag of the groups in which
// something was tagged.
//
// Requires: as ForEachOf().
bool Contradicts(const IndexState& index, ByteCount offset);

// Disposition of a tag id: the table's rule, else the built-in one. An id that
// is not in the table (a scribbled index) is elided. kNoTag is kept.
Disposition DispositionOf(const TagState& tags, uint8_t tag);

// The tag that decides about an allocation: its own or that of its extents, as
// one of them is more protective; its own if neither is.
uint8_t TagOf(const TagState& tags, const Allocation& allocation);

// A tagged range as a crash finds it. False if `slot` (below kMaxTagRanges)
// holds none. A range that is being merged, or just being written, counts from
// the moment at which its bounds make sense: what is to be left out must never
// be missed.
bool RangeAt(const TagState& tags, unsigned slot, AddressRange* range,
             uint8_t* tag);

// Whether the range of `slot` was made of several when the slots ran out: then
// where each of them began and ended is not known any more.
bool RangeWasMerged(const TagState& tags, unsigned slot);

// Name of a tag id, NUL-terminated, into `name` (kMaxTagName + 1 bytes); "" if
// unknown.
void NameOf(const TagState& tags, uint8_t tag, char* name);

}  // namespace minicore

#endif  // MINICORE_ALLOC_INDEX_VIEW_H_
