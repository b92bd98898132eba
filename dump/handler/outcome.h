// What the dump could not do, and what it cost: collected by every phase, written as the
// report note. A phase that fails adds to it and the next one goes on with less.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_OUTCOME_H_
#define MINICORE_DUMP_HANDLER_OUTCOME_H_

#include <cstdint>

#include "dump/elf_core_format.h"
#include "dump/safe/arena.h"
#include "dump/safe/syscalls.h"

namespace minicore {

inline constexpr unsigned kHoleReasons = 16;

// Where elided bytes stood.
enum class Place : uint8_t {
  kRegisters,
  kStack,
  kThreadData,
  kStatic,
  kHeap,
  kForeign,
  kNotes,
  kCode,  // and ELF headers
};
inline constexpr unsigned kPlaces = 8;

struct Outcome {
  // Times, in microseconds since the fault reached us.
  uint64_t started_us = 0;  // on the monotonic clock
  uint64_t deadline_us = 0;
  uint64_t frozen_us = 0;
  uint64_t mapped_us = 0;
  uint64_t scanned_us = 0;
  uint64_t planned_us = 0;
  uint64_t thawed_us = 0;  // a live dump's threads went on; of a crash they don't: 0

  uint32_t threads = 0;
  uint32_t threads_silent = 0;  // of these, did not answer the freeze signal
  uint32_t threads_beyond = 0;  // for which there was no room
  // That may execute code of the program's during the dump, for all that is known.
  uint32_t threads_running = 0;
  uint32_t anchors = 0;         // words that resolved
  uint32_t freed_anchors = 0;   // words that point into freed allocations
  uint32_t allocations = 0;
  uint64_t heap_bytes = 0;
  uint64_t hole_bytes[kHoleReasons] = {};
  uint32_t hole_count[kHoleReasons] = {};
  uint64_t elided_bytes[kPlaces] = {};
  uint32_t elided_count[kPlaces] = {};
  bool uncertain = false;     // not all secrets are known, see redactor.h
  uint32_t failed_stages = 0;  // bit per stage that faulted, see pipeline.cc
  bool past_deadline = false;
  uint32_t looks = 0;
  bool truncated = false;  // the file is shorter than planned

  safe::FixedVector<HoleRow> holes;
  uint32_t holes_dropped = 0;

  uint64_t Elapsed() const { return safe::NowMicroseconds() - started_us; }

  // True once the deadline has passed; stays true. Looks at the clock every 32nd time:
  // it is asked for every piece and every KiB of a stack, and a system call costs more
  // than those.
  bool Late() {
    if (!past_deadline && ++looks % 32 == 0 && Elapsed() > deadline_us) {
      past_deadline = true;
    }
    return past_deadline;
  }

  // The same, with a look at the clock each time: for a loop whose turns are long.
  bool LateByNow() {
    if (Elapsed() > deadline_us) past_deadline = true;
    return past_deadline;
  }

  // Counts bytes that stand as the marker.
  void AddElided(Place place, uint64_t bytes) {
    elided_bytes[static_cast<unsigned>(place)] += bytes;
    ++elided_count[static_cast<unsigned>(place)];
  }

  // Counts bytes that are no memory, of registers or names: no row can say where they were.
  void CountHole(uint64_t bytes, HoleReason reason) {
    hole_bytes[static_cast<unsigned>(reason)] += bytes;
    ++hole_count[static_cast<unsigned>(reason)];
  }

  // Notes that [begin, end) is not in the file, or stands there as the marker.
  void AddHole(uint64_t begin, uint64_t end, HoleReason reason, uint8_t tag = 0) {
    if (end <= begin) return;
    CountHole(end - begin, reason);
    if (!holes.empty()) {
      HoleRow& last = holes.back();
      if (last.reason == reason && last.tag == tag && last.end == begin) {
        last.end = end;
        ++last.count;
        return;
      }
    }
    HoleRow row{};
    row.begin = begin;
    row.end = end;
    row.reason = reason;
    row.tag = tag;
    row.count = 1;
    if (!holes.Push(row)) ++holes_dropped;
  }
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_OUTCOME_H_
