// What secrets look like, and where else they stand: an exact search for copies.
//
// A copy is any 16 consecutive bytes of a secret (a window), at any alignment; of a
// secret of 6 to 15 bytes, the whole of it; of a register, or one that was saved on a
// stack, 8 consecutive bytes. What
// says next to nothing is no copy: one repeated byte; a window of 12 or more zeros (a
// length, an index, the upper half of a pointer between zeros); a short secret or a word
// with fewer than 3 bytes that are neither zero nor, in a word, 0xff (a small integer).
//
// The search is linear. 16 bytes at any alignment hold one whole word of any 8-byte grid,
// so only the words of that grid are looked up, in a filter of all words of the secrets;
// on a hit the windows around the word are looked up, in a filter and then in a table
// that compares bytes. Zeros, the commonest word, are looked up by their neighbours.
// Short secrets are found in the same way by 3 bytes on a grid of 4.
//
// Context: handler. Pure functions over memory of the arena.

#ifndef MINICORE_DUMP_HANDLER_SECRET_INDEX_H_
#define MINICORE_DUMP_HANDLER_SECRET_INDEX_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/elf_core_format.h"
#include "dump/safe/arena.h"

namespace minicore {

inline constexpr size_t kWindowBytes = 16;
inline constexpr size_t kShortestSecret = 6;
// Wherever a short secret begins, this many of its bytes stand on the grid.
inline constexpr size_t kGramBytes = 3;
// A window with more zeros is no secret. So beside a word of zeros in one of them there are
// four bytes that are not all zero.
inline constexpr int kMostZeros = 11;
inline constexpr size_t kGramGrid = kShortestSecret - kGramBytes + 1;
static_assert(kGramGrid == 4);

class SecretIndex {
 public:
  // Makes room for `bytes` of contents in at most `parts` parts, and for `public_bytes`.
  // Returns: false if the arena has no room.
  [[nodiscard]] bool Reserve(safe::Arena& arena, ByteCount bytes, size_t parts,
                             ByteCount public_bytes);

  // Adds bytes to the part that is being told. Returns: false if there is no room.
  [[nodiscard]] bool Append(const uint8_t* bytes, size_t size);
  // Ends the part. Windows lie within parts. `prefix` not 0: if the part begins like a
  // stretch of data, as far as `prefix` bytes, that is a copy already (for secrets whose
  // length is not known).
  [[nodiscard]] bool EndPart(HoleReason reason, size_t prefix = 0);

  // Text that everybody may know (names of files, allowed values): what occurs there is
  // no secret of the environment or of the arguments. What does not fit is not public.
  void AddPublic(const char* text);

  // Prepares the search; nothing can be added after it.
  // Returns: false if the arena has no room: then nothing is found.
  [[nodiscard]] bool Build(safe::Arena& arena);

  // Calls found(begin, end, reason) for stretches of data[0, size) that are copies:
  // first the windows, ascending and disjoint, then the short ones, ascending.
  template <typename Found>
  void Find(const uint8_t* data, size_t size, Found found) const {
    if (windows_ != nullptr) {
      words_ <= Sieve::kFew ? FindWindowsBy(word_sieve_, data, size, found)
                            : FindWindowsBy(Filter(word_filter_), data, size, found);
    }
    if (shorts_ != nullptr) {
      grams_ <= Sieve::kFew ? FindShorts(gram_sieve_, data, size, found)
                            : FindShorts(Filter(gram_filter_), data, size, found);
    }
  }

  // Whether `word` is 8 consecutive bytes of a secret; then `reason` says of which kind.
  [[nodiscard]] bool FindWord(uint64_t word, HoleReason* reason) const;

  // Forgets the copies of the secrets.
  void Wipe();

 private:
  struct Part {
    uint32_t offset;  // in contents_
    uint32_t length;
    HoleReason reason;
    uint8_t prefix;

