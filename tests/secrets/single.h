// What single_victim and its test agree on.

#ifndef MINICORE_TESTS_SECRETS_SINGLE_H_
#define MINICORE_TESTS_SECRETS_SINGLE_H_

#include <cstdint>

namespace minicore {

inline constexpr uint64_t kSingleSeed = 20240229;

// Of the secret by which the victim calls itself: letters and digits.
inline constexpr uint64_t kNameId = 1u << 20;
inline constexpr unsigned kNameLength = 14;

}  // namespace minicore

#endif  // MINICORE_TESTS_SECRETS_SINGLE_H_
