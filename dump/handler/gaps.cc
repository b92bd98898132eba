#include "dump/handler/gaps.h"

#include <elf.h>

#include <algorithm>

#include "alloc/index_format.h"

namespace minicore {

uint32_t Permissions::At(Address address) {
  while (mapping_ != end_ && mapping_->range.end <= address) ++mapping_;
  if (mapping_ == end_ || mapping_->range.begin > address) return PF_R;
  return (mapping_->readable ? PF_R : 0u) | (mapping_->writable ? PF_W : 0u) |
         (mapping_->executable ? PF_X : 0u);
}

ByteCount GapBetween(const Piece& before, uint32_t flags_before, const Piece& piece,
                     uint32_t flags) {
  if (flags != flags_before || piece.kind == SegmentKind::kHeaders) return kApart;
  const ByteCount gap = piece.range.begin - before.range.end;
  if (piece.content == Content::kAbsent) return gap == 0 ? 0 : kApart;
  return before.content == Content::kAbsent ? kApart : gap;
}

Filling FillingFor(const Pieces& pieces, const MemoryMap& map, uint64_t most,
                   ByteCount room) {
  static uint32_t counts[kWidestGap / kGranuleSize + 1];  // one thread dumps at a time
  __builtin_memset(counts, 0, sizeof(counts));
  Filling filling = {0, 0, pieces.size(), 0};
  Permissions permissions(map);
  uint32_t flags_before = 0;
  ByteCount kept = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const uint32_t flags = permissions.At(pieces[i].range.begin);
    const ByteCount gap =
        i == 0 ? kApart : GapBetween(pieces[i - 1], flags_before, pieces[i], flags);
    flags_before = flags;
    if (pieces[i].content != Content::kAbsent) kept += pieces[i].range.size();
    if (gap <= kCheapGap) {
      --filling.segments;
      filling.bytes += gap;
    } else if (gap <= kWidestGap) {
      ++counts[gap / kGranuleSize];
    }
  }
  // Fills gaps of one width as long as more than `target` segments are left, for at most
  // `limit` bytes in all.
  const auto fill = [&](ByteCount gap, uint64_t target, ByteCount limit) {
    if (filling.segments <= target || filling.bytes >= limit) return;
    uint32_t& count = counts[gap / kGranuleSize];
    const uint64_t taken =
        std::min({filling.segments - target, (limit - filling.bytes) / gap, uint64_t{count}});
    if (taken == 0) return;
    count -= static_cast<uint32_t>(taken);
    filling.bytes += taken * gap;
    filling.of_width = taken + (filling.width == gap ? filling.of_width : 0);
    filling.width = gap;
    filling.segments -= taken;
  };
  for (ByteCount gap = kCheapGap + kGranuleSize; gap <= kWidestGap; gap += kGranuleSize) {
    fill(gap, std::min(most, kFewSegments), std::min(room, kept) / kWorthOfFew);
    fill(gap, most, room);
  }
  return filling;
}

}  // namespace minicore