    bool IsShort() const { return length < kWindowBytes || prefix != 0; }
    // Of a short one: as how much of it a copy begins at least, and how much is looked for.
    size_t Least() const { return prefix != 0 ? prefix : length; }
    size_t Most() const { return length < kWindowBytes ? length : kWindowBytes; }
  };
  struct Match {
    size_t begin;
    size_t end;
    HoleReason reason;
  };
  // An open-addressing table of offsets + 1; 0 is empty. Twice as many slots as entries,
  // so that every probe ends.
  struct Table {
    uint32_t* slots = nullptr;
    uint64_t mask = 0;
  };
  // The upper bits of a product are the good ones (Knuth, TAOCP volume 3, 6.4).
  static constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio

  // A bitmap: 32 bits for each entry, of which an entry sets two in one word.
  struct Filter {
    uint64_t* words = nullptr;
    unsigned shift = 64;

    void Add(uint64_t key) {
      const uint64_t product = key * kMultiplier;
      words[product >> shift] |=
          uint64_t{1} << (product >> 26 & 63) | uint64_t{1} << (product >> 32 & 63);
    }
    // In bit 0, among others.
    uint64_t Bit(uint64_t key) const {
      const uint64_t product = key * kMultiplier;
      const uint64_t word = words[product >> shift];
      return word >> (product >> 26 & 63) & word >> (product >> 32 & 63);
    }
    bool Has(uint64_t key) const { return (Bit(key) & 1) != 0; }
  };

  // What takes a filter's place as long as there are few entries: one bit for each, in a
  // bitmap whose size is known to the compiler, for half of the instructions.
  struct Sieve {
    static constexpr unsigned kLog2 = 17;
    static constexpr size_t kFew = (size_t{1} << kLog2) / 32;
    uint64_t words[(size_t{1} << kLog2) / 64] = {};

    void Add(uint64_t key) {
      const uint64_t number = key * kMultiplier >> (64 - kLog2);
      words[number / 64] |= uint64_t{1} << (number % 64);
    }
    uint64_t Bit(uint64_t key) const {
      const uint64_t number = key * kMultiplier >> (64 - kLog2);
      return words[number / 64] >> (number % 64);
    }
    bool Has(uint64_t key) const { return (Bit(key) & 1) != 0; }
  };

  static uint64_t Load(const uint8_t* at) {
    uint64_t word;
    __builtin_memcpy(&word, at, sizeof(word));
    return word;
  }
  static uint32_t Load4(const uint8_t* at) {
    uint32_t word;
    __builtin_memcpy(&word, at, sizeof(word));
    return word;
  }
  static uint32_t LoadGram(const uint8_t* at) {
    return at[0] | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16;
  }
  // Two rounds of a multiplication and a fold: both ends of the result are used.
  static uint64_t Mix(uint64_t word) {
    word *= kMultiplier;
    return word ^ word >> 32;
  }
  static uint64_t HashWord(uint64_t word) { return Mix(word) * 0xd6e8feb86659fd93; }
  static uint64_t HashWindow(const uint8_t* at) {
    return HashWord(Load(at) ^ (Load(at + 8) * 0xbf58476d1ce4e5b9 >> 7));
  }
  static bool Uniform(uint64_t word) {
    return word == (word & 0xff) * 0x0101010101010101;
  }

  bool NewFilter(safe::Arena& arena, size_t entries, Filter* filter);
  bool NewTable(safe::Arena& arena, size_t entries, Table* table);
  bool BuildPublic(safe::Arena& arena);
  bool IsPublic(const Part& part) const;
  bool IsPublicWindow(const uint8_t* window) const;
  void AddWindows(const Part& part);
  void AddZeroNeighbours(const uint8_t* window);
  void AddWords(const Part& part);
  uint64_t WordSlot(uint64_t word) const;
  void AddWord(uint64_t word) {
    ++words_;
    word_sieve_.Add(word);
    word_filter_.Add(word);
  }
  void AddShort(uint32_t index);
  const Part& PartOf(uint32_t offset) const;

