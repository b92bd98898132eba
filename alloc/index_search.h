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

// Sixteen bytes of a plane at once are a hint only: a vector load is not an atomic
// one, and each byte that it points to is read again, atomically, before
// anything is believed.
__attribute__((no_sanitize("thread"))) inline __m128i LoadHint(
    const std::atomic<uint8_t>* plane, uint64_t granule) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(plane + granule));
}

// Starts that may be live: the bytes 1 to 0x3f without the tagged bit. Twice
// the byte is positive then, as a signed one; zero for nothing, negative for
// what is not live. Classes that there are none of are sorted out by LiveAt().
inline unsigned LiveMask(__m128i bytes) {
  return static_cast<unsigned>(_mm_movemask_epi8(
      _mm_cmpgt_epi8(_mm_add_epi8(bytes, bytes), _mm_setzero_si128())));
}

inline unsigned TaggedMask(__m128i bytes) {
  return static_cast<unsigned>(_mm_movemask_epi8(bytes));
}

inline unsigned NonzeroMask(__m128i bytes) {
  return ~static_cast<unsigned>(
             _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128()))) &
         0xffff;
}

// Live starts whose next byte is not the second granule of their class; class 1
// has none. `next`: the byte behind the sixteen.
inline unsigned OtherSecondMask(__m128i bytes, unsigned next) {
  const __m128i behind = _mm_or_si128(
      _mm_srli_si128(bytes, 1),
      _mm_slli_si128(_mm_cvtsi32_si128(static_cast<int>(next)), 15));
  const __m128i second =
      _mm_or_si128(_mm_and_si128(bytes, _mm_set1_epi8(kShadowClassMask)),
                   _mm_set1_epi8(kShadowNotLive));
  const __m128i agrees =
      _mm_or_si128(_mm_cmpeq_epi8(behind, second),
                   _mm_cmpeq_epi8(second, _mm_set1_epi8(kShadowNotLive | 1)));
  return LiveMask(bytes) & ~static_cast<unsigned>(_mm_movemask_epi8(agrees));
}

// Bytes that no writer ever stores: a class that does not exist, or a tag on
// something that does not live.
inline unsigned OddMask(__m128i bytes) {
  const __m128i size_class =
      _mm_and_si128(bytes, _mm_set1_epi8(kShadowClassMask));
  const __m128i too_high =
      _mm_and_si128(_mm_cmpgt_epi8(size_class, _mm_set1_epi8(kSmallClasses)),
                    _mm_cmpgt_epi8(_mm_set1_epi8(kShadowLarge), size_class));
  const __m128i starts = _mm_and_si128(
      _mm_cmpgt_epi8(size_class, _mm_setzero_si128()),
      _mm_cmpeq_epi8(_mm_and_si128(bytes, _mm_set1_epi8(kShadowNotLive)),
                     _mm_setzero_si128()));
  const __m128i tagged = _mm_cmplt_epi8(bytes, _mm_setzero_si128());
  const __m128i odd = _mm_or_si128(too_high, _mm_andnot_si128(starts, tagged));
  return static_cast<unsigned>(_mm_movemask_epi8(odd));
}

// Starts are looked for by lines of the shadow: 64 bytes, a KiB of heap. All
// planes have whole lines, as a chunk has.
inline constexpr uint64_t kLine = 64;

// The bytes of a line that `mask_of` selects, the lowest in bit 0.
template <unsigned (*mask_of)(__m128i)>
inline uint64_t LineMask(const std::atomic<uint8_t>* plane, uint64_t line) {
  return uint64_t{mask_of(LoadHint(plane, line))} |
         uint64_t{mask_of(LoadHint(plane, line + 16))} << 16 |
         uint64_t{mask_of(LoadHint(plane, line + 32))} << 32 |
         uint64_t{mask_of(LoadHint(plane, line + 48))} << 48;
}

// The part of a line's mask up to `granule`, which lies in that line.
inline uint64_t UpTo(uint64_t granule, uint64_t mask) {
  return mask & ~uint64_t{0} >> (kLine - 1 - granule % kLine);
}

inline unsigned Highest(uint64_t mask) {
  return 63 - static_cast<unsigned>(__builtin_clzll(mask));
}

