#include "tests/bench/made_up_heap.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "alloc/shadow_index.h"

namespace minicore {

MadeUpHeap::MadeUpHeap(ByteCount bytes) {
  index_.magic = kIndexMagic;
  index_.version = kIndexVersion;
  index_.region = kRegion;
  index_.region_bytes = bytes;
  index_.committed = bytes;
  index_.shadow =
      static_cast<std::atomic<uint8_t>*>(Map(bytes >> kGranuleShift));
  index_.tags = static_cast<std::atomic<uint8_t>*>(Map(bytes >> kGranuleShift));
  index_.large = static_cast<std::atomic<uint64_t>*>(
      Map((bytes >> kPageShift) * sizeof(uint64_t)));
  index_.chunks = static_cast<ChunkEntry*>(
      Map((bytes >> kChunkShift) * sizeof(ChunkEntry)));
}

MadeUpHeap::~MadeUpHeap() {
  for (auto [address, size] : mappings_) munmap(address, size);
}

void* MadeUpHeap::Map(ByteCount bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    perror("made-up heap");
    exit(1);
  }
  mappings_.emplace_back(mapped, bytes);
  return mapped;
}

std::vector<Address> MadeUpHeap::FillSmall(unsigned size_class,
                                           ByteCount bytes) {
  std::vector<Address> starts;
  const uint64_t end = used_ + bytes;
  const ByteCount size = kSmallClassSize[size_class];
  for (; used_ + size <= end; used_ += size) {
    RecordSmall(index_, used_, size_class);
    starts.push_back(kRegion + used_);
  }
  used_ = AlignUp(end, kPageSize);
  return starts;
}

Address MadeUpHeap::AddLarge(ByteCount size) {
  const uint64_t start = used_;
  RecordLarge(index_, start, size);
  used_ += size;
  return kRegion + start;
}

}  // namespace minicore
