// Calls of malloc and its kin for instruction_test.py to count: one function
// for each row of instructions.golden, called once to warm the thread's cache
// and once, under another name, to be counted.

#include <malloc.h>

#include <cstdlib>
#include <new>

// Calls count for the function in which they are.
#define INLINE __attribute__((always_inline)) inline

namespace {

constexpr int kCalls = 2000;

// Keeps the compiler from following the pointer.
inline void* Opaque(void* pointer) {
  __asm__ volatile("" : "+r"(pointer) : : "memory");
  return pointer;
}

template <size_t kSize>
INLINE void MallocFree() {
  for (int i = 0; i < kCalls; ++i) free(Opaque(malloc(kSize)));
}

INLINE void CallocFree() {
  for (int i = 0; i < kCalls; ++i) free(Opaque(calloc(1, 64)));
}

INLINE void NewDelete() {
  for (int i = 0; i < kCalls; ++i) {
    ::operator delete (Opaque(::operator new(64)), size_t{64});
  }
}

INLINE void AlignedFree() {
  for (int i = 0; i < kCalls; ++i) free(Opaque(aligned_alloc(64, 256)));
}

// A hundred blocks at a time: the thread's cache becomes emptier than ever, and
// jemalloc notes that.
INLINE void Batches() {
  void* blocks[100];
  for (int i = 0; i < kCalls / 100; ++i) {
    for (void*& block : blocks) block = Opaque(malloc(64));
    for (void* block : blocks) free(block);
  }
}

// Between sizes of one class.
INLINE void ReallocInPlace() {
  void* block = malloc(100);
  for (int i = 0; i < kCalls; ++i) block = Opaque(realloc(block, 97 + i % 16));
  free(block);
}

// From one class to another, and back.
INLINE void ReallocMoving() {
  void* block = malloc(100);
  for (int i = 0; i < kCalls; ++i) block = Opaque(realloc(block, 100 + 40 * (i % 2)));
  free(block);
}

INLINE void UsableSize() {
  void* block = malloc(100);
  size_t sum = 0;
  for (int i = 0; i < kCalls; ++i) sum += malloc_usable_size(Opaque(block));
  Opaque(&sum);
  free(block);
}

}  // namespace

// The comment in the code keeps gcc from making one function of the two.
#define ROW(name, ...)                                               \
  extern "C" __attribute__((noinline, noclone)) void warm_##name() { \
    __asm__ volatile("# warm");                                      \
    __VA_ARGS__();                                                   \
  }                                                                  \
  extern "C" __attribute__((noinline, noclone)) void row_##name() {  \
    __asm__ volatile("# row");                                       \
    __VA_ARGS__();                                                   \
  }

ROW(16, MallocFree<16>)
ROW(64, MallocFree<64>)
ROW(256, MallocFree<256>)
ROW(4096, MallocFree<4096>)
ROW(14336, MallocFree<14336>)
ROW(20000, MallocFree<20000>)
ROW(40000, MallocFree<40000>)
ROW(batch, Batches)
ROW(calloc, CallocFree)
ROW(new, NewDelete)
ROW(aligned, AlignedFree)
ROW(realloc, ReallocInPlace)
ROW(moving, ReallocMoving)
ROW(usable, UsableSize)

#define RUN(name) warm_##name(), row_##name()

int main() {
  RUN(16), RUN(64), RUN(256), RUN(4096), RUN(14336), RUN(20000), RUN(40000);
  RUN(batch), RUN(calloc), RUN(new), RUN(aligned), RUN(realloc);
  RUN(moving), RUN(usable);
}
