// A secret on the real heap, seen between any two instructions of free() and
// realloc(): wherever it stands, the index says so.

#include <errno.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <minicore/minicore.h>
#include <stdlib.h>
#include <string.h>

#include <utility>

#include "tests/alloc/heap_view.h"
#include "tests/support/single_step.h"

namespace minicore {
namespace {

constexpr char kText[] = "the secret, at the begin of its allocation";

// All of these tests' allocations lie below.
constexpr ByteCount kUsed = 4 * kChunkSize;

char* Allocate(size_t size) {
  char* block = Opaque(static_cast<char*>(malloc(size)));
  if (AddressOf(block) >= g_index_state.region + kUsed) abort();
  memset(block, 0, malloc_usable_size(block));
  memcpy(block, kText, sizeof(kText));
  return block;
}

bool HoldsText(Address begin) {
  return memcmp(reinterpret_cast<void*>(begin), kText, sizeof(kText)) == 0;
}

// Whether some place that holds the text would be written: an allocation that lives,
// or `old`, whatever it is by now. If there is one that is elided, the others are known
// as copies. Allocates nothing.
bool Exposed(const char* old) {
  struct Search {
    Address old;
    bool elided;
    bool plain;
  } search = {AddressOf(old), false, false};
  for (uint64_t at = 0; at < kUsed; at += kChunkSize) {
    if (Contradicts(g_index_state, at)) return true;
    ForEachOf(
        g_index_state, g_tag_state, at, Disposition::kElide,
        [](void* to, const Allocation& secret) {
          auto* s = static_cast<Search*>(to);
          s->elided = secret.size >= sizeof(kText) && HoldsText(secret.begin);
          return !s->elided;
        },
        &search);
    if (search.elided) return false;
  }
  search.plain = HoldsText(search.old);
  ForEachLive(
      g_index_state, {g_index_state.region, g_index_state.region + kUsed},
      [](void* to, const Allocation& live) {
        auto* s = static_cast<Search*>(to);
        s->plain =
            s->plain || (live.size >= sizeof(kText) && HoldsText(live.begin));
        return !s->plain;
      },
      &search);
  return search.plain;
}

constexpr size_t kSizes[] = {48, 1000, 13000, 30000};

TEST(HeapInstants, AFreedSecretIsElidedUntilItIsWiped) {
  for (size_t size : kSizes) {
    char* block = Allocate(size);
    minicore_tag(block, "secret");
    int exposed = 0;
    SingleStep::Run([&] { free(block); },
                    [&](int n) {
                      if (n % 97 < 30) exposed += Exposed(block);
                    });
    EXPECT_EQ(exposed, 0) << size;
  }
}

TEST(HeapInstants, ASecretThatMovesIsElidedInBothPlaces) {
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      char* block = Allocate(from);
      minicore_tag(block, "secret");
      char* moved = nullptr;
      int exposed = 0;
      SingleStep::Run([&] { moved = static_cast<char*>(realloc(block, to)); },
                      [&](int n) {
                        if (n % 97 < 4) exposed += Exposed(block);
                      });
      EXPECT_EQ(exposed, 0) << from << " " << to;
      EXPECT_EQ(Find(moved).own_tag, kTagSecret);
      free(moved);
    }
  }
}

// A thread tags what another one is moving: at any instant of that, the tag is on
// the one place or the other, or refused.
TEST(HeapInstants, ATagThatComesDuringAMoveIsOnEitherPlaceAtEveryInstant) {
  // Something was tagged before, and something nearby.
  for (int i = 0; i < 100; ++i) minicore_tag(malloc(100), "secret");
  for (const auto& [from, to] :
       {std::pair<size_t, size_t>{100, 700}, {700, 100}, {100, 20000}}) {
    int put_on = 0, refused = 0;
    for (int when = 0;; when += 13) {
      char* block = Allocate(from);
      char* moved = nullptr;
      int tagged = 1, exposed = 0;
      const int steps = SingleStep::Run(
          [&, to = to] { moved = static_cast<char*>(realloc(block, to)); },
          [&](int n) {
            if (n == when) tagged = minicore_tag(block, "secret");
            if (tagged == 0 && (n < when + 20 || n % 7 == 0)) {
              exposed += Exposed(block);
            }
          });
      if (when >= steps) {
        free(moved);
        break;
      }
      ASSERT_EQ(exposed, 0) << when;
      if (tagged == 0) {
        ++put_on;
        ASSERT_EQ(Find(moved).own_tag, kTagSecret) << when;
      } else {
        ++refused;
        ASSERT_EQ(tagged, -ENOENT);
        ASSERT_EQ(Find(moved).own_tag, kNoTag);
        memset(moved, 0, 50);
      }
      free(moved);
      // Not wiped by anybody: it was never secret.
      if (tagged != 0) memset(Opaque(block), 0, 50);
    }
    EXPECT_GT(put_on, 0);
    EXPECT_GT(refused, 0);
  }
}

}  // namespace
}  // namespace minicore
