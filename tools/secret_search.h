// Whether secrets occur in a file, as they are or as text or another machine
// would show them. Slow and plain; shares nothing with what keeps them out.

#ifndef MINICORE_TOOLS_SECRET_SEARCH_H_
#define MINICORE_TOOLS_SECRET_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minicore {

// What is shorter occurs by chance.
inline constexpr size_t kShortestPattern = 6;

// One a line: text as it stands, or behind "text:", or bytes behind "hex:".
// What nearly begins so is refused. Empty lines are none. Nothing of a pattern
// is ever shown: `line` stands for it.
struct SecretPattern {
  size_t line;
  std::string bytes;
};

// False, with a sentence, if a line is no pattern or there is none at all.
bool ReadPatterns(std::string_view text, std::vector<SecretPattern>* patterns,
                  std::string* error);

struct SecretFinding {
  size_t line;       // of the pattern
  const char* form;  // "as it is", "in base64", ...
  uint64_t offset;   // in the file
  uint64_t size;     // of the text found there
  uint64_t of;       // of the whole pattern in that form
};

// Finds patterns whole and, of those of 16 bytes and more, every stretch of 16
// of their bytes: as they are, as hexadecimal digits, in base64 at all three
// alignments (with either alphabet), in UTF-16 (their bytes widened; and what
// they are as UTF-8, if that is another: of this 16 characters), and in words
// of 2, 4 and 8 bytes of the other byte order. Stretches that are three
// quarters one byte are passed over, unless the pattern is nothing else.
class SecretSearch {
 public:
  explicit SecretSearch(const std::vector<SecretPattern>& patterns);

  // By offset.
  std::vector<SecretFinding> FindIn(std::string_view file) const;

 private:
  friend class SecretScan;

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
  std::vector<bool> maybe_;        // by key
  std::vector<size_t> key_sizes_;  // that a needle has, ascending
  size_t longest_ = 0;             // needle
};

// One search through a file of any size, whose bytes come piece by piece.
class SecretScan {
 public:
  // What is found beyond that is counted.
  static constexpr size_t kMostFindings = 10000;

  // Keeps: `search`, which outlives this.
  explicit SecretScan(const SecretSearch& search) : search_(search) {}

  // The next bytes of the file.
  void Add(std::string_view bytes);
  // The next `size` bytes, which are zeros. Costs nothing by their number. A pattern of
  // zeros alone is found, but not how far it goes.
  void AddZeros(uint64_t size);
  // There are no more.
  void Finish();

  // By offset.
  const std::vector<SecretFinding>& findings() const { return findings_; }
  uint64_t more() const { return more_; }

 private:
  struct Last {
    uint64_t end;
    size_t finding;  // in findings_, or beyond them
  };

  void SearchTo(size_t end);
  void Found(const SecretSearch::Text& text, uint64_t offset, uint64_t size);

  const SecretSearch& search_;
  std::string bytes_;    // not searched yet, or not with what follows
  uint64_t offset_ = 0;  // of them, in the file
  std::vector<SecretFinding> findings_;
  uint64_t more_ = 0;
  // By line and form. Stretches that touch are one finding.
  std::map<std::pair<size_t, const char*>, Last> last_;
};

}  // namespace minicore

#endif  // MINICORE_TOOLS_SECRET_SEARCH_H_
