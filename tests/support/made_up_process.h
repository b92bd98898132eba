// What the phases of a dump hand to each other, made up: a test fills in what
// it needs, runs one phase, and looks at what that left. No signal, no other
// thread, no /proc.

#ifndef MINICORE_TESTS_SUPPORT_MADE_UP_PROCESS_H_
#define MINICORE_TESTS_SUPPORT_MADE_UP_PROCESS_H_

#include <string>

#include "dump/handler/anchor_scan.h"
#include "dump/handler/crash_context.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/handler/piece.h"
#include "dump/handler/redactor.h"
#include "dump/handler/roots.h"
#include "tests/support/test_arena.h"
#include "tests/support/test_heap.h"

namespace minicore {

struct MadeUpProcess {
  // With one thread, which crashed; default options; a minute until the
  // deadline.
  MadeUpProcess();

  // Adds a line to the map; in ascending order.
  void Map(AddressRange range, const char* permissions = "rw-p",
           const char* name = "", unsigned inode = 0);

  // The registers of the crashed thread, in user_regs_struct's order.
  user_regs_struct& registers() { return threads[0].registers; }

  // Words that are scanned as if they were a stack's.
  void ScanAsStack(const uint64_t* words, size_t count);

  void Scan();

  // Whether the scan keeps the byte at `address`.
  bool Kept(Address address) const;
  // All that the scan keeps of [range).
  ByteCount KeptBytes(AddressRange range) const;
  // Whether some hole has this reason and holds this byte.
  bool Hole(Address address, HoleReason reason) const;

  TestArena arena;
  TestHeap heap;
  siginfo_t info{};
  CrashContext crash;
  Runtime runtime{};
  MemoryMap map;
  ThreadTable threads;
  Roots roots;
  ScanResult scan;
  Redactor redactor;
  Outcome outcome;
};

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_MADE_UP_PROCESS_H_
