#include "alloc/bad_pointer.h"

#include <cstdlib>

#include "alloc/index_view.h"
#include "alloc/kernel.h"
#include "alloc/shadow_index.h"
#include "alloc/state.h"

namespace minicore {
namespace {

// One line, without stdio, which may allocate.
class Line {
 public:
  Line& Text(const char* text) {
    while (*text != '\0') Add(*text++);
    return *this;
  }
  Line& Decimal(uint64_t value) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (count > 0) Add(digits[--count]);
    return *this;
  }
  Line& Hex(uint64_t value) {
    Text("0x");
    for (int shift = 60; shift >= 0; shift -= 4) {
      Add("0123456789abcdef"[value >> shift & 0xf]);
    }
    return *this;
  }
  void Write() {
    Add('\n');
    kernel::Call(SYS_write, 2, reinterpret_cast<uint64_t>(text_), length_);
  }

 private:
  void Add(char byte) {
    if (length_ < sizeof(text_)) text_[length_++] = byte;
  }

  char text_[160];
  size_t length_ = 0;
};

Line Begin(const void* pointer, const char* function) {
  Line line;
  line.Text("minicore: ").Text(function).Text("() of ");
  line.Hex(reinterpret_cast<Address>(pointer)).Text(", ");
  return line;
}

}  // namespace

bool SomeHeapIsOutside() {
  return (g_index_state.flags.load(std::memory_order_relaxed) &
          kIndexUnindexedHeap) != 0;
}

void CheckForeign(const void* pointer, const char* function) {
  if (SomeHeapIsOutside()) return;
  Begin(pointer, function).Text("which no malloc has returned").Write();
  std::abort();
}

void CheckFrees(bool wanted) {
  if (wanted) {
    g_index_state.flags.fetch_or(kIndexCheckFrees);
    StopBlindFrees(g_index_state);
  } else {
    g_index_state.flags.fetch_and(~kIndexCheckFrees);
  }
}

void ReportDead(const void* pointer, const char* function) {
  const auto address = reinterpret_cast<Address>(pointer);
  const Allocation found = Resolve(g_index_state, address);
  Line line = Begin(pointer, function);
  if (found.state == AllocationState::kUnknown) {
    line.Text("where nothing was allocated");
  } else {
    line.Decimal(address - found.begin).Text(" bytes into a ");
    line.Text(found.state == AllocationState::kLive ? "live " : "freed ");
    if (found.size != 0) line.Decimal(found.size).Text("-byte ");
    line.Text("allocation");
  }
  line.Write();
  std::abort();
}

}  // namespace minicore
