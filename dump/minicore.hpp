// C++ faces of <minicore/minicore.h>: memory that is secret, or has another tag, for as
// long as an object lives. Header only; C++17.
//
//   minicore::memory_resource keys;                      // std::pmr, tag "secret"
//   std::pmr::vector<char> key(32, &keys);
//   std::vector<char, minicore::allocator<char>> token;  // the same as an allocator
//   minicore::secret<std::array<char, 32>> password;     // one object
//   char pin[8];
//   minicore::scoped_range_tag guard(pin, sizeof(pin));  // a buffer on the stack
//
// A std::string keeps short contents within itself, where no allocator sees them: take a
// vector for secrets.
//
// Context: ordinary. Errors: std::bad_alloc where memory is allocated; no tag that could
// not be put on is dropped in silence: has_tag() tells.

#ifndef MINICORE_MINICORE_HPP_
#define MINICORE_MINICORE_HPP_

#if __cplusplus < 201703L
#error "minicore/minicore.hpp needs C++17: -std=c++17, or build --cxxopt=-std=c++17 in .bazelrc"
#endif

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory_resource>
#include <new>
#include <type_traits>
#include <utility>

#include "minicore/minicore.h"

namespace minicore {

inline constexpr const char* kSecret = "secret";

namespace internal {

inline constexpr std::size_t kExtentAlignment = 16;  // of minicore_malloc

// Memory of a tag at any alignment. Above the ordinary one, the address that free() wants
// stands before the block.
inline void* Allocate(std::size_t size, std::size_t alignment, const char* tag) {
  if (alignment <= kExtentAlignment) {
    void* memory = minicore_malloc(size, tag);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  if (size > SIZE_MAX - 2 * alignment) throw std::bad_alloc();
  void* memory = minicore_malloc(size + 2 * alignment, tag);
  if (memory == nullptr) throw std::bad_alloc();
  const auto begin = reinterpret_cast<std::uintptr_t>(memory) + alignment;
  void** block = reinterpret_cast<void**>(begin - begin % alignment);
  block[-1] = memory;
  return block;
}

inline void Free(void* block, std::size_t alignment) noexcept {
  std::free(block == nullptr || alignment <= kExtentAlignment
                ? block
                : static_cast<void**>(block)[-1]);
}

// Zeroes memory that is about to be given up; the compiler may not drop it as dead.
inline void Wipe(void* begin, std::size_t size) noexcept {
  volatile unsigned char* bytes = static_cast<unsigned char*>(begin);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = 0;
}

}  // namespace internal

// A std::pmr resource over the extents of a tag, see minicore_malloc(). Two of the same
// tag are equal: what one allocates the other may free.
//
// Keeps: `tag`, a string that outlives the resource.
class memory_resource : public std::pmr::memory_resource {
 public:
  explicit memory_resource(const char* tag = kSecret) noexcept : tag_(tag) {}
  const char* tag() const noexcept { return tag_; }

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    return internal::Allocate(bytes, alignment, tag_);
  }
  void do_deallocate(void* block, std::size_t, std::size_t alignment) override {
    internal::Free(block, alignment);
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
#ifdef __cpp_rtti
    const auto* same = dynamic_cast<const memory_resource*>(&other);
    return same != nullptr && __builtin_strcmp(same->tag_, tag_) == 0;
#else
    return this == &other;
#endif
  }

  const char* tag_;
};

// A standard allocator over the extents of a tag. It goes with its container when that is
// copied, moved or swapped: contents do not lose their tag on the way.
//
// Keeps: `tag`, a string that outlives the allocator.
template <typename T>
class allocator {
 public:
  using value_type = T;
  using propagate_on_container_copy_assignment = std::true_type;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;
  using is_always_equal = std::false_type;

  explicit allocator(const char* tag) noexcept : tag_(tag) {}
  allocator() noexcept : tag_(kSecret) {}
  template <typename U>
  allocator(const allocator<U>& other) noexcept : tag_(other.tag()) {}

  T* allocate(std::size_t count) {
    if (count > SIZE_MAX / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(internal::Allocate(count * sizeof(T), alignof(T), tag_));
  }
  void deallocate(T* block, std::size_t) noexcept { internal::Free(block, alignof(T)); }

  const char* tag() const noexcept { return tag_; }
  template <typename U>
  bool operator==(const allocator<U>& other) const noexcept {
    return __builtin_strcmp(tag_, other.tag()) == 0;
  }
  template <typename U>
  bool operator!=(const allocator<U>& other) const noexcept {
    return !(*this == other);
  }

 private:
  const char* tag_;
};

// One object in memory of its own that is secret; wiped when it ends. Of a moved-from one
// nothing may be asked but its end and an assignment.
template <typename T>
class secret {
  static_assert(std::is_trivially_copyable_v<T>,
                "what T owns elsewhere would be no secret: use a container with "
                "minicore::allocator");

