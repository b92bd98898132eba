#include "alloc/hidden_extents.h"

#include <cerrno>

#include "alloc/index_view.h"
#include "alloc/kernel.h"
#include "alloc/region.h"
#include "alloc/shadow_index.h"
#include "alloc/state.h"
#include "alloc/wipe.h"

namespace minicore {
namespace {

std::atomic<bool> g_locked;

// Calls visit(chunk) for each chunk of a hidden extent, until it returns false.
template <typename Visit>
void ForEachHiddenChunk(Visit visit) {
  const IndexState& index = g_index_state;
  const ByteCount committed = index.committed.load(std::memory_order_acquire);
  for (ByteCount at = 0; at < committed; at += kChunkSize) {
    // Sequentially consistent: see Hide().
    const uint64_t tags = index.chunks[at >> kChunkShift].tags.load();
    if (!MustWipe(ExtentTag(tags))) continue;
    if (!visit({index.region + at, index.region + at + kChunkSize})) return;
  }
}

bool WipeOne(void*, const Allocation& allocation) {
  Wipe(reinterpret_cast<void*>(allocation.begin), allocation.size);
  return true;
}

// Of a program that is unloaded or ends by exit() or by the end of main(); who
// ends by _exit() or a signal leaves the wiping to the kernel.
__attribute__((destructor)) void WipeAtExit() { WipeHiddenExtents(); }

// Calls visit(offset) for each chunk of an extent.
template <typename Visit>
void ForEachChunk(AddressRange extent, Visit visit) {
  const Address region = g_index_state.region;
  for (Address chunk = extent.begin; chunk < extent.end; chunk += kChunkSize) {
    visit(chunk - region);
  }
}

// Whether the extent, with guards around it, became what it is to be.
bool Hide(AddressRange whole, AddressRange extent, uint8_t tag) {
  kernel::Forbid({whole.begin, extent.begin});
  kernel::Forbid({extent.end, whole.end});
  // Linux 4.14.
  if (!kernel::Advise(extent, MADV_WIPEONFORK)) return false;
  ForEachChunk(extent, [tag](uint64_t offset) {
    ExpectTagsOfExtent(g_index_state, offset, tag);
  });
  // Sequentially consistent, as are the stores of the tags before it and what
  // LockHiddenExtents() does: one of the two sees the other.
  return !g_locked.load() || kernel::Lock(extent);
}

// As if it had never been: a program that tries again and again would use up the
// region, and the mappings that the kernel allows.
void TakeBack(AddressRange whole, AddressRange extent) {
  ForEachChunk(extent, [](uint64_t offset) {
    ChunkOf(g_index_state, offset).tags.store(0);
  });
  kernel::Unlock(extent);
  kernel::Advise(extent, MADV_KEEPONFORK);
  ReturnExtent(whole);
}

}  // namespace

Address AllocateHidden(ByteCount size, ByteCount alignment, uint8_t tag) {
  size = AlignUp(size, kChunkSize);
  ByteCount all;
  if (__builtin_add_overflow(size, alignment + kChunkSize, &all)) return 0;
  ByteCount guard = alignment;
  Address begin = AllocateExtent(all, alignment, ExtentKind::kApart);
  if (begin == 0) {
    // Rather a secret without guards than one among ordinary memory.
    all = size;
    guard = 0;
    begin = AllocateExtent(all, alignment, ExtentKind::kApart);
    if (begin == 0) return 0;
  }
  const AddressRange whole{begin, begin + all};
  const AddressRange extent{begin + guard, begin + guard + size};
  if (Hide(whole, extent, tag)) return extent.begin;
  TakeBack(whole, extent);
  return 0;
}

int LockHiddenExtents(bool wanted) {
  g_locked.store(wanted);
  bool locked = true;
  if (wanted) {
    ForEachHiddenChunk(
        [&locked](AddressRange chunk) { return locked = kernel::Lock(chunk); });
  }
  return locked ? 0 : -ENOMEM;
}

void WipeHiddenExtents() {
  ForEachHiddenChunk([](AddressRange chunk) {
    ForEachLive(g_index_state, chunk, WipeOne, nullptr);
    return true;
  });
}

}  // namespace minicore