  // Offset of an equal window in the contents; -1 if there is none.
  int64_t FindWindow(const uint8_t* at, uint64_t hash) const;
  // Extends the match of data[at, at + kWindowBytes) with contents_[offset...] both ways,
  // not below `low`.
  Match Extend(const uint8_t* data, size_t size, size_t at, size_t low,
               uint32_t offset) const;
  // Short secrets are looked up by a hash of all their bytes, which grows with them.
  static constexpr uint64_t kHashOfNothing = 0xcbf29ce484222325;  // FNV-1a
  static uint64_t HashMore(uint64_t hash, uint8_t byte) {
    return (hash ^ byte) * 0x100000001b3;
  }
  uint64_t ShortSlot(uint64_t hash) const { return (hash ^ hash >> 29) & short_table_.mask; }
  // The part that at[0, length), of this hash, is a copy of; null if it is none.
  const Part* FindShort(const uint8_t* at, size_t length, uint64_t hash) const;
  // The longest copy of a short secret that begins at at[0]. Returns: its length, at most
  // `size`; 0 if there is none.
  size_t LongestShort(const uint8_t* at, size_t size, HoleReason* reason) const;

  // So much data is looked at at once.
  static constexpr size_t kAtOnce = 64;
  static bool InRun(const uint8_t* data, size_t size, size_t at);
  // The first place on the grid, from `at` on, where a copy may be; `size` if there is
  // none.
  template <bool kZeroWords, typename Words>
  size_t NextWord(const Words& words, const uint8_t* data, size_t size, size_t at) const;
  template <typename Grams>
  size_t NextGram(const Grams& grams, const uint8_t* data, size_t size, size_t at) const;
  template <bool kZeroWords, typename Words, typename Found>
  void FindWindows(const Words& words, const uint8_t* data, size_t size,
                   Found& found) const;
  template <typename Words, typename Found>
  void FindWindowsBy(const Words& words, const uint8_t* data, size_t size,
                     Found& found) const {
    zero_words_ ? FindWindows<true>(words, data, size, found)
                : FindWindows<false>(words, data, size, found);
  }
  template <typename Grams, typename Found>
  void FindShorts(const Grams& grams, const uint8_t* data, size_t size,
                  Found& found) const;

  uint8_t* contents_ = nullptr;
  ByteCount capacity_ = 0;
  ByteCount content_bytes_ = 0;
  ByteCount part_begin_ = 0;
  safe::FixedVector<Part> parts_;
  uint8_t* public_ = nullptr;
  ByteCount public_capacity_ = 0;
  ByteCount public_bytes_ = 0;
  Table public_windows_;
  Filter public_grams_;

