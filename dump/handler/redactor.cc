#include "dump/handler/redactor.h"

#include <algorithm>

#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr unsigned kFilterLog2 = 23;  // bits: 8 for each byte of kMaxSecretBytes
constexpr unsigned kWindowLog2 = 21;  // slots: 2 for each byte of kMaxSecretBytes

uint64_t LoadWord(const uint8_t* at) {
  uint64_t word;
  __builtin_memcpy(&word, at, sizeof(word));
  return word;
}

// All 8 bytes alike.
bool Uniform(uint64_t word) { return word == (word & 0xff) * 0x0101010101010101; }

bool UniformWindow(const uint8_t* at) {
  const uint64_t word = LoadWord(at);
  return Uniform(word) && LoadWord(at + 8) == word;
}

// Fibonacci hashing (Knuth, TAOCP volume 3, 6.4); the second constant is splitmix64's.
uint64_t HashWord(uint64_t word) { return word * 0x9e3779b97f4a7c15; }
uint64_t HashWindow(const uint8_t* at) {
  return (LoadWord(at) ^ (LoadWord(at + 8) * 0xbf58476d1ce4e5b9)) *
         0x9e3779b97f4a7c15;
}

bool UniformBytes(const uint8_t* at, size_t size) {
  for (size_t i = 1; i < size; ++i) {
    if (at[i] != at[0]) return false;
  }
  return true;
}

bool SameBytes(const uint8_t* a, const uint8_t* b, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

}  // namespace

void Redactor::Reserve(safe::Arena& arena) {
  secrets_.Reserve(arena, kMaxSecrets);
  shorts_.Reserve(arena, kMaxSecrets);
}

void Redactor::AddSecret(AddressRange range, HoleReason reason, uint8_t tag,
                         bool copies) {
  if (range.empty()) return;
  if (!secrets_.Push({range, 0, 0, 0, reason, tag, copies})) overflowed_ = true;
}

void Redactor::Build(safe::Arena& arena) {
  std::sort(secrets_.begin(), secrets_.end(), [](const Secret& a, const Secret& b) {
    return a.range.begin < b.range.begin;
  });
  ByteCount total = 0;
  Address reach = 0;
  for (Secret& secret : secrets_) {
    reach = std::max(reach, secret.range.end);
    secret.reach = reach;
    if (secret.copies) total += std::min(secret.range.size(), kMaxSecretBytes + 1);
  }
  if (total == 0) return;
  if (total > kMaxSecretBytes) {
    overflowed_ = true;
    return;
  }
  // The tables are as large as the secrets need, so that small ones stay in the cache.
  unsigned log2 = 10;
  while ((ByteCount{1} << log2) < total) ++log2;
  const unsigned filter_log2 = std::min(log2 + 4, kFilterLog2);
  const unsigned window_log2 = std::min(log2 + 1, kWindowLog2);
  contents_ = arena.AllocateArray<uint8_t>(total + 8);
  filter_ = arena.AllocateArray<uint64_t>((size_t{1} << filter_log2) / 64);
  windows_ = arena.AllocateArray<uint32_t>(size_t{1} << window_log2);
  pairs_ = arena.AllocateArray<uint64_t>(65536 / 64);
  if (contents_ == nullptr || filter_ == nullptr || windows_ == nullptr ||
      pairs_ == nullptr) {
    overflowed_ = true;
    contents_ = nullptr;
    return;
  }
  filter_shift_ = 64 - filter_log2;
  window_mask_ = (size_t{1} << window_log2) - 1;
  for (uint32_t index = 0; index < secrets_.size(); ++index) {
    Secret& secret = secrets_[index];
    if (!secret.copies) continue;
    const size_t size = secret.range.size();
    secret.offset = static_cast<uint32_t>(content_bytes_);
    // What can't be read can't have been copied from there either.
    const size_t read =
        safe::GuardedCopy(contents_ + content_bytes_, secret.range.begin, size);
    content_bytes_ += read;
    secret.length = static_cast<uint32_t>(read);
    if (read < kWindowBytes) {
      if (read < kShortestSecret) continue;
      const uint8_t* bytes = contents_ + secret.offset;
      if (UniformBytes(bytes, read)) continue;
      const unsigned pair = bytes[0] | bytes[1] << 8;
      pairs_[pair / 64] |= 1ull << (pair % 64);
      (void)shorts_.Push(index);
      continue;
    }
    for (size_t at = 0; at + 8 <= read; ++at) {
      const uint64_t hash = HashWord(LoadWord(contents_ + secret.offset + at));
      const uint64_t bit = hash >> filter_shift_;
      filter_[bit / 64] |= 1ull << (bit % 64);
    }
    for (size_t at = 0; at + kWindowBytes <= read; ++at) {
      AddWindow(static_cast<uint32_t>(secret.offset + at));
    }
  }
}

// The table has twice as many slots as there are secret bytes, so that a probe ends.
void Redactor::AddWindow(uint32_t offset) {
  const uint8_t* window = contents_ + offset;
  if (UniformWindow(window)) return;
  size_t slot = HashWindow(window) >> 32 & window_mask_;
  while (windows_[slot] != 0) {
    if (SameBytes(contents_ + windows_[slot] - 1, window, kWindowBytes)) return;
    slot = (slot + 1) & window_mask_;
  }
  windows_[slot] = offset + 1;
}

