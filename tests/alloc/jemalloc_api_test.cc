// jemalloc's own interface, under its public names, keeps the index right.

#include <errno.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <minicore/minicore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#undef JEMALLOC_NO_RENAME  // the names that programs use
#include <jemalloc/jemalloc.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/alloc/heap_view.h"
#include "tests/support/single_step.h"

// As a program would; jemalloc reads it when the first malloc runs.
const char* malloc_conf = "lg_tcache_max:14";

namespace minicore {
namespace {

template <typename T>
T Ctl(const std::string& name) {
  T value{};
  size_t size = sizeof(value);
  EXPECT_EQ(mallctl(name.c_str(), &value, &size, nullptr, 0), 0) << name;
  return value;
}

TEST(JemallocApi, MallocxAndFriendsAreKnown) {
  for (int flags : {0, MALLOCX_ZERO, MALLOCX_ALIGN(64), MALLOCX_ALIGN(8192),
                    MALLOCX_TCACHE_NONE, MALLOCX_ARENA(0)}) {
    for (size_t size : {1, 8, 100, 5000, 14336, 20000, 3 << 20}) {
      void* pointer = mallocx(size, flags);
      EXPECT_EQ(sallocx(pointer, 0), nallocx(size, flags));
      EXPECT_TRUE(IsKnownWhole(pointer, sallocx(pointer, 0)));
      pointer = rallocx(pointer, size * 3, flags);
      EXPECT_TRUE(IsKnownWhole(pointer, sallocx(pointer, 0)));
      dallocx(pointer, flags & ~MALLOCX_ARENA(4094));
      EXPECT_NE(Find(pointer).state, AllocationState::kLive);
    }
  }
}

TEST(JemallocApi, RallocxKeepsAlignmentAndZeroes) {
  auto* bytes = Opaque(static_cast<char*>(mallocx(100, MALLOCX_ALIGN(4096))));
  memset(bytes, 1, sallocx(bytes, 0));
  const size_t before = sallocx(bytes, 0);
  bytes = static_cast<char*>(
      rallocx(bytes, 70000, MALLOCX_ALIGN(4096) | MALLOCX_ZERO));
  EXPECT_EQ(AddressOf(bytes) % 4096, 0u);
  EXPECT_EQ(bytes[0], 1);
  for (size_t i = before; i < sallocx(bytes, 0); ++i) ASSERT_EQ(bytes[i], 0);
  dallocx(bytes, 0);
}

TEST(JemallocApi, XallocxChangesTheKnownSizeInPlace) {
  void* pointer = mallocx(8 << 20, 0);
  const size_t shrunk = xallocx(pointer, 1 << 20, 0, 0);
  EXPECT_TRUE(IsKnownWhole(pointer, shrunk));
  EXPECT_EQ(shrunk, sallocx(pointer, 0));
  const size_t grown = xallocx(pointer, 2 << 20, 1 << 20, 0);
  EXPECT_EQ(grown, sallocx(pointer, 0));
  EXPECT_TRUE(IsKnownWhole(pointer, grown));
  EXPECT_EQ(xallocx(pointer, SIZE_MAX / 2, 0, 0), grown);
  EXPECT_TRUE(IsKnownWhole(pointer, grown));
  sdallocx(pointer, 2 << 20, 0);
  EXPECT_EQ(Find(pointer).state, AllocationState::kFreed);
  pointer = mallocx(100, 0);
  EXPECT_EQ(xallocx(pointer, 5000, 0, 0), 112u);
  sdallocx(pointer, 5, 0);  // a wrong size does no harm
  EXPECT_EQ(Find(pointer).state, AllocationState::kFreed);
}

TEST(JemallocApi, MallctlTalksToTheMallocThatServes) {
  std::vector<void*> blocks;
  const auto allocated = [] {
    uint64_t epoch = 1;
    size_t size = sizeof(epoch);
    mallctl("epoch", &epoch, &size, &epoch, size);
    return Ctl<size_t>("stats.allocated");
  };
  blocks.reserve(10);
  const size_t before = allocated();
  for (int i = 0; i < 10; ++i) blocks.push_back(malloc(1 << 20));
  EXPECT_GE(allocated(), before + (9u << 20));  // thread caches move a little
  for (void* block : blocks) free(block);
  size_t mib[4];
  size_t length = 4;
  EXPECT_EQ(mallctlnametomib("arenas.narenas", mib, &length), 0);
  unsigned arenas = 0;
  size_t size = sizeof(arenas);
  EXPECT_EQ(mallctlbymib(mib, length, &arenas, &size, nullptr, 0), 0);
  EXPECT_GT(arenas, 0u);
}

TEST(JemallocApi, WhatTheIndexNeedsCannotBeTurnedOff) {
  EXPECT_FALSE(Ctl<bool>("opt.hpa"));
  EXPECT_TRUE(Ctl<bool>("opt.retain"));
  EXPECT_STREQ(Ctl<const char*>("opt.dss"), "disabled");
}

TEST(JemallocApi, TheProgramsMallocConfIsRead) {
  EXPECT_EQ(Ctl<size_t>("opt.tcache_max"), size_t{1} << 14);
}

TEST(JemallocApi, StatsGoToTheProgramsWriter) {
  std::string output;
  malloc_stats_print(
      [](void* to, const char* text) {
        static_cast<std::string*>(to)->append(text);
      },
      &output, "gblxemd");
  EXPECT_NE(output.find("jemalloc"), std::string::npos);
}

// An arena that is reset or destroyed takes its allocations with it.
TEST(JemallocApi, AnArenaThatIsResetOrDestroyedLeavesNothingLive) {
  for (const char* end : {"reset", "destroy"}) {
    const auto arena = Ctl<unsigned>("arenas.create");
    const int flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
    std::vector<void*> blocks;
    for (size_t size : {16, 100, 5000, 20000, 3 << 20}) {
      blocks.push_back(mallocx(size, flags));
      ASSERT_EQ(Find(blocks.back()).state, AllocationState::kLive);
    }
    void* other = malloc(100);
    const std::string name = "arena." + std::to_string(arena) + "." + end;
    EXPECT_EQ(mallctl(name.c_str(), nullptr, nullptr, nullptr, 0), 0);
    for (void* block : blocks) {
      EXPECT_NE(Find(block).state, AllocationState::kLive) << end;
    }
    EXPECT_EQ(Find(other).state, AllocationState::kLive);
    free(other);
  }
}

// jemalloc may leave it as it is, at any size up to `size + extra`.
TEST(JemallocApi, WhatXallocxLeavesIsKnownAtEveryInstant) {
  constexpr size_t kLarge = 1 << 20;
  const struct {
    size_t size, extra, usable;
  } calls[] = {{64 << 10, kLarge - (64 << 10), kLarge},
               {100, kLarge, kLarge},
               {64 << 10, SIZE_MAX - (64 << 10), kLarge},
               {64 << 10, 448 << 10, 512 << 10},
               {64 << 10, 0, 64 << 10}};
  for (const auto& call : calls) {
    auto* block = static_cast<char*>(malloc(kLarge));
    size_t usable = 0;
    int missing = 0;
    SingleStep::Run(
        [&] { usable = xallocx(block, call.size, call.extra, 0); },
        [&](int) {
          const Allocation found = FindAt(block, call.usable - 1);
          missing += found.state != AllocationState::kLive ||
                     found.begin != AddressOf(block);
        });
    EXPECT_EQ(missing, 0) << call.size << " " << call.extra;
    EXPECT_EQ(usable, call.usable);
    EXPECT_TRUE(IsKnownWhole(block, usable));
    free(block);
  }
}

TEST(JemallocApi, AnArenaThatMayNotBeEndedKeepsItsAllocations) {
  const auto arena = Ctl<unsigned>("arenas.create");
  const int flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
  auto* secret = static_cast<char*>(mallocx(100, flags));
  strcpy(secret, "the secret itself");
  minicore_tag(secret, "secret");
  const auto end = [arena](const char* what, void* new_value, size_t new_size) {
    const std::string name = "arena." + std::to_string(arena) + "." + what;
    size_t mib[3], length = 3;
    mallctlnametomib(name.c_str(), mib, &length);
    const int by_mib =
        mallctlbymib(mib, length, nullptr, nullptr, new_value, new_size);
    EXPECT_EQ(mallctl(name.c_str(), nullptr, nullptr, new_value, new_size),
              by_mib);
    return by_mib;
  };
  const auto is_there = [secret] {
    return Find(secret).state == AllocationState::kLive &&
           Find(secret).own_tag == kTagSecret &&
           strcmp(secret, "the secret itself") == 0;
  };
  // It takes no value.
  unsigned value = 0;
  EXPECT_EQ(end("reset", &value, sizeof(value)), EPERM);
  EXPECT_EQ(end("destroy", &value, sizeof(value)), EPERM);
  EXPECT_TRUE(is_there());
  // Another thread is bound to it.
  int parked[2], release[2];
  ASSERT_EQ(pipe(parked) + pipe(release), 0);
  std::thread bound([&] {
    mallctl("thread.arena", nullptr, nullptr, const_cast<unsigned*>(&arena),
            sizeof(arena));
    char byte = 0;
    EXPECT_EQ(write(parked[1], &byte, 1), 1);
    EXPECT_EQ(read(release[0], &byte, 1), 1);
  });
  char byte = 0;
  ASSERT_EQ(read(parked[0], &byte, 1), 1);
  EXPECT_EQ(end("destroy", nullptr, 0), EFAULT);
  EXPECT_TRUE(is_there());
  ASSERT_EQ(write(release[1], &byte, 1), 1);
  bound.join();
  // One of jemalloc's own.
  void* plain = malloc(100);
  EXPECT_EQ(mallctl("arena.0.reset", nullptr, nullptr, nullptr, 0), EFAULT);
  EXPECT_EQ(Find(plain).state, AllocationState::kLive);
  free(plain);
  // And now it may.
  const std::string destroy = "arena." + std::to_string(arena) + ".destroy";
  EXPECT_EQ(mallctl(destroy.c_str(), nullptr, nullptr, nullptr, 0), 0);
  EXPECT_NE(Find(secret).state, AllocationState::kLive);
}

TEST(JemallocApi, EachAllocationOfABatchIsKnown) {
  struct {
    void** pointers;
    size_t count, size;
    int flags;
  } batch;
  size_t mib[2], length = 2;
  ASSERT_EQ(mallctlnametomib("experimental.batch_alloc", mib, &length), 0);
  for (const size_t size : {1, 8, 64, 5000, 100'000}) {
    for (const bool by_mib : {false, true}) {
      void* pointers[100];
      batch = {pointers, std::size(pointers), size, 0};
      size_t filled = 0, filled_size = sizeof(filled);
      ASSERT_EQ(by_mib ? mallctlbymib(mib, length, &filled, &filled_size,
                                      &batch, sizeof(batch))
                       : mallctl("experimental.batch_alloc", &filled,
                                 &filled_size, &batch, sizeof(batch)),
                0);
      ASSERT_EQ(filled, std::size(pointers));
      EXPECT_EQ(batch.size, size);
      for (void* pointer : pointers) {
        ASSERT_TRUE(IsKnownWhole(pointer, malloc_usable_size(pointer)));
        free(pointer);
      }
    }
  }
  size_t filled = 0, filled_size = sizeof(filled);
  EXPECT_EQ(mallctl("experimental.batch_alloc", &filled, &filled_size, &batch,
                    sizeof(batch) - 1),
            EINVAL);
}

void* MapExtent(extent_hooks_t*, void* new_addr, size_t size, size_t alignment,
                bool* zero, bool* commit, unsigned) {
  if (new_addr != nullptr) return nullptr;
  void* memory = mmap(nullptr, size + alignment, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  *zero = *commit = true;
  return reinterpret_cast<void*>(AlignUp(AddressOf(memory), alignment));
}

// The index knows nothing of memory that the program's own hooks give, nor of what
// lies outside when the region is used up.
TEST(JemallocApi, ASecretIsNotMovedToWhereNobodyKnowsIt) {
  static extent_hooks_t hooks = {};
  hooks.alloc = MapExtent;
  extent_hooks_t* pointer_to_hooks = &hooks;
  unsigned arena = 0;
  size_t arena_size = sizeof(arena);
  ASSERT_EQ(mallctl("arenas.create", &arena, &arena_size, &pointer_to_hooks,
                    sizeof(pointer_to_hooks)),
            0);
  const int flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
  for (const size_t size : {100, 20'000, 300'000}) {
    auto* secret = static_cast<char*>(malloc(5000));
    strcpy(secret, "the secret itself");
    minicore_tag(secret, "secret");
    EXPECT_EQ(rallocx(secret, size, flags), nullptr);
    EXPECT_EQ(Find(secret).own_tag, kTagSecret);
    EXPECT_STREQ(secret, "the secret itself");
    // A tag that protects nothing may get lost.
    minicore_tag(secret, "a label");
    void* moved = rallocx(secret, size, flags);
    ASSERT_NE(moved, nullptr);
    EXPECT_EQ(Find(moved).state, AllocationState::kUnknown);
    EXPECT_EQ(memcmp(moved, "the secret itself", 18), 0);
    free(moved);
  }
}

}  // namespace
}  // namespace minicore
