// minicore_tag and its kin on a real heap.

#include <errno.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <minicore/minicore.hpp>
#include <string>
#include <thread>
#include <vector>

#include "alloc/tag_table.h"
#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

constexpr size_t kSizes[] = {1,    16,    24,    100,     1024,
                             4096, 13000, 20000, 300'000, 5 << 20};

// Reads memory that may have been freed: it stays mapped.
bool IsZero(Address begin, size_t size) {
  const auto* bytes = reinterpret_cast<volatile const char*>(begin);
  for (size_t i = 0; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

char* Filled(size_t size) {
  auto* bytes = Opaque(static_cast<char*>(malloc(size)));
  memset(bytes, 'S', malloc_usable_size(bytes));
  return bytes;
}

std::string TagOf(const void* pointer) {
  char name[kMaxTagName + 1];
  NameOf(g_tag_state, TagOf(g_tag_state, Find(pointer)), name);
  return name;
}

TEST(TagApi, TagsTheAllocationThatEnclosesThePointer) {
  for (size_t size : kSizes) {
    char* block = Filled(size);
    EXPECT_EQ(minicore_tag(block + size - 1, "secret"), 0);
    EXPECT_EQ(TagOf(block), "secret");
    EXPECT_EQ(minicore_tag(block, "session"), 0);
    EXPECT_EQ(TagOf(block), "session");
    EXPECT_EQ(minicore_untag(block + size / 2), 0);
    EXPECT_EQ(TagOf(block), "");
    free(block);
  }
}

TEST(TagApi, AScopedRangeIsWipedAtItsEndIfItsTagElides) {
  ASSERT_EQ(SetTagRule(g_tag_state, "elided_session", Disposition::kElide), 0);
  char secret[16];
  char session[16];
  char label[16];
  for (char* range : {secret, session, label}) memset(range, 'S', 16);
  {
    const scoped_range_tag a(secret, 16);
    const scoped_range_tag b(session, 16, "elided_session");
    const scoped_range_tag c(label, 16, "session");
    EXPECT_TRUE(a.has_tag() && b.has_tag() && c.has_tag());
  }
  EXPECT_TRUE(IsZero(AddressOf(secret), 16));
  EXPECT_TRUE(IsZero(AddressOf(session), 16));
  EXPECT_EQ(std::string(label, 16), std::string(16, 'S'));
  EXPECT_EQ(minicore_tag_elides("elided_session"), 1);
  EXPECT_EQ(minicore_tag_elides("session"), 0);
  EXPECT_EQ(minicore_tag_elides(""), -EINVAL);
}

TEST(TagApi, WhatIsNoLiveAllocationIsNotTagged) {
  int local = 0;
  char* block = Filled(100);
  const Address freed = Opaque(AddressOf(block));
  free(block);
  EXPECT_EQ(minicore_tag(reinterpret_cast<void*>(freed), "secret"), -ENOENT);
  EXPECT_EQ(minicore_untag(reinterpret_cast<void*>(freed)), -ENOENT);
  EXPECT_EQ(minicore_tag(&local, "secret"), -ENOENT);
  EXPECT_EQ(minicore_tag(nullptr, "secret"), -ENOENT);
}

TEST(TagApi, BadNamesAreRefusedAndErrnoIsLeftAlone) {
  char* block = Filled(100);
  errno = 77;
  EXPECT_EQ(minicore_tag(block, ""), -EINVAL);
  EXPECT_EQ(minicore_tag(block, nullptr), -EINVAL);
  EXPECT_EQ(minicore_tag(block, std::string(40, 'x').c_str()), -EINVAL);
  EXPECT_EQ(minicore_tag_range(block, 10, ""), -EINVAL);
  EXPECT_EQ(minicore_tag_range(block, 0, "secret"), -EINVAL);
  EXPECT_EQ(minicore_tag_range(block, SIZE_MAX, "secret"), -EINVAL);
  EXPECT_EQ(minicore_untag_range(block, 10, "secret"), -ENOENT);
  EXPECT_EQ(errno, 77);
  EXPECT_EQ(TagOf(block), "");
  free(block);
}

TEST(TagApi, ATagEndsWithItsAllocation) {
  for (size_t size : kSizes) {
    char* block = Filled(size);
    const Address was = Opaque(AddressOf(block));
    minicore_tag(block, "secret");
    free(block);
    // The cache gives the same place again for the same size.
    std::vector<char*> blocks;
    for (int i = 0; i < 50; ++i) {
      blocks.push_back(Filled(size));
      EXPECT_EQ(TagOf(blocks.back()), "");
      if (AddressOf(blocks.back()) == was) break;
    }
    for (char* other : blocks) free(other);
  }
}

TEST(TagApi, ATagFollowsItsAllocationThroughRealloc) {
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      char* block = Filled(from);
      minicore_tag(block, "cache");
      block = Opaque(static_cast<char*>(realloc(block, to)));
      EXPECT_EQ(TagOf(block), "cache") << from << " " << to;
      EXPECT_EQ(Find(block).begin, AddressOf(block));
      EXPECT_EQ(block[std::min(from, to) - 1], 'S');
      free(block);
    }
  }
}

TEST(TagApi, ASecretIsWipedWhenItIsFreed) {
  for (size_t size : kSizes) {
    char* block = Filled(size);
    const size_t usable = malloc_usable_size(block);
    const Address was = Opaque(AddressOf(block));
    minicore_tag(block, "secret");
    free(block);
    EXPECT_TRUE(IsZero(was, usable)) << size;
  }
}

TEST(TagApi, ASecretIsWipedWhereItMovedFrom) {
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      char* block = Filled(from);
      const size_t usable = malloc_usable_size(block);
      const Address was = Opaque(AddressOf(block));
      minicore_tag(block, "secret");
      block = Opaque(static_cast<char*>(realloc(block, to)));
      EXPECT_EQ(TagOf(block), "secret");
      if (AddressOf(block) != was) {
        EXPECT_TRUE(IsZero(was, usable)) << from << " " << to;
      } else {
        EXPECT_EQ(malloc_usable_size(block), usable);
      }
      free(block);
    }
  }
}

