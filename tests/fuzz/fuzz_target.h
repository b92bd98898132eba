// What a fuzz target brings besides LLVMFuzzerTestOneInput, so that gcc's test
// run can feed it without libFuzzer.

#ifndef MINICORE_TESTS_FUZZ_FUZZ_TARGET_H_
#define MINICORE_TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace minicore {

// Inputs made in code, at least one, from which mutations start. The first is
// cut at every length as well.
std::vector<std::string> FuzzSeeds();

}  // namespace minicore

#endif  // MINICORE_TESTS_FUZZ_FUZZ_TARGET_H_