bool Redactor::IsWindow(const uint8_t* at) const {
  if (UniformWindow(at)) return false;
  size_t slot = HashWindow(at) >> 32 & window_mask_;
  while (windows_[slot] != 0) {
    const uint8_t* window = contents_ + windows_[slot] - 1;
    if (LoadWord(window) == LoadWord(at) && LoadWord(window + 8) == LoadWord(at + 8)) {
      return true;
    }
    slot = (slot + 1) & window_mask_;
  }
  return false;
}

bool Redactor::IsWord(uint64_t word) const {
  if (contents_ == nullptr || Uniform(word)) return false;
  for (const Secret& secret : secrets_) {
    if (!secret.copies) continue;
    for (size_t at = 0; at + 8 <= secret.length; ++at) {
      if (LoadWord(contents_ + secret.offset + at) == word) return true;
    }
  }
  return false;
}

template <typename Found>
void Redactor::FindCopies(const uint8_t* data, size_t size, Found found) const {
  for (size_t at = 0; at + 8 <= size; at += 8) {
    const uint64_t word = LoadWord(data + at);
    const uint64_t bit = HashWord(word) >> filter_shift_;
    if ((filter_[bit / 64] >> (bit % 64) & 1) == 0) continue;
    // The inside of a run of one byte: none of the nine windows is anything else.
    if (Uniform(word) && at >= 8 && at + 16 <= size &&
        LoadWord(data + at - 8) == word && LoadWord(data + at + 8) == word) {
      continue;
    }
    const size_t first = at < 8 ? 0 : at - 8;
    for (size_t window = first; window <= at; ++window) {
      if (window + kWindowBytes > size) break;
      if (IsWindow(data + window)) found(window, window + kWindowBytes);
    }
  }
  if (shorts_.empty()) return;
  for (size_t at = 0; at + kShortestSecret <= size; ++at) {
    const unsigned pair = data[at] | data[at + 1] << 8;
    if ((pairs_[pair / 64] >> (pair % 64) & 1) == 0) continue;
    for (const uint32_t index : shorts_) {
      const Secret& secret = secrets_[index];
      const size_t length = secret.length;
      if (at + length <= size &&
          SameBytes(contents_ + secret.offset, data + at, length)) {
        found(at, at + length);
      }
    }
  }
}

void Redactor::Mark(size_t begin, size_t end, HoleReason reason, Address address,
                    uint8_t* data, AddressRange report, Outcome& outcome) const {
  for (size_t at = begin; at < end; ++at) {
    data[at] = static_cast<uint8_t>(kElidedMarker[(address + at) % 8]);
  }
  const AddressRange hole =
      AddressRange{address + begin, address + end}.Clip(report);
  outcome.AddHole(hole.begin, hole.end, reason);
}

void Redactor::Redact(Address begin, uint8_t* data, size_t size,
                      AddressRange report, Outcome& outcome) const {
  if (contents_ != nullptr) {
    // Marks lag behind the search by a window's length, since a window may overlap the
    // one before it and must be seen unmarked. Grid order finds windows in ascending
    // order but for the short secrets, which are found in a pass of their own.
    size_t pending_begin = 0;
    size_t pending_end = 0;
    bool marked_any = false;
    constexpr size_t kMost = 4096;
    static AddressRange marks[kMost];  // one thread dumps at a time
    size_t count = 0;
    const auto push = [&](size_t from, size_t to) {
      if (count == kMost) {
        // More is elided, never less. A short secret may lie before the last mark.
        AddressRange& last = marks[kMost - 1];
        last = {std::min<uint64_t>(last.begin, from), std::max<uint64_t>(last.end, to)};
        return;
      }
      marks[count++] = {from, to};
    };
    FindCopies(data, size, [&](size_t from, size_t to) {
      if (marked_any && from >= pending_begin && from <= pending_end) {
        pending_end = std::max(pending_end, to);
        return;
      }
      if (marked_any) push(pending_begin, pending_end);
      pending_begin = from;
      pending_end = to;
      marked_any = true;
    });
    if (marked_any) push(pending_begin, pending_end);
    for (size_t i = 0; i < count; ++i) {
      Mark(marks[i].begin, marks[i].end, HoleReason::kSecretCopy, begin, data, report,
           outcome);
    }
  }
  const AddressRange block = {begin, begin + size};
  const Secret* secret_at = std::upper_bound(
      secrets_.begin(), secrets_.end(), block.begin,
      [](Address value, const Secret& secret) { return value < secret.reach; });
  for (; secret_at != secrets_.end(); ++secret_at) {
    const Secret& secret = *secret_at;
    if (secret.range.begin >= block.end) break;
    if (!secret.range.Overlaps(block)) continue;
    const AddressRange part = secret.range.Clip(block);
    Mark(part.begin - begin, part.end - begin, secret.reason, begin, data, report,
         outcome);
  }
}

void Redactor::RedactWords(uint64_t* words, size_t count, Outcome& outcome) const {
  for (size_t i = 0; i < count; ++i) {
    if (contents_ == nullptr) return;
    const uint64_t bit = HashWord(words[i]) >> filter_shift_;
    if ((filter_[bit / 64] >> (bit % 64) & 1) == 0 && shorts_.empty()) continue;
    if (!IsWord(words[i])) continue;
    words[i] = kElidedMarkerWord;
    outcome.AddHole(0, 8, HoleReason::kSecretCopy);
  }
}

void Redactor::Wipe() {
  if (contents_ == nullptr) return;
  volatile uint8_t* bytes = contents_;
  for (ByteCount i = 0; i < content_bytes_; ++i) bytes[i] = 0;
  contents_ = nullptr;
}

}  // namespace minicore