TEST(TagApi, WhatIsNoSecretIsNotWiped) {
  char* block = Filled(1000);
  const Address was = Opaque(AddressOf(block));
  minicore_tag(block, "cache");
  free(block);
  EXPECT_EQ(*reinterpret_cast<volatile char*>(was + 500), 'S');
}

TEST(TagApi, ATagThatComesDuringReallocIsNotLost) {
  for (int round = 0; round < 300; ++round) {
    char* block = Filled(100);
    std::atomic<int> tagged{1};
    std::thread tagger(
        [block, &tagged] { tagged = minicore_tag(block, "racing"); });
    char* moved = static_cast<char*>(realloc(block, 1000));
    tagger.join();
    // Tagged before the move: it followed. After: there was nothing to tag.
    if (tagged == 0) {
      EXPECT_EQ(TagOf(moved), "racing");
    } else {
      EXPECT_EQ(tagged, -ENOENT);
      EXPECT_EQ(TagOf(moved), "");
    }
    free(moved);
  }
}

TEST(TagApi, ARangeOfAnyMemoryIsTagged) {
  static char global[64];
  const auto count = [] {
    unsigned found = 0;
    for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
      AddressRange range;
      uint8_t tag;
      if (RangeAt(g_tag_state, slot, &range, &tag) &&
          range == AddressRange{AddressOf(global), AddressOf(global + 64)} &&
          tag == kTagSecret) {
        ++found;
      }
    }
    return found;
  };
  EXPECT_EQ(minicore_tag_range(global, sizeof(global), "secret"), 0);
  EXPECT_EQ(count(), 1u);
  EXPECT_EQ(minicore_untag_range(global, sizeof(global), "secret"), 0);
  EXPECT_EQ(count(), 0u);
}

unsigned RangesInUse() {
  unsigned used = 0;
  for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
    AddressRange range;
    uint8_t tag;
    used += RangeAt(g_tag_state, slot, &range, &tag) ? 1 : 0;
  }
  return used;
}

// Whether a crash would leave all of [begin, begin + size) out.
bool IsElided(const void* begin, size_t size) {
  const AddressRange memory = {AddressOf(begin), AddressOf(begin) + size};
  const Allocation allocation = Find(begin);
  if (allocation.range().Contains(memory) &&
      DispositionOf(g_tag_state, TagOf(g_tag_state, allocation)) ==
          Disposition::kElide) {
    return true;
  }
  for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
    AddressRange range;
    uint8_t tag;
    if (RangeAt(g_tag_state, slot, &range, &tag) && range.Contains(memory) &&
        DispositionOf(g_tag_state, tag) == Disposition::kElide) {
      return true;
    }
  }
  return false;
}

TEST(TagApi, AnAllocationIsFoundByAnyPointerIntoIt) {
  for (size_t size : kSizes) {
    char* block = Filled(size);
    minicore_allocation found = {};
    ASSERT_EQ(minicore_find_allocation(block + size - 1, &found), 0);
    EXPECT_EQ(found.begin, block);
    EXPECT_EQ(found.size, malloc_usable_size(block));
    EXPECT_STREQ(found.tag, "");
    minicore_tag(block, "session");
    ASSERT_EQ(minicore_find_allocation(block, &found), 0);
    EXPECT_STREQ(found.tag, "session");
    const auto freed = Opaque(AddressOf(block));
    free(block);
    EXPECT_EQ(minicore_find_allocation(reinterpret_cast<void*>(freed), &found),
              -ENOENT);
  }
}

