#include "tests/torture/inside.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include <fstream>
#include <string>

#ifdef VICTIM_WITHOUT_MINICORE

namespace torture {

unsigned RangesOf(const char*, Range*) { return 0; }
Range DumpStack() { return {}; }
Range DumperMemory() { return {}; }
std::string DescribeDumperMemory() { return ""; }
Range HandlerState() { return {}; }
uint64_t IndexStateAddress() { return 0; }
uint64_t CountLive() { return 0; }
uint64_t UsableSize(void* memory) { return malloc_usable_size(memory); }

}  // namespace torture

#else

#include "alloc/index_view.h"
#include "alloc/state.h"
#include "dump/handler/entry.h"
#include "tests/torture/crash.h"

namespace torture {
namespace {

template <class T>
Range PlaneOf(const T* plane, uint64_t elements) {
  const auto begin = reinterpret_cast<uintptr_t>(plane);
  return {begin, begin + elements * sizeof(T)};
}

// The first eight: malloc takes the region from its beginning.
unsigned WritableParts(uintptr_t begin, uintptr_t end, Range ranges[8]) {
  unsigned count = 0;
  for (int i = 0; count < 8; ++i) {
    const Mapping mapping = MappingNumber(i);
    if (mapping.begin == mapping.end) return count;
    if (!mapping.writable || mapping.begin < begin || mapping.end > end)
      continue;
    ranges[count++] = {mapping.begin, mapping.end};
  }
  return count;
}

}  // namespace

unsigned RangesOf(const char* what, Range ranges[8]) {
  const minicore::IndexState& index = minicore::g_index_state;
  if (strcmp(what, "heap") == 0) {
    return WritableParts(index.region, index.region + index.region_bytes,
                         ranges);
  }
  if (strcmp(what, "index") == 0) {
    const uint64_t committed = index.committed.load();
    ranges[0] = PlaneOf(index.shadow, committed / 16);
    ranges[1] = PlaneOf(index.tags, committed / 16);
    ranges[2] = PlaneOf(index.large, committed / 4096);
    ranges[3] = PlaneOf(index.chunks, committed >> minicore::kChunkShift);
    return 4;
  }
  if (strcmp(what, "dumper") == 0) {
    ranges[0] = DumperMemory();
    return 1;
  }
  return 0;
}

Range DumpStack() {
  const minicore::Runtime& runtime = minicore::g_runtime;
  // Behind the stack for faults and a guard page.
  const auto faults = reinterpret_cast<uintptr_t>(runtime.fault_stack.ss_sp);
  return {faults + runtime.fault_stack.ss_size + 4096,
          reinterpret_cast<uintptr_t>(runtime.dump_stack_end)};
}

Range DumperMemory() {
  const minicore::Runtime& runtime = minicore::g_runtime;
  return {reinterpret_cast<uintptr_t>(runtime.dump_stack_end),
          runtime.arena_range.end};
}

std::string DescribeDumperMemory() {
  const Range memory = DumperMemory();
  std::ifstream file("/proc/self/smaps");
  std::string line;
  std::string text;
  bool inside = false;
  while (std::getline(file, line)) {
    unsigned long begin;
    unsigned long end;
    char permissions[8];
    int at = 0;
    if (sscanf(line.c_str(), "%lx-%lx %7s %*s %*s %*s %n", &begin, &end, permissions, &at) >=
        3) {
      inside = begin >= memory.begin && end <= memory.end;
      if (inside) text += std::string(permissions) + " " + line.substr(at);
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      text += " " + line.substr(9) + "\n";
    }
  }
  return text;
}

Range HandlerState() {
  const auto begin = reinterpret_cast<uintptr_t>(&minicore::g_runtime);
  return {begin, begin + sizeof(minicore::g_runtime)};
}

uint64_t IndexStateAddress() {
  return reinterpret_cast<uint64_t>(&minicore::g_index_state);
}

uint64_t CountLive() {
  const minicore::IndexState& index = minicore::g_index_state;
  uint64_t count = 0;
  minicore::ForEachLive(
      index, {index.region, index.region + index.region_bytes},
      [](void* counter, const minicore::Allocation&) {
        ++*static_cast<uint64_t*>(counter);
        return true;
      },
      &count);
  return count;
}

uint64_t UsableSize(void* memory) { return malloc_usable_size(memory); }

}  // namespace torture

#endif
