// minicore_malloc: extents that hold one tag only.

#include <errno.h>
#include <gtest/gtest.h>
#undef JEMALLOC_NO_RENAME  // the names that programs use
#include <jemalloc/jemalloc.h>
#include <malloc.h>
#include <minicore/minicore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "alloc/hidden_extents.h"
#include "alloc/tag_table.h"
#include "alloc/tagged_extents.h"
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
  NameOf(g_tag_state, TagOf(g_tag_state, Find(pointer)), name);
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

TEST(TaggedExtents, TheFirstArenaThatIsMadeStays) {
  for (const uint32_t before : {kNoArena, kArenaBeingMade}) {
    std::atomic<uint32_t> entry{before};
    EXPECT_EQ(PublishArena(entry, 7), 7u);
    EXPECT_EQ(PublishArena(entry, 8), 7u);
    EXPECT_EQ(PublishArena(entry, kNoArena), 7u);
    EXPECT_EQ(entry, 7u);
  }
  std::atomic<uint32_t> entry{kArenaBeingMade};
  EXPECT_EQ(PublishArena(entry, kNoArena), kNoArena);
  EXPECT_EQ(PublishArena(entry, 9), 9u);
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

// Permissions of the mapping of an address in /proc/self/maps; "" if there is
// none.
std::string Permissions(Address address) {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    Address begin, end;
    char dash;
    std::string permissions;
    std::istringstream words(line);
    words >> std::hex >> begin >> dash >> end >> permissions;
    if (AddressRange{begin, end}.Contains(address)) return permissions;
  }
  return "";
}

bool IsOfTag(uint64_t chunk, uint8_t tag) {
  return ExtentTag(g_index_state.chunks[chunk].tags) == tag;
}

TEST(TaggedExtents, ElidedOnesLieBetweenGuards) {
  for (size_t size : kSizes) {
    void* block = minicore_malloc(size, "secret");
    uint64_t first = ChunkNumber(block);
    uint64_t last = first;
    while (IsOfTag(first - 1, kTagSecret)) --first;
    while (IsOfTag(last + 1, kTagSecret)) ++last;
    const Address begin = g_index_state.region + (first << kChunkShift);
    const Address end = g_index_state.region + ((last + 1) << kChunkShift);
    EXPECT_EQ(Permissions(begin), "rw-p");
    EXPECT_EQ(Permissions(end - 1), "rw-p");
    EXPECT_EQ(Permissions(begin - 1), "---p");
    EXPECT_EQ(Permissions(end), "---p");
    EXPECT_EQ(Permissions(end + kChunkSize - 1), "---p");
    free(block);
  }
}

// In a child, with a heap as young as this one's: what is locked stays so.
// Exit status: 0, or the number of what was wrong.
int LockAndAllocate() {
  void* before = minicore_malloc(100, "secret");
  if (VmFlags(before).find(" lo ") != std::string::npos) return 1;
  if (LockHiddenExtents(true) != 0) return 77;  // RLIMIT_MEMLOCK
  if (VmFlags(before).find(" lo ") == std::string::npos) return 2;
  void* after = minicore_malloc(4 << 20, "secret");
  if (after == nullptr) return 77;
  if (VmFlags(after).find(" lo ") == std::string::npos) return 3;
  if (VmFlags(malloc(4 << 20)).find(" lo ") != std::string::npos) return 4;
  // Locked memory that is freed is zero all the same when it comes back.
  memset(Opaque(after), 'S', 4 << 20);
  free(after);
  if (!IsZero(AddressOf(Opaque(minicore_malloc(4 << 20, "secret"))), 4 << 20)) {
    return 5;
  }
  return 0;
}

