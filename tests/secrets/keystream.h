// The contents of secrets, made from a seed alike in the victim and in the test: they are
// stated nowhere else, neither in a program nor in a buffer that the victim forgot.

#ifndef MINICORE_TESTS_SECRETS_KEYSTREAM_H_
#define MINICORE_TESTS_SECRETS_KEYSTREAM_H_

#include <cstddef>
#include <cstdint>

namespace minicore {

// splitmix64.
inline uint64_t Mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(Mixed(seed)) {}
  uint64_t Next() { return Mixed(state_ += 0x632be59bd9b4e019); }
  uint64_t Below(uint64_t limit) { return Next() % limit; }
  // True in `percent` of the cases.
  bool Chance(unsigned percent) { return Below(100) < percent; }

 private:
  uint64_t state_;
};

enum class Alphabet {
  kBytes,
  kText,    // letters and digits: what fits into names and the environment
  kSparse,  // stretches of bytes between stretches of zeros
};

// Byte `index` of secret number `id`.
inline uint8_t SecretByte(uint64_t seed, uint64_t id, Alphabet alphabet, size_t index) {
  const uint64_t word = Mixed(Mixed(seed ^ id << 40) + index / 8);
  const auto byte = static_cast<uint8_t>(word >> (index % 8) * 8);
  switch (alphabet) {
    case Alphabet::kBytes:
      return byte;
    case Alphabet::kText:
      return static_cast<uint8_t>(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"[byte % 64]);
    case Alphabet::kSparse:
      return Mixed(seed + id + index / 24) % 3 == 0 ? 0 : byte;
  }
  return 0;
}

inline void FillSecret(uint64_t seed, uint64_t id, Alphabet alphabet, void* to,
                       size_t size) {
  for (size_t i = 0; i < size; ++i) {
    static_cast<volatile uint8_t*>(to)[i] = SecretByte(seed, id, alphabet, i);
  }
}

// Secrets that the test itself hands to the victim.
inline constexpr uint64_t kEnvironmentSecret = 1000;
inline constexpr uint64_t kArgumentSecret = 1001;

}  // namespace minicore

#endif  // MINICORE_TESTS_SECRETS_KEYSTREAM_H_