 public:
  template <typename... Arguments>
  explicit secret(Arguments&&... arguments) : secret(Memory()) {
    // If this throws, the memory is given up: there is an object by now, and it ends.
    new (object_) T{std::forward<Arguments>(arguments)...};
  }
  secret(secret&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  secret& operator=(secret&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  secret(const secret&) = delete;
  secret& operator=(const secret&) = delete;
  ~secret() { internal::Free(object_, alignof(T)); }  // free() wipes

  T& operator*() noexcept { return *object_; }
  const T& operator*() const noexcept { return *object_; }
  T* operator->() noexcept { return object_; }
  const T* operator->() const noexcept { return object_; }
  T* get() noexcept { return object_; }
  const T* get() const noexcept { return object_; }

 private:
  struct Memory {};
  explicit secret(Memory)
      : object_(static_cast<T*>(internal::Allocate(sizeof(T), alignof(T), kSecret))) {}

  T* object_;
};

// Tags the allocation that encloses a pointer, until the end of the scope. The allocation
// must still live then, where it is.
//
// A tag whose rule is elide is put on it as on a range, so each scope counts by itself:
// whether they nest or end in any order, on whatever threads, and whatever other tag the
// allocation has, it is left out until the last of them is over. Any other tag says more of
// an allocation that has none, and nothing of one that has.
//
// Keeps: `tag`, a string that outlives the scope. Bounds: as minicore_tag_range().
class [[nodiscard]] scoped_tag {
 public:
  scoped_tag(const void* allocation, const char* tag) noexcept : tag_(tag) {
    minicore_allocation found;
    error_ = minicore_find_allocation(allocation, &found);
    if (error_ != 0) return;
    begin_ = found.begin;
    if (minicore_tag_elides(tag) == 1) {
      size_ = found.size;
      error_ = minicore_tag_range(begin_, size_, tag);
    } else if (found.tag[0] == '\0') {
      error_ = minicore_tag(begin_, tag);
    } else {
      error_ = -17;  // -EEXIST
    }
  }
  scoped_tag(const scoped_tag&) = delete;
  scoped_tag& operator=(const scoped_tag&) = delete;
  ~scoped_tag() {
    minicore_allocation now;
    if (!has_tag()) return;
    if (size_ != 0) {
      minicore_untag_range(begin_, size_, tag_);
    } else if (minicore_find_allocation(begin_, &now) == 0 &&
               __builtin_strcmp(now.tag, tag_) == 0) {
      minicore_untag(begin_);
    }
  }
  // Whether it is protected as asked, or (a full table) more than that.
  bool has_tag() const noexcept { return error_ == 0 || error_ == -28 /* -ENOSPC */; }

 private:
  const char* tag_;
  const void* begin_ = nullptr;
  std::size_t size_ = 0;  // of the range; 0: the tag is the allocation's own
  int error_;
};

// Tags a range of any memory until the end of the scope. The contents of one whose tag has
// the rule elide, as "secret" has, are wiped then: nothing of it stays behind on a stack.
//
// Keeps: `tag`, a string that outlives the scope.
class [[nodiscard]] scoped_range_tag {
 public:
  explicit scoped_range_tag(void* begin, std::size_t size,
                            const char* tag = kSecret) noexcept
      : begin_(begin), size_(size), tag_(tag),
        error_(minicore_tag_range(begin, size, tag)) {}
  scoped_range_tag(const scoped_range_tag&) = delete;
  scoped_range_tag& operator=(const scoped_range_tag&) = delete;
  ~scoped_range_tag() {
    if (minicore_tag_elides(tag_) == 1) internal::Wipe(begin_, size_);
    if (has_tag()) minicore_untag_range(begin_, size_, tag_);
  }
  bool has_tag() const noexcept { return error_ == 0 || error_ == -28 /* -ENOSPC */; }

 private:
  void* begin_;
  std::size_t size_;
  const char* tag_;
  int error_;
};

}  // namespace minicore

#endif  // MINICORE_MINICORE_HPP_
