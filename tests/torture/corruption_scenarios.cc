// Crashes of programs that have scribbled over memory first: the heap with
// jemalloc's own metadata in it, the index, the dynamic linker's lists, and the
// dumper's own memory.

#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/e2e/facts.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/inside.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {
namespace {

uint64_t Number(const Arguments& arguments, size_t index) {
  return strtoull(arguments.at(index).c_str(), nullptr, 0);
}

// How memory is scribbled over: random words at random places, one word
// everywhere, or every word replaced by one that looks like a pointer into the
// same memory.
void Scribble(Range range, const std::string& how, uint64_t seed) {
  Random random(seed);
  auto* words = reinterpret_cast<uint64_t*>(range.begin);
  const size_t count = (range.end - range.begin) / sizeof(uint64_t);
  if (count == 0) return;
  if (how == "few") {
    for (size_t i = 0; i < 1000; ++i)
      words[random.Below(count)] = random.Next();
  } else if (how == "bits") {
    for (size_t i = 0; i < 1000; ++i)
      words[random.Below(count)] ^= 1ull << random.Below(64);
  } else if (how == "all") {
    for (size_t i = 0; i < count; ++i) words[i] = random.Next();
  } else if (how == "ones") {
    memset(words, 0xff, range.end - range.begin);
  } else if (how == "pointers") {
    for (size_t i = 0; i < count; ++i)
      words[i] = range.begin + random.Below(count) * 8;
  } else {
    Fail("how?");
  }
}

// scribble heap|index|dumper HOW SEED
void ScribbleOver(const Arguments& arguments) {
  // Some objects to lose, in all sizes.
  static void* objects[2000];
  Random random(1);
  for (void*& object : objects) {
    const size_t size =
        random.Below(3) == 0 ? random.Below(200000) : random.Below(500);
    object = malloc(size + 1);
    memset(object, 1, size + 1);
  }
  for (size_t i = 0; i < 2000; i += 3) free(objects[i]);
  StartBystanders(2);
  NameTheCrasher();
  Range ranges[8];
  const unsigned count = RangesOf(arguments.at(0).c_str(), ranges);
  // The arguments are in the heap, and gone after the first.
  const std::string how = arguments.at(1);  // short: on the stack
  const auto seed = Number(arguments, 2);
  for (unsigned i = 0; i < count; ++i) Scribble(ranges[i], how, seed + i);
  CrashHere();
}

// Takes the dumper's memory away from an offset on, so that it faults in
// whichever stage first reaches that far: take_away OFFSET [abort]
void TakeAway(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  Range range = DumperMemory();
  const uintptr_t offset = Number(arguments, 0) / 4096 * 4096;
  if (range.end - range.begin > offset) {
    range.begin += offset;
    if (munmap(reinterpret_cast<void*>(range.begin), range.end - range.begin) !=
        0) {
      Fail("munmap");
    }
  }
  if (arguments.size() > 1) abort();
  CrashHere();
}

// The dumper's stack: dump_stack [abort]
void TakeDumpStackAway(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  const Range range = DumpStack();
  if (range.end != 0 && mprotect(reinterpret_cast<void*>(range.begin),
                                 range.end - range.begin, PROT_NONE) != 0) {
    Fail("dump_stack");
  }
  if (!arguments.empty()) abort();
  CrashHere();
}

// The list of loaded libraries: link_map loop|self|wild|null|name
void LinkMap(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  link_map* first = _r_debug.r_map;
  link_map* second = first->l_next;
  const std::string& how = arguments.at(0);
  if (how == "loop") second->l_next = first;
  if (how == "self") second->l_next = second;
  if (how == "wild")
    second->l_next = reinterpret_cast<link_map*>(0x4141414141414141);
  if (how == "odd")
    second->l_next =
        reinterpret_cast<link_map*>(reinterpret_cast<char*>(second) + 1);
  if (how == "null") _r_debug.r_map = nullptr;
  if (how == "name")
    second->l_name = reinterpret_cast<char*>(0x4141414141414141);
  if (how == "address") second->l_addr = 0x4141414141414141;
  CrashHere();
}

// The thread control blocks: tcb dtv|all
void ControlBlock(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  auto* words = reinterpret_cast<uint64_t*>(pthread_self());
  if (arguments.at(0) == "dtv") {
    words[1] = 0x4141414141414141;
  } else {
    for (int i = 1; i < 256; ++i) words[i] = 0x4141414141414141;
  }
  CrashHere();
}

// The stack above the crash: every frame of the callers gone.
void StackScribbled(const Arguments&) {
  StartBystanders(2);
  NameTheCrasher();
  const Mapping stack = FindMapping("[stack]");
  auto* from = reinterpret_cast<char*>(__builtin_frame_address(0));
  memset(from, 0x41, stack.end - reinterpret_cast<uintptr_t>(from));
  asm volatile("movl $1, 0" : : : "memory");
}

// The program's own static data, the state of the handler in it.
void GlobalsScribbled(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  const Range range = HandlerState();
  Scribble(range, arguments.at(0), Number(arguments, 1));
  asm volatile("movl $1, 0" : : : "memory");
}

constexpr Scenario kScenarios[] = {
    {"scribble", ScribbleOver},
    {"take_away", TakeAway},
    {"dump_stack", TakeDumpStackAway},
    {"link_map", LinkMap},
    {"control_block", ControlBlock},
    {"stack_scribbled", StackScribbled},
    {"globals_scribbled", GlobalsScribbled},
};

}  // namespace

const Theme kCorruptionTheme = MakeTheme(kScenarios);

}  // namespace torture
