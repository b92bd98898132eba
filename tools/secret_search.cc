#include "tools/secret_search.h"

#include <algorithm>
#include <cctype>
#include <cstring>
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

// Takes a character that is encoded in UTF-8 (RFC 3629) off the beginning of `text`; of what
// is none, one byte.
char32_t TakeCharacter(std::string_view* text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>((*text)[i]); };
  const unsigned first = byte(0);
  const size_t size = first < 0xc2   ? 1
                      : first < 0xe0 ? 2
                      : first < 0xf0 ? 3
                      : first < 0xf5 ? 4
                                     : 1;
  char32_t character = size == 1 ? first : first & (0x7fu >> size);
  size_t taken = 1;
  while (taken < size && taken < text->size() && (byte(taken) & 0xc0) == 0x80) {
    character = character << 6 | (byte(taken++) & 0x3fu);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool is_half = character >= 0xd800 && character < 0xe000;
  if (taken < size || character < kLeast[size] || character > 0x10ffff ||
      (size > 1 && is_half)) {
    character = first;
    taken = 1;
  }
  text->remove_prefix(taken);
  return character;
}

std::u32string Characters(std::string_view text) {
  std::u32string characters;
  while (!text.empty()) characters += TakeCharacter(&text);
  return characters;
}

// As of a program that knows nothing of them.
std::u32string Widened(std::string_view bytes) {
  std::u32string characters;
  for (const char c : bytes) characters += static_cast<uint8_t>(c);
  return characters;
}

std::string Utf16(const std::u32string& characters, bool big_endian) {
  std::string text;
  const auto add = [&](char32_t unit) {
    const char bytes[] = {static_cast<char>(unit >> 8), static_cast<char>(unit & 0xff)};
    text += bytes[big_endian ? 0 : 1];
    text += bytes[big_endian ? 1 : 0];
  };
  for (const char32_t character : characters) {
    if (character > 0xffff) add(0xd800 + ((character - 0x10000) >> 10));
    add(character > 0xffff ? 0xdc00 + (character & 0x3ff) : character);
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

// Whether a line begins with one of the words that stand for a form, but not as they have to
// be written. What it is meant to be nobody can know.
bool BeginsNearlyLikeAForm(std::string_view line) {
  constexpr std::string_view kBlanks = " \t";
  const auto skip_blanks = [&] {
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  };
  skip_blanks();
  std::string word;
  while (!line.empty() && isalpha(static_cast<unsigned char>(line[0]))) {
    word += static_cast<char>(tolower(static_cast<unsigned char>(line[0])));
    line.remove_prefix(1);
  }
  skip_blanks();
  return (word == "hex" || word == "text") && !line.empty() &&
         (line[0] == ':' || line[0] == '=');
}

bool TakePrefix(std::string_view* text, std::string_view prefix) {
  if (text->substr(0, prefix.size()) != prefix) return false;
  text->remove_prefix(prefix.size());
  return true;
}

}  // namespace

bool ReadPatterns(std::string_view rest, std::vector<SecretPattern>* patterns,
                  std::string* error) {
  TakePrefix(&rest, "\xef\xbb\xbf");  // U+FEFF, as some editors begin a file
  for (size_t number = 1; !rest.empty(); ++number) {
    std::string_view text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(text.size() + 1, rest.size()));
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
      if (!TakePrefix(&text, "text:") && BeginsNearlyLikeAForm(text)) {
        *error = where + "begins nearly like \"hex:\" or \"text:\": put \"text:\" before it "
                         "if that is text.";
        return false;
      }
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
    const std::u32string widened = Widened(bytes);
    const std::u32string characters = Characters(bytes);
    for (const bool big_endian : {false, true}) {
      add(Utf16(widened, big_endian), 2 * kWindow, 2, "in UTF-16");
      if (characters == widened) continue;
      add(Utf16(characters, big_endian), 2 * kWindow, 2, "in UTF-16");
    }
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
  for (const Needle& needle : needles_) {
    maybe_[needle.key % bits] = true;
    longest_ = std::max<size_t>(longest_, needle.size);
  }
  for (const size_t key : kKeySizes) {
    const bool used = std::any_of(needles_.begin(), needles_.end(), [&](const Needle& needle) {
      return KeySize(needle.size) == key;
    });
    if (used) key_sizes_.push_back(key);
  }
}

std::vector<SecretFinding> SecretSearch::FindIn(std::string_view file) const {
  SecretScan scan(*this);
  scan.Add(file);
  scan.Finish();
  return scan.findings();
}

void SecretScan::Add(std::string_view bytes) {
  bytes_ += bytes;
  // What may be the beginning of a needle waits for what follows.
  if (bytes_.size() >= search_.longest_) SearchTo(bytes_.size() - search_.longest_ + 1);
}

void SecretScan::AddZeros(uint64_t size) {
  const uint64_t enough = std::min<uint64_t>(size, search_.longest_);
  Add(std::string(static_cast<size_t>(enough), '\0'));
  // What waits now is zeros alone, if there are more, and stands for the last of them.
  offset_ += size - enough;
}

void SecretScan::Finish() { SearchTo(bytes_.size()); }

// Looks for what begins in the first `end` of the bytes, and drops these.
void SecretScan::SearchTo(size_t end) {
  const auto& needles = search_.needles_;
  for (size_t at = 0; at < end; ++at) {
    for (const size_t size : search_.key_sizes_) {
      if (at + size > bytes_.size()) break;
      const uint64_t key = Hash(bytes_.data() + at, size);
      if (!search_.maybe_[key % search_.maybe_.size()]) continue;
      auto needle = std::lower_bound(
          needles.begin(), needles.end(), key,
          [](const auto& n, uint64_t value) { return n.key < value; });
      for (; needle != needles.end() && needle->key == key; ++needle) {
        const SecretSearch::Text& text = search_.texts_[needle->text];
        if (bytes_.compare(at, needle->size, text.bytes.data() + needle->begin,
                           needle->size) == 0) {
          Found(text, offset_ + at, needle->size);
        }
      }
    }
  }
  bytes_.erase(0, end);
  offset_ += end;
}

void SecretScan::Found(const SecretSearch::Text& text, uint64_t offset, uint64_t size) {
  const uint64_t end = offset + size;
  const auto [found, is_first] =
      last_.insert({{text.line, text.form}, {end, findings_.size()}});
  Last& last = found->second;
  if (!is_first && offset <= last.end) {
    last.end = std::max(last.end, end);
    if (last.finding < findings_.size()) {
      findings_[last.finding].size = last.end - findings_[last.finding].offset;
    }
    return;
  }
  last = {end, findings_.size()};
  if (findings_.size() < kMostFindings) {
    findings_.push_back({text.line, text.form, offset, size, text.bytes.size()});
  } else {
    ++more_;
    last.finding = SIZE_MAX;
  }
}

}  // namespace minicore
