#include "tests/e2e/registers.h"

#include <string>
#include <vector>

#include "tests/e2e/facts.h"

namespace victim {

void MakeRegisterPattern(uint64_t seed, uint64_t address,
                         RegisterPattern* pattern) {
  for (unsigned i = 0; i < 16; ++i) {
    pattern->general[i] = 0xc0de000000000000 | seed << 16 | i;
    for (unsigned j = 0; j < 32; ++j) {
      pattern->vectors[i][j] = static_cast<uint8_t>(seed * 89 + i * 37 + j);
    }
  }
  pattern->general[0] = address;
  // CF, PF, AF, SF and OF set, ZF clear, interrupts on as always.
  pattern->flags = 0xa97;
  pattern->mxcsr = 0x1f80 | 0x6000;  // all exceptions masked, rounding to zero
  pattern->has_avx = __builtin_cpu_supports("avx") ? 1 : 0;
  pattern->st0 = 0.5 + static_cast<double>(seed);
}

void RegisterFacts(const char* prefix, const RegisterPattern& pattern) {
  const std::string name = prefix;
  std::vector<uint64_t> general(pattern.general, pattern.general + 16);
  std::vector<std::vector<unsigned>> vectors;
  for (const auto& vector : pattern.vectors) {
    vectors.emplace_back(vector, vector + 32);
  }
  Fact(name + ".general", general);
  Fact(name + ".vectors", vectors);
  Fact(name + ".flags", pattern.flags);
  Fact(name + ".mxcsr", pattern.mxcsr);
  Fact(name + ".has_avx", pattern.has_avx != 0);
  Fact(name + ".st0", pattern.st0);
}

}  // namespace victim
