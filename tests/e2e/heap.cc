#include "tests/e2e/heap.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/facts.h"

namespace victim {
namespace {

// splitmix64.
uint64_t Word(uint64_t seed, uint64_t index) {
  uint64_t z = (seed << 32) + (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

__attribute__((noinline)) void FillWith(uint64_t seed, void* memory,
                                        size_t size) {
  char* out = static_cast<char*>(memory);
  for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
    volatile uint64_t word = Word(seed, i / sizeof(uint64_t));
    for (size_t j = 0; j < sizeof(uint64_t) && i + j < size; ++j) {
      out[i + j] = reinterpret_cast<volatile char*>(&word)[j];
    }
    word = 0;
  }
}

__attribute__((noinline)) HiddenPointer MakeObject(const std::string& name,
                                                   size_t size, uint64_t seed) {
  void* memory = malloc(size);
  if (memory == nullptr) {
    perror("malloc");
    exit(2);
  }
  FillWith(seed, memory, size);
  // Made of text from the start: no heap block ever holds the address.
  WriteFact("fact", "", "object." + name,
            "[" + std::to_string(reinterpret_cast<uintptr_t>(memory)) + ", " +
                std::to_string(size) + ", " +
                std::to_string(malloc_usable_size(memory)) + ", " +
                std::to_string(seed) + "]");
  return HiddenPointer(memory);
}

__attribute__((noinline)) void ScrubStack() {
  volatile char below[64 * 1024];
  for (char volatile& byte : below) byte = 0x5a;
  asm volatile(
      "xorl %%eax, %%eax\n xorl %%ecx, %%ecx\n xorl %%edx, %%edx\n"
      "xorl %%esi, %%esi\n xorl %%edi, %%edi\n xorl %%r8d, %%r8d\n"
      "xorl %%r9d, %%r9d\n xorl %%r10d, %%r10d\n xorl %%r11d, %%r11d\n"
      "pxor %%xmm0, %%xmm0\n pxor %%xmm1, %%xmm1\n pxor %%xmm2, %%xmm2\n"
      "pxor %%xmm3, %%xmm3\n pxor %%xmm4, %%xmm4\n pxor %%xmm5, %%xmm5\n"
      "pxor %%xmm6, %%xmm6\n pxor %%xmm7, %%xmm7\n pxor %%xmm8, %%xmm8\n"
      "pxor %%xmm9, %%xmm9\n pxor %%xmm10, %%xmm10\n pxor %%xmm11, %%xmm11\n"
      "pxor %%xmm12, %%xmm12\n pxor %%xmm13, %%xmm13\n"
      "pxor %%xmm14, %%xmm14\n pxor %%xmm15, %%xmm15\n"
      :
      :
      : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

}  // namespace victim
