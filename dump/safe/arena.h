// Memory of the dumper: reserved once at install, handed out by a bump pointer, never
// freed. Untouched pages cost address space only.
//
// Context: any; one thread at a time (the one that dumps).

#ifndef MINICORE_DUMP_SAFE_ARENA_H_
#define MINICORE_DUMP_SAFE_ARENA_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"

namespace minicore::safe {

class Arena {
 public:
  constexpr Arena() = default;

  // Takes [memory, memory + size), zero-filled. Keeps no ownership.
  void Reset(void* memory, size_t size) {
    memory_ = static_cast<char*>(memory);
    size_ = size;
    used_ = 0;
  }

  // Returns: memory aligned to 64, not cleared beyond what the mapping is; null when the
  // arena is used up, and then every later, larger request fails too.
  void* Allocate(size_t bytes) {
    const size_t begin = AlignUp(used_, 64);
    if (begin > size_ || bytes > size_ - begin) return nullptr;
    used_ = begin + bytes;
    return memory_ + begin;
  }

  template <typename T>
  T* AllocateArray(size_t count) {
    if (count > SIZE_MAX / sizeof(T)) return nullptr;
    return static_cast<T*>(Allocate(count * sizeof(T)));
  }

  size_t used() const { return used_; }
  size_t size() const { return size_; }
  size_t left() const { return size_ - used_; }

 private:
  char* memory_ = nullptr;
  size_t size_ = 0;
  size_t used_ = 0;
};

// A bounded array in an arena. Full means that Push() returns false and the array
// remembers it: callers go on with less.
template <typename T>
class FixedVector {
 public:
  constexpr FixedVector() = default;

  // At most an eighth, or another part, of what is left in the arena: in a small one
  // (RLIMIT_AS) every table is smaller, and none leaves nothing to the others. A vector
  // that finds no room has capacity 0: it is full at once.
  void Reserve(Arena& arena, size_t capacity, size_t part = 8) {
    const size_t most = arena.left() / part / sizeof(T);
    if (capacity > most) capacity = most;
    items_ = arena.AllocateArray<T>(capacity);
    capacity_ = items_ == nullptr ? 0 : capacity;
    size_ = 0;
    overflowed_ = false;
  }

  [[nodiscard]] bool Push(const T& item) {
    if (size_ == capacity_) {
      overflowed_ = true;
      return false;
    }
    items_[size_++] = item;
    return true;
  }
  void Clear() {
    size_ = 0;
    overflowed_ = false;
  }
  void Truncate(size_t size) {
    if (size < size_) size_ = size;
  }

  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  bool overflowed() const { return overflowed_; }
  T& operator[](size_t index) { return items_[index]; }
  const T& operator[](size_t index) const { return items_[index]; }
  T* begin() { return items_; }
  T* end() { return items_ + size_; }
  const T* begin() const { return items_; }
  const T* end() const { return items_ + size_; }
  T& back() { return items_[size_ - 1]; }

 private:
  T* items_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  bool overflowed_ = false;
};

}  // namespace minicore::safe

#endif  // MINICORE_DUMP_SAFE_ARENA_H_
