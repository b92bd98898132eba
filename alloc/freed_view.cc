// What was freed at an address, as far as the marks of the index tell.
//
// free() leaves the second granule alone, so a freed allocation has its class
// there. But a page lives through several slabs and large allocations, each
// leaves marks, and none says when it was made. So this weighs evidence; the
// answer is a help to whoever reads the report, and nothing else depends on it.

#include "alloc/index_search.h"

namespace minicore::index_search {
namespace {

// Freed allocations that are weighed against each other for one address. There
// are seldom more than two; planes full of garbage have hundreds.
constexpr int kMostCandidates = 16;

// Slots on either side that are asked about each of them: as many as reach a
// page's boundary for the sizes that have few neighbours in a page.
constexpr int kMostNeighbours = 8;

inline unsigned FreedMask(__m128i bytes) {
  return static_cast<unsigned>(
      _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(kShadowFreed))));
}

// What started at `granule` and was freed, by the byte of its second granule.
Found FreedAt(const IndexState& index, uint64_t granule, ByteCount readable) {
  if (ShadowAt(index, granule) != kShadowFreed) return {};
  const uint64_t second = granule + 1;
  uint8_t byte = kShadowNothing;
  if (second << kGranuleShift < readable) byte = ShadowAt(index, second);
  if (byte == (kShadowNotLive | kShadowLarge)) {
    const ByteCount size = LargeSizeAt(index, granule, readable);
    if (size != 0) return {granule, size};
  }
  const unsigned size_class = byte & kShadowClassMask;
  if ((byte & ~kShadowClassMask) == kShadowNotLive && size_class > 1 &&
      size_class <= kSmallClasses) {
    return {granule, kSmallClassSize[size_class]};
  }
  return {granule, kSmallClassSize[1]};  // it has no second granule
}

// A live small allocation with a byte in the page of `offset`. A page belongs
// to one slab (a run of equal allocations without gaps), so this one tells
// where the slots of the slab begin.
Found LiveInPage(const IndexState& index, uint64_t offset, ByteCount readable) {
  const uint64_t granule = offset >> kGranuleShift;
  const uint64_t page = AlignDown(granule, kGranulesPerPage);
  bool any = false;
  uint64_t start = SearchDown<LiveMask>(
      index, granule, page >= kLookBack ? page - kLookBack + 1 : 0, &any);
  if (start != kNone) {
    const uint8_t byte = ShadowAt(index, start);
    const Found found = LiveAt(index, start, byte, readable);
    if (IsSmall(byte) && Covers(found, page << kGranuleShift)) return found;
    if (IsSmall(byte) && start >= page) return found;
  }
  start = SearchUp<LiveMask>(index, granule, page + kGranulesPerPage);
  if (start == kNone) return {};
  const uint8_t byte = ShadowAt(index, start);
  return IsSmall(byte) ? LiveAt(index, start, byte, readable) : Found{};
}

// The slot around `offset` of a slab of which `neighbour` is a live allocation.
uint64_t SlotOf(const Found& neighbour, uint64_t offset) {
  const uint64_t known = neighbour.granule << kGranuleShift;
  const uint64_t inside =
      offset >= known ? (offset - known) % neighbour.size
                      : (neighbour.size - (known - offset) % neighbour.size) %
                            neighbour.size;
  return inside <= offset ? (offset - inside) >> kGranuleShift : kNone;
}

// True if a live allocation starts behind `offset` and before the end of
// `freed`: then its memory has been used again, at least in part. Looks no
// further than a small allocation is long.
bool IsReused(const IndexState& index, const Found& freed, uint64_t offset,
              ByteCount readable) {
  const uint64_t granule = offset >> kGranuleShift;
  uint64_t end = freed.granule + (freed.size >> kGranuleShift);
  if (end > granule + kLookBack) end = granule + kLookBack;
  if (end > readable >> kGranuleShift) end = readable >> kGranuleShift;
  return SearchUp<LiveMask>(index, granule + 1, end) != kNone;
}

// What the place `offset` says of a slab with slots of `size`: 3 if one lives
// there, 1 if one was freed there, -1 if something else began there, 0 if
// nothing did.
int SlotEvidence(const IndexState& index, uint64_t offset, ByteCount size,
                 ByteCount readable) {
  if (offset >= readable) return 0;  // also below zero
  const uint64_t granule = offset >> kGranuleShift;
  const uint8_t byte = ShadowAt(index, granule);
  const Found live = LiveAt(index, granule, byte, readable);
  if (live.size != 0) return live.size == size ? 3 : -1;
  const Found freed = FreedAt(index, granule, readable);
  return freed.size == size ? 1 : freed.size != 0 ? -1 : 0;
}

