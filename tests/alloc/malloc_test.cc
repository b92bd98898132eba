// Every entry point of the malloc family, and what the index knows after it.

#include <errno.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/alloc/heap_view.h"

extern "C" {
void cfree(void* pointer);
void free_sized(void* pointer, size_t size);
void free_aligned_sized(void* pointer, size_t alignment, size_t size);
int mallctl(const char* name, void* old_value, size_t* old_size,
            void* new_value, size_t new_size);
}

namespace minicore {
namespace {

constexpr size_t kSizes[] = {0,         1,
                             15,        16,
                             17,        24,
                             48,        100,
                             1000,      1024,
                             4095,      4096,
                             4097,      9000,
                             13 * 1024, 14336,
                             14337,     16384,
                             20000,     100000,
                             1 << 20,   (1 << 21) + 1,
                             5 << 20,   13 << 20};

class MallocEntryPoint
    : public testing::TestWithParam<
          std::pair<const char*, std::function<void*(size_t)>>> {};

TEST_P(MallocEntryPoint, GivesAllocationsThatAreKnownWholeUntilFreed) {
  for (size_t size : kSizes) {
    void* pointer = Opaque(GetParam().second(size));
    ASSERT_NE(pointer, nullptr) << size;
    const size_t usable = malloc_usable_size(pointer);
    EXPECT_GE(usable, size);
    EXPECT_GE(usable, 16u);
    EXPECT_TRUE(IsKnownWhole(pointer, usable)) << size;
    memset(pointer, 0xa5, usable);
    free(pointer);
    EXPECT_EQ(FindAt(pointer, usable - 1).state, AllocationState::kFreed)
        << size;
  }
}

void* PosixMemalign(size_t alignment, size_t size) {
  void* pointer = nullptr;
  return posix_memalign(&pointer, alignment, size) == 0 ? pointer : nullptr;
}

INSTANTIATE_TEST_SUITE_P(
    All, MallocEntryPoint,
    testing::Values(
        std::make_pair("malloc", [](size_t n) { return malloc(n); }),
        std::make_pair("calloc", [](size_t n) { return calloc(1, n); }),
        std::make_pair("realloc", [](size_t n) { return realloc(nullptr, n); }),
        std::make_pair("reallocarray",
                       [](size_t n) { return reallocarray(nullptr, 1, n); }),
        std::make_pair("posix_memalign",
                       [](size_t n) { return PosixMemalign(8, n); }),
        std::make_pair("posix_memalign_64",
                       [](size_t n) { return PosixMemalign(64, n); }),
        std::make_pair("posix_memalign_8192",
                       [](size_t n) { return PosixMemalign(8192, n); }),
        std::make_pair("aligned_alloc_2M",
                       [](size_t n) { return aligned_alloc(1 << 21, n); }),
        std::make_pair("memalign", [](size_t n) { return memalign(256, n); }),
        std::make_pair("valloc", [](size_t n) { return valloc(n); }),
        std::make_pair("pvalloc", [](size_t n) { return pvalloc(n); }),
        std::make_pair("new", [](size_t n) { return operator new(n); }),
        std::make_pair("new_array", [](size_t n) { return operator new[](n); }),
        std::make_pair("new_aligned",
                       [](size_t n) {
                         return operator new(n, std::align_val_t(128));
                       })),
    [](const auto& instance) { return std::string(instance.param.first); });

TEST(Malloc, EveryWayToFreeIsSeen) {
  const std::function<void(void*)> ways[] = {
      [](void* p) { free(p); },
      [](void* p) { cfree(p); },
      [](void* p) { free_sized(p, 40); },
      [](void* p) { free_aligned_sized(p, 16, 40); },
      [](void* p) { free(realloc(p, 0)); },
      [](void* p) { operator delete(p); },
      [](void* p) { operator delete (p, size_t{3}); },  // a wrong size
      [](void* p) { operator delete[](p); },
      [](void* p) { operator delete[](p, size_t{40}); },
      [](void* p) { operator delete(p, std::nothrow); },
      [](void* p) { operator delete[](p, std::nothrow); },
      [](void* p) { operator delete(p, std::align_val_t(16)); },
      [](void* p) { operator delete[](p, std::align_val_t(16)); },
      [](void* p) { operator delete (p, size_t{40}, std::align_val_t(16)); },
      [](void* p) { operator delete[](p, size_t{40}, std::align_val_t(16)); },
      [](void* p) { operator delete(p, std::align_val_t(16), std::nothrow); },
      [](void* p) { operator delete[](p, std::align_val_t(16), std::nothrow); },
  };
  for (const auto& way : ways) {
    void* pointer = Opaque(malloc(40));
    way(pointer);
    EXPECT_EQ(Find(pointer).state, AllocationState::kFreed);
  }
}

TEST(Malloc, CallocZeroesReusedMemory) {
  for (size_t size : {size_t{1}, size_t{24}, size_t{1000}, size_t{14336},
                      size_t{20000}, size_t{3} << 20}) {
    for (int round = 0; round < 3; ++round) {
      auto* bytes = static_cast<unsigned char*>(Opaque(calloc(1, size)));
      const size_t usable = malloc_usable_size(bytes);
      for (size_t i = 0; i < usable; ++i) ASSERT_EQ(bytes[i], 0);
      memset(bytes, 0xff, usable);
      free(bytes);
    }
  }
}

TEST(Malloc, AlignmentIsKept) {
  for (size_t alignment = 8; alignment <= size_t{4} << 20; alignment *= 2) {
    for (size_t size : {size_t{1}, size_t{100}, size_t{5000}, size_t{50000}}) {
      void* pointer = PosixMemalign(alignment, size);
      EXPECT_EQ(AddressOf(pointer) % alignment, 0u);
      EXPECT_TRUE(IsKnownWhole(pointer, malloc_usable_size(pointer)));
      free(pointer);
    }
  }
  EXPECT_EQ(AddressOf(Opaque(malloc(1))) % 16, 0u);
}

TEST(Malloc, BadAlignmentsAreRefused) {
  void* pointer = &pointer;
  EXPECT_EQ(posix_memalign(&pointer, 4, 10), EINVAL);
  EXPECT_EQ(posix_memalign(&pointer, 24, 10), EINVAL);
  EXPECT_EQ(posix_memalign(&pointer, 0, 10), EINVAL);
  EXPECT_EQ(pointer, &pointer);
  errno = 0;
  EXPECT_EQ(aligned_alloc(Opaque(size_t{24}), 48), nullptr);
  EXPECT_EQ(errno, EINVAL);
  errno = 0;
  EXPECT_EQ(memalign(Opaque(size_t{24}), 48), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Malloc, SuccessAndFreeLeaveErrnoAlone) {
  for (size_t size : kSizes) {
    errno = 77;
    void* pointer = Opaque(malloc(size));
    pointer = realloc(pointer, size + 100);
    free(pointer);
    free(Opaque(calloc(1, size)));
    free(PosixMemalign(4096, size));
    EXPECT_EQ(errno, 77);
  }
}

TEST(Malloc, NoMemoryIsENOMEM) {
  const size_t huge = Opaque(SIZE_MAX / 2 - 4096);
  const std::function<void*()> calls[] = {
      [=] { return malloc(huge); },
      [=] { return calloc(1, huge); },
      [=] { return calloc(huge, 5); },
      [=] { return realloc(nullptr, huge); },
      [=] { return reallocarray(nullptr, huge, 5); },
      [=] { return aligned_alloc(64, huge); },
      [=] { return valloc(huge); },
      [=] { return pvalloc(Opaque(SIZE_MAX - 5)); },
      [=] { return memalign(64, Opaque(SIZE_MAX - 5)); },
  };
  for (const auto& call : calls) {
    errno = 0;
    EXPECT_EQ(call(), nullptr);
    EXPECT_EQ(errno, ENOMEM);
  }
  void* pointer = nullptr;
  errno = 77;
  EXPECT_EQ(posix_memalign(&pointer, 64, huge), ENOMEM);
  EXPECT_EQ(errno, 77);
}

TEST(Malloc, UsableSizeOfWhatIsNoHeapIsZero) {
  int local = 0;
  EXPECT_EQ(malloc_usable_size(nullptr), 0u);
  EXPECT_EQ(malloc_usable_size(Opaque(&local)), 0u);
}

TEST(MallocDeathTest, AForeignPointerIsNamedAndEndsTheProgram) {
  static int global;
  EXPECT_EXIT(free(Opaque(&global)), testing::KilledBySignal(SIGABRT),
              "minicore: free\\(\\) of 0x[0-9a-f]*, which no malloc has");
  EXPECT_EXIT(free(realloc(Opaque(static_cast<void*>(&global)), 10)),
              testing::KilledBySignal(SIGABRT), "minicore: realloc\\(\\) of");
}

// realloc

TEST(Realloc, KeepsTheBytesOverEveryChangeOfSize) {
  std::string pattern(13 << 20, '\0');
  for (size_t i = 0; i < pattern.size(); ++i) {
    pattern[i] = static_cast<char>(i * 7 + i / 4096);
  }
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      if (to == 0) continue;
      void* bytes = Opaque(malloc(from));
      memcpy(bytes, pattern.data(), from);
      bytes = realloc(bytes, to);
      ASSERT_NE(bytes, nullptr);
      ASSERT_TRUE(IsKnownWhole(bytes, malloc_usable_size(bytes)))
          << from << " " << to;
      ASSERT_EQ(memcmp(bytes, pattern.data(), std::min(from, to)), 0);
      free(bytes);
    }
  }
}

TEST(Realloc, TheOldPlaceIsFreedAfterAMove) {
  void* old = Opaque(malloc(100));
  const Address before = AddressOf(old);
  void* moved = realloc(old, 1000);
  ASSERT_NE(AddressOf(moved), before);
  EXPECT_EQ(Resolve(g_index_state, before).state, AllocationState::kFreed);
  free(moved);
}

TEST(Realloc, TheSameClassStaysWhereItIs) {
  void* pointer = Opaque(malloc(100));
  const Address before = AddressOf(pointer);
  pointer = realloc(pointer, 112);
  EXPECT_EQ(AddressOf(pointer), before);
  pointer = realloc(pointer, 97);
  EXPECT_EQ(AddressOf(pointer), before);
  free(pointer);
}

TEST(Realloc, FailureLeavesTheAllocationAlone) {
  for (size_t size : {size_t{100}, size_t{100000}}) {
    void* pointer = Opaque(malloc(size));
    const Allocation before = Find(pointer);
    errno = 0;
    EXPECT_EQ(realloc(Opaque(pointer), Opaque(SIZE_MAX / 2 - 4096)), nullptr);
    EXPECT_EQ(errno, ENOMEM);
    EXPECT_EQ(Find(pointer).range(), before.range());
    EXPECT_EQ(Find(pointer).state, AllocationState::kLive);
    free(pointer);
  }
}

TEST(Realloc, ALargeAllocationThatShrinksGivesUpItsTail) {
  auto* pointer = static_cast<char*>(Opaque(malloc(8 << 20)));
  pointer = static_cast<char*>(realloc(pointer, 3 << 20));
  const size_t usable = malloc_usable_size(pointer);
  EXPECT_LT(usable, size_t{4} << 20);
  EXPECT_TRUE(IsKnownWhole(pointer, usable));
  EXPECT_NE(FindAt(pointer, 5 << 20).begin, AddressOf(pointer));
  free(pointer);
}

// Pages of the shadow that are in memory, of those that describe [begin, end).
size_t ResidentPagesOfShadow(Address begin, Address end) {
  const auto granule = [](Address address) {
    return (address - g_index_state.region) >> kGranuleShift;
  };
  auto* const shadow = reinterpret_cast<char*>(g_index_state.shadow);
  char* const first = shadow + AlignUp(granule(begin), kPageSize);
  const size_t bytes = AlignDown(granule(end), kPageSize) - AlignUp(granule(begin), kPageSize);
  std::vector<unsigned char> resident(bytes / kPageSize);
  EXPECT_EQ(mincore(first, bytes, resident.data()), 0);
  return static_cast<size_t>(std::count_if(resident.begin(), resident.end(),
                                           [](unsigned char byte) { return byte & 1; }));
}

TEST(Purge, GivesBackTheIndexOfWhatIsFreedByTheMegabyte) {
  constexpr size_t kSize = 512;
  constexpr size_t kCount = (32 << 20) / kSize;
  std::vector<void*> blocks(kCount);
  for (void*& block : blocks) block = Opaque(malloc(kSize));
  const auto [low, high] = std::minmax_element(blocks.begin(), blocks.end());
  const Address begin = AddressOf(*low);
  const Address end = AddressOf(*high);
  const size_t before = ResidentPagesOfShadow(begin, end);
  ASSERT_GT(before, kCount * kSize / kGroupSize / 2);
  for (void* block : blocks) free(block);
  mallctl("thread.tcache.flush", nullptr, nullptr, nullptr, 0);
  EXPECT_EQ(FindAt(blocks[kCount / 2], 0).state, AllocationState::kFreed);
  ASSERT_EQ(mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0), 0);
  EXPECT_LT(ResidentPagesOfShadow(begin, end), before / 4);
  EXPECT_EQ(FindAt(blocks[kCount / 2], 0).state, AllocationState::kUnknown);

  // What comes after is known as ever.
  for (void*& block : blocks) block = Opaque(malloc(kSize));
  for (void* block : blocks) ASSERT_TRUE(IsKnownWhole(block, kSize));
  for (void* block : blocks) free(block);
}

}  // namespace
}  // namespace minicore
