#include "alloc/hidden_extents.h"

#include <cerrno>

#include "alloc/index_view.h"
#include "alloc/kernel.h"
#include "alloc/region.h"
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
    // Sequentially consistent: see LockIfWanted().
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

}  // namespace

Address AllocateHidden(ByteCount size, ByteCount alignment) {
  size = AlignUp(size, kChunkSize);
  const ByteCount guards = alignment + kChunkSize;
  ByteCount all;
  if (__builtin_add_overflow(size, guards, &all)) return 0;
  Address begin = AllocateExtent(all, alignment, ExtentKind::kApart);
  if (begin != 0) {
    const Address whole = begin;
    begin += alignment;
    kernel::Forbid({whole, begin});
    kernel::Forbid({begin + size, whole + all});
  } else {
    // Rather a secret without guards than one among ordinary memory.
    begin = AllocateExtent(size, alignment, ExtentKind::kApart);
    if (begin == 0) return 0;
  }
  // If this fails, its address space is lost; kernels before 4.14 only.
  return kernel::Advise({begin, begin + size}, MADV_WIPEONFORK) ? begin : 0;
}

bool LockIfWanted(AddressRange extent) {
  // Sequentially consistent, as are the store of the tag before it and what
  // LockHiddenExtents() does: one of the two sees the other.
  return !g_locked.load() || kernel::Lock(extent);
}

int LockHiddenExtents() {
  g_locked.store(true);
  bool locked = true;
  ForEachHiddenChunk([&locked](AddressRange chunk) {
    return locked = kernel::Lock(chunk);
  });
  return locked ? 0 : -ENOMEM;
}

void WipeHiddenExtents() {
  ForEachHiddenChunk([](AddressRange chunk) {
    ForEachLive(g_index_state, chunk, WipeOne, nullptr);
    return true;
  });
}

}  // namespace minicore
