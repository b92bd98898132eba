// Contents and addresses of heap objects, so that a test can tell which of them
// are in a core, and so that nothing but what a scenario says points to them.

#ifndef MINICORE_TESTS_E2E_HEAP_H_
#define MINICORE_TESTS_E2E_HEAP_H_

#include <stddef.h>
#include <stdint.h>

#include <string>

namespace victim {

// The address of an object in a form in which no scan finds it.
class HiddenPointer {
 public:
  HiddenPointer() = default;
  explicit HiddenPointer(const void* pointer)
      : hidden_(~reinterpret_cast<uintptr_t>(pointer)) {}
  // Not kept by the optimiser across what lies between: the value is hidden
  // from it.
  __attribute__((noinline)) char* Reveal() const {
    uintptr_t hidden = hidden_;
    asm volatile("" : "+r"(hidden));
    return reinterpret_cast<char*>(~hidden);
  }

 private:
  uintptr_t hidden_ = ~uintptr_t{0};
};

// Fills `size` bytes with 64-bit words that occur nowhere else; the test
// computes the same from `seed` (tests/support/contents.py). No byte of it is
// stored elsewhere.
void FillWith(uint64_t seed, void* memory, size_t size);

// Allocates `size` bytes, fills them, and states address, size and usable size
// as fact "object.<name>".
HiddenPointer MakeObject(const std::string& name, size_t size, uint64_t seed);

// Overwrites what earlier calls have left below the caller's frame, and the
// registers that a call may change.
void ScrubStack();

}  // namespace victim

#endif  // MINICORE_TESTS_E2E_HEAP_H_
