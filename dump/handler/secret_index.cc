#include "dump/handler/secret_index.h"

#include <algorithm>

#include <emmintrin.h>

namespace minicore {
namespace {

// How many of the bytes of at[0, 16) are equal to `byte`.
int EqualBytes(const uint8_t* at, uint8_t byte) {
  const __m128i window = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  const __m128i equal = _mm_cmpeq_epi8(window, _mm_set1_epi8(static_cast<char>(byte)));
  const __m128i ones = _mm_sub_epi8(_mm_setzero_si128(), equal);
  const __m128i sums = _mm_sad_epu8(ones, _mm_setzero_si128());
  return _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4);
}

// Says enough to be a secret by itself.
bool Telling(const uint8_t* window) {
  return EqualBytes(window, 0) <= kMostZeros && EqualBytes(window, window[0]) != 16;
}

bool TellingShort(const uint8_t* bytes, size_t length) {
  unsigned not_zero = 0;
  bool uniform = true;
  for (size_t i = 0; i < length; ++i) {
    not_zero += bytes[i] != 0;
    uniform = uniform && bytes[i] == bytes[0];
  }
  return not_zero >= 3 && !uniform;
}

bool TellingWord(uint64_t word) {
  unsigned low = 0;
  unsigned high = 0;
  bool uniform = true;
  for (unsigned i = 0; i < 64; i += 8) {
    const uint64_t byte = word >> i & 0xff;
    low += byte != 0;
    high += byte != 0xff;
    uniform = uniform && byte == (word & 0xff);
  }
  return low >= 3 && high >= 3 && !uniform;
}

bool SameBytes(const uint8_t* a, const uint8_t* b, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

bool OfProgram(HoleReason reason) {
  return reason == HoleReason::kEnvironment || reason == HoleReason::kArguments;
}

}  // namespace

bool SecretIndex::Reserve(safe::Arena& arena, ByteCount bytes, size_t parts,
                          ByteCount public_bytes) {
  // In a small arena there is room for less: Append() and EndPart() will tell.
  bytes = std::min<ByteCount>(bytes, arena.left() / 4);
  contents_ = arena.AllocateArray<uint8_t>(bytes + kWindowBytes);
  capacity_ = contents_ == nullptr ? 0 : bytes;
  parts_.Reserve(arena, parts);
  public_ = arena.AllocateArray<uint8_t>(public_bytes + kWindowBytes);
  public_capacity_ = public_ == nullptr ? 0 : public_bytes;
  return contents_ != nullptr && parts_.capacity() != 0;
}

bool SecretIndex::Append(const uint8_t* bytes, size_t size) {
  if (size > capacity_ - content_bytes_) return false;
  __builtin_memcpy(contents_ + content_bytes_, bytes, size);
  content_bytes_ += size;
  return true;
}

bool SecretIndex::EndPart(HoleReason reason, size_t prefix) {
  const auto length = static_cast<uint32_t>(content_bytes_ - part_begin_);
  const auto begin = static_cast<uint32_t>(part_begin_);
  part_begin_ = content_bytes_;
  if (length < kShortestSecret) return true;
  return parts_.Push({begin, length, reason, static_cast<uint8_t>(prefix)});
}

void SecretIndex::AddPublic(const char* text) {
  ByteCount used = public_bytes_;
  while (*text != '\0') {
    if (used == public_capacity_) return;
    public_[used++] = static_cast<uint8_t>(*text++);
  }
  if (used == public_capacity_) return;
  public_[used++] = '\0';
  public_bytes_ = used;
}

// The arena may hold what an earlier dump left there.
bool SecretIndex::NewFilter(safe::Arena& arena, size_t entries, Filter* filter) {
  unsigned log2 = 6;  // in words of 64 bits
  while ((size_t{2} << log2) < entries) ++log2;
  filter->words = arena.AllocateArray<uint64_t>(size_t{1} << log2);
  filter->shift = 64 - log2;
  if (filter->words == nullptr) return false;
  __builtin_memset(filter->words, 0, sizeof(uint64_t) << log2);
  return true;
}

bool SecretIndex::NewTable(safe::Arena& arena, size_t entries, Table* table) {
  unsigned log2 = 6;
  while ((size_t{1} << log2) < 2 * entries) ++log2;
  table->slots = arena.AllocateArray<uint32_t>(size_t{1} << log2);
  table->mask = (uint64_t{1} << log2) - 1;
  if (table->slots == nullptr) return false;
  __builtin_memset(table->slots, 0, sizeof(uint32_t) << log2);
  return true;
}

bool SecretIndex::BuildPublic(safe::Arena& arena) {
  if (!NewTable(arena, public_bytes_, &public_windows_) ||
      !NewFilter(arena, public_bytes_, &public_grams_)) {
    return false;
  }
  for (ByteCount at = 0; at + kGramBytes <= public_bytes_; ++at) {
    public_grams_.Add(LoadGram(public_ + at));
  }
  for (ByteCount at = 0; at + kWindowBytes <= public_bytes_; ++at) {
    uint64_t slot = HashWindow(public_ + at) & public_windows_.mask;
    while (public_windows_.slots[slot] != 0) {
      slot = (slot + 1) & public_windows_.mask;
    }
    public_windows_.slots[slot] = static_cast<uint32_t>(at + 1);
  }
  return true;
}

bool SecretIndex::IsPublicWindow(const uint8_t* window) const {
  uint64_t slot = HashWindow(window) & public_windows_.mask;
  for (; public_windows_.slots[slot] != 0; slot = (slot + 1) & public_windows_.mask) {
    if (SameBytes(public_ + public_windows_.slots[slot] - 1, window, kWindowBytes)) {
      return true;
    }
  }
  return false;
}

// Of a part shorter than a window: whether it occurs in the public text.
bool SecretIndex::IsPublic(const Part& part) const {
  const uint8_t* bytes = contents_ + part.offset;
  for (size_t at = 0; at + kGramBytes <= part.length; ++at) {
    if (!public_grams_.Has(LoadGram(bytes + at))) return false;
  }
  for (ByteCount at = 0; at + part.length <= public_bytes_; ++at) {
    if (SameBytes(public_ + at, bytes, part.length)) return true;
  }
  return false;
}

bool SecretIndex::Build(safe::Arena& arena) {
  if (parts_.empty()) return true;
  size_t windows = 0;
  size_t words = 0;
  size_t shorts = 0;
  size_t short_entries = 0;
  size_t zeros = 0;  // words of zeros, at any alignment
  bool of_program = false;
  for (const Part& part : parts_) {
    for (size_t at = 0; at + 8 <= part.length; ++at) {
      zeros += Load(contents_ + part.offset + at) == 0;
    }
    words += part.length - (part.length < 8 ? part.length : 7);
    if (part.length >= kWindowBytes) windows += part.length - kWindowBytes + 1;
    if (part.IsShort()) {
      ++shorts;
      short_entries += part.Most() - part.Least() + 1;
    }
    of_program = of_program || OfProgram(part.reason);
  }
  if (of_program && !BuildPublic(arena)) return false;
  // A window has up to 8 words on a grid, but all of a part are no more than its bytes.
  if (!NewTable(arena, windows, &window_table_) ||
      !NewFilter(arena, windows, &window_filter_) ||
      !NewFilter(arena, words, &word_filter_) ||
      // Each has one neighbour on either side. Zeros are what is looked up most, and a
      // filter that stays in the cache answers fastest.
      !NewFilter(arena, 2 * zeros, &neighbour_filter_) ||
      !NewTable(arena, words, &word_table_) ||
      !NewTable(arena, short_entries, &short_table_) ||
      !NewFilter(arena, kGramGrid * shorts, &gram_filter_)) {
    return false;
  }
  for (uint32_t index = 0; index < parts_.size(); ++index) {
    const Part& part = parts_[index];
    AddWords(part);
    if (part.length >= kWindowBytes) AddWindows(part);
    if (part.IsShort()) AddShort(index);
  }
  return true;
}

void SecretIndex::AddWindows(const Part& part) {
  const bool of_program = OfProgram(part.reason);
  const uint8_t* bytes = contents_ + part.offset;
  size_t last = 0;  // one behind the last window that counts
  for (size_t at = 0; at + 8 <= part.length; ++at) {
    const uint8_t* window = bytes + at;
    if (at + kWindowBytes <= part.length && Telling(window) &&
        !(of_program && IsPublicWindow(window))) {
      last = at + 1;
      const uint64_t hash = HashWindow(window);
      if (FindWindow(window, hash) < 0) {
        uint64_t slot = hash & window_table_.mask;
        while (window_table_.slots[slot] != 0) slot = (slot + 1) & window_table_.mask;
        window_table_.slots[slot] = static_cast<uint32_t>(part.offset + at + 1);
        window_filter_.Add(hash);
        AddZeroNeighbours(window);
        windows_ = window_table_.slots;
      }
    }
    // The word that a grid meets lies in the first 8 bytes of its window.
    if (last != 0 && at - (last - 1) < 8) AddWord(Load(window));
  }
}

void SecretIndex::AddZeroNeighbours(const uint8_t* window) {
  for (unsigned at = 0; at < 8; ++at) {
    if (Load(window + at) != 0) continue;
    zero_words_ = true;
    const uint8_t* neighbour = at >= 4 ? window + at - 4 : window + at + 8;
    neighbour_filter_.Add(Load4(neighbour));
  }
}

// Of tagged memory more is a copy than of other secrets: what is both is known as that.
void SecretIndex::AddWords(const Part& part) {
  for (size_t at = 0; at + 8 <= part.length; ++at) {
    const uint64_t word = Load(contents_ + part.offset + at);
    if (!TellingWord(word)) continue;
    uint32_t& slot = word_table_.slots[WordSlot(word)];
    if (slot == 0) {
      AddWord(word);
    } else if (part.reason != HoleReason::kSecretCopy ||
               PartOf(slot - 1).reason == HoleReason::kSecretCopy) {
      continue;
    }
    slot = static_cast<uint32_t>(part.offset + at + 1);
  }
}

// A secret whose length is not known has an entry for each beginning of it that says
// something ("aaaaaab" does so late), so that it is found as far as a copy goes, whatever
// else begins like it.
void SecretIndex::AddShort(uint32_t index) {
  const Part& part = parts_[index];
  const uint8_t* bytes = contents_ + part.offset;
  if (OfProgram(part.reason) && IsPublic(part)) return;
  uint64_t hash = kHashOfNothing;
  size_t length = 0;
  while (length < part.Most()) {
    hash = HashMore(hash, bytes[length++]);
    if (length < part.Least() || !TellingShort(bytes, length)) continue;
    short_lengths_ |= 1u << length;
    if (FindShort(bytes, length, hash) != nullptr) continue;
    uint64_t slot = ShortSlot(hash);
    while (short_table_.slots[slot] != 0) slot = (slot + 1) & short_table_.mask;
    short_table_.slots[slot] = index + 1;
    shorts_ = short_table_.slots;
  }
  if (!TellingShort(bytes, part.Most())) return;
  for (unsigned at = 0; at < kGramGrid; ++at) {
    const uint32_t gram = LoadGram(bytes + at);
    ++grams_;
    gram_sieve_.Add(gram);
    gram_filter_.Add(gram);
    zero_grams_ = zero_grams_ || gram == 0;
  }
}

const SecretIndex::Part& SecretIndex::PartOf(uint32_t offset) const {
  size_t low = 0;
  size_t high = parts_.size();
  while (low + 1 < high) {
    const size_t middle = (low + high) / 2;
    (parts_[middle].offset <= offset ? low : high) = middle;
  }
  return parts_[low];
}

int64_t SecretIndex::FindWindow(const uint8_t* at, uint64_t hash) const {
  const uint64_t first = Load(at);
  const uint64_t second = Load(at + 8);
  uint64_t slot = hash & window_table_.mask;
  for (; window_table_.slots[slot] != 0; slot = (slot + 1) & window_table_.mask) {
    const uint32_t offset = window_table_.slots[slot] - 1;
    const uint8_t* window = contents_ + offset;
    if (Load(window) == first && Load(window + 8) == second) return offset;
  }
  return -1;
}

// Where `word` stands in the table; an empty slot if it doesn't.
uint64_t SecretIndex::WordSlot(uint64_t word) const {
  uint64_t slot = HashWord(word) & word_table_.mask;
  while (word_table_.slots[slot] != 0 &&
         Load(contents_ + word_table_.slots[slot] - 1) != word) {
    slot = (slot + 1) & word_table_.mask;
  }
  return slot;
}

bool SecretIndex::FindWord(uint64_t word, HoleReason* reason) const {
  if (word_table_.slots == nullptr || !word_filter_.Has(word)) return false;
  const uint32_t found = word_table_.slots[WordSlot(word)];
  if (found == 0) return false;
  *reason = PartOf(found - 1).reason;
  return true;
}

const SecretIndex::Part* SecretIndex::FindShort(const uint8_t* at, size_t length,
                                                uint64_t hash) const {
  uint64_t slot = ShortSlot(hash);
  for (; short_table_.slots[slot] != 0; slot = (slot + 1) & short_table_.mask) {
    const Part& part = parts_[short_table_.slots[slot] - 1];
    if (length >= part.Least() && length <= part.Most() &&
        SameBytes(contents_ + part.offset, at, length)) {
      return &part;
    }
  }
  return nullptr;
}

size_t SecretIndex::LongestShort(const uint8_t* at, size_t size,
                                 HoleReason* reason) const {
  size_t longest = 0;
  uint64_t hash = kHashOfNothing;
  for (size_t length = 1; length <= size && short_lengths_ >> length != 0; ++length) {
    hash = HashMore(hash, at[length - 1]);
    if ((short_lengths_ >> length & 1) == 0) continue;
    const Part* part = FindShort(at, length, hash);
    if (part == nullptr) continue;
    longest = length;
    *reason = part->reason;
  }
  return longest;
}

SecretIndex::Match SecretIndex::Extend(const uint8_t* data, size_t size, size_t at,
                                       size_t low, uint32_t offset) const {
  const Part& part = PartOf(offset);
  Match match = {at, at + kWindowBytes, part.reason};
  uint32_t from = offset;
  while (match.begin > low && from > part.offset &&
         data[match.begin - 1] == contents_[from - 1]) {
    --match.begin;
    --from;
  }
  uint32_t to = offset + static_cast<uint32_t>(kWindowBytes);
  const uint32_t end = part.offset + part.length;
  while (match.end < size && to < end && data[match.end] == contents_[to]) {
    ++match.end;
    ++to;
  }
  // Zeros around it are anybody's.
  while (match.begin < at && data[match.begin] == 0) ++match.begin;
  while (match.end > at + kWindowBytes && data[match.end - 1] == 0) --match.end;
  return match;
}

void SecretIndex::Wipe() {
  volatile uint8_t* bytes = contents_;
  for (ByteCount i = 0; i < content_bytes_; ++i) bytes[i] = 0;
  windows_ = nullptr;
  shorts_ = nullptr;
  word_table_.slots = nullptr;
  content_bytes_ = 0;
}

}  // namespace minicore
