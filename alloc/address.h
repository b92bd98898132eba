// Addresses and sizes of the process that is described, as types of their own.
//
// An Address is a number, never a pointer to follow: memory of a crashed
// process may be gone, and only safe::GuardedCopy() (dump/safe/guarded.h) reads it.
// Everything here is plain data and safe in any context.

#ifndef MINICORE_ALLOC_ADDRESS_H_
#define MINICORE_ALLOC_ADDRESS_H_

#include <cstddef>
#include <cstdint>

#if !defined(__linux__) || !defined(__x86_64__)
#error "minicore knows Linux on x86-64 only"
#endif

namespace minicore {

using Address = uint64_t;
using ByteCount = uint64_t;

inline constexpr ByteCount kPageSize = 4096;

constexpr uint64_t AlignDown(uint64_t value, uint64_t alignment) {
  return value & ~(alignment - 1);
}

// Saturates instead of wrapping: a corrupt size must not become a small one.
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return value > UINT64_MAX - (alignment - 1)
             ? AlignDown(UINT64_MAX, alignment)
             : AlignDown(value + alignment - 1, alignment);
}

// Half open: [begin, end). Empty when end <= begin.
struct AddressRange {
  Address begin = 0;
  Address end = 0;

  constexpr ByteCount size() const { return end > begin ? end - begin : 0; }
  constexpr bool empty() const { return end <= begin; }
  constexpr bool Contains(Address address) const {
    return address >= begin && address < end;
  }
  constexpr bool Contains(AddressRange other) const {
    return other.begin >= begin && other.end <= end;
  }
  constexpr bool Overlaps(AddressRange other) const {
    return begin < other.end && other.begin < end;
  }
  constexpr AddressRange Clip(AddressRange limits) const {
    AddressRange clipped{begin > limits.begin ? begin : limits.begin,
                         end < limits.end ? end : limits.end};
    if (clipped.end < clipped.begin) clipped.end = clipped.begin;
    return clipped;
  }
  friend constexpr bool operator==(AddressRange a, AddressRange b) {
    return a.begin == b.begin && a.end == b.end;
  }
};

}  // namespace minicore

#endif  // MINICORE_ALLOC_ADDRESS_H_
