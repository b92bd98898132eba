// minicore_malloc: extents that hold one tag only.

#include <errno.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <minicore/minicore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

constexpr size_t kSizes[] = {1, 24, 1000, 14336, 20000, 3 << 20, 10 << 20};

uint64_t ChunkNumber(const void* pointer) {
  return (AddressOf(pointer) - g_index_state.region) >> kChunkShift;
}

// The VmFlags line of the mapping of an address in /proc/self/smaps.
std::string VmFlags(const void* pointer) {
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(smaps, line)) {
    Address begin, end;
    char dash;
    std::istringstream words(line);
    if (words >> std::hex >> begin >> dash >> end && dash == '-') {
      inside = AddressRange{begin, end}.Contains(AddressOf(pointer));
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      return line + " ";
    }
  }
  return "";
}

bool IsZero(Address begin, size_t size) {
  const auto* bytes = reinterpret_cast<volatile const char*>(begin);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

std::string TagOf(const void* pointer) {
  char name[kMaxTagName + 1];
  NameOf(g_tag_state, Find(pointer).tag, name);
  return name;
}

// The compiler knows the size that was asked for, not the usable one.
void* OpaqueMalloc(size_t size, const char* tag) {
  return Opaque(minicore_malloc(size, tag));
}

TEST(TaggedExtents, EveryAllocationHasTheTagWithoutACall) {
  for (size_t size : kSizes) {
    void* block = minicore_malloc(size, "secret");
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(AddressOf(block) % 16, 0u);
    EXPECT_TRUE(IsKnownWhole(block, malloc_usable_size(block)));
    EXPECT_EQ(TagOf(block), "secret");
    EXPECT_EQ(minicore_untag(block), 0);
    EXPECT_EQ(TagOf(block), "secret");
    free(block);
  }
}

TEST(TaggedExtents, NoOtherAllocationEverLiesInThem) {
  std::set<uint64_t> secret_chunks;
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> secrets, plain;
    for (int i = 0; i < 2000; ++i) {
      secrets.push_back(minicore_malloc(16 + i % 3000, "secret"));
      plain.push_back(malloc(16 + i % 3000));
      secret_chunks.insert(ChunkNumber(secrets.back()));
    }
    for (size_t i = 0; i < secrets.size(); i += 2) free(secrets[i]);
    for (int i = 0; i < 2000; ++i) plain.push_back(malloc(16 + i % 3000));
    for (size_t i = 1; i < secrets.size(); i += 2) free(secrets[i]);
    for (int i = 0; i < 2000; ++i) plain.push_back(malloc(16 + i % 3000));
    for (void* block : plain) {
      ASSERT_EQ(secret_chunks.count(ChunkNumber(block)), 0u);
      ASSERT_EQ(TagOf(block), "");
      free(block);
    }
  }
}

TEST(TaggedExtents, ElidedOnesAreInNoCoreFileAndInNoChild) {
  auto* block = static_cast<char*>(OpaqueMalloc(100, "secret"));
  strcpy(block, "the secret itself");
  const std::string flags = VmFlags(block);
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  EXPECT_NE(flags.find(" wf "), std::string::npos) << flags;
  const pid_t child = fork();
  if (child == 0) {
    const bool zero = IsZero(AddressOf(block), 100);
    // And the child can still free it, and get new ones.
    free(block);
    void* other = minicore_malloc(100, "secret");
    _exit(zero && other != nullptr && TagOf(other) == "secret" ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_STREQ(block, "the secret itself");
  free(block);
}

TEST(TaggedExtents, OrdinaryHeapIsInCoreFiles) {
  void* block = Opaque(malloc(100));
  EXPECT_EQ(VmFlags(block).find(" dd "), std::string::npos);
  void* labelled = minicore_malloc(100, "only a label");
  EXPECT_EQ(VmFlags(labelled).find(" dd "), std::string::npos);
  EXPECT_EQ(TagOf(labelled), "only a label");
  free(labelled);
  free(block);
}

TEST(TaggedExtents, ElidedOnesAreWipedWhenFreed) {
  for (size_t size : kSizes) {
    auto* block = static_cast<char*>(OpaqueMalloc(size, "secret"));
    const size_t usable = malloc_usable_size(block);
    memset(block, 'S', usable);
    const Address was = AddressOf(block);
    free(block);
    EXPECT_TRUE(IsZero(was, usable)) << size;
    EXPECT_NE(Resolve(g_index_state, was).state, AllocationState::kLive);
  }
}

TEST(TaggedExtents, ReallocStaysWithinTheTagAndWipes) {
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      auto* block = static_cast<char*>(OpaqueMalloc(from, "secret"));
      const size_t usable = malloc_usable_size(block);
      memset(block, 'S', usable);
      const Address was = AddressOf(block);
      block = Opaque(static_cast<char*>(realloc(block, to)));
      ASSERT_NE(block, nullptr);
      EXPECT_EQ(TagOf(block), "secret") << from << " " << to;
      EXPECT_TRUE(IsKnownWhole(block, malloc_usable_size(block)));
      EXPECT_EQ(block[std::min(from, to) - 1], 'S');
      if (AddressOf(block) != was) {
        EXPECT_TRUE(IsZero(was, usable)) << from << " " << to;
      }
      free(block);
    }
  }
}

TEST(TaggedExtents, ManyThreadsShareThem) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&wrong, t] {
      std::vector<void*> blocks;
      for (int i = 0; i < 2000; ++i) {
        void* block = minicore_malloc(1 + i % 5000, "shared");
        if (block == nullptr || TagOf(block) != "shared") ++wrong;
        blocks.push_back(block);
        if (i % 3 == t % 3) {
          free(blocks[i / 2]);
          blocks[i / 2] = nullptr;
        }
      }
      for (void* block : blocks) free(block);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(TaggedExtents, BadNamesGiveNoMemory) {
  for (const char* name : {"", "a name that is longer than allowed", "a\nb"}) {
    errno = 0;
    EXPECT_EQ(minicore_malloc(100, name), nullptr);
    EXPECT_EQ(errno, ENOMEM);
  }
}

// Last: it uses the extents up for the rest of the process.
TEST(TaggedExtents, ThereAreSixteenTagsWithExtents) {
  int made = 0;
  for (int i = 0; i < 20; ++i) {
    errno = 0;
    void* block = minicore_malloc(100, ("tag" + std::to_string(i)).c_str());
    if (block != nullptr) {
      ++made;
    } else {
      EXPECT_EQ(errno, ENOMEM);
    }
    free(block);
  }
  EXPECT_EQ(made, 16 - 3);  // secret, only a label, shared
  void* block = minicore_malloc(100, "secret");
  EXPECT_EQ(TagOf(block), "secret");
  free(block);
}

}  // namespace
}  // namespace minicore
