// A million interior pointers of a heap in which threads allocate, resize and
// free in every way, sizes to 13 MiB: each resolves to exactly its allocation.

#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>

#undef JEMALLOC_NO_RENAME
#include <jemalloc/jemalloc.h>

#include <new>
#include <random>
#include <thread>
#include <vector>

#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

constexpr int kThreads = 4;
constexpr int kSteps = 2500;
constexpr int kSlots = 400;
constexpr int kLooks = 100;  // interior pointers after each step

struct Block {
  char* begin = nullptr;
  size_t usable = 0;
};

class Churn {
 public:
  explicit Churn(unsigned seed) : random_(seed) {}

  // Returns the number of wrong answers; `forgotten` of freed ones.
  int Run(int* forgotten) {
    int wrong = 0;
    for (int step = 0; step < kSteps; ++step) {
      Block& block = slots_[random_() % kSlots];
      if (block.begin == nullptr) {
        Set(block, New(Size()));
      } else if (random_() % 3 == 0) {
        Set(block, Resize(block));
      } else {
        const Address was = AddressOf(block.begin);
        Delete(block.begin);
        block = {};
        *forgotten += StaysUnknown(was);
      }
      for (int look = 0; look < kLooks; ++look) wrong += Look();
    }
    for (Block& block : slots_) Delete(block.begin);
    return wrong;
  }

 private:
  size_t Size() {
    switch (random_() % 32) {
      case 0:
        return random_() % (13u << 20);
      case 1:
      case 2:
        return random_() % (64u << 10);
      case 3:
      case 4:
      case 5:
        return random_() % 16384;
      default:
        return random_() % 600;
    }
  }

  void* New(size_t size) {
    void* pointer = nullptr;
    switch (random_() % 11) {
      case 0:
        return calloc(1, size);
      case 1:
        return operator new(size);
      case 2:
        return operator new[](size, std::nothrow);
      case 3:
        return operator new(size, std::align_val_t(64));
      case 4:
        return posix_memalign(&pointer, size_t{8} << random_() % 12, size) == 0
                   ? pointer
                   : nullptr;
      case 5:
        return aligned_alloc(size_t{1} << random_() % 13, size);
      case 6:
        return mallocx(size + 1, MALLOCX_ALIGN(32));
      case 7:
        return mallocx(size + 1, MALLOCX_TCACHE_NONE);
      case 8:
        return realloc(nullptr, size);
      default:
        return malloc(size);
    }
  }

  void* Resize(const Block& block) {
    const size_t size = Size() + 1;
    switch (random_() % 4) {
      case 0:
        return rallocx(block.begin, size, 0);
      case 1:
        xallocx(block.begin, size, 0, 0);
        return block.begin;
      case 2:
        return reallocarray(block.begin, size, 1);
      default:
        return realloc(block.begin, size);
    }
  }

  void Delete(void* pointer) {
    switch (random_() % 4) {
      case 0:
        operator delete(pointer);
        return;
      case 1:
        if (pointer != nullptr) dallocx(pointer, 0);
        return;
      default:
        free(pointer);
    }
  }

  void Set(Block& block, void* pointer) {
    if (pointer == nullptr) std::abort();
    block = {static_cast<char*>(pointer), malloc_usable_size(pointer)};
  }

  // Another thread may have what was freed by now, and then it is live. It is unknown
  // while that thread is inside malloc: it has erased what was there before, and not told
  // yet of what is there now. So it is waited for. And it is forgotten, but seldom, where
  // a large allocation came and went there, and a smaller one now begins where that did.
  static int StaysUnknown(Address was) {
    for (int turn = 0; turn < 100000; ++turn) {
      if (Resolve(g_index_state, was).state != AllocationState::kUnknown) return 0;
      std::this_thread::yield();
    }
    return 1;
  }

  int Look() {
    const Block& block = slots_[random_() % kSlots];
    if (block.begin == nullptr) return 0;
    const Allocation found = FindAt(block.begin, random_() % block.usable);
    return found.state == AllocationState::kLive &&
                   found.begin == AddressOf(block.begin) &&
                   found.size == block.usable
               ? 0
               : 1;
  }

  std::mt19937_64 random_;
  Block slots_[kSlots] = {};
};

TEST(Exactness, AMillionInteriorPointersResolveToTheirAllocations) {
  std::vector<int> wrong(kThreads, -1);
  std::vector<int> forgotten(kThreads, 0);
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back(
        [t, &wrong, &forgotten] { wrong[t] = Churn(t + 1).Run(&forgotten[t]); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kThreads, 0));
  for (const int count : forgotten) EXPECT_LE(count, kSteps / 1000);
  EXPECT_EQ(g_index_state.flags & kIndexUnindexedHeap, 0u);
}

// What ForEachLive lists is what Resolve finds, and nothing overlaps.
TEST(Exactness, TheListOfLiveAllocationsAgreesWithTheirResolution) {
  std::vector<void*> blocks;
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    blocks.push_back(malloc(random() % (i % 100 == 0 ? 4 << 20 : 2000)));
  }
  struct Context {
    Address end = 0;
    size_t count = 0;
    int wrong = 0;
  } context;
  ForEachLive(
      g_index_state, {0, ~Address{0}},
      [](void* to, const Allocation& live) {
        auto* seen = static_cast<Context*>(to);
        if (live.begin < seen->end ||
            Resolve(g_index_state, live.begin + live.size - 1).begin !=
                live.begin) {
          ++seen->wrong;
        }
        seen->end = live.begin + live.size;
        ++seen->count;
        return true;
      },
      &context);
  EXPECT_EQ(context.wrong, 0);
  EXPECT_GE(context.count, blocks.size());
  for (void* block : blocks) free(block);
}

}  // namespace
}  // namespace minicore
