#include "alloc/index_view.h"

#include <emmintrin.h>

namespace minicore {
namespace {

// Granules that the largest small allocation covers: how far a start can lie back.
constexpr uint64_t kLookBack = kSmallMax >> kGranuleShift;
constexpr uint64_t kGranulesPerPage = kPageSize >> kGranuleShift;
constexpr uint64_t kNone = UINT64_MAX;

// Freed allocations that are weighed against each other for one address. There are seldom
// more than two; planes full of garbage have hundreds.
constexpr int kMostCandidates = 16;

// Slots on either side that are asked about each of them: as many as reach a page's
// boundary for the sizes that have few neighbours in a page.
constexpr int kMostNeighbours = 8;

// Granules and pages are counted from the region. What lies below this has planes.
ByteCount ReadableBytes(const IndexState& index) {
  // Acquire pairs with the release in region.cc: the planes are mapped up to here.
  ByteCount readable = index.committed.load(std::memory_order_acquire);
  if (readable > index.region_bytes) readable = index.region_bytes;
  return AlignDown(readable, kChunkSize);
}

uint8_t ShadowAt(const IndexState& index, uint64_t granule) {
  // Acquire: what the writer stored before the start byte is visible with it.
  return index.shadow[granule].load(std::memory_order_acquire);
}

bool IsSmall(uint8_t byte) {
  const unsigned size_class = byte & ~kShadowTagged;
  return size_class - 1 < kSmallClasses;
}

bool IsLarge(uint8_t byte) {
  return (byte & ~kShadowTagged) == kShadowLarge;
}

// Sixteen shadow bytes at once are a hint only: a vector load is not an atomic one, and
// each byte that it points to is read again, atomically, before anything is believed.
__attribute__((no_sanitize("thread"))) inline __m128i LoadHint(
    const IndexState& index, uint64_t granule) {
  return _mm_loadu_si128(
      reinterpret_cast<const __m128i*>(index.shadow + granule));
}

inline unsigned LiveMask(__m128i bytes) {
  const __m128i untagged = _mm_and_si128(bytes, _mm_set1_epi8(0x7f));
  const __m128i below = _mm_sub_epi8(untagged, _mm_set1_epi8(1));
  const __m128i limit = _mm_set1_epi8(kSmallClasses - 1);
  const __m128i small = _mm_cmpeq_epi8(_mm_min_epu8(below, limit), below);
  const __m128i large = _mm_cmpeq_epi8(untagged, _mm_set1_epi8(kShadowLarge));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(small, large)));
}

inline unsigned FreedMask(__m128i bytes) {
  return static_cast<unsigned>(_mm_movemask_epi8(
      _mm_cmpeq_epi8(bytes, _mm_set1_epi8(kShadowFreed))));
}

inline bool AllZero(const IndexState& index, uint64_t granule) {
  const __m128i any =
      _mm_or_si128(_mm_or_si128(LoadHint(index, granule),
                                LoadHint(index, granule + 16)),
                   _mm_or_si128(LoadHint(index, granule + 32),
                                LoadHint(index, granule + 48)));
  return _mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128())) == 0xffff;
}

// The nearest granule in [lowest, granule] whose byte `mask_of` selects, else kNone.
// Looks at whole blocks of 16, which lie within the plane like every multiple of 16.
template <unsigned (*mask_of)(__m128i)>
inline uint64_t SearchDown(const IndexState& index, uint64_t granule,
                           uint64_t lowest) {
  uint64_t block = granule & ~uint64_t{15};
  unsigned found =
      mask_of(LoadHint(index, block)) & ((2u << (granule & 15)) - 1);
  while (found == 0) {
    if (block <= lowest) return kNone;
    // The inside of an allocation is nearly always zeros.
    while (block >= lowest + 64 && AllZero(index, block - 64)) block -= 64;
    if (block <= lowest) return kNone;
    block -= 16;
    found = mask_of(LoadHint(index, block));
  }
  const uint64_t result = block + (31 - __builtin_clz(found));
  return result >= lowest ? result : kNone;
}

