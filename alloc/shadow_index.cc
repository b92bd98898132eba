#include "alloc/shadow_index.h"

namespace minicore {
namespace {

// Tells every later chunk in which the allocation's bytes lie where it starts. A stale
// entry needs no cleaning: the reader asks the start byte and the size.
void CoverChunks(const IndexState& index, uint64_t offset, ByteCount size) {
  const uint64_t last = (offset + size - 1) >> kChunkShift;
  for (uint64_t chunk = (offset >> kChunkShift) + 1; chunk <= last; ++chunk) {
    index.chunks[chunk].large_before.store(index.region + offset,
                                           std::memory_order_relaxed);
  }
}

void StoreSize(const IndexState& index, uint64_t offset, ByteCount size) {
  const uint64_t granule = (offset & (kPageSize - 1)) >> kGranuleShift;
  index.large[offset >> kPageShift].store(size | granule,
                                          std::memory_order_release);
}

}  // namespace

void RecordLarge(const IndexState& index, uint64_t offset, ByteCount size,
                 uint8_t mark) {
  StoreSize(index, offset, size);
  CoverChunks(index, offset, size);
  std::atomic<uint8_t>* start = index.shadow + (offset >> kGranuleShift);
  start[1].store(kShadowNotLive | kShadowLarge, std::memory_order_relaxed);
  start->store(static_cast<uint8_t>(kShadowLarge | mark),
               std::memory_order_release);
}

void ResizeLarge(const IndexState& index, uint64_t offset, ByteCount size) {
  // Chunks first: a reader that comes by way of one checks the size, and one that finds
  // the new size may come by way of any chunk.
  CoverChunks(index, offset, size);
  StoreSize(index, offset, size);
}

}  // namespace minicore
