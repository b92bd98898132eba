// Allocates in whatever world it is started, and checks what the index says:
// the truth, or that it does not know; never something wrong.
//
//   heap_child MEGABYTES    prints "indexed N unindexed M region BYTES"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

int Run(size_t megabytes) {
  std::vector<void*> blocks;
  size_t total = 0;
  for (size_t i = 0; total < megabytes << 20; ++i) {
    const size_t size = i % 50 == 0 ? 3 << 20 : 1 + i * 37 % 50'000;
    void* block = malloc(size);
    if (block == nullptr) break;
    memset(block, 1, size);
    total += size;
    blocks.push_back(block);
    if (i % 7 == 0) {
      void* moved = realloc(blocks[i / 2], size / 2 + 1);
      if (moved != nullptr) blocks[i / 2] = moved;
    }
  }
  unsigned indexed = 0, unindexed = 0;
  for (void* block : blocks) {
    const size_t usable = malloc_usable_size(block);
    const Allocation found = FindAt(block, usable - 1);
    if (found.state == AllocationState::kUnknown &&
        (g_index_state.flags & kIndexUnindexedHeap) != 0 &&
        !InHeap(g_index_state, AddressOf(block))) {
      ++unindexed;
    } else if (IsKnownWhole(block, usable)) {
      ++indexed;
    } else {
      fprintf(stderr, "wrong: %p\n", block);
      return 1;
    }
  }
  for (void* block : blocks) free(block);
  printf("indexed %u unindexed %u region %llu\n", indexed, unindexed,
         static_cast<unsigned long long>(g_index_state.region_bytes));
  return 0;
}

}  // namespace
}  // namespace minicore

int main(int argc, char** argv) {
  return minicore::Run(argc > 1 ? strtoul(argv[1], nullptr, 10) : 50);
}
