#include "alloc/realloc.h"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "alloc/bad_pointer.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/tagged_extents.h"
#include "alloc/wipe.h"

namespace minicore {
namespace {

constexpr int kAlignMask = 0x3f;  // the MALLOCX_LG_ALIGN bits of mallocx flags

// Of the flags of an allocation, those for dallocx(): alignment and zeroing mean
// nothing there, and an arena is no cache.
int CacheFlags(int flags) { return flags & ~(kAlignMask | MALLOCX_ZERO); }

// What the index knows of the allocation that is to be resized.
struct Old {
  uint64_t offset = 0;
  size_t usable = 0;
  uint8_t tag = kNoTag;         // of the allocation itself
  uint8_t extent_tag = kNoTag;  // of its extents
  bool indexed = false;
  bool wipe = false;
};

// What is seldom asked: whether it lives at all, and its tags.
__attribute__((noinline)) void InspectClosely(const void* pointer,
                                              const char* function,
                                              uint8_t byte, Old* old) {
  if (IsDead(old->offset, byte)) ReportDead(pointer, function);
  if (!MayHaveTag(g_index_state, old->offset)) return;
  old->extent_tag = ExtentTagAt(g_index_state, old->offset);
  old->tag = OwnTag(g_index_state, old->offset >> kGranuleShift, byte);
  old->wipe = MustWipe(old->tag) || MustWipe(old->extent_tag);
}

MINICORE_INLINE Old Inspect(const void* pointer, const char* function) {
  Old old;
  old.offset = OffsetOf(g_index_state, pointer);
  old.indexed = IsIndexed(old.offset);
  if (MINICORE_UNLIKELY(!old.indexed)) CheckForeign(pointer, function);
  uint8_t byte = 0;
  if (MINICORE_LIKELY(old.indexed)) {
    byte = StartByte(g_index_state, old.offset);
    if (MINICORE_UNLIKELY(!MayRetireBlindly(g_index_state, old.offset))) {
      InspectClosely(pointer, function, byte, &old);
    }
  }
  const unsigned size_class = byte & kShadowClassMask;
  if (MINICORE_LIKELY((byte & kShadowNotLive) == 0 && size_class != 0 &&
                      size_class <= kSmallClasses)) {
    old.usable = kSmallClassSize[size_class];
  } else {
    // Large, not indexed, or (a scribbled index) not what we wrote: jemalloc
    // knows.
    old.usable = je_sallocx(pointer, 0);
  }
  return old;
}

// Retires what has a tag, or had when it was looked at last: `byte`.
__attribute__((noinline)) void RetireTagged(void* pointer, void* moved,
                                            const Old& old, uint8_t byte) {
  uint8_t tag = old.tag;
  const auto follow = [&] {
    // One that is still being put on finds the place retired, and tells so.
    if ((byte & kShadowTagged) == 0) return;
    const uint8_t now =
        OwnTag(g_index_state, old.offset >> kGranuleShift, byte);
    const uint64_t offset = OffsetOf(g_index_state, moved);
    if (now != tag && now != kUnknownTag && IsIndexed(offset)) {
      ExpectTags(g_index_state, offset);
      PutTag(g_index_state, offset, now);
    }
    tag = now;
  };
  // A tag that came meanwhile goes to the new place before it leaves the old
  // one: whoever is frozen in between still has it on one of them.
  do {
    follow();
  } while (!RetireIfStill(g_index_state, old.offset, &byte));
  follow();  // one that replaced another leaves the start byte as it was
  if (old.wipe || MustWipe(tag)) Wipe(pointer, old.usable);
  // Now only, see ReleaseSlow().
  if (tag != kNoTag) SetTagBytes(g_index_state, old.offset, byte, kNoTag);
}

// After a move: retire the old place, and see whether a tag came meanwhile.
MINICORE_INLINE void RetireMoved(void* pointer, void* moved, const Old& old,
                                 bool tagged) {
  if (!old.indexed) return;
  uint8_t byte = StartByte(g_index_state, old.offset);
  if (MINICORE_UNLIKELY(tagged || (byte & kShadowTagged) != 0 ||
                        !RetireIfStill(g_index_state, old.offset, &byte))) {
    RetireTagged(pointer, moved, old, byte);
  }
}

size_t GrowOrShrinkLarge(void* pointer, const Old& old, size_t size,
                         size_t extra, int flags) {
  if (!old.indexed) return je_xallocx(pointer, size, extra, flags);
  // It shrinks to this, or not at all (5.3.0, src/large.c,
  // large_ralloc_no_move()). 0: to no size that there is.
  const size_t most =
      je_nallocx(extra < SIZE_MAX - size ? size + extra : SIZE_MAX, 0);
  if (most != 0 && most <= kSmallMax) return old.usable;  // no longer large
  // A tail that is given up belongs to somebody else as soon as jemalloc has
  // it.
  const bool shrinks = most != 0 && most < old.usable;
  if (shrinks) ResizeLarge(g_index_state, old.offset, most);
  const size_t usable = je_xallocx(pointer, size, extra, flags);
  if (usable != (shrinks ? most : old.usable)) {
    ResizeLarge(g_index_state, old.offset, usable);
  }
  return usable;
}

// What an allocation of `size` will have; 0 if there can be none.
MINICORE_INLINE size_t UsableSize(size_t size, int flags) {
  if (MINICORE_LIKELY(flags == 0)) {
    if (size <= kSmallMax) return kSmallClassSize[SizeClassOf(size)];
    if (size <= PTRDIFF_MAX / 2) return LargeUsableSize(size);
  }
  return je_nallocx(size, flags);
}

// Whether a small allocation of the class that `size` needs is at `pointer`, in
// a heap in which nothing was ever tagged: then there is nothing to do.
MINICORE_INLINE bool FitsAsItIs(const void* pointer, size_t size) {
  if (size > kSmallMax ||
      !MayRetireBlindly(g_index_state, OffsetOf(g_index_state, pointer))) {
    return false;
  }
  const uint64_t entry = PageEntry(ThisThread(), pointer);
  return (entry & 1) != 0 && entry >> 48 == SizeClassOf(size);
}

MINICORE_INLINE void* AllocateUnrecorded(size_t size, size_t usable,
                                         int flags) {
  if (flags != 0) return je_mallocx(size, flags);
  if (usable <= kSmallMax) {
    void* pointer;
    if (TakeCached(SizeClassOf(usable), &pointer)) return pointer;
    return AllocatePastCache(size);
  }
  return TakeLarge(size, usable);
}

bool IsAligned(const void* pointer, int flags) {
  const size_t alignment = size_t{1} << (flags & kAlignMask);
  return (reinterpret_cast<Address>(pointer) & (alignment - 1)) == 0;
}

// `tagged`, known to the compiler: the allocation or its extents have a tag.
MINICORE_INLINE void* Resize(void* pointer, size_t size, int flags,
                             const Old& old, bool tagged) {
  const size_t usable = UsableSize(size, flags);
  if (usable == 0) return nullptr;
  if (IsAligned(pointer, flags)) {
    if (usable == old.usable) return pointer;
    if (usable > kSmallMax && old.usable > kSmallMax && !(tagged && old.wipe) &&
        GrowOrShrinkLarge(pointer, old, size, 0, flags) == usable) {
      return pointer;
    }
  }
  void* moved = AllocateUnrecorded(size, usable, flags);
  if (moved == nullptr) return nullptr;
  if (tagged && old.wipe && !IsIndexed(OffsetOf(g_index_state, moved))) {
    // Nobody would know it there.
    je_dallocx(moved, CacheFlags(flags));
    return nullptr;
  }
  std::memcpy(moved, pointer, old.usable < size ? old.usable : size);
  RecordUsable(moved, usable, tagged ? old.tag : kNoTag);
  RetireMoved(pointer, moved, old, tagged);
  if (tagged && old.extent_tag != kNoTag) flags = MALLOCX_TCACHE_NONE;
  if (MINICORE_LIKELY(flags == 0)) {
    GiveBack(pointer);
  } else {
    je_dallocx(pointer, CacheFlags(flags));
  }
  return moved;
}

__attribute__((noinline)) void* ResizeTagged(void* pointer, size_t size,
                                             int flags, const Old& old) {
  if (old.extent_tag != kNoTag) {
    const int extent_flags = TaggedExtentFlags(old.extent_tag);
    if (extent_flags == 0) return nullptr;  // rather none than ordinary memory
    flags = (flags & (kAlignMask | MALLOCX_ZERO)) | extent_flags;
  }
  return Resize(pointer, size, flags, old, true);
}

}  // namespace

void* Reallocate(void* pointer, size_t size, int flags, const char* function) {
  size = AtLeastGranule(size);
  const Old old = Inspect(pointer, function);
  if (MINICORE_UNLIKELY((old.tag | old.extent_tag) != kNoTag)) {
    return ResizeTagged(pointer, size, flags, old);
  }
  return Resize(pointer, size, flags, old, false);
}

size_t ResizeInPlace(void* pointer, size_t size, size_t extra, int flags) {
  size = AtLeastGranule(size);
  const Old old = Inspect(pointer, "xallocx");
  // Small ones keep their class, as in jemalloc. A secret that shrinks would
  // leave its tail behind unwiped: not in place, then.
  if (old.usable <= kSmallMax || old.wipe) return old.usable;
  return GrowOrShrinkLarge(pointer, old, size, extra, flags);
}

}  // namespace minicore

extern "C" {

// realloc(pointer, 0) frees, as in glibc and in jemalloc as Debian builds it.
MINICORE_EXPORT void* realloc(void* pointer, size_t size) noexcept {
  if (pointer == nullptr) return minicore::Allocate(size);
  if (MINICORE_UNLIKELY(size == 0)) {
    minicore::Release(pointer);
    return nullptr;
  }
  if (MINICORE_LIKELY(minicore::FitsAsItIs(pointer, size))) return pointer;
  void* moved = minicore::Reallocate(pointer, size, 0, "realloc");
  if (MINICORE_UNLIKELY(moved == nullptr)) errno = ENOMEM;
  return moved;
}

MINICORE_EXPORT void* reallocarray(void* pointer, size_t count,
                                   size_t size) noexcept {
  size_t total;
  if (__builtin_mul_overflow(count, size, &total)) {
    errno = ENOMEM;
    return nullptr;
  }
  return realloc(pointer, total);
}

}  // extern "C"