// The same upwards in [granule, end); `end` is a multiple of 16.
template <unsigned (*mask_of)(__m128i)>
inline uint64_t SearchUp(const IndexState& index, uint64_t granule,
                         uint64_t end) {
  uint64_t block = granule & ~uint64_t{15};
  unsigned skip = ~0u << (granule & 15);
  for (; block < end; block += 16, skip = ~0u) {
    while (block + 64 <= end && AllZero(index, block)) block += 64, skip = ~0u;
    if (block >= end) break;
    const unsigned found = mask_of(LoadHint(index, block)) & skip;
    if (found != 0) return block + __builtin_ctz(found);
  }
  return kNone;
}

struct Found {
  uint64_t granule = 0;
  ByteCount size = 0;  // 0: no such allocation
};

// The size that `large` has for a start, 0 if the word does not fit it.
ByteCount LargeSizeAt(const IndexState& index, uint64_t granule,
                      ByteCount readable) {
  const uint64_t word = index.large[granule / kGranulesPerPage].load(
      std::memory_order_acquire);
  const ByteCount size = AlignDown(word, kPageSize);
  const uint64_t in_page = word & (kPageSize - 1);
  const ByteCount offset = granule << kGranuleShift;
  if (in_page != granule % kGranulesPerPage || size <= kSmallMax ||
      size > readable - offset) {
    return 0;
  }
  return size;
}

