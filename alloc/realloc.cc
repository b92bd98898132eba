#include "alloc/realloc.h"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "alloc/foreign.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/tagged_extents.h"
#include "alloc/wipe.h"

namespace minicore {
namespace {

constexpr int kAlignMask = 0x3f;  // the MALLOCX_LG_ALIGN bits of mallocx flags

// What the index knows of the allocation that is to be resized.
struct Old {
  uint64_t offset = 0;
  size_t usable = 0;
  uint8_t tag = kNoTag;         // of the allocation itself
  uint8_t extent_tag = kNoTag;  // of its extents
  bool indexed = false;
  bool wipe = false;
};

Old Inspect(const void* pointer, const char* function) {
  Old old;
  old.offset = OffsetOf(g_index_state, pointer);
  old.indexed = IsIndexed(old.offset);
  if (MINICORE_UNLIKELY(!old.indexed)) CheckForeign(pointer, function);
  uint8_t byte = 0;
  if (MINICORE_LIKELY(old.indexed)) {
    byte = StartByte(g_index_state, old.offset);
    if (MINICORE_UNLIKELY(ChunkHasTags(g_index_state, old.offset))) {
      old.extent_tag = ChunkOf(g_index_state, old.offset)
                           .extent_tag.load(std::memory_order_relaxed);
      if ((byte & kShadowTagged) != 0) {
        old.tag = TagByte(g_index_state, old.offset);
      }
      old.wipe = MustWipe(old.tag) || MustWipe(old.extent_tag);
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

// After a move: retire the old place, and see whether a tag came meanwhile.
void RetireMoved(void* pointer, void* moved, const Old& old, int flags) {
  bool wipe = old.wipe;
  if (old.indexed) {
    // A tag that came meanwhile goes to the new place before it leaves the old
    // one: whoever is frozen in between still has it on one of them.
    const auto follow = [&](uint8_t byte) {
      if ((byte & kShadowTagged) == 0) return;
      const uint8_t tag = TagByte(g_index_state, old.offset);
      const uint64_t offset = OffsetOf(g_index_state, moved);
      if (tag != old.tag && IsIndexed(offset)) {
        RecordUsable(moved, je_sallocx(moved, 0), tag);
      }
      wipe = wipe || MustWipe(tag);
    };
    const uint8_t seen = StartByte(g_index_state, old.offset);
    follow(seen);
    // Wiped while it is known as a secret, see ReleaseSlow().
    if (wipe) Wipe(pointer, old.usable);
    const uint8_t last = RetireAndTell(g_index_state, old.offset);
    if (last != seen) {
      follow(last);
      if (wipe) Wipe(pointer, old.usable);
    }
  }
  if (old.extent_tag != kNoTag) flags = MALLOCX_TCACHE_NONE;
  if (MINICORE_LIKELY(flags == 0)) return GiveBack(pointer);
  // Alignment and zeroing mean nothing here, and an arena is no cache.
  je_dallocx(pointer, flags & ~(kAlignMask | MALLOCX_ZERO));
}

size_t GrowOrShrinkLarge(void* pointer, const Old& old, size_t size,
                         size_t extra, int flags) {
  if (!old.indexed) return je_xallocx(pointer, size, extra, flags);
  const size_t least = je_nallocx(size, flags);
  if (least <= kSmallMax) return old.usable;  // too large, or no longer large
  // A tail that is given up belongs to somebody else as soon as jemalloc has
  // it.
  if (least < old.usable) ResizeLarge(g_index_state, old.offset, least);
  const size_t usable = je_xallocx(pointer, size, extra, flags);
  if (usable != least || least > old.usable) {
    ResizeLarge(g_index_state, old.offset, usable);
  }
  return usable;
}

// What an allocation of `size` will have; 0 if there can be none.
size_t UsableSize(size_t size, int flags) {
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

void* AllocateUnrecorded(size_t size, size_t usable, int flags) {
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

}  // namespace

void* Reallocate(void* pointer, size_t size, int flags, const char* function) {
  size = AtLeastGranule(size);
  const Old old = Inspect(pointer, function);
  if (old.extent_tag != kNoTag) {
    flags = (flags & (kAlignMask | MALLOCX_ZERO)) |
            TaggedExtentFlags(old.extent_tag);
  }
  const size_t usable = UsableSize(size, flags);
  if (usable == 0) return nullptr;
  if (IsAligned(pointer, flags)) {
    if (usable == old.usable) return pointer;
    if (usable > kSmallMax && old.usable > kSmallMax && !old.wipe &&
        GrowOrShrinkLarge(pointer, old, size, 0, flags) == usable) {
      return pointer;
    }
  }
  void* moved = AllocateUnrecorded(size, usable, flags);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, pointer, old.usable < size ? old.usable : size);
  RecordUsable(moved, usable, old.tag);
  RetireMoved(pointer, moved, old, flags);
  return moved;
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
