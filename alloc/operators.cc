// Every replaceable operator new and delete ([new.delete] in the C++ standard).
//
// A failing new calls the program's new handler until memory turns up; without
// a handler it throws std::bad_alloc, or returns null in the nothrow forms.
// This file is compiled with exceptions for that, the rest of alloc/ without.

#include <cstddef>
#include <new>

#include "alloc/malloc_wrapper.h"

namespace {

// `allocate` is tried again after each call of the new handler, which may
// throw.
template <typename Allocate>
__attribute__((noinline, cold)) void* NewFailed(Allocate allocate) {
  for (;;) {
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
    void* pointer = allocate();
    if (pointer != nullptr) return pointer;
  }
}

template <typename Allocate>
__attribute__((noinline, cold)) void* NothrowNewFailed(Allocate allocate) {
  try {
    return NewFailed(allocate);
  } catch (...) {
    return nullptr;
  }
}

__attribute__((noinline)) void* NewUncached(size_t size) {
  void* pointer = minicore::Allocate(size);
  if (MINICORE_LIKELY(pointer != nullptr)) return pointer;
  return NewFailed([size] { return minicore::Allocate(size); });
}

// What comes from the thread's cache is never null; nothing is kept across a
// call then, and nothing need be saved.
inline void* New(size_t size) {
  void* pointer;
  if (MINICORE_LIKELY(minicore::AllocateCached(size, &pointer))) return pointer;
  return NewUncached(size);
}

inline void* New(size_t size, const std::nothrow_t&) noexcept {
  void* pointer = minicore::Allocate(size);
  if (MINICORE_LIKELY(pointer != nullptr)) return pointer;
  return NothrowNewFailed([size] { return minicore::Allocate(size); });
}

inline void* New(size_t size, std::align_val_t alignment) {
  const auto allocate = [=] {
    return minicore::AllocateAligned(static_cast<size_t>(alignment), size);
  };
  void* pointer = allocate();
  if (MINICORE_LIKELY(pointer != nullptr)) return pointer;
  return NewFailed(allocate);
}

inline void* New(size_t size, std::align_val_t alignment,
                 const std::nothrow_t&) noexcept {
  const auto allocate = [=] {
    return minicore::AllocateAligned(static_cast<size_t>(alignment), size);
  };
  void* pointer = allocate();
  if (MINICORE_LIKELY(pointer != nullptr)) return pointer;
  return NothrowNewFailed(allocate);
}

}  // namespace

MINICORE_EXPORT void* operator new(size_t size) { return New(size); }
MINICORE_EXPORT void* operator new[](size_t size) { return New(size); }
MINICORE_EXPORT void* operator new(size_t size,
                                   const std::nothrow_t& tag) noexcept {
  return New(size, tag);
}
MINICORE_EXPORT void* operator new[](size_t size,
                                     const std::nothrow_t& tag) noexcept {
  return New(size, tag);
}
MINICORE_EXPORT void* operator new(size_t size, std::align_val_t alignment) {
  return New(size, alignment);
}
MINICORE_EXPORT void* operator new[](size_t size, std::align_val_t alignment) {
  return New(size, alignment);
}
MINICORE_EXPORT void* operator new(size_t size, std::align_val_t alignment,
                                   const std::nothrow_t& tag) noexcept {
  return New(size, alignment, tag);
}
MINICORE_EXPORT void* operator new[](size_t size, std::align_val_t alignment,
                                     const std::nothrow_t& tag) noexcept {
  return New(size, alignment, tag);
}

// The sized forms ignore the size: programs that delete through a base class
// without a virtual destructor pass a wrong one. The two that compilers emit
// most are inlined.
MINICORE_EXPORT void operator delete(void* p) noexcept { minicore::Release(p); }
MINICORE_EXPORT void operator delete(void* p, size_t) noexcept {
  minicore::Release(p);
}
MINICORE_EXPORT void operator delete[](void* p) noexcept { operator delete(p); }
MINICORE_EXPORT void operator delete[](void* p, size_t) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete(void* p, const std::nothrow_t&) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete[](void* p,
                                       const std::nothrow_t&) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete(void* p, std::align_val_t) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete[](void* p, std::align_val_t) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete(void* p, std::align_val_t,
                                     const std::nothrow_t&) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete[](void* p, std::align_val_t,
                                       const std::nothrow_t&) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete(void* p, size_t,
                                     std::align_val_t) noexcept {
  operator delete(p);
}
MINICORE_EXPORT void operator delete[](void* p, size_t,
                                       std::align_val_t) noexcept {
  operator delete(p);
}