// What starts at `granule` and lives, by its start byte.
Found LiveAt(const IndexState& index, uint64_t granule, uint8_t byte,
             ByteCount readable) {
  if (IsSmall(byte)) {
    const ByteCount size = kSmallClassSize[byte & kShadowClassMask];
    // Nothing reaches beyond the heap; garbage at its end would.
    return {granule, size <= readable - (granule << kGranuleShift) ? size : 0};
  }
  if (IsLarge(byte)) return {granule, LargeSizeAt(index, granule, readable)};
  return {};
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

bool Covers(const Found& found, uint64_t offset) {
  return offset - (found.granule << kGranuleShift) < found.size;
}

// Calls `consider(granule)` for the starts of large allocations, live or not, that might
// cover `offset` from further back than a small one reaches: by the words of its own
// chunk, the nearest first, then by the chunk's pointer. Until it returns false.
template <typename Consider>
void ForEachLargeBefore(const IndexState& index, uint64_t offset,
                        Consider consider) {
  const uint64_t chunk = offset >> kChunkShift;
  const uint64_t first = chunk << (kChunkShift - kPageShift);
  for (uint64_t page = (offset >> kPageShift) + 1; page-- > first;) {
    const uint64_t word = index.large[page].load(std::memory_order_relaxed);
    if (word == 0) continue;
    const uint64_t granule =
        page * kGranulesPerPage + (word & kLargeGranuleMask);
    if (granule <= offset >> kGranuleShift && !consider(granule)) return;
  }
  const Address before =
      index.chunks[chunk].large_before.load(std::memory_order_relaxed);
  const uint64_t start = before - index.region;
  // Only from an earlier chunk; zero and any garbage fall out here.
  if (start < chunk << kChunkShift && start % kGranuleSize == 0) {
    consider(start >> kGranuleShift);
  }
}

Found FindLive(const IndexState& index, uint64_t offset, ByteCount readable) {
  uint64_t granule = offset >> kGranuleShift;
  const uint64_t lowest = granule >= kLookBack ? granule - kLookBack + 1 : 0;
  for (;;) {
    const uint64_t start = SearchDown<LiveMask>(index, granule, lowest);
    if (start == kNone) break;
    // Live allocations do not overlap, so the nearest live start decides.
    const Found found =
        LiveAt(index, start, ShadowAt(index, start), readable);
    if (found.size != 0) return Covers(found, offset) ? found : Found{};
    // Freed since the hint, in a process that still runs; or garbage.
    if (start == lowest) break;
    granule = start - 1;
  }
  Found found;
  ForEachLargeBefore(index, offset, [&](uint64_t start) {
    const uint8_t byte = ShadowAt(index, start);
    if (IsLarge(byte)) found = LiveAt(index, start, byte, readable);
    return found.size == 0;
  });
  return Covers(found, offset) ? found : Found{};
}

// A live small allocation with a byte in the page of `offset`. A page belongs to one slab
// (a run of equal allocations without gaps), so this one tells where the slots of the
// slab begin.
Found LiveInPage(const IndexState& index, uint64_t offset, ByteCount readable) {
  const uint64_t granule = offset >> kGranuleShift;
  const uint64_t page = AlignDown(granule, kGranulesPerPage);
  uint64_t start = SearchDown<LiveMask>(
      index, granule, page >= kLookBack ? page - kLookBack + 1 : 0);
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
      offset >= known
          ? (offset - known) % neighbour.size
          : (neighbour.size - (known - offset) % neighbour.size) %
                neighbour.size;
  return inside <= offset ? (offset - inside) >> kGranuleShift : kNone;
}

// True if a live allocation starts behind `offset` and before the end of `freed`: then its
// memory has been used again, at least in part. Looks no further than a small allocation
// is long.
bool IsReused(const IndexState& index, const Found& freed, uint64_t offset,
              ByteCount readable) {
  const uint64_t granule = offset >> kGranuleShift;
  uint64_t end = freed.granule + (freed.size >> kGranuleShift);
  if (end > granule + kLookBack) end = granule + kLookBack;
  if (end > readable >> kGranuleShift) end = readable >> kGranuleShift;
  const uint64_t live =
      SearchUp<LiveMask>(index, granule + 1, AlignUp(end, 16));
  return live != kNone && live < end;
}

// What the place `offset` says of a slab with slots of `size`: 3 if one lives there, 1 if
// one was freed there, -1 if something else began there, 0 if nothing did.
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

// How much its neighbours speak for a freed allocation. A slab is a row of equals that
// begins and ends on pages: next to a slot that does not begin on one lies another slot,
// and when something else has begun there, this slab is no more. (Or that slot was never
// used; slots are first used in order, so that is likelier for those behind.)
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

// What was freed at `offset`, by the marks within reach of a small allocation. Marks of
// several allocations that were here at different times may cover the address; among
// those with the same evidence the nearest is as good as any.
Found FreedByMarks(const IndexState& index, uint64_t offset, uint64_t lowest,
                   ByteCount readable) {
  Found best;
  int most = 0;
  int candidates = 0;
  for (uint64_t next = (offset >> kGranuleShift) + 1; next > lowest;) {
    next = SearchDown<FreedMask>(index, next - 1, lowest);
    if (next == kNone) break;
    const Found found = FreedAt(index, next, readable);
    if (!Covers(found, offset)) continue;
    if (++candidates > kMostCandidates) break;
    if (IsReused(index, found, offset, readable)) continue;
    if (found.size > kSmallMax) {
      // It has erased what was inside of it, so what starts here or above is younger.
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

// What was freed at `offset`. The slab of a live neighbour is certain; else marks decide.
// Those inside of a large allocation are younger than it as far as it erases such marks;
// farther in than that the large one wins, since its own marks are still whole.
Found FindFreed(const IndexState& index, uint64_t offset, ByteCount readable) {
  const uint64_t granule = offset >> kGranuleShift;
  const Found neighbour = LiveInPage(index, offset, readable);
  if (neighbour.size != 0) {
    const uint64_t slot = SlotOf(neighbour, offset);
    if (slot != kNone && ShadowAt(index, slot) == kShadowFreed) {
      return {slot, neighbour.size};
    }
  }
  // What was freed below a live allocation has been reused by it.
  uint64_t lowest = granule >= kLookBack ? granule - kLookBack + 1 : 0;
  const uint64_t live = SearchDown<LiveMask>(index, granule, lowest);
  if (live != kNone) lowest = live + 1;
  const Found near = FreedByMarks(index, offset, lowest, readable);
  if (live != kNone) return near;
  Found far;
  ForEachLargeBefore(index, offset, [&](uint64_t start) {
    const Found found = FreedAt(index, start, readable);
    if (found.size > kSmallMax && Covers(found, offset) &&
        !IsReused(index, found, offset, readable)) {
      far = found;
    }
    return far.size == 0 && !IsLarge(ShadowAt(index, start));
  });
  const bool erased =
      offset - (far.granule << kGranuleShift) < kShadowErased;
  return far.size == 0 || (near.size != 0 && erased) ? near : far;
}

Allocation Describe(const IndexState& index, const Found& found,
                    AllocationState state) {
  const ByteCount offset = found.granule << kGranuleShift;
  Allocation result;
  result.state = state;
  result.begin = index.region + offset;
  result.size = found.size;
  if (state == AllocationState::kLive &&
      (ShadowAt(index, found.granule) & kShadowTagged) != 0) {
    result.tag = index.tags[found.granule].load(std::memory_order_relaxed);
  }
  if (result.tag == kNoTag) {
    result.tag = index.chunks[offset >> kChunkShift].extent_tag.load(
        std::memory_order_relaxed);
  }
  return result;
}

}  // namespace

Allocation Resolve(const IndexState& index, Address address) {
  const ByteCount readable = ReadableBytes(index);
  const uint64_t offset = address - index.region;
  if (offset >= readable) return {};
  Found found = FindLive(index, offset, readable);
  if (found.size != 0) return Describe(index, found, AllocationState::kLive);
  found = FindFreed(index, offset, readable);
  if (found.size != 0) return Describe(index, found, AllocationState::kFreed);
  return {};
}

void ForEachLive(const IndexState& index, AddressRange range,
                 bool (*visit)(void* context, const Allocation& allocation),
                 void* context) {
  const ByteCount readable = ReadableBytes(index);
  range = range.Clip({index.region, index.region + readable});
  if (range.empty()) return;
  uint64_t granule =
      AlignUp(range.begin - index.region, kGranuleSize) >> kGranuleShift;
  const uint64_t end =
      AlignUp(range.end - index.region, kGranuleSize) >> kGranuleShift;
  while (granule < end) {
    granule = SearchUp<LiveMask>(index, granule, AlignUp(end, 16));
    if (granule == kNone || granule >= end) return;
    const Found found =
        LiveAt(index, granule, ShadowAt(index, granule), readable);
    if (found.size == 0) {
      ++granule;
      continue;
    }
    if (!visit(context, Describe(index, found, AllocationState::kLive))) return;
    granule += found.size >> kGranuleShift;
  }
}

Disposition DispositionOf(const TagState& tags, uint8_t tag) {
  if (tag == kNoTag) return Disposition::kKeep;
  if (tag > kMaxTags) return Disposition::kElide;
  const TagEntry& entry = tags.entries[tag];
  // Acquire: an entry that is ready has its name and its rule.
  if (entry.ready.load(std::memory_order_acquire) == 1) {
    const uint8_t rule = entry.disposition.load(std::memory_order_relaxed);
    return rule <= static_cast<uint8_t>(Disposition::kElide)
               ? static_cast<Disposition>(rule)
               : Disposition::kElide;
  }
  switch (tag) {
    case kTagCache:
      return Disposition::kCut;
    case kTagKeep:
      return Disposition::kKeepAlways;
    default:
      return Disposition::kElide;
  }
}

bool RangeAt(const TagState& tags, unsigned slot, AddressRange* range,
             uint8_t* tag) {
  if (slot >= kMaxTagRanges) return false;
  const TagRange& entry = tags.ranges[slot];
  // `end` is written last, with release: whoever sees it sees the tag as well. A slot
  // that is being freed has end = 0 first.
  const Address end = entry.end.load(std::memory_order_acquire);
  const Address begin = entry.begin.load(std::memory_order_relaxed);
  if (begin >= end ||
      entry.state.load(std::memory_order_relaxed) == kRangeFree) {
    return false;
  }
  *range = {begin, end};
  *tag = entry.tag.load(std::memory_order_relaxed);
  return true;
}

void NameOf(const TagState& tags, uint8_t tag, char* name) {
  const char* from = "";
  if (tag <= kMaxTags &&
      tags.entries[tag].ready.load(std::memory_order_acquire) == 1) {
    from = tags.entries[tag].name;
  } else if (tag == kTagSecret) {
    from = "secret";
  } else if (tag == kTagCache) {
    from = "cache";
  } else if (tag == kTagKeep) {
    from = "keep";
  }
  unsigned length = 0;
  while (length < kMaxTagName && from[length] != '\0') {
    name[length] = from[length];
    ++length;
  }
  name[length] = '\0';
}

}  // namespace minicore