int StatusOf(int (*work)()) {
  const pid_t child = fork();
  if (child == 0) _exit(work());
  int status = -1;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(TaggedExtents, ElidedOnesCanBeLockedInMemory) {
  const int status = StatusOf(LockAndAllocate);
  if (status == 77) GTEST_SKIP() << "SKIPPED: RLIMIT_MEMLOCK is too low";
  EXPECT_EQ(status, 0);
}

ptrdiff_t Mappings() {
  std::ifstream maps("/proc/self/maps");
  return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
}

// Runs as somebody who may lock nothing, if it can become one.
int LockWithoutTheRight() {
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_MEMLOCK, &none);
  void* before = minicore_malloc(100, "secret");
  if (geteuid() == 0 && setuid(65534) != 0) return 77;
  if (LockHiddenExtents(true) == 0) return 1;
  // More than earlier tests have left.
  constexpr size_t kMuch = 64 << 20;
  if (before == nullptr || minicore_malloc(kMuch, "secret") != nullptr)
    return 2;
  if (malloc(kMuch) == nullptr) return 3;
  // However often it is tried, nothing is used up.
  if (minicore_malloc(kMuch, "secret") != nullptr) return 4;
  const ptrdiff_t mappings = Mappings();
  const ByteCount committed = g_index_state.committed;
  for (int i = 0; i < 200; ++i) {
    if (minicore_malloc(kMuch, "secret") != nullptr) return 4;
  }
  if (Mappings() != mappings || g_index_state.committed != committed) return 5;
  // Who asks for no lock any more gets memory again, as good as any.
  if (LockHiddenExtents(false) != 0) return 6;
  auto* after = static_cast<char*>(minicore_malloc(kMuch, "secret"));
  if (after == nullptr || TagOf(after) != "secret") return 7;
  if (VmFlags(after).find(" wf ") == std::string::npos) return 8;
  memset(after, 'S', kMuch);
  return 0;
}

TEST(TaggedExtents, WhatCannotBeLockedIsNoMemory) {
  const int status = StatusOf(LockWithoutTheRight);
  if (status == 77) GTEST_SKIP() << "SKIPPED: no other user can be had here";
  EXPECT_EQ(status, 0);
}

// The memory of a process at the end of its exit(), as its parent sees it.
TEST(TaggedExtents, ElidedOnesAreWipedAtExit) {
  int addresses[2];
  ASSERT_EQ(pipe(addresses), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto* secret = static_cast<char*>(OpaqueMalloc(64, "secret"));
    auto* plain = static_cast<char*>(Opaque(malloc(64)));
    memset(secret, 'S', 64);
    memset(plain, 'P', 64);
    const Address both[2] = {AddressOf(secret), AddressOf(plain)};
    if (write(addresses[1], both, sizeof(both)) != sizeof(both)) _exit(1);
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(77);
    raise(SIGSTOP);
    exit(0);
  }
  Address both[2] = {};
  ASSERT_EQ(read(addresses[0], both, sizeof(both)),
            static_cast<ssize_t>(sizeof(both)));
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) GTEST_SKIP() << "SKIPPED: ptrace is not allowed here";
  ASSERT_EQ(ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACEEXIT), 0);
  ASSERT_EQ(ptrace(PTRACE_CONT, child, nullptr, nullptr), 0);
  waitpid(child, &status, 0);
  ASSERT_EQ(status >> 8, SIGTRAP | PTRACE_EVENT_EXIT << 8);
  char secret[64], plain[64];
  std::ifstream memory("/proc/" + std::to_string(child) + "/mem");
  memory.seekg(static_cast<std::streamoff>(both[0])).read(secret, 64);
  memory.seekg(static_cast<std::streamoff>(both[1])).read(plain, 64);
  ASSERT_TRUE(memory);
  EXPECT_EQ(std::string(secret, 64), std::string(64, '\0'));
  EXPECT_EQ(std::string(plain, 64), std::string(64, 'P'));
  ptrace(PTRACE_CONT, child, nullptr, nullptr);
  waitpid(child, &status, 0);
}

TEST(TaggedExtents, ElidedOnesAreWipedWhenTheirArenaIsReset) {
  auto* block = static_cast<char*>(OpaqueMalloc(20000, "vault of its own"));
  const Address was = AddressOf(block);
  memset(block, 'S', 20000);
  SetTagRule(g_tag_state, "vault of its own", Disposition::kElide);
  unsigned arena = 0;
  size_t size = sizeof(arena);
  ASSERT_EQ(mallctl("arenas.lookup", &arena, &size, &block, sizeof(block)), 0);
  const std::string name = "arena." + std::to_string(arena) + ".reset";
  ASSERT_EQ(mallctl(name.c_str(), nullptr, nullptr, nullptr, 0), 0);
  EXPECT_TRUE(IsZero(was, 20000));
  EXPECT_NE(Resolve(g_index_state, was).state, AllocationState::kLive);
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
  EXPECT_EQ(made, 16 - 4);  // secret, only a label, shared, the vault
  void* block = minicore_malloc(100, "secret");
  EXPECT_EQ(TagOf(block), "secret");
  free(block);
}

}  // namespace
}  // namespace minicore
