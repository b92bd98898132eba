// The bytes of one input, taken one value after the other. Behind the end there
// are zeros: every input is a whole one.

#ifndef MINICORE_TESTS_FUZZ_FUZZ_INPUT_H_
#define MINICORE_TESTS_FUZZ_FUZZ_INPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace minicore {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : data_(data), left_(size) {}

  template <typename T>
  T Take() {
    T value{};
    const size_t size = std::min(left_, sizeof(value));
    if (size != 0) memcpy(&value, data_, size);
    Skip(size);
    return value;
  }
  // A number below `limit`, which is not 0.
  uint64_t Below(uint64_t limit) { return Take<uint32_t>() % limit; }

  // At most `size` bytes of what is left, to `to`. Returns: how many.
  size_t TakeBytes(void* to, size_t size) {
    size = std::min(left_, size);
    if (size != 0) memcpy(to, data_, size);
    Skip(size);
    return size;
  }

  const uint8_t* data() const { return data_; }
  size_t left() const { return left_; }

 private:
  void Skip(size_t size) {
    data_ += size;
    left_ -= size;
  }

  const uint8_t* data_;
  size_t left_;
};

// The same in the other direction, for seeds.
class FuzzSeed {
 public:
  template <typename T>
  FuzzSeed& Put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  FuzzSeed& PutBytes(const void* from, size_t size) {
    bytes_.append(static_cast<const char*>(from), size);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// What a target promises. Always on: a fuzzer's build may define NDEBUG.
inline void Promise(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace minicore

#endif  // MINICORE_TESTS_FUZZ_FUZZ_INPUT_H_
