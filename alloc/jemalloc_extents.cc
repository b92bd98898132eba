// What jemalloc calls to get, and would call to give back, the memory of its
// extents.
//
// The first three replace the object extent_mmap.pic.o, which the build removes
// from the archive; the others are munmap() and madvise() under the names that
// redefine.syms gives them there. Contracts: jemalloc 5.3.0, src/extent_mmap.c
// and src/pages.c.
//
// If a jemalloc should come that has no such object: rename mmap() in
// pages.pic.o in the same way, and cut its answers from the region.

#include <cstddef>

#include "alloc/kernel.h"
#include "alloc/region.h"
#include "alloc/state.h"

namespace minicore {
namespace {

// Plain memory, outside the region: the index will call it unknown.
void* MapOutsideRegion(size_t size, size_t alignment) {
  if (size > SIZE_MAX - alignment) return nullptr;
  const ByteCount mapped = size + alignment;
  const Address base = kernel::Map(mapped, PROT_READ | PROT_WRITE);
  if (base == 0) return nullptr;
  const Address begin = AlignUp(base, alignment);
  kernel::Unmap({base, begin});
  kernel::Unmap({begin + size, base + mapped});
  kernel::Name({begin, begin + size}, "minicore plain heap");
  // Before the address leaves: free() believes a foreign pointer only with this
  // flag.
  g_index_state.flags.fetch_or(kIndexUnindexedHeap, std::memory_order_relaxed);
  return reinterpret_cast<void*>(begin);
}

AddressRange RangeOf(const void* begin, size_t size) {
  const auto address = reinterpret_cast<Address>(begin);
  return {address, address + size};
}

}  // namespace
}  // namespace minicore

extern "C" {

// Never unmap; set here, since the member that defined it is gone, and fixed by
// je_malloc_conf_2_conf_harder (jemalloc_api.cc).
bool je_opt_retain = true;

void* je_extent_alloc_mmap(void* new_addr, size_t size, size_t alignment,
                           bool* zero, bool* commit) {
  // A wish for an address is a try to grow in place; retained extents are never
  // merged across mappings, so jemalloc 5.3.0 does not ask while `retain` is
  // on.
  if (new_addr != nullptr) return nullptr;
  void* extent = reinterpret_cast<void*>(minicore::AllocateExtent(
      size, alignment, minicore::ExtentKind::kOrdinary));
  if (extent == nullptr) {
    extent = minicore::MapOutsideRegion(size, alignment);
  }
  if (extent == nullptr) return nullptr;
  *zero = true;
  *commit = true;
  return extent;
}

// True: "not done, keep it".
bool je_extent_dalloc_mmap(void*, size_t) { return true; }

// Called when the program destroys an arena. A hole in the region could become
// a thread's stack, and every pointer into that would look like one into the
// heap: the address space stays ours, the memory goes.
int minicore_extent_munmap(void* begin, size_t size) {
  const minicore::AddressRange range = minicore::RangeOf(begin, size);
  if (minicore::InRegion(range)) {
    return minicore::RetireExtent(range) ? 0 : -1;
  }
  return minicore::kernel::Unmap(range) ? 0 : -1;
}

// As madvise(), but errno is left alone, since free() is to leave it alone, and
// locked pages are given back as well: with plain MADV_DONTNEED a program under
// mlockall() would never get rid of a page.
int minicore_extent_madvise(void* begin, size_t size, int advice) {
  const minicore::AddressRange range = minicore::RangeOf(begin, size);
  if (advice != MADV_DONTNEED) {
    return minicore::kernel::Advise(range, advice) ? 0 : -1;
  }
  if (!minicore::kernel::Advise(range, advice) &&
      !minicore::kernel::DiscardLocked(range)) {
    return -1;
  }
  minicore::ForgetFreed(range);
  return 0;
}

}  // extern "C"