  uint32_t* windows_ = nullptr;  // window_table_.slots, once there is something to find
  Table window_table_;
  Filter window_filter_;
  size_t words_ = 0;
  Sieve word_sieve_;
  Filter word_filter_;       // all words, of the windows and for registers
  Filter neighbour_filter_;  // four bytes beside a word of zeros within a window
  bool zero_words_ = false;
  Table word_table_;  // all words, for registers
  uint32_t* shorts_ = nullptr;  // short_table_.slots, as windows_
  Table short_table_;           // of indices of parts: one entry for each length of a copy
  size_t grams_ = 0;
  Sieve gram_sieve_;
  Filter gram_filter_;
  bool zero_grams_ = false;
  uint32_t short_lengths_ = 0;  // bit L: a copy may have L bytes
};

// Whether from data[at - margin] to data[at + kAtOnce + margin] one byte repeats: no copy
// reaches in there. Most such stretches are zeros.
inline bool SecretIndex::InRun(const uint8_t* data, size_t size, size_t at) {
  if (at < kWindowBytes || size - at < kAtOnce + kWindowBytes) return false;
  const uint64_t word = Load(data + at);
  if (Load(data + at - 8) != word || Load(data + at + kAtOnce) != word || !Uniform(word)) {
    return false;
  }
  uint64_t others = Load(data + at - 16) ^ word;
  for (size_t i = 8; i < kAtOnce + kWindowBytes; i += 8) {
    others |= Load(data + at + i) ^ word;
  }
  return others == 0;
}

// Nearly all words end here, so they are looked up several at a time and without a branch:
// whether a word is zero, or a pointer, or text, no processor can guess.
template <bool kZeroWords, typename Words>
size_t SecretIndex::NextWord(const Words& words, const uint8_t* data, size_t size,
                             size_t at) const {
  const auto may_be_copy = [&](size_t i) {
    const uint64_t word = Load(data + i);
    if (word != 0) return words.Has(word) && word_filter_.Has(word);
    return kZeroWords &&
           ((i >= 4 && neighbour_filter_.Has(Load4(data + i - 4))) ||
            (i + 12 <= size && neighbour_filter_.Has(Load4(data + i + 8))));
  };
  for (; at + kAtOnce <= size; at += kAtOnce) {
    if (InRun(data, size, at)) continue;
    uint64_t hits = 0;
#pragma GCC unroll 8
    for (size_t i = 0; i < kAtOnce / 8; ++i) {
      const uint64_t word = Load(data + at + 8 * i);
      hits |= (words.Bit(word) & 1) << i;
      if (kZeroWords) hits |= uint64_t{word == 0} << i;
    }
    for (; hits != 0; hits &= hits - 1) {
      const size_t i = at + 8 * static_cast<size_t>(__builtin_ctzll(hits));
      if (may_be_copy(i)) return i;
    }
  }
  for (; at + 8 <= size; at += 8) {
    if (may_be_copy(at)) return at;
  }
  return size;
}

template <typename Grams>
size_t SecretIndex::NextGram(const Grams& grams, const uint8_t* data, size_t size,
                             size_t at) const {
  const auto may_be_copy = [&](uint32_t gram) {
    return gram != 0 ? grams.Has(gram) && gram_filter_.Has(gram) : zero_grams_;
  };
  for (; at + kAtOnce <= size; at += kAtOnce) {
    if (InRun(data, size, at)) continue;
    uint64_t hits = 0;
#pragma GCC unroll 16
    for (size_t i = 0; i < kAtOnce / kGramGrid; ++i) {
      hits |= (grams.Bit(Load4(data + at + kGramGrid * i) & 0xffffff) & 1) << i;
    }
    for (; hits != 0; hits &= hits - 1) {
      const size_t i = at + kGramGrid * static_cast<size_t>(__builtin_ctzll(hits));
      if (may_be_copy(Load4(data + i) & 0xffffff)) return i;
    }
  }
  for (; at + kGramBytes <= size; at += kGramGrid) {
    if (may_be_copy(LoadGram(data + at))) return at;
  }
  return size;
}

template <bool kZeroWords, typename Words, typename Found>
void SecretIndex::FindWindows(const Words& words, const uint8_t* data, size_t size,
                              Found& found) const {
  size_t next = 0;  // windows that start before it are covered
  size_t covered = 0;
  for (size_t at = 0; (at = NextWord<kZeroWords>(words, data, size, at)) < size; at += 8) {
    const uint64_t word = Load(data + at);
    // The inside of a run of one byte: none of the windows is anything else.
    if (word != 0 && Uniform(word) && at >= 8 && at + 16 <= size &&
        Load(data + at - 8) == word && Load(data + at + 8) == word) {
      continue;
    }
    size_t window = at < 7 ? 0 : at - 7;
    if (window < next) window = next;
    for (; window <= at && window + kWindowBytes <= size; ++window) {
      const uint64_t hash = HashWindow(data + window);
      if (!window_filter_.Has(hash)) continue;
      const int64_t offset = FindWindow(data + window, hash);
      if (offset < 0) continue;
      const Match match =
          Extend(data, size, window, covered, static_cast<uint32_t>(offset));
      found(match.begin, match.end, match.reason);
      covered = match.end;
      next = match.end - kWindowBytes + 1;
      window = next - 1;
    }
    // To the grid word of the first window that is not covered.
    const size_t skip = next / 8 * 8;
    if (skip > at + 8) at = skip - 8;
  }
}

template <typename Grams, typename Found>
void SecretIndex::FindShorts(const Grams& grams, const uint8_t* data, size_t size,
                             Found& found) const {
  for (size_t at = 0; (at = NextGram(grams, data, size, at)) < size; at += kGramGrid) {
    for (size_t begin = at < 3 ? 0 : at - 3; begin <= at; ++begin) {
      HoleReason reason;
      const size_t length = LongestShort(data + begin, size - begin, &reason);
      if (length != 0) found(begin, begin + length, reason);
    }
  }
}

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SECRET_INDEX_H_
