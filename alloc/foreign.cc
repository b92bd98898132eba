#include "alloc/foreign.h"

#include <cstdlib>
#include <cstring>

#include "alloc/kernel.h"
#include "alloc/state.h"

namespace minicore {
namespace {

// Without stdio, which may allocate.
void Report(const void* pointer, const char* function) {
  char line[128] = "minicore: ";
  char* end = line + std::strlen(line);
  for (; *function != '\0'; ++function) *end++ = *function;
  const char* middle = "() of 0x";
  for (; *middle != '\0'; ++middle) *end++ = *middle;
  const auto address = reinterpret_cast<Address>(pointer);
  for (int shift = 60; shift >= 0; shift -= 4) {
    *end++ = "0123456789abcdef"[address >> shift & 0xf];
  }
  const char* rest = ", which no malloc has returned\n";
  for (; *rest != '\0'; ++rest) *end++ = *rest;
  kernel::Call(SYS_write, 2, reinterpret_cast<uint64_t>(line), end - line);
}

}  // namespace

bool SomeHeapIsOutside() {
  return (g_index_state.flags.load(std::memory_order_relaxed) &
          kIndexUnindexedHeap) != 0;
}

void CheckForeign(const void* pointer, const char* function) {
  if (SomeHeapIsOutside()) return;
  Report(pointer, function);
  std::abort();
}

}  // namespace minicore
