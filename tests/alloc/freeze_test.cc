// Threads are stopped at arbitrary instants, in the middle of malloc, free and
// realloc, and the index is read as a crash would read it.

#include <gtest/gtest.h>
#include <malloc.h>
#include <minicore/minicore.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

constexpr int kWorkers = 3;
constexpr int kSlots = 200;
constexpr int kFreezes = 150;

// What a worker has told the world: it publishes a pointer after malloc has
// returned and takes it back before free is called.
struct Published {
  std::atomic<char*> begin{nullptr};
  std::atomic<size_t> usable{0};
  // Of the block that is being resized; its address is unknown meanwhile, but
  // a block with this number must live.
  std::atomic<uint64_t> moving{0};
};

constexpr uint64_t kMagic = 0x6d6f76696e672121;
struct Label {
  uint64_t magic, number;
};

Published g_published[kWorkers][kSlots];
std::atomic<bool> g_stop{false};
std::atomic<int> g_parked{0}, g_released{0};
int g_release[2];  // a pipe

void Park(int) {
  const int saved = errno;
  g_parked.fetch_add(1);
  char byte;
  while (read(g_release[0], &byte, 1) != 1) {
  }
  g_released.fetch_add(1);
  errno = saved;
}

void Work(int worker) {
  std::mt19937_64 random(worker + 1);
  uint64_t number = uint64_t{static_cast<unsigned>(worker) + 1} << 32;
  while (!g_stop) {
    Published& slot = g_published[worker][random() % kSlots];
    char* block = slot.begin;
    const size_t size =
        sizeof(Label) + random() % (random() % 8 == 0 ? 300'000 : 500);
    if (block == nullptr) {
      block = static_cast<char*>(malloc(size));
      new (block) Label{kMagic, ++number};
      slot.usable = malloc_usable_size(block);
      slot.begin = block;
      // Tags come, move with realloc and go, too.
      if (number % 3 == 0) minicore_tag(block, "a label");
    } else if (random() % 2 == 0) {
      slot.moving = reinterpret_cast<Label*>(block)->number;
      slot.begin = nullptr;
      block = static_cast<char*>(realloc(block, size));
      slot.usable = malloc_usable_size(block);
      slot.begin = block;
      slot.moving = 0;
    } else {
      slot.begin = nullptr;
      reinterpret_cast<Label*>(block)->magic = 0;
      free(block);
    }
  }
}

// Whether a live block with this number exists.
bool Lives(uint64_t number) {
  struct Search {
    uint64_t number;
    bool found;
  } search = {number, false};
  ForEachLive(
      g_index_state, {0, ~Address{0}},
      [](void* to, const Allocation& live) {
        auto* wanted = static_cast<Search*>(to);
        Label label;
        if (live.size < sizeof(label)) return true;
        memcpy(&label, reinterpret_cast<void*>(live.begin), sizeof(label));
        wanted->found = label.magic == kMagic && label.number == wanted->number;
        return !wanted->found;
      },
      &search);
  return search.found;
}

// Chunks of which the index says what no writer may leave, at any instant.
int Contradictions() {
  int count = 0;
  for (uint64_t at = 0; at < g_index_state.committed; at += kChunkSize) {
    count += Contradicts(g_index_state, at);
  }
  return count;
}

TEST(Freeze, EveryPublishedPointerResolvesAtEveryInstant) {
  ASSERT_EQ(pipe(g_release), 0);
  struct sigaction action = {};
  action.sa_handler = Park;
  sigaction(SIGUSR1, &action, nullptr);
  std::vector<std::thread> workers;
  for (int i = 0; i < kWorkers; ++i) workers.emplace_back(Work, i);

  std::mt19937_64 random(99);
  int pointers = 0, moves = 0;
  for (int freeze = 0; freeze < kFreezes; ++freeze) {
    // Let them run for a while that differs each time.
    for (uint64_t i = random() % 200'000; i > 0; --i) {
      __asm__ volatile("pause");
    }
    g_parked = g_released = 0;
    for (std::thread& worker : workers) {
      pthread_kill(worker.native_handle(), SIGUSR1);
    }
    while (g_parked != kWorkers) sched_yield();

    // A worker may be frozen inside of malloc with a lock of jemalloc's: no
    // allocation until it is released, as in a crash.
    int wrong = 0, missing = 0;
    uint64_t moving[kWorkers] = {};
    for (int w = 0; w < kWorkers; ++w) {
      for (Published& slot : g_published[w]) {
        if (slot.moving != 0) moving[w] = slot.moving;
        char* begin = slot.begin;
        if (begin == nullptr) continue;
        const size_t usable = slot.usable;
        const Allocation found = FindAt(begin, random() % usable);
        ++pointers;
        if (found.state != AllocationState::kLive ||
            found.begin != AddressOf(begin) || found.size != usable) {
          ++wrong;
        }
      }
    }
    for (uint64_t number : moving) {
      if (number == 0) continue;
      ++moves;
      if (!Lives(number)) ++missing;
    }
    const int contradictions = Contradictions();
    char bytes[kWorkers] = {};
    ASSERT_EQ(write(g_release[1], bytes, sizeof(bytes)),
              static_cast<ssize_t>(sizeof(bytes)));
    while (g_released != kWorkers) sched_yield();
    ASSERT_EQ(wrong, 0) << "freeze " << freeze;
    ASSERT_EQ(missing, 0) << "freeze " << freeze;
    ASSERT_EQ(contradictions, 0) << "freeze " << freeze;
  }
  g_stop = true;
  for (std::thread& worker : workers) worker.join();
  RecordProperty("pointers", pointers);
  RecordProperty("moves", moves);
  EXPECT_GT(pointers, kFreezes * kWorkers);
}

}  // namespace
}  // namespace minicore
