// The shadow index: the bytes that the malloc wrapper writes and a crashed
// process reads. Plain data, shared by both sides and by the tests, which fill
// it with made-up addresses.
//
// All heap lies in one reserved region of address space, cut three ways:
//
//   granule   16 bytes    one byte of `shadow`, one byte of `tags`
//   page      4 KiB       one word of `large`
//   group     64 KiB      its first page's word, a bit of the chunk's tags
//   chunk     2 MiB       one ChunkEntry
//
// The shadow byte of a granule:
//
//   bit   7      6         5..0
//       tagged  not-live   class
//
//   0x00          nothing starts here
//   0x01..0x23    a live small allocation of that size class starts here
//   0x3f          a live large allocation starts here; `large` has its size
//   0x80 | live   the same, tagged: `tags` has the tag id of the allocation,
//                 and at the second granule, if there is one, its complement
//   0x40          a freed allocation started here
//   0x40 | class  second granule of an allocation of that class, live or freed
//
// The second granule outlives the first one's class, which free() overwrites
// blindly, so that the size of a freed allocation is still known. Allocations
// of class 1 (16 bytes) have no second granule.
//
// free() writes 0x40 without looking. A block that is reused for another class
// leaves stale 0x40 and 0x40|class bytes inside the new allocation; they never
// count against a live start at a lower address that covers them.
//
// Writers, readers, publication: alloc/shadow_index.h and alloc/index_view.h.

#ifndef MINICORE_ALLOC_INDEX_FORMAT_H_
#define MINICORE_ALLOC_INDEX_FORMAT_H_

#include <atomic>
#include <cstdint>

#include "alloc/address.h"

