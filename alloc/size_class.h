// From a request to its size class, as one table look-up.
//
// Indexed by (size + 15) >> 4: 897 words. Against computing the class from the
// leading bit (as jemalloc does above 4 KiB) the table was never slower and has
// no branch; its hot part is a few cache lines, since most requests are small.

#ifndef MINICORE_ALLOC_SIZE_CLASS_H_
#define MINICORE_ALLOC_SIZE_CLASS_H_

#include <cstddef>
#include <cstdint>

#include "alloc/index_format.h"

namespace minicore {

// A size class in one word: its usable size in the low 16 bits, its number in
// the next 8, and in the last 8 how far its second granule is from the first (1;
// 0 for class 1, which has none).
using SizeClassWord = uint32_t;

struct SizeClassTable {
  SizeClassWord of[(kSmallMax >> kGranuleShift) + 1];
};

constexpr SizeClassTable MakeSizeClassTable() {
  SizeClassTable table{};
  unsigned size_class = 1;
  for (unsigned granules = 0; granules <= kSmallMax >> kGranuleShift;
       ++granules) {
    while (kSmallClassSize[size_class] < granules * kGranuleSize) ++size_class;
    table.of[granules] = kSmallClassSize[size_class] | size_class << 16 |
                         (size_class > 1 ? 1u << 24 : 0);
  }
  return table;
}

inline constexpr SizeClassTable kSizeClasses = MakeSizeClassTable();

// Requires: size <= kSmallMax. Zero is served from the smallest class.
constexpr SizeClassWord SizeClassWordOf(size_t size) {
  return kSizeClasses.of[(size + kGranuleSize - 1) >> kGranuleShift];
}
constexpr size_t SizeOf(SizeClassWord word) { return word & 0xffff; }
constexpr unsigned ClassOf(SizeClassWord word) { return word >> 16 & 0xff; }
constexpr unsigned SecondOf(SizeClassWord word) { return word >> 24; }

constexpr unsigned SizeClassOf(size_t size) {
  return ClassOf(SizeClassWordOf(size));
}

// Usable size of a large allocation: jemalloc has four classes in each
// doubling, and here they are all multiples of a page (src/sz.c,
// sz_s2u_compute).
//
// Requires: kSmallMax < size, and jemalloc has served it.
inline size_t LargeUsableSize(size_t size) {
  const int doubling = 63 - __builtin_clzl(2 * size - 1);
  const size_t step = size_t{1} << (doubling - 3);
  return (size + step - 1) & ~(step - 1);
}

static_assert(SizeClassOf(0) == 1 && SizeClassOf(16) == 1);
static_assert(SizeClassOf(kSmallMax) == kSmallClasses);

}  // namespace minicore

#endif  // MINICORE_ALLOC_SIZE_CLASS_H_
