// Registers parked with known values, so that "were the registers captured" has
// an exact answer.

#ifndef MINICORE_TESTS_E2E_REGISTERS_H_
#define MINICORE_TESTS_E2E_REGISTERS_H_

#include <stddef.h>
#include <stdint.h>

namespace victim {

// registers.S knows the offsets by number.
struct RegisterPattern {
  // rax rbx rcx rdx rsi rdi rbp rsp r8..r15; rsp is written, the others are
  // read.
  uint64_t general[16];
  uint8_t vectors[16][32];  // ymm0..15, or xmm0..15 with the upper half unused
  uint64_t flags;
  uint32_t mxcsr;
  uint32_t has_avx;
  double st0;
};
static_assert(offsetof(RegisterPattern, vectors) == 128);
static_assert(offsetof(RegisterPattern, flags) == 640);
static_assert(offsetof(RegisterPattern, mxcsr) == 648);
static_assert(offsetof(RegisterPattern, has_avx) == 652);
static_assert(offsetof(RegisterPattern, st0) == 656);

// Fills every register with a value of its own, derived from `seed`; rax
// becomes `address`, an address that is not mapped.
void MakeRegisterPattern(uint64_t seed, uint64_t address,
                         RegisterPattern* pattern);

// States `pattern` as facts named `prefix`.general and so on.
void RegisterFacts(const char* prefix, const RegisterPattern& pattern);

extern "C" {

// Loads `pattern` into the registers and reads from the address in rax.
void LoadRegistersAndFault(RegisterPattern* pattern);

// Loads `pattern`, sets registers_are_loaded, and spins without touching a
// register.
void LoadRegistersAndSpin(RegisterPattern* pattern);

extern volatile int registers_are_loaded;

// The instructions at which the two stay.
extern const char registers_fault_instruction[];
extern const char registers_spin_instruction[];
extern const char registers_spin_end[];

}  // extern "C"

}  // namespace victim

#endif  // MINICORE_TESTS_E2E_REGISTERS_H_
