// A long life in a short time: threads that allocate, resize, tag and free as
// fast as they can, publish what lives in shared memory, and are killed at a
// random instant.
//
//   storm FILE SEED        FILE becomes a storm_layout.h Storm
//
// The planes of the index are tagged "keep", so that the core holds them:
// storm_check.cc asks the index of every crash about every allocation that was
// published.

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

#include "tests/e2e/facts.h"
#include "tests/e2e/tags.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/inside.h"
#include "tests/torture/scenarios.h"
#include "tests/torture/storm_layout.h"

namespace torture {

#define NOINLINE __attribute__((noinline))

namespace {

Storm* g_storm;
std::atomic<uint64_t> g_operations{0};
std::atomic<bool> g_go{false};

size_t SomeSize(Random& random) {
  switch (random.Below(16)) {
    case 0:
      return 14000 + random.Below(200000);  // large, or nearly
    case 1:
    case 2:
      return random.Below(14336);
    default:
      return random.Below(400);
  }
}

// A slot's state changes before and after the call that it announces, as
// everybody else sees it and as a signal in this thread sees it.
void Become(Slot& slot, SlotState state) {
  slot.state.store(state, std::memory_order_seq_cst);
}

void Mark(void* memory, uint64_t mark) {
  auto* words = static_cast<volatile uint64_t*>(memory);
  words[0] = mark;
}

void Publish(Slot& slot, void* memory) {
  if (memory == nullptr) Fail("malloc");
  slot.address = reinterpret_cast<uint64_t>(memory);
  slot.size = UsableSize(memory);
  Mark(memory, kLiveMark);
  Become(slot, kLive);
}

void* AllocateSomehow(Random& random, size_t size) {
  switch (random.Below(8)) {
    case 0:
      return calloc(1, size + 8);
    case 1: {
      void* memory = nullptr;
      return posix_memalign(&memory, 16u << random.Below(6), size + 8) == 0
                 ? memory
                 : nullptr;
    }
    case 2:
      return operator new(size + 8);
    default:
      return malloc(size + 8);
  }
}

NOINLINE void Work(uint32_t thread, uint64_t seed) {
  Random random(seed * 64 + thread);
  Slot* slots = g_storm->slots[thread];
  victim::CountAsParked();
  while (!g_go.load(std::memory_order_acquire)) {
  }
  for (;;) {
    Slot& slot = slots[random.Below(kStormSlots)];
    void* memory = reinterpret_cast<void*>(slot.address);
    const bool lives = slot.state.load(std::memory_order_relaxed) == kLive;
    Become(slot, kBusy);
    const uint64_t choice = random.Below(100);
    if (!lives) {
      slot.tag = 0;
      Publish(slot, AllocateSomehow(random, SomeSize(random)));
    } else if (choice < 50) {
      Mark(memory, kDeadMark);
      free(memory);
      Become(slot, kEmpty);
    } else if (choice < 80) {
      Publish(slot, realloc(memory, SomeSize(random) + 8));
    } else if (slot.tag == 0) {
      slot.tag = 1 + static_cast<uint32_t>(random.Below(2));
      victim::Tag(memory, kStormTags[slot.tag]);
      Become(slot, kLive);
    } else {
      victim::Untag(memory);
      slot.tag = 0;
      Become(slot, kLive);
    }
    g_operations.fetch_add(1, std::memory_order_relaxed);
  }
}

void RunStorm(const Arguments& arguments) {
  const uint64_t seed = strtoull(arguments.at(1).c_str(), nullptr, 10);
  const int fd =
      open(arguments.at(0).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Storm)) != 0) Fail("the storm's file");
  g_storm = static_cast<Storm*>(
      mmap(nullptr, sizeof(Storm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  if (g_storm == MAP_FAILED) Fail("the storm's file");
  // Not by way of minicore::kMaxThreads: the index must not move while threads
  // start.
  static pthread_t threads[kStormThreads];
  for (uint32_t i = 0; i < kStormThreads; ++i) {
    threads[i] = victim::StartThread(("storm" + std::to_string(i)).c_str(),
                                     [i, seed] { Work(i, seed); });
  }
  victim::AwaitParked(kStormThreads);
  Random random(seed);
  const uint64_t instant = random.Below(random.Below(4) == 0 ? 200000 : 5000);
  const pthread_t target = threads[random.Below(kStormThreads)];
  NameTheCrasher();
  Range planes[8];
  const unsigned count = RangesOf("index", planes);
  for (unsigned i = 0; i < count; ++i) {
    victim::TagRange(reinterpret_cast<void*>(planes[i].begin),
                     planes[i].end - planes[i].begin, "keep");
  }
  g_storm->state_address = IndexStateAddress();
  g_storm->baseline = CountLive();
  g_storm->magic = kStormMagic;
  g_go.store(true, std::memory_order_release);
  while (g_operations.load(std::memory_order_relaxed) < instant) sched_yield();
  pthread_kill(target, SIGSEGV);
  for (;;) pause();
}

constexpr Scenario kScenarios[] = {{"storm", RunStorm}};

}  // namespace

const Theme kStormTheme = MakeTheme(kScenarios);

}  // namespace torture