namespace minicore {

inline constexpr unsigned kGranuleShift = 4;
inline constexpr unsigned kPageShift = 12;
inline constexpr unsigned kGroupShift = 16;
inline constexpr unsigned kChunkShift = 21;
inline constexpr ByteCount kGranuleSize = 1u << kGranuleShift;
inline constexpr ByteCount kGroupSize = 1u << kGroupShift;
inline constexpr ByteCount kChunkSize = 1u << kChunkShift;

inline constexpr uint8_t kShadowNothing = 0x00;
inline constexpr uint8_t kShadowClassMask = 0x3f;
inline constexpr uint8_t kShadowLarge = 0x3f;
inline constexpr uint8_t kShadowNotLive = 0x40;
inline constexpr uint8_t kShadowFreed = 0x40;
inline constexpr uint8_t kShadowTagged = 0x80;

// jemalloc 5.3.0's small size classes from 16 bytes on (LG_QUANTUM 4, SC_NGROUP
// 4; its 8-byte class is never asked for, since a granule can hold one start
// only). Index 0 is unused. Class indices are bytes of the shadow: append only.
inline constexpr uint16_t kSmallClassSize[] = {
    0,    16,   32,   48,   64,   80,   96,   112,  128,  160,   192,   224,
    256,  320,  384,  448,  512,  640,  768,  896,  1024, 1280,  1536,  1792,
    2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 14336};
inline constexpr unsigned kSmallClasses =
    sizeof(kSmallClassSize) / sizeof(kSmallClassSize[0]) - 1;
inline constexpr ByteCount kSmallMax = 14336;
static_assert(kSmallClasses == 35 && kSmallClassSize[35] == kSmallMax);
static_assert(kSmallClasses < kShadowLarge, "a class would read as a marker");

// A word of `large`, at the page in which a large allocation starts: its usable
// size (a multiple of 4096) with the number of its first granule within that
// page in the low 8 bits (cache_oblivious starts large allocations at any 64
// bytes of their first page). Stays after free(), so that a freed large
// allocation has a size; the shadow byte says whether it lives.
//
// And at pages further in, a way back: the number of the allocation's first
// granule, counted from the region, above 12 bits of kLargeBack. Not at all of
// them, or a large allocation would cost by its size, but at
//
//   every page          of the group in which it starts,
//   every group's first page of the chunk in which it starts,
//   every chunk         (ChunkEntry::large_before).
//
// So whatever large allocation covers an address is named by the word of the
// page, of the page's group, or by the chunk: three looks, of any size. Words
// of allocations that are gone stay and mislead nobody: the start byte and the
// size at the place that they name decide.
inline constexpr uint64_t kLargeGranuleMask = 0xff;
inline constexpr uint64_t kLargeBack = 0x800;
inline constexpr unsigned kLargeBackShift = 12;

// A large allocation that starts where none of its size did erases what earlier
// ones left in its first bytes: shadow bytes up to here, words of `large` up to
// there. So a mark inside of them is the younger one; further in, nobody knows.
inline constexpr ByteCount kShadowErased = 16 * 1024;
inline constexpr ByteCount kLargeErased = 256 * 1024;

// One chunk. `large_before` is the address of the large allocation that started
// in an earlier chunk and covers the first byte of this one (or did: the shadow
// byte at that address says whether it lives), so that an interior pointer of a
// 10 GiB allocation is resolved without looking back through it. `tags`: what
// was ever tagged here, see ChunkTags().
struct ChunkEntry {
  std::atomic<uint64_t> large_before;
  std::atomic<uint64_t> tags;
};
static_assert(sizeof(ChunkEntry) == 16,
              "the chunk plane is reserved by this size");

// ChunkEntry::tags, one word, so that it is whole at every instant:
//
//   bits 0..31   a bit for each group: some allocation that starts there was
//                tagged once. Only there free() looks at the old shadow byte
//                (and at this word only once something was tagged at all), and
//                only there does a crash look for tagged starts
//   bits 32..39  the tag that owns the extents of the chunk, and then all
//                groups have their bit; 0 for ordinary arenas
//   bits 40..63  a sum of the others: no other byte can change without it
constexpr uint64_t ChunkTags(uint32_t groups, uint8_t extent_tag) {
  const uint64_t low = groups | uint64_t{extent_tag} << 32;
  return low | (low ^ low >> 24) << 40;
}
constexpr uint32_t TaggedGroups(uint64_t tags) {
  return static_cast<uint32_t>(tags);
}
constexpr uint8_t ExtentTag(uint64_t tags) {
  return static_cast<uint8_t>(tags >> 32);
}
constexpr bool AreChunkTags(uint64_t tags) {
  return tags == ChunkTags(TaggedGroups(tags), ExtentTag(tags));
}
// The bit of the group of an offset in the region.
constexpr uint32_t GroupBit(uint64_t offset) {
  return uint32_t{1} << (offset >> kGroupShift) % 32;
}
inline constexpr uint32_t kAllGroups = UINT32_MAX;
static_assert(kChunkSize / kGroupSize == 32);

inline constexpr uint64_t kIndexMagic = 0x31584449434d0a7f;  // "\x7f\nMCIDX1"
inline constexpr uint32_t kIndexVersion = 3;

// `flags`: some heap is outside the region; some chunk has tags; free() checks
// what it is given (bad_pointer.h).
inline constexpr uint32_t kIndexUnindexedHeap = 1;
inline constexpr uint32_t kIndexHasTags = 2;
inline constexpr uint32_t kIndexCheckFrees = 4;

// Everything a reader needs. Zero is a valid state: no region, no address
// resolves. The planes are pointers, the region only numbers, so that tests can
// describe a region that does not exist.
//
// Writers: the region's first use sets all but `committed` and `flags` once,
// before the first address of the region leaves malloc; `committed` only grows
// (region.cc); `blind_bytes` falls to 0 with the first tag or check
// (shadow_index.h) and stays so.
// Readers: only granules below `committed` have readable planes behind them.
// The members that malloc and free read come first, in one cache line.
struct IndexState {
  uint64_t magic;
  uint32_t version;
  std::atomic<uint32_t> flags;
  Address region;          // multiple of kChunkSize
  ByteCount region_bytes;  // multiple of kChunkSize; 0 = no region
  std::atomic<uint8_t>* shadow;
  ChunkEntry* chunks;
  // From `region`, a multiple of kChunkSize: the planes are mapped up to here.
  std::atomic<ByteCount> committed;
  // How much of the region free() may write to without a look: region_bytes, or
  // nothing once kIndexHasTags or kIndexCheckFrees was set. So one comparison
  // tells it both that a pointer is of the region and that it needs no look.
  std::atomic<ByteCount> blind_bytes;
  std::atomic<uint8_t>* tags;
  std::atomic<uint64_t>* large;
};

// Tag names, interned to ids from 1 on, and what the policy does with each. Ids
// of the built-in names are fixed. Writers: tag_table.h. Readers: index_view.h.
inline constexpr unsigned kMaxTags = 250;
inline constexpr unsigned kMaxTagName = 31;
inline constexpr uint8_t kNoTag = 0;
inline constexpr uint8_t kTagSecret = 1;
inline constexpr uint8_t kTagCache = 2;
inline constexpr uint8_t kTagKeep = 3;
inline constexpr uint8_t kFirstUserTag = 4;
// What is not in the table is elided; this never is.
inline constexpr uint8_t kUnknownTag = 0xff;

// What stands in `tags` behind a tag's id, at the second granule.
constexpr uint8_t TagCheck(uint8_t tag) {
  return tag == kNoTag ? 0 : static_cast<uint8_t>(~tag);
}

// The tag of the live allocation that starts at `granule`, by its start byte
// `byte`. It is written three times over: as the mark in the start byte, in
// `tags`, and again behind that (class 1 has no room for the third). Where they
// disagree, somebody is just writing them, or has overwritten one: the tag is
// unknown, and the memory elided.
//
// Requires: all of the allocation has planes.
inline uint8_t OwnTag(const IndexState& index, uint64_t granule, uint8_t byte) {
  const uint8_t tag = index.tags[granule].load();
  const bool marked = (byte & kShadowTagged) != 0;
  const bool has_check = (byte & kShadowClassMask) > 1;
  if (marked != (tag != kNoTag) ||
      (has_check && index.tags[granule + 1].load() != TagCheck(tag))) {
    return kUnknownTag;
  }
  return tag;
}

// What the policy says of a byte, the least protective first: where several
// apply, the greatest wins. kKeepAlways counts as kKeep there and makes its
// memory a root besides.
enum class Disposition : uint8_t {
  kKeep = 0,        // when reached ("label")
  kKeepAlways = 1,  // anchored or not
  kCut = 2,         // the first 256 bytes, not scanned
  kElide = 3,       // no byte may leave the process
};

// What a tag does, as a byte of its entry: 0 as long as nobody has said, then
// this. The built-in names have a default; a name of the program's that is just
// being interned is elided.
constexpr uint8_t RuleOf(Disposition disposition) {
  return static_cast<uint8_t>(static_cast<unsigned>(disposition) + 1);
}

struct TagEntry {
  // 0: free; 1: `name` is complete (release / acquire); else: being written.
  // Stays 0 for the built-in names.
  std::atomic<uint8_t> ready;
  std::atomic<uint8_t> rule;
  char name[kMaxTagName + 1];
};

// A tagged range of any memory. Free slots have begin = end = 0; a slot with
// begin < end is a range, whatever else it says. `state` has all but the bounds,
// in one word that is changed by compare-and-swap, or by who has claimed it:
//
//   bits 0..7    the tag
//   bits 8..9    kRangeFree, kRangeClaimed or kRangeLive
//   bit  10      merged: it stands for several, and may reach too far
//   bits 16..63  how often the slot was taken: no two uses have the same word
//
// Who writes what, and in which order: tag_ranges.cc.
inline constexpr unsigned kMaxTagRanges = 4096;
inline constexpr uint64_t kRangeFree = 0;
inline constexpr uint64_t kRangeClaimed = 1 << 8;  // being filled or emptied
inline constexpr uint64_t kRangeLive = 2 << 8;
inline constexpr uint64_t kRangeStateMask = 3 << 8;
inline constexpr uint64_t kRangeMerged = 1 << 10;
inline constexpr uint64_t kRangeUse = 1 << 16;

constexpr uint8_t RangeTag(uint64_t state) {
  return static_cast<uint8_t>(state);
}

struct TagRange {
  std::atomic<uint64_t> state;
  std::atomic<Address> begin;
  std::atomic<Address> end;
};

// `lost_tags`: a name could not be interned, a tag was lost; every allocation
// and range whose tag is unknown must be elided. Zero is a valid state: the
// built-in names are known without being in the table.
struct TagState {
  std::atomic<uint32_t> lost_tags;
  TagEntry entries[kMaxTags + 1];  // [0] unused
  TagRange ranges[kMaxTagRanges];
};

}  // namespace minicore

#endif  // MINICORE_ALLOC_INDEX_FORMAT_H_
