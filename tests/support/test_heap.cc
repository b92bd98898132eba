#include "tests/support/test_heap.h"

#include <sys/mman.h>

#include <cstdlib>
#include <numeric>

#include "alloc/shadow_index.h"
#include "alloc/tag_table.h"

namespace minicore {

TestHeap::TestHeap(size_t chunks)
    : bytes_(chunks * kChunkSize), tags_(std::make_unique<TagState>()) {
  index_.magic = kIndexMagic;
  index_.version = kIndexVersion;
  index_.region =
      AlignUp(reinterpret_cast<Address>(Map(bytes_ + kChunkSize)), kChunkSize);
  index_.region_bytes = bytes_;
  index_.shadow =
      static_cast<std::atomic<uint8_t>*>(Map(bytes_ >> kGranuleShift));
  index_.tags =
      static_cast<std::atomic<uint8_t>*>(Map(bytes_ >> kGranuleShift));
  index_.large = static_cast<std::atomic<uint64_t>*>(
      Map((bytes_ >> kPageShift) * sizeof(uint64_t)));
  index_.chunks = static_cast<ChunkEntry*>(Map(chunks * sizeof(ChunkEntry)));
  index_.committed = bytes_;
}

TestHeap::~TestHeap() {
  for (auto [address, size] : mappings_) munmap(address, size);
}

void* TestHeap::Map(ByteCount bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) abort();
  mappings_.emplace_back(mapped, bytes);
  return mapped;
}

Address TestHeap::Allocate(ByteCount size, uint8_t tag) {
  uint64_t offset;
  if (size <= kSmallMax) {
    unsigned size_class = 1;
    while (kSmallClassSize[size_class] < size) ++size_class;
    const ByteCount usable = kSmallClassSize[size_class];
    Slab& slab = slabs_[size_class];
    if (slab.next == slab.end) {
      slab.next = used_;
      used_ += std::lcm(usable, kPageSize);
      slab.end = used_;
    }
    offset = slab.next;
    slab.next += usable;
    if (used_ > bytes_) abort();
    RecordSmall(index_, offset, size_class);
  } else {
    size = AlignUp(size, kPageSize);
    offset = used_;
    used_ += size;
    if (used_ > bytes_) abort();
    RecordLarge(index_, offset, size);
  }
  const Address begin = index_.region + offset;
  if (tag != kNoTag && TagAllocation(index_, begin, tag) != 0) abort();
  return begin;
}

void TestHeap::Free(Address begin) {
  const uint64_t offset = begin - index_.region;
  const uint8_t byte = RetireAndTell(index_, offset);
  if (MayHaveTag(index_, offset)) SetTagBytes(index_, offset, byte, kNoTag);
}

uint8_t TestHeap::Tag(const char* name) {
  const int id = InternTag(*tags_, name);
  if (id <= 0) abort();
  return static_cast<uint8_t>(id);
}

uint8_t TestHeap::Tag(const char* name, Disposition disposition) {
  if (SetTagRule(*tags_, name, disposition) != 0) abort();
  return Tag(name);
}

}  // namespace minicore
