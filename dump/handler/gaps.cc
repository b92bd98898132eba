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
  Filling filling = {0, 0, pieces.size()};
  Permissions permissions(map);
  uint32_t flags_before = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const uint32_t flags = permissions.At(pieces[i].range.begin);
    const ByteCount gap =
        i == 0 ? kApart : GapBetween(pieces[i - 1], flags_before, pieces[i], flags);
    flags_before = flags;
    if (gap <= kCheapGap) {
      --filling.segments;
    } else if (gap <= kWidestGap) {
      ++counts[gap / kGranuleSize];
    }
  }
  for (ByteCount gap = kCheapGap + kGranuleSize; gap <= kWidestGap; gap += kGranuleSize) {
    if (filling.segments <= most || room < gap) break;
    const uint64_t wanted = std::min(filling.segments - most, room / gap);
    const uint64_t taken = std::min<uint64_t>(wanted, counts[gap / kGranuleSize]);
    filling = {gap, taken, filling.segments - taken};
    room -= taken * gap;
  }
  return filling;
}

}  // namespace minicore