TEST(TagApi, AScopedTagCoversAllOfItsAllocationAndEnds) {
  for (size_t size : kSizes) {
    char* block = Filled(size);
    {
      const scoped_tag tag(block + size / 2, "secret");
      EXPECT_TRUE(tag.has_tag());
      EXPECT_TRUE(IsElided(block, malloc_usable_size(block)));
    }
    EXPECT_FALSE(IsElided(block, 1));
    free(block);
  }
  int local = 0;
  EXPECT_FALSE(scoped_tag(&local, "secret").has_tag());
  EXPECT_FALSE(scoped_tag(nullptr, "secret").has_tag());
}

TEST(TagApi, TheEndOfAScopeLeavesOtherTagsOfItsAllocationAlone) {
  char* block = Filled(200);
  {
    const scoped_tag outer(block, "secret");
    { const scoped_tag inner(block, "secret"); }
    EXPECT_TRUE(IsElided(block, 200));
    {
      const scoped_tag inner(block + 100, "cache");
      EXPECT_TRUE(IsElided(block, 200));
      const scoped_tag innermost(block, "secret");
      EXPECT_TRUE(IsElided(block, 200));
    }
    EXPECT_TRUE(IsElided(block, 200));
  }
  EXPECT_FALSE(IsElided(block, 200));
  EXPECT_EQ(minicore_tag(block, "secret"), 0);
  { const scoped_tag inner(block, "secret"); }
  EXPECT_TRUE(IsElided(block, 200));
  EXPECT_FALSE(scoped_tag(block, "cache").has_tag());
  EXPECT_TRUE(IsElided(block, 200));
  free(block);
}

TEST(TagApi, AScopeOfATagThatElidesNothingIsAnAllocationsTag) {
  char* block = Filled(200);
  {
    const scoped_tag outer(block, "cache");
    EXPECT_TRUE(outer.has_tag());
    EXPECT_EQ(TagOf(block), "cache");
    EXPECT_FALSE(scoped_tag(block + 100, "session").has_tag());
    EXPECT_EQ(TagOf(block), "cache");
  }
  EXPECT_EQ(TagOf(block), "");
  {
    const scoped_tag outer(block, "cache");
    EXPECT_EQ(minicore_tag(block, "secret"), 0);
  }
  EXPECT_EQ(TagOf(block), "secret");
  free(block);
}

// As threads do that use one key.
TEST(TagApi, ScopesOfOneAllocationMayEndInAnyOrder) {
  char* block = Filled(200);
  auto first = std::make_unique<scoped_tag>(block, "secret");
  const auto second = std::make_unique<scoped_tag>(block, "secret");
  first.reset();
  EXPECT_TRUE(IsElided(block, 200));
  free(block);
}

TEST(TagApi, ASecretWhoseConstructorThrowsLeavesNoMemoryBehind) {
  struct Thrower {
    explicit Thrower(bool does) {
      memset(bytes, 'S', sizeof(bytes));
      if (does) throw 1;
    }
    char bytes[48];
  };
  Address at = 0;
  { at = AddressOf(secret<Thrower>(false).get()); }
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(secret<Thrower>(true), int);
    EXPECT_TRUE(IsZero(at, sizeof(Thrower)));
    EXPECT_EQ(AddressOf(secret<Thrower>(false).get()), at);  // free again
  }
}

// Last: it uses the table up for the rest of the process.
TEST(TagApi, WhenNamesRunOutTheMemoryIsElided) {
  char* block = Filled(100);
  int result = 0;
  for (int i = 0; i < 300 && result == 0; ++i) {
    result = minicore_tag(block, ("name" + std::to_string(i)).c_str());
  }
  EXPECT_EQ(result, -ENOSPC);
  EXPECT_EQ(DispositionOf(g_tag_state, Find(block).own_tag),
            Disposition::kElide);
  EXPECT_EQ(g_tag_state.lost_tags, 1u);
  static char global[64];
  EXPECT_EQ(minicore_tag_range(global, 64, "yet another"), -ENOSPC);
  const unsigned ranges = RangesInUse();
  EXPECT_EQ(ranges, 1u);
  {
    const scoped_range_tag guard(global, 32, "and another");
    EXPECT_TRUE(guard.has_tag());
    EXPECT_EQ(RangesInUse(), ranges + 1);
  }
  EXPECT_EQ(RangesInUse(), ranges);
  EXPECT_EQ(minicore_untag_range(global, 64, "yet another"), 0);
  EXPECT_EQ(minicore_tag(block, "cache"), 0);
  free(block);
}

}  // namespace
}  // namespace minicore