// No mask selects a zero, and most lines within an allocation are zeros.
inline bool IsZeros(const IndexState& index, uint64_t line) {
  const __m128i any =
      _mm_or_si128(_mm_or_si128(LoadHint(index.shadow, line),
                                LoadHint(index.shadow, line + 16)),
                   _mm_or_si128(LoadHint(index.shadow, line + 32),
                                LoadHint(index.shadow, line + 48)));
  return _mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128())) == 0xffff;
}

// The nearest granule in [lowest, granule] whose byte `mask_of` selects, else
// kNone. `*any` becomes true if some line that was looked at is not zeros.
template <unsigned (*mask_of)(__m128i)>
inline uint64_t SearchDown(const IndexState& index, uint64_t granule,
                           uint64_t lowest, bool* any) {
  for (uint64_t line = AlignDown(granule, kLine);;
       line -= kLine, granule = line + kLine - 1) {
    if (!IsZeros(index, line)) {
      *any = true;
      const uint64_t found =
          UpTo(granule, LineMask<mask_of>(index.shadow, line));
      if (found != 0) {
        const uint64_t result = line + Highest(found);
        return result >= lowest ? result : kNone;
      }
    }
    if (line <= lowest) return kNone;
  }
}

// The nearest one in [granule, end).
template <unsigned (*mask_of)(__m128i)>
inline uint64_t SearchUp(const IndexState& index, uint64_t granule,
                         uint64_t end) {
  uint64_t from = ~uint64_t{0} << granule % kLine;
  for (uint64_t line = AlignDown(granule, kLine); line < end; line += kLine) {
    if (!IsZeros(index, line)) {
      const uint64_t found = LineMask<mask_of>(index.shadow, line) & from;
      if (found != 0) {
        const uint64_t result =
            line + static_cast<unsigned>(__builtin_ctzll(found));
        return result < end ? result : kNone;
      }
    }
    from = ~uint64_t{0};
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

// The three words that may name a large allocation which covers `offset`: of
// its page, of the first page of its group, of its chunk.
inline uint64_t PageWord(const IndexState& index, uint64_t offset) {
  return index.large[offset >> kPageShift].load(std::memory_order_relaxed);
}

inline uint64_t GroupWord(const IndexState& index, uint64_t offset) {
  return PageWord(index, AlignDown(offset, kGroupSize));
}

inline Address LargeBefore(const IndexState& index, uint64_t offset) {
  return index.chunks[offset >> kChunkShift].large_before.load(
      std::memory_order_relaxed);
}

// And the starts that they name, live or not, in the same order; kNone for what
// does not lie before `offset`. Requires for the first two: the word is not 0.
inline uint64_t StartByWord(uint64_t page_begin, uint64_t word,
                            uint64_t offset) {
  uint64_t start = (page_begin >> kGranuleShift) + (word & kLargeGranuleMask);
  if ((word & kLargeBack) != 0) start = word >> kLargeBackShift;
  return start <= offset >> kGranuleShift ? start : kNone;
}

inline uint64_t PageWay(uint64_t word, uint64_t offset) {
  return StartByWord(AlignDown(offset, kPageSize), word, offset);
}

inline uint64_t GroupWay(uint64_t word, uint64_t offset) {
  return StartByWord(AlignDown(offset, kGroupSize), word, offset);
}

inline uint64_t ChunkWay(const IndexState& index, Address before,
                         uint64_t offset) {
  const uint64_t start = before - index.region;
  // Only from an earlier chunk; zero and any garbage fall out here.
  if (start >= AlignDown(offset, kChunkSize) || start % kGranuleSize != 0) {
    return kNone;
  }
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
    if (word == 0 || (word & kLargeBack) != 0) continue;
    const uint64_t granule =
        page * kGranulesPerPage + (word & kLargeGranuleMask);
    if (granule <= offset >> kGranuleShift && !consider(granule)) return;
  }
}

// What was freed at `offset`, in freed_view.cc. Slow beside the search for what
// lives: a few hundred nanoseconds.
//
// Requires: nothing live covers it.
Found FindFreed(const IndexState& index, uint64_t offset, ByteCount readable);

}  // namespace minicore::index_search

#endif  // MINICORE_ALLOC_INDEX_SEARCH_H_
