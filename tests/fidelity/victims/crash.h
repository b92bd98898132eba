// How every victim ends, and what makes it as large as a real program.

#ifndef MINICORE_TESTS_FIDELITY_VICTIMS_CRASH_H_
#define MINICORE_TESTS_FIDELITY_VICTIMS_CRASH_H_

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The frame that faults. Not inlined, so that its caller's locals are alive.
__attribute__((noinline, noclone)) static void Crash(void) {
  // In assembly: the compiler must not conclude that nothing comes after it.
  __asm__ volatile("movl $1, (%0)" : : "r"((char *)8) : "memory");
}

// Tells the compiler that `pointer` and what it points to are still needed.
static inline void KeepAlive(const void *pointer) {
  __asm__ volatile("" : : "g"(pointer) : "memory");
}

// Heap that nothing on the stack leads to: what a full core carries in vain. Linked from
// inside, out of sight of a scan that starts at roots (the words are not pointers).
__attribute__((unused)) static void AllocateBallast(size_t bytes) {
  const size_t block = 64 * 1024;
  for (size_t at = 0; at < bytes; at += block) {
    char *memory = (char *)malloc(block);
    if (memory == NULL) abort();
    memset(memory, (int)(at / block), block);
    memory = NULL;
  }
}

#endif  // MINICORE_TESTS_FIDELITY_VICTIMS_CRASH_H_
