// What the threads of a storm publish in shared memory, and storm_check.cc
// reads when the storm is over: which allocations live, as the program itself
// sees it.
//
// Each slot is written by one thread only. That thread stores `state` before
// and after every call into the allocator, so that at any instant of a crash
// each slot says what is certain: kLive: the allocation lives, with exactly
// this size, tag and contents. kEmpty: there is none. kBusy: a call is under
// way, and anything may be true of it.

#ifndef MINICORE_TESTS_TORTURE_STORM_LAYOUT_H_
#define MINICORE_TESTS_TORTURE_STORM_LAYOUT_H_

#include <stdint.h>

#include <atomic>

namespace torture {

constexpr uint32_t kStormThreads = 6;
constexpr uint32_t kStormSlots = 128;  // of each thread

enum SlotState : uint32_t { kEmpty, kBusy, kLive };

struct Slot {
  std::atomic<uint32_t> state;
  uint32_t tag;      // index into kStormTags; 0: none
  uint64_t address;  // of the last allocation, still there when kEmpty
  uint64_t size;     // as malloc_usable_size() says
};

// The first word of every allocation of a storm, before and after its free().
constexpr uint64_t kLiveMark = 0x4556494c4556494c;  // "LIVELIVE"
constexpr uint64_t kDeadMark = 0x4441454444414544;  // "DEADDEAD"

struct Storm {
  uint64_t magic;
  uint64_t state_address;  // of the process's IndexState
  uint64_t baseline;       // live allocations when the storm began
  Slot slots[kStormThreads][kStormSlots];
};

constexpr uint64_t kStormMagic = 0x4d524f5453;

constexpr const char* kStormTags[] = {"", "keep", "label"};

}  // namespace torture

#endif  // MINICORE_TESTS_TORTURE_STORM_LAYOUT_H_
