// Whether secrets occur in a file, as they are or as text or another machine
// would show them. Slow and plain; shares nothing with what keeps them out.

#ifndef MINICORE_TOOLS_SECRET_SEARCH_H_
#define MINICORE_TOOLS_SECRET_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <istream>
#include <string>
#include <string_view>
#include <vector>

namespace minicore {

// What is shorter occurs by chance.
inline constexpr size_t kShortestPattern = 6;

// One a line: text as it stands, or behind "text:", or bytes behind "hex:".
// Empty lines are none. Nothing of a pattern is ever shown: `line` stands for
// it.
struct SecretPattern {
  size_t line;
  std::string bytes;
};

// False, with a sentence, if a line is no pattern or there is none at all.
bool ReadPatterns(std::istream& input, std::vector<SecretPattern>* patterns,
                  std::string* error);

struct SecretFinding {
  size_t line;       // of the pattern
  const char* form;  // "as it is", "in base64", ...
  uint64_t offset;   // in the file
  uint64_t size;     // of the text found there
};

// Finds patterns whole and, of those of 16 bytes and more, every stretch of 16
// of their bytes: as they are, as hexadecimal digits, in base64 at all three
// alignments (with either alphabet), in UTF-16, and in words of 2, 4 and 8
// bytes of the other byte order. Stretches that are three quarters one byte
// are passed over, unless the pattern is nothing else.
class SecretSearch {
 public:
  explicit SecretSearch(const std::vector<SecretPattern>& patterns);

  // By offset.
  std::vector<SecretFinding> FindIn(std::string_view file) const;

 private:
  struct Text {
    std::string bytes;
    size_t line;
    const char* form;
  };
  struct Needle {
    uint64_t key;  // a hash
    uint32_t text;
    uint32_t begin;
    uint32_t size;
  };

  void AddText(std::string bytes, size_t window, size_t step, size_t line,
               const char* form);
  void Index();

  std::vector<Text> texts_;
  std::vector<Needle> needles_;
  std::vector<bool> maybe_;  // by key
};

}  // namespace minicore

#endif  // MINICORE_TOOLS_SECRET_SEARCH_H_
