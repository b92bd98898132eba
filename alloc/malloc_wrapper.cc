#include "alloc/malloc_wrapper.h"

#include "alloc/bad_pointer.h"
#include "alloc/index_view.h"
#include "alloc/tagged_extents.h"
#include "alloc/wipe.h"

namespace minicore {

void* RecordOutside(void* pointer) noexcept {
  // An arena of the program's own, with hooks of its own, may give such memory;
  // so does our extent layer when the region is used up.
  if (pointer != nullptr) {
    g_index_state.flags.fetch_or(kIndexUnindexedHeap,
                                 std::memory_order_relaxed);
  }
  return pointer;
}

void* RecordUsable(void* pointer, size_t usable, uint8_t tag) noexcept {
  const uint64_t offset = OffsetOf(g_index_state, pointer);
  if (!IsIndexed(offset)) return RecordOutside(pointer);
  uint8_t mark = 0;
  if (tag != kNoTag) {
    // Born tagged: there is no instant at which a copy of a secret is an
    // ordinary allocation.
    ExpectTags(g_index_state, offset);
    mark = kShadowTagged;
  }
  unsigned size_class = kShadowLarge;
  if (usable <= kSmallMax) {
    size_class = SizeClassOf(usable);
    RecordSmall(g_index_state, offset, size_class, mark);
  } else {
    RecordLarge(g_index_state, offset, usable, mark);
  }
  if (tag != kNoTag) {
    SetTagBytes(g_index_state, offset, static_cast<uint8_t>(size_class), tag);
  }
  return pointer;
}

__attribute__((noinline)) void* AllocateUncached(size_t size) noexcept {
  return RecordClass(AllocatePastCache(AtLeastGranule(size)),
                     SizeClassWordOf(size));
}

__attribute__((noinline)) void* AllocateLarge(size_t size) noexcept {
  const size_t usable = LargeUsableSize(size);
  void* pointer = TakeLarge(size, usable);
  const uint64_t offset = OffsetOf(g_index_state, pointer);
  if (MINICORE_UNLIKELY(!IsIndexed(offset))) return RecordOutside(pointer);
  RecordLarge(g_index_state, offset, usable);
  return pointer;
}

__attribute__((noinline)) void GiveBackLarge(void* pointer,
                                             uint64_t entry) noexcept {
  if (!PutLarge(pointer, entry)) FreePastCache(pointer);
}

void* AllocateAligned(size_t alignment, size_t size) noexcept {
  // Allocations of a class whose size is a multiple of the alignment lie on
  // multiples of it: runs of them begin on a page. jemalloc's own way goes by
  // the same rule (sz.h, sz_sa2u), but through mallocx.
  if (alignment <= kPageSize && size <= kSmallMax) {
    const size_t multiple = size == 0 ? alignment : AlignUp(size, alignment);
    if (multiple <= kSmallMax &&
        (SizeOf(SizeClassWordOf(multiple)) & (alignment - 1)) == 0) {
      return Allocate(multiple);
    }
  }
  const int flags = MALLOCX_LG_ALIGN(__builtin_ctzl(alignment));
  const size_t usable = je_nallocx(AtLeastGranule(size), flags);
  if (usable == 0) return nullptr;
  return RecordUsable(je_mallocx(AtLeastGranule(size), flags), usable);
}

// Null, a pointer outside the region, or any once something was tagged.
__attribute__((noinline)) void ReleaseOther(void* pointer) noexcept {
  const uint64_t offset = OffsetOf(g_index_state, pointer);
  if (NeedsLook(offset)) return ReleaseSlow(pointer, 0);
  Retire(g_index_state, offset);
  GiveBack(pointer);
}

// Null, a pointer outside the region, one in a group in which something was
// tagged, or any if frees are checked.
__attribute__((noinline)) void ReleaseSlow(void* pointer, int flags) noexcept {
  if (pointer == nullptr) return;
  const uint64_t offset = OffsetOf(g_index_state, pointer);
  if (!IsIndexed(offset)) {
    CheckForeign(pointer, "free");
    je_dallocx(pointer, flags);
    return;
  }
  uint8_t byte = StartByte(g_index_state, offset);
  do {
    if (IsDead(offset, byte)) ReportDead(pointer, "free");
  } while (!RetireIfStill(g_index_state, offset, &byte));
  if (MayHaveTag(g_index_state, offset)) {
    const uint8_t extent_tag = ExtentTagAt(g_index_state, offset);
    const uint8_t tag = OwnTag(g_index_state, offset >> kGranuleShift, byte);
    if (MustWipe(tag) || MustWipe(extent_tag)) {
      Wipe(pointer, je_sallocx(pointer, 0));
    }
    // Now only: as long as it has its tag, a freed secret is elided.
    if (tag != kNoTag) SetTagBytes(g_index_state, offset, byte, kNoTag);
    // Tagged extents never meet a thread cache, or their memory would come out
    // of an ordinary malloc.
    if (extent_tag != kNoTag) flags = MALLOCX_TCACHE_NONE;
  }
  je_dallocx(pointer, flags);
}

size_t UsableSizeOutside(void* pointer) noexcept {
  if (pointer == nullptr || !SomeHeapIsOutside()) return 0;
  return je_malloc_usable_size(pointer);
}

}  // namespace minicore
