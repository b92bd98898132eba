// The index of this process's own heap, for tests that run on our malloc.

#ifndef MINICORE_TESTS_ALLOC_HEAP_VIEW_H_
#define MINICORE_TESTS_ALLOC_HEAP_VIEW_H_

#include "alloc/index_view.h"
#include "alloc/state.h"

namespace minicore {

// Keeps the compiler from reasoning about where a value came from.
template <typename T>
T Opaque(T value) {
  __asm__ volatile("" : "+r"(value));
  return value;
}

inline Address AddressOf(const void* pointer) {
  return reinterpret_cast<Address>(pointer);
}

inline Allocation Find(const void* pointer) {
  return Resolve(g_index_state, AddressOf(pointer));
}

inline Allocation FindAt(const void* pointer, size_t inside) {
  return Resolve(g_index_state, AddressOf(pointer) + inside);
}

// True if the whole of [pointer, pointer + usable), and nothing behind it, is
// one live allocation. Looks at the ends, the middle and one byte more.
inline bool IsKnownWhole(const void* pointer, size_t usable) {
  for (size_t inside : {size_t{0}, usable / 2, usable - 1}) {
    const Allocation found = FindAt(pointer, inside);
    if (found.state != AllocationState::kLive ||
        found.begin != AddressOf(pointer) || found.size != usable) {
      return false;
    }
  }
  return FindAt(pointer, usable).begin != AddressOf(pointer);
}

}  // namespace minicore

#endif  // MINICORE_TESTS_ALLOC_HEAP_VIEW_H_
