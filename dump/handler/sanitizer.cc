#include "dump/handler/sanitizer.h"

#include <algorithm>

namespace minicore {
namespace {

// Two for each thread (kMaxThreads), and names.
constexpr size_t kMaxExempt = 131072;
// Two characters of text at the most.
constexpr uint64_t kSmall = 65536;

}  // namespace

void Sanitizer::Reserve(safe::Arena& arena, const MemoryMap& map, bool wanted) {
  map_ = &map;
  wanted_ = wanted;
  exempt_.Reserve(arena, kMaxExempt);
}

void Sanitizer::Exempt(AddressRange range) {
  if (!range.empty()) (void)exempt_.Push(range);
}

void Sanitizer::Sort() {
  std::sort(exempt_.begin(), exempt_.end(), [](AddressRange a, AddressRange b) {
    return a.begin < b.begin;
  });
}

bool Sanitizer::Exempted(Address address) const {
  const AddressRange* above = std::upper_bound(
      exempt_.begin(), exempt_.end(), address,
      [](Address value, const AddressRange& range) { return value < range.begin; });
  return above != exempt_.begin() && (above - 1)->Contains(address);
}

bool Sanitizer::Harmless(uint64_t word) const {
  if (word + kSmall < 2 * kSmall) return true;  // from -65536 to 65535
  // Of what is reserved only, every address would be one: terabytes of them.
  const Mapping* mapping = map_ == nullptr ? nullptr : map_->Find(word);
  return mapping != nullptr && (mapping->readable || mapping->executable);
}

bool Sanitizer::IsProtected(Address address) const {
  const Mapping* mapping = map_ == nullptr ? nullptr : map_->Find(address);
  return mapping != nullptr && !mapping->readable;
}

void Sanitizer::Sanitize(Address begin, uint8_t* data, size_t size, AddressRange report,
                         Place place, Outcome& outcome) const {
  // Notes are no words: what may be a secret there is left out by who writes them.
  if (place == Place::kNotes) return;
  const Address end = begin + size;
  for (Address at = AlignDown(begin, 8); at < end; at += 8) {
    const Address from = std::max(at, begin);
    const Address to = std::min(at + 8, end);
    uint8_t* const bytes = data + (from - begin);
    if (to - from == 8) {
      uint64_t word;
      __builtin_memcpy(&word, bytes, sizeof(word));
      if (word == kElidedMarkerWord || Harmless(word)) continue;
    }
    AddressRange elided = {to, from};  // what was not yet, and is not exempt
    for (Address byte = from; byte < to; ++byte) {
      const auto marker = static_cast<uint8_t>(kElidedMarker[byte % 8]);
      if (data[byte - begin] == marker || Exempted(byte)) continue;
      data[byte - begin] = marker;
      elided = {std::min(elided.begin, byte), byte + 1};
    }
    if (elided.begin >= elided.end) continue;
    const AddressRange hole = elided.Clip(report);
    if (hole.empty()) continue;
    outcome.AddHole(hole.begin, hole.end, HoleReason::kSanitized);
    outcome.AddElided(place, hole.size());
  }
}

}  // namespace minicore
