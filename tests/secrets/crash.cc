#include <minicore/minicore.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "tests/secrets/spread.h"

namespace minicore {
namespace {

// Loads the registers from the secret itself, so that nothing else holds it.
__attribute__((noinline, target("avx"))) void FaultWithYmm(const uint8_t* from) {
  asm volatile(
      "movq (%0), %%rbx\n\t"
      "movq 3(%0), %%r10\n\t"
      "movq 8(%0), %%r15\n\t"
      "movq (%0), %%mm1\n\t"
      "movq 8(%0), %%mm6\n\t"
      "movdqu (%0), %%xmm0\n\t"
      "vbroadcastf128 (%0), %%ymm5\n\t"
      "vmovdqu (%0), %%xmm14\n\t"
      "vinsertf128 $1, (%0), %%ymm14, %%ymm14\n\t"
      "movl $0, 0x10\n\t"
      :
      : "r"(from)
      : "rbx", "r10", "r15", "xmm0", "xmm5", "xmm14", "memory");
}

__attribute__((noinline, target("avx512f,avx512bw"))) void FaultWithZmm(
    const uint8_t* from) {
  asm volatile(
      "movq (%0), %%rbx\n\t"
      "movq 8(%0), %%r15\n\t"
      "kmovq (%0), %%k3\n\t"
      "kmovq 8(%0), %%k7\n\t"
      "vbroadcasti32x4 (%0), %%zmm2\n\t"
      "vbroadcasti32x4 (%0), %%zmm19\n\t"
      "vbroadcasti32x4 (%0), %%zmm31\n\t"
      "movl $0, 0x10\n\t"
      :
      : "r"(from)
      : "rbx", "r15", "k3", "k7", "xmm2", "xmm19", "xmm31", "memory");
}

void Fault(Case& c) {
  if (c.in_registers != nullptr && __builtin_cpu_supports("avx512bw")) {
    if (c.random.Chance(50)) FaultWithZmm(c.in_registers->home);
  }
  if (c.in_registers != nullptr && __builtin_cpu_supports("avx")) {
    FaultWithYmm(c.in_registers->home);
  }
  *reinterpret_cast<volatile int*>(0x10) = 1;
}

// The address of the fault is part of a secret.
void FaultAtSecret(Case& c) {
  if (c.in_registers == nullptr) return Fault(c);
  uint64_t address;
  memcpy(&address, c.in_registers->home, sizeof(address));
  *reinterpret_cast<volatile char*>(address & 0x00007fffffffffff) = 1;
  Fault(c);
}

__attribute__((noinline)) int Overflow(volatile char* above) {
  volatile char buffer[4096];
  buffer[0] = *above;
  return Overflow(buffer) + buffer[0];
}

void* OnWorker(void* argument) {
  Case& c = *static_cast<Case*>(argument);
  if (c.crash == "worker overflow") {
    volatile char start = 0;
    Overflow(&start);
  }
  Fault(c);
  return nullptr;
}

}  // namespace

void Crash(Case& c) {
  for (const auto& [memory, size] : c.protect) {
    if (mprotect(memory, size, PROT_NONE) != 0) abort();
    // Nobody can load registers from there any more.
    const auto* begin = static_cast<const uint8_t*>(memory);
    if (c.in_registers != nullptr && c.in_registers->home >= begin &&
        c.in_registers->home < begin + size) {
      c.in_registers = nullptr;
    }
  }
  if (c.crash == "segv") Fault(c);
  if (c.crash == "segv at secret") FaultAtSecret(c);
  if (c.crash == "abort") abort();
  if (c.crash == "ill") asm volatile("ud2");
  if (c.crash == "trap") asm volatile("int3");
  if (c.crash == "quit") raise(SIGQUIT);
  if (c.crash == "queued") {
    sigval value;
    value.sival_ptr = nullptr;
    if (c.in_registers != nullptr) memcpy(&value, c.in_registers->home, sizeof(value));
    sigqueue(getpid(), SIGBUS, value);
  }
  if (c.crash == "overflow") {
    volatile char start = 0;
    Overflow(&start);
  }
  if (c.crash == "live") {
    if (minicore_dump("core.live") != 0) _exit(3);
    _exit(0);
  }
  pthread_t thread;
  pthread_create(&thread, nullptr, OnWorker, &c);
  pthread_join(thread, nullptr);
  _exit(4);
}

}  // namespace minicore
