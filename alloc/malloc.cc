// malloc, free and their kin, as ISO C, POSIX and glibc define them.
//
// errno is set to ENOMEM when there is no memory, to EINVAL for a bad
// alignment, and left alone on success.

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "alloc/malloc_wrapper.h"

using minicore::AllocateAligned;

namespace {

bool IsPowerOfTwo(size_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

void* AlignedOrErrno(size_t alignment, size_t size) {
  void* pointer = AllocateAligned(alignment, size);
  if (pointer == nullptr) errno = ENOMEM;
  return pointer;
}

}  // namespace

extern "C" {

MINICORE_EXPORT void* malloc(size_t size) noexcept {
  return minicore::Allocate(size);
}

MINICORE_EXPORT void free(void* pointer) noexcept {
  minicore::Release(pointer);
}

MINICORE_EXPORT void cfree(void* pointer) noexcept { free(pointer); }

// C23: the size is a hint, and a wrong one is the caller's error; it is not
// used.
MINICORE_EXPORT void free_sized(void* pointer, size_t) noexcept {
  free(pointer);
}

MINICORE_EXPORT void free_aligned_sized(void* pointer, size_t,
                                        size_t) noexcept {
  free(pointer);
}

MINICORE_EXPORT void* calloc(size_t count, size_t size) noexcept {
  size_t total;
  if (MINICORE_UNLIKELY(__builtin_mul_overflow(count, size, &total))) {
    errno = ENOMEM;
    return nullptr;
  }
  if (MINICORE_LIKELY(total <= minicore::kSmallMax)) {
    const minicore::SizeClassWord word = minicore::SizeClassWordOf(total);
    const size_t usable = minicore::SizeOf(word);
    void* pointer;
    if (MINICORE_LIKELY(
            minicore::TakeCached(minicore::ClassOf(word), usable, &pointer))) {
      std::memset(pointer, 0, usable);
    } else {
      pointer = je_calloc(1, minicore::AtLeastGranule(total));
    }
    return minicore::RecordClass(pointer, word);
  }
  void* pointer = je_calloc(1, total);
  if (pointer == nullptr) return nullptr;
  return minicore::RecordUsable(pointer, minicore::LargeUsableSize(total));
}

MINICORE_EXPORT int posix_memalign(void** result, size_t alignment,
                                   size_t size) noexcept {
  if (!IsPowerOfTwo(alignment) || alignment < sizeof(void*)) return EINVAL;
  void* pointer = AllocateAligned(alignment, size);
  if (pointer == nullptr) return ENOMEM;
  *result = pointer;
  return 0;
}

MINICORE_EXPORT void* aligned_alloc(size_t alignment, size_t size) noexcept {
  if (!IsPowerOfTwo(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return AlignedOrErrno(alignment, size);
}

MINICORE_EXPORT void* memalign(size_t alignment, size_t size) noexcept {
  if (alignment == 0) alignment = 1;
  if (!IsPowerOfTwo(alignment)) {
    errno = EINVAL;
    return nullptr;
  }
  return AlignedOrErrno(alignment, size);
}

MINICORE_EXPORT void* valloc(size_t size) noexcept {
  return AlignedOrErrno(minicore::kPageSize, size);
}

// valloc with the size rounded up to pages.
MINICORE_EXPORT void* pvalloc(size_t size) noexcept {
  if (size > SIZE_MAX - minicore::kPageSize) {
    errno = ENOMEM;
    return nullptr;
  }
  if (size == 0) size = 1;
  return AlignedOrErrno(minicore::kPageSize,
                        minicore::AlignUp(size, minicore::kPageSize));
}

MINICORE_EXPORT size_t malloc_usable_size(void* pointer) noexcept {
  return minicore::UsableSize(pointer);
}

}  // extern "C"
