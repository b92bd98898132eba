// How index_view.cc and freed_view.cc look for starts in the planes. Not for
// others.
//
// Granules and pages are counted from the region. Nothing at or beyond
// ReadableBytes() is ever looked at.

#ifndef MINICORE_ALLOC_INDEX_SEARCH_H_
#define MINICORE_ALLOC_INDEX_SEARCH_H_

#include <emmintrin.h>

#include "alloc/index_format.h"

namespace minicore::index_search {

// Granules that the largest small allocation covers: how far a start can lie
// back.
inline constexpr uint64_t kLookBack = kSmallMax >> kGranuleShift;
inline constexpr uint64_t kGranulesPerPage = kPageSize >> kGranuleShift;
inline constexpr uint64_t kNone = UINT64_MAX;

// What lies below this has planes.
inline ByteCount ReadableBytes(const IndexState& index) {
  // Acquire pairs with the release in region.cc: the planes are mapped up to
  // here.
  ByteCount readable = index.committed.load(std::memory_order_acquire);
  if (readable > index.region_bytes) readable = index.region_bytes;
  return AlignDown(readable, kChunkSize);
}

inline uint8_t ShadowAt(const IndexState& index, uint64_t granule) {
  // Acquire: what the writer stored before the start byte is visible with it.
  return index.shadow[granule].load(std::memory_order_acquire);
}

inline bool IsSmall(uint8_t byte) {
  const unsigned size_class = byte & ~kShadowTagged;
  return size_class - 1 < kSmallClasses;
}

inline bool IsLarge(uint8_t byte) {
  return (byte & ~kShadowTagged) == kShadowLarge;
}

// Sixteen shadow bytes at once are a hint only: a vector load is not an atomic
// one, and each byte that it points to is read again, atomically, before
// anything is believed.
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

inline unsigned TaggedMask(__m128i bytes) {
  return static_cast<unsigned>(_mm_movemask_epi8(bytes));
}

// Bytes that no writer ever stores: a class that does not exist, or a tag on
// something that does not live.
inline unsigned OddMask(__m128i bytes) {
  const __m128i size_class =
      _mm_and_si128(bytes, _mm_set1_epi8(kShadowClassMask));
  const __m128i too_high = _mm_and_si128(
      _mm_cmpgt_epi8(size_class, _mm_set1_epi8(kSmallClasses)),
      _mm_cmpgt_epi8(_mm_set1_epi8(kShadowLarge), size_class));
  const __m128i starts = _mm_and_si128(
      _mm_cmpgt_epi8(size_class, _mm_setzero_si128()),
      _mm_cmpeq_epi8(_mm_and_si128(bytes, _mm_set1_epi8(kShadowNotLive)),
                     _mm_setzero_si128()));
  const __m128i tagged = _mm_cmplt_epi8(bytes, _mm_setzero_si128());
  const __m128i odd =
      _mm_or_si128(too_high, _mm_andnot_si128(starts, tagged));
  return static_cast<unsigned>(_mm_movemask_epi8(odd));
}

inline bool AllZero(const IndexState& index, uint64_t granule) {
  const __m128i any = _mm_or_si128(
      _mm_or_si128(LoadHint(index, granule), LoadHint(index, granule + 16)),
      _mm_or_si128(LoadHint(index, granule + 32),
                   LoadHint(index, granule + 48)));
  return _mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128())) == 0xffff;
}

// The nearest granule in [lowest, granule] whose byte `mask_of` selects, else
// kNone. Looks at whole blocks of 16, which lie within the plane like every
// multiple of 16.
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
inline ByteCount LargeSizeAt(const IndexState& index, uint64_t granule,
                             ByteCount readable) {
  const uint64_t word =
      index.large[granule / kGranulesPerPage].load(std::memory_order_acquire);
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
inline Found LiveAt(const IndexState& index, uint64_t granule, uint8_t byte,
                    ByteCount readable) {
  if (IsSmall(byte)) {
    const ByteCount size = kSmallClassSize[byte & kShadowClassMask];
    // Nothing reaches beyond the heap; garbage at its end would.
    return {granule, size <= readable - (granule << kGranuleShift) ? size : 0};
  }
  if (IsLarge(byte)) return {granule, LargeSizeAt(index, granule, readable)};
  return {};
}

inline bool Covers(const Found& found, uint64_t offset) {
  return offset - (found.granule << kGranuleShift) < found.size;
}

// Where the allocation starts, large and from an earlier chunk, that covers the
// first byte of this one, or covered it once; kNone if there never was one.
inline uint64_t LargeBefore(const IndexState& index, uint64_t chunk) {
  const Address before =
      index.chunks[chunk].large_before.load(std::memory_order_relaxed);
  const uint64_t start = before - index.region;
  // Only from an earlier chunk; zero and any garbage fall out here.
  if (start >= chunk << kChunkShift || start % kGranuleSize != 0) return kNone;
  return start >> kGranuleShift;
}

// True if the eight words of `large` from `page` on are zero.
__attribute__((no_sanitize("thread"))) inline bool NoneLarge(
    const IndexState& index, uint64_t page) {
  const auto* at = reinterpret_cast<const __m128i*>(index.large + page);
  const __m128i any = _mm_or_si128(
      _mm_or_si128(_mm_loadu_si128(at), _mm_loadu_si128(at + 1)),
      _mm_or_si128(_mm_loadu_si128(at + 2), _mm_loadu_si128(at + 3)));
  return _mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128())) == 0xffff;
}

// Calls `consider(granule)` for the starts, live or not, of large allocations
// in the chunk of `offset` and not behind it, the nearest first, until it
// returns false.
template <typename Consider>
inline void ForEachLargeInChunk(const IndexState& index, uint64_t offset,
                                Consider consider) {
  const uint64_t first = (offset >> kChunkShift) << (kChunkShift - kPageShift);
  uint64_t page = (offset >> kPageShift) + 1;
  while (page > first) {
    while (page >= first + 8 && NoneLarge(index, page - 8)) page -= 8;
    if (page <= first) return;
    const uint64_t word = index.large[--page].load(std::memory_order_relaxed);
    if (word == 0) continue;
    const uint64_t granule =
        page * kGranulesPerPage + (word & kLargeGranuleMask);
    if (granule <= offset >> kGranuleShift && !consider(granule)) return;
  }
}

// What was freed at `offset`, in freed_view.cc.
//
// Requires: nothing live covers it.
Found FindFreed(const IndexState& index, uint64_t offset, ByteCount readable);

}  // namespace minicore::index_search

#endif  // MINICORE_ALLOC_INDEX_SEARCH_H_
