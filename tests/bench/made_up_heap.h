// A heap that does not exist: an index over made-up addresses, filled by the
// writer's own functions, for benchmarks of the reader.

#ifndef MINICORE_TESTS_BENCH_MADE_UP_HEAP_H_
#define MINICORE_TESTS_BENCH_MADE_UP_HEAP_H_

#include <vector>

#include "alloc/index_format.h"

namespace minicore {

class MadeUpHeap {
 public:
  static constexpr Address kRegion = Address{0x5000} << 32;

  // The planes are mapped for `bytes` (a multiple of kChunkSize) and take
  // memory only where something is recorded.
  explicit MadeUpHeap(ByteCount bytes);
  ~MadeUpHeap();
  MadeUpHeap(const MadeUpHeap&) = delete;
  MadeUpHeap& operator=(const MadeUpHeap&) = delete;

  // Allocations of `size_class`, one after the other, in `bytes` from the place
  // where the last call ended. Returns where they start.
  std::vector<Address> FillSmall(unsigned size_class, ByteCount bytes);

  // One large allocation (a multiple of a page) on its own pages.
  Address AddLarge(ByteCount size);

  const IndexState& index() const { return index_; }

 private:
  void* Map(ByteCount bytes);

  std::vector<std::pair<void*, ByteCount>> mappings_;
  IndexState index_ = {};
  uint64_t used_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_TESTS_BENCH_MADE_UP_HEAP_H_
