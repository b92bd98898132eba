// From a request to its size class, as one table look-up.
//
// Indexed by (size + 15) >> 4: 897 bytes. Against computing the class from the
// leading bit (as jemalloc does above 4 KiB) the table was never slower and has
// no branch; its hot part is one or two cache lines, since most requests are
// small.

#ifndef MINICORE_ALLOC_SIZE_CLASS_H_
#define MINICORE_ALLOC_SIZE_CLASS_H_

#include <cstddef>
#include <cstdint>

#include "alloc/index_format.h"

namespace minicore {

struct SizeClassTable {
  uint8_t of[(kSmallMax >> kGranuleShift) + 1];
};

constexpr SizeClassTable MakeSizeClassTable() {
  SizeClassTable table{};
  unsigned size_class = 1;
  for (unsigned granules = 0; granules <= kSmallMax >> kGranuleShift;
       ++granules) {
    while (kSmallClassSize[size_class] < granules * kGranuleSize) ++size_class;
    table.of[granules] = static_cast<uint8_t>(size_class);
  }
  return table;
}

inline constexpr SizeClassTable kSizeClasses = MakeSizeClassTable();

// Requires: size <= kSmallMax. Zero is served from the smallest class.
inline unsigned SizeClassOf(size_t size) {
  return kSizeClasses.of[(size + kGranuleSize - 1) >> kGranuleShift];
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

static_assert(kSizeClasses.of[0] == 1 && kSizeClasses.of[1] == 1);
static_assert(kSizeClasses.of[kSmallMax >> kGranuleShift] == kSmallClasses);

}  // namespace minicore

#endif  // MINICORE_ALLOC_SIZE_CLASS_H_
