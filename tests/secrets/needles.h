// What the test looks for in a finished file: every window of every secret. Plain and
// slow; it shares nothing with the search in dump/handler.

#ifndef MINICORE_TESTS_SECRETS_NEEDLES_H_
#define MINICORE_TESTS_SECRETS_NEEDLES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace minicore {

class Needles {
 public:
  // `name` is what a finding is called by. `tagged`: by the program.
  void Add(const std::string& name, const std::vector<uint8_t>& secret,
           bool tagged = true);
  void Finish();

  struct Finding {
    std::string name;
    size_t offset;  // in the file
    size_t size;
  };
  // Every window of 16 bytes, and short secrets whole. Windows of one repeated byte, and
  // those of 12 and more zeros, are none.
  std::vector<Finding> FindIn(const std::vector<uint8_t>& file) const;
  // Registers that hold 8 consecutive bytes, general, x87, vector and mask registers, and
  // what came with the signal: in the notes of a core.
  std::vector<Finding> FindInRegisters(const std::vector<uint8_t>& file) const;

  // Words of stacks, as the file names them, that hold 8 consecutive bytes of a tagged one.
  std::vector<Finding> FindOnStacks(const std::vector<uint8_t>& file) const;

 private:
  struct Window {
    uint64_t first;
    uint64_t second;
    size_t secret;
    bool operator<(const Window& other) const {
      return first != other.first ? first < other.first : second < other.second;
    }
  };
  static constexpr size_t kNone = SIZE_MAX;
  size_t SecretOfWord(uint64_t word, bool tagged) const;

  std::vector<std::string> names_;
  std::vector<std::vector<uint8_t>> secrets_;
  std::vector<bool> tagged_;
  std::vector<Window> windows_;
  std::vector<Window> words_;
  std::vector<bool> maybe_;  // by a hash of all 16 bytes: zeros are everywhere
};

}  // namespace minicore

#endif  // MINICORE_TESTS_SECRETS_NEEDLES_H_
