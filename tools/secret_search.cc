#include "tools/secret_search.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>

namespace minicore {
namespace {

constexpr size_t kWindow = 16;
// Needles are looked up by a hash of this many of their bytes: of windows by
// all of them, since many secrets have windows that begin alike (with zeros,
// say), and so do many places of a core.
constexpr size_t kKeySizes[] = {kShortestPattern, kWindow, 20, 2 * kWindow};

size_t KeySize(size_t size) {
  for (const size_t key : kKeySizes) {
    if (key == size) return key;
  }
  return kShortestPattern;
}

uint64_t Mixed(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15;
  return hash ^ hash >> 29;
}

uint64_t Hash(const char* at, size_t size) {
  uint64_t hash = size;
  uint64_t word = 0;
  for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
    memcpy(&word, at, sizeof(word));
    hash = Mixed(hash, word);
  }
  word = 0;
  memcpy(&word, at, size);
  return Mixed(hash, word);
}

bool MostlyOneByte(const char* begin, size_t size) {
  size_t counts[256] = {};
  for (size_t i = 0; i < size; ++i) {
    if (++counts[static_cast<uint8_t>(begin[i])] * 4 >= size * 3) return true;
  }
  return false;
}

std::string Hexadecimal(const std::string& bytes, const char* digits) {
  std::string text;
  for (const char c : bytes) {
    text += digits[static_cast<uint8_t>(c) >> 4];
    text += digits[c & 15];
  }
  return text;
}

// The characters that depend on `bytes` alone when these stand `shift` bytes
// behind a multiple of three.
std::string Base64(const std::string& bytes, size_t shift, const char* last) {
  std::string alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  alphabet += last;
  const size_t bits = (shift + bytes.size()) * 8;
  std::string text;
  for (size_t bit = (shift * 8 + 5) / 6 * 6; bit + 6 <= bits; bit += 6) {
    unsigned value = 0;
    for (size_t i = bit; i < bit + 6; ++i) {
      const auto byte = static_cast<uint8_t>(bytes[i / 8 - shift]);
      value = value << 1 | (byte >> (7 - i % 8) & 1);
    }
    text += alphabet[value];
  }
  return text;
}

std::string Utf16(const std::string& bytes, bool big_endian) {
  std::string text;
  for (const char c : bytes) {
    if (big_endian) text += '\0';
    text += c;
    if (!big_endian) text += '\0';
  }
  return text;
}

// The whole words of `bytes` from `shift` on, each reversed.
std::string Swapped(const std::string& bytes, size_t word, size_t shift) {
  std::string text;
  for (size_t at = shift; at + word <= bytes.size(); at += word) {
    text.append(
        bytes.rbegin() + static_cast<std::ptrdiff_t>(bytes.size() - at - word),
        bytes.rbegin() + static_cast<std::ptrdiff_t>(bytes.size() - at));
  }
  return text;
}

bool ParseHex(std::string_view digits, std::string* bytes) {
  if (digits.size() % 2 != 0) return false;
  for (size_t i = 0; i < digits.size(); i += 2) {
    int value = 0;
    for (const char c : {digits[i], digits[i + 1]}) {
      if (!isxdigit(static_cast<unsigned char>(c))) return false;
      value = value * 16 + (isdigit(static_cast<unsigned char>(c))
                                ? c - '0'
                                : tolower(c) - 'a' + 10);
    }
    *bytes += static_cast<char>(value);
  }
  return true;
}

bool TakePrefix(std::string_view* text, std::string_view prefix) {
  if (text->substr(0, prefix.size()) != prefix) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool ReadPatterns(std::istream& input, std::vector<SecretPattern>* patterns,
                  std::string* error) {
  std::string line;
  for (size_t number = 1; std::getline(input, line); ++number) {
    std::string_view text = line;
    if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
    if (text.empty()) continue;
    SecretPattern pattern = {number, {}};
    const std::string where = "Line " + std::to_string(number) + " ";
    if (TakePrefix(&text, "hex:")) {
      if (!ParseHex(text, &pattern.bytes)) {
        *error = where + "must have pairs of hexadecimal digits, and nothing else, behind "
                         "\"hex:\".";
        return false;
      }
    } else {
      TakePrefix(&text, "text:");
      pattern.bytes = text;
    }
    if (pattern.bytes.size() < kShortestPattern) {
      *error = where + "is shorter than " + std::to_string(kShortestPattern) +
               " bytes: that occurs by chance.";
      return false;
    }
    patterns->push_back(std::move(pattern));
  }
  if (patterns->empty()) *error = "There is no pattern to look for.";
  return !patterns->empty();
}

SecretSearch::SecretSearch(const std::vector<SecretPattern>& patterns) {
  for (const SecretPattern& pattern : patterns) {
    const std::string& bytes = pattern.bytes;
    const auto add = [&](std::string text, size_t window, size_t step,
                         const char* form) {
      AddText(std::move(text), window, step, pattern.line, form);
    };
    add(bytes, kWindow, 1, "as it is");
    add(Hexadecimal(bytes, "0123456789abcdef"), 2 * kWindow, 2,
        "in hexadecimal");
    add(Hexadecimal(bytes, "0123456789ABCDEF"), 2 * kWindow, 2,
        "in hexadecimal");
    // 16 bytes are 20 whole characters at the least.
    for (size_t shift = 0; shift < 3; ++shift) {
      add(Base64(bytes, shift, "+/"), 20, 1, "in base64");
      add(Base64(bytes, shift, "-_"), 20, 1, "in base64");
    }
    add(Utf16(bytes, false), 2 * kWindow, 2, "in UTF-16");
    add(Utf16(bytes, true), 2 * kWindow, 2, "in UTF-16");
    for (const size_t word : {2, 4, 8}) {
      for (size_t shift = 0; shift < word; ++shift) {
        add(Swapped(bytes, word, shift), kWindow, 1, "in swapped words");
      }
    }
  }
  Index();
}

// With fewer bytes than a window, the whole text is the needle.
void SecretSearch::AddText(std::string bytes, size_t window, size_t step,
                           size_t line, const char* form) {
  if (bytes.size() < kShortestPattern) return;
  const auto text = static_cast<uint32_t>(texts_.size());
  texts_.push_back({std::move(bytes), line, form});
  const std::string& all = texts_.back().bytes;
  const size_t before = needles_.size();
  for (size_t at = 0; at + window <= all.size(); at += step) {
    if (MostlyOneByte(all.data() + at, window)) continue;
    needles_.push_back({Hash(all.data() + at, window), text,
                        static_cast<uint32_t>(at),
                        static_cast<uint32_t>(window)});
  }
  if (needles_.size() == before) {
    const auto size = static_cast<uint32_t>(all.size());
    needles_.push_back({Hash(all.data(), KeySize(size)), text, 0, size});
  }
}

void SecretSearch::Index() {
  const auto rank = [](const Needle& needle) {
    return std::make_tuple(needle.key, needle.text, needle.size);
  };
  std::sort(
      needles_.begin(), needles_.end(),
      [&](const Needle& a, const Needle& b) { return rank(a) < rank(b); });
  // What a text says twice is looked for once.
  const auto same = [this](const Needle& a, const Needle& b) {
    return a.key == b.key && a.text == b.text && a.size == b.size &&
           texts_[a.text].bytes.compare(a.begin, a.size, texts_[b.text].bytes,
                                        b.begin, b.size) == 0;
  };
  needles_.erase(std::unique(needles_.begin(), needles_.end(), same),
                 needles_.end());
  size_t bits = 1 << 16;
  while (bits < 16 * needles_.size()) bits *= 2;
  maybe_.assign(bits, false);
  for (const Needle& needle : needles_) maybe_[needle.key % bits] = true;
}

std::vector<SecretFinding> SecretSearch::FindIn(std::string_view file) const {
  std::vector<SecretFinding> findings;
  // By line and form: the last finding.
  std::map<std::pair<size_t, const char*>, size_t> last;
  for (size_t at = 0; at + kShortestPattern <= file.size(); ++at) {
    for (const size_t size : kKeySizes) {
      if (at + size > file.size()) break;
      const uint64_t key = Hash(file.data() + at, size);
      if (!maybe_[key % maybe_.size()]) continue;
      auto needle = std::lower_bound(
          needles_.begin(), needles_.end(), key,
          [](const Needle& n, uint64_t value) { return n.key < value; });
      for (; needle != needles_.end() && needle->key == key; ++needle) {
        const Text& text = texts_[needle->text];
        if (file.compare(at, needle->size, text.bytes.data() + needle->begin,
                         needle->size) != 0) {
          continue;
        }
        // Stretches of the same pattern in the same form are one finding.
        const auto [found, is_first] =
            last.insert({{text.line, text.form}, findings.size()});
        if (!is_first) {
          SecretFinding& same = findings[found->second];
          if (at <= same.offset + same.size) {
            same.size =
                std::max<uint64_t>(same.size, at + needle->size - same.offset);
            continue;
          }
          found->second = findings.size();
        }
        findings.push_back({text.line, text.form, at, needle->size});
      }
    }
  }
  return findings;
}

}  // namespace minicore
