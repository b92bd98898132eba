// Wiping memory whose content must not outlive it.

#ifndef MINICORE_ALLOC_WIPE_H_
#define MINICORE_ALLOC_WIPE_H_

#include <cstddef>
#include <cstring>

#include "alloc/index_view.h"
#include "alloc/state.h"

namespace minicore {

// True if freed memory of this tag is to be zeroed. Unknown tags are: see
// DispositionOf().
inline bool MustWipe(uint8_t tag) {
  return tag != kNoTag &&
         DispositionOf(g_tag_state, tag) == Disposition::kElide;
}

// Zeroes memory that is about to be freed; the compiler may not drop it as
// dead.
inline void Wipe(void* begin, size_t size) {
  std::memset(begin, 0, size);
  __asm__ volatile("" : : "r"(begin) : "memory");
}

}  // namespace minicore

#endif  // MINICORE_ALLOC_WIPE_H_