// How much its neighbours speak for a freed allocation. A slab is a row of
// equals that begins and ends on pages: next to a slot that does not begin on
// one lies another slot, and when something else has begun there, this slab is
// no more. (Or that slot was never used; slots are first used in order, so that
// is likelier for those behind.)
int Evidence(const IndexState& index, const Found& freed, ByteCount readable) {
  const ByteCount size = freed.size;
  const uint64_t start = freed.granule << kGranuleShift;
  int evidence = 0;
  uint64_t slot = start;
  for (int step = 0; step < kMostNeighbours; ++step) {
    const bool certain = slot % kPageSize != 0;
    slot -= size;
    const int before = SlotEvidence(index, slot, size, readable);
    if (before > 0) evidence += before;
    if (before < 0 && certain) evidence -= 3 * kMostNeighbours;
    if (before < 0 || !certain) break;
  }
  slot = start;
  for (int step = 0; step < kMostNeighbours; ++step) {
    slot += size;
    const bool certain = slot % kPageSize != 0;
    const int after = SlotEvidence(index, slot, size, readable);
    if (after > 0) evidence += after;
    if (after < 0 && certain) evidence -= kMostNeighbours;
    if (after < 0 || !certain) break;
  }
  return evidence;
}

// What was freed at `offset`, by the marks within reach of a small allocation.
// Marks of several allocations that were here at different times may cover the
// address; among those with the same evidence the nearest is as good as any.
Found FreedByMarks(const IndexState& index, uint64_t offset, uint64_t lowest,
                   ByteCount readable) {
  Found best;
  int most = 0;
  int candidates = 0;
  bool any = false;
  for (uint64_t next = (offset >> kGranuleShift) + 1; next > lowest;) {
    next = SearchDown<FreedMask>(index, next - 1, lowest, &any);
    if (next == kNone) break;
    const Found found = FreedAt(index, next, readable);
    if (!Covers(found, offset)) continue;
    if (++candidates > kMostCandidates) break;
    if (IsReused(index, found, offset, readable)) continue;
    if (found.size > kSmallMax) {
      // It has erased what was inside of it, so what starts here or above is
      // younger.
      return best.size != 0 ? best : found;
    }
    const int evidence = Evidence(index, found, readable);
    if (best.size == 0 || evidence > most) {
      most = evidence;
      best = found;
    }
  }
  return best;
}

// True if `inner` came after the large allocation `outer` around it: else that
// would have erased its marks. True as well if there is no `outer`, and false
// if there is no `inner`.
bool CameLater(const Found& inner, const Found& outer, ByteCount erased) {
  if (inner.size == 0 || outer.size == 0) return outer.size == 0;
  return (inner.granule - outer.granule) << kGranuleShift < erased;
}

// How far marks are erased for certain: by whole words of eight shadow bytes,
// and by whole pages, of which the start need not be the first byte.
constexpr ByteCount kShadowCertain = kShadowErased - 8 * kGranuleSize;
constexpr ByteCount kLargeCertain = kLargeErased - kPageSize;

}  // namespace

// What was freed at `offset`. The slab of a live neighbour is certain; else
// marks decide. Those inside of a large allocation are younger than it as far
// as it erases such marks; farther in than that the large one wins, since its
// own marks are still whole.
Found FindFreed(const IndexState& index, uint64_t offset, ByteCount readable) {
  const uint64_t granule = offset >> kGranuleShift;
  const Found neighbour = LiveInPage(index, offset, readable);
  if (neighbour.size != 0) {
    const uint64_t slot = SlotOf(neighbour, offset);
    if (slot != kNone && ShadowAt(index, slot) == kShadowFreed) {
      return {slot, neighbour.size};
    }
  }
  bool any = false;
  // What was freed below a live allocation has been reused by it.
  uint64_t lowest = granule >= kLookBack ? granule - kLookBack + 1 : 0;
  const uint64_t live = SearchDown<LiveMask>(index, granule, lowest, &any);
  if (live != kNone) lowest = live + 1;
  const Found near = FreedByMarks(index, offset, lowest, readable);
  if (live != kNone) return near;
  Found far;
  const auto consider = [&](uint64_t start) {
    const Found found = FreedAt(index, start, readable);
    if (found.size > kSmallMax && Covers(found, offset) &&
        !IsReused(index, found, offset, readable) &&
        !CameLater(far, found, kLargeCertain)) {
      far = found;
    }
    return !IsLarge(ShadowAt(index, start));
  };
  const Address before = LargeBefore(index, offset);
  if ((PageWord(index, offset) | GroupWord(index, offset) | before) != 0) {
    ForEachLargeInChunk(index, offset, consider);
    const uint64_t start = ChunkWay(index, before, offset);
    if (start != kNone) consider(start);
  }
  return CameLater(near, far, kShadowCertain) ? near : far;
}

}  // namespace minicore::index_search
