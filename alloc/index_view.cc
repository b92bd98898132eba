#include "alloc/index_view.h"

#include "alloc/index_search.h"

namespace minicore {
namespace {

using namespace index_search;

// The live large allocation that starts at `start` and covers `offset`.
inline Found LargeAt(const IndexState& index, uint64_t start, uint64_t offset,
                     ByteCount readable) {
  if (start == kNone) return {};
  const uint8_t byte = ShadowAt(index, start);
  if (!IsLarge(byte)) return {};
  const Found found = LiveAt(index, start, byte, readable);
  return Covers(found, offset) ? found : Found{};
}

// The live large allocation that covers `offset`, by the three ways. `*any`
// becomes true if there is one.
inline Found FindLarge(const IndexState& index, uint64_t offset,
                       ByteCount readable, bool* any) {
  const Address before = LargeBefore(index, offset);
  const uint64_t page_word = PageWord(index, offset);
  const uint64_t group_word = GroupWord(index, offset);
  if ((before | page_word | group_word) == 0) return {};
  *any = true;
  Found found =
      LargeAt(index, ChunkWay(index, before, offset), offset, readable);
  if (found.size == 0 && page_word != 0) {
    found = LargeAt(index, PageWay(page_word, offset), offset, readable);
  }
  if (found.size == 0 && group_word != 0) {
    found = LargeAt(index, GroupWay(group_word, offset), offset, readable);
  }
  return found;
}

// Live allocations do not overlap: one that covers the address is the answer,
// and so is the nearest small one below it, which covers it or says that none
// does. `*any` becomes true unless everything that was looked at is zero:
// nothing was ever here, then.
inline Found FindLive(const IndexState& index, uint64_t offset,
                      ByteCount readable, bool* any) {
  // First three words: for the inside of a large allocation, of which there may
  // be megabytes, there is nothing else to find.
  const Found large = FindLarge(index, offset, readable, any);
  if (large.size != 0) return large;
  uint64_t granule = offset >> kGranuleShift;
  const uint64_t lowest = granule >= kLookBack ? granule - kLookBack + 1 : 0;
  for (;;) {
    const uint64_t start = SearchDown<LiveMask>(index, granule, lowest, any);
    if (start == kNone) return {};
    const Found found = LiveAt(index, start, ShadowAt(index, start), readable);
    if (found.size != 0) return Covers(found, offset) ? found : Found{};
    // Freed since the hint, in a process that still runs; or garbage.
    if (start == lowest) return {};
    granule = start - 1;
  }
}

inline Allocation Describe(const IndexState& index, const Found& found,
                           AllocationState state) {
  const ByteCount offset = found.granule << kGranuleShift;
  Allocation result;
  result.state = state;
  result.begin = index.region + offset;
  result.size = found.size;
  const uint64_t tags =
      index.chunks[offset >> kChunkShift].tags.load(std::memory_order_relaxed);
  result.extent_tag = ExtentTag(tags);
  const uint8_t byte = ShadowAt(index, found.granule);
  if ((TaggedGroups(tags) & GroupBit(offset)) != 0) {
    result.own_tag = state == AllocationState::kLive
                         ? OwnTag(index, found.granule, byte)
                         : index.tags[found.granule].load();
  } else if ((byte & kShadowTagged) != 0) {
    result.own_tag = kUnknownTag;  // where nothing was ever tagged
  }
  return result;
}

__attribute__((noinline)) Allocation ResolveOther(const IndexState& index,
                                                  uint64_t offset,
                                                  ByteCount readable) {
  bool any = false;
  Found found = FindLive(index, offset, readable, &any);
  if (found.size != 0) return Describe(index, found, AllocationState::kLive);
  if (any) found = FindFreed(index, offset, readable);
  if (found.size != 0) return Describe(index, found, AllocationState::kFreed);
  Allocation unknown;
  unknown.extent_tag = ExtentTag(
      index.chunks[offset >> kChunkShift].tags.load(std::memory_order_relaxed));
  return unknown;
}

}  // namespace

Allocation Resolve(const IndexState& index, Address address) {
  const ByteCount readable = ReadableBytes(index);
  const uint64_t offset = address - index.region;
  if (offset >= readable) return {};
  // Most words that point into the heap point into one of the smaller small
  // allocations: a few instructions for those, before anything is saved.
  const uint64_t granule = offset >> kGranuleShift;
  const uint64_t live = UpTo(
      granule, LineMask<LiveMask>(index.shadow, AlignDown(granule, kLine)));
  if (live != 0) {
    const uint64_t start = AlignDown(granule, kLine) + Highest(live);
    const uint8_t byte = ShadowAt(index, start);
    if (IsSmall(byte)) {
      const Found found = LiveAt(index, start, byte, readable);
      if (Covers(found, offset)) {
        return Describe(index, found, AllocationState::kLive);
      }
    }
  }
  return ResolveOther(index, offset, readable);
}

void ForEachLive(const IndexState& index, AddressRange range,
                 bool (*visit)(void* context, const Allocation& allocation),
                 void* context) {
  const ByteCount readable = ReadableBytes(index);
  range = range.Clip({index.region, index.region + readable});
  if (range.empty()) return;
  uint64_t granule =
      AlignUp(range.begin - index.region, kGranuleSize) >> kGranuleShift;
  const uint64_t end =
      AlignUp(range.end - index.region, kGranuleSize) >> kGranuleShift;
  while (granule < end) {
    granule = SearchUp<LiveMask>(index, granule, end);
    if (granule == kNone) return;
    const Found found =
        LiveAt(index, granule, ShadowAt(index, granule), readable);
    if (found.size == 0) {
      ++granule;
      continue;
    }
    if (!visit(context, Describe(index, found, AllocationState::kLive))) return;
    granule += found.size >> kGranuleShift;
  }
}

namespace {

// Calls visit(granule) for all granules of the chunk at `offset`, in groups in
// which something was tagged, that have the mark of a tag, or a tag, until it
// returns false. Returns: whether it never did.
template <typename Visit>
bool ForEachTagEntry(const IndexState& index, ByteCount offset, Visit visit) {
  constexpr uint64_t kGroup = kGroupSize >> kGranuleShift;
  uint32_t groups = TaggedGroups(
      index.chunks[offset >> kChunkShift].tags.load(std::memory_order_relaxed));
  for (; groups != 0; groups &= groups - 1) {
    const uint64_t first =
        (offset >> kGranuleShift) +
        static_cast<unsigned>(__builtin_ctz(groups)) * kGroup;
    for (uint64_t line = first; line < first + kGroup; line += kLine) {
      uint64_t mask = LineMask<TaggedMask>(index.shadow, line) |
                      LineMask<NonzeroMask>(index.tags, line);
      for (; mask != 0; mask &= mask - 1) {
        if (!visit(line + static_cast<unsigned>(__builtin_ctzll(mask)))) {
          return false;
        }
      }
    }
  }
  return true;
}

// A freed start whose tag still stands. The check behind a tag says whether it
// had a second granule: a stale one is not to be believed.
Found FreedWithTag(const IndexState& index, uint64_t granule,
                   ByteCount readable) {
  const ByteCount left = readable - (granule << kGranuleShift);
  if (left > kGranuleSize &&
      index.tags[granule + 1].load() == TagCheck(index.tags[granule].load())) {
    const uint8_t second = ShadowAt(index, granule + 1);
    if ((second & ~kShadowClassMask) == kShadowNotLive) {
      const Found found =
          LiveAt(index, granule, second & kShadowClassMask, readable);
      if (found.size != 0) return found;
    }
  }
  return {granule, kGranuleSize};
}

// Whether the tag entry at `granule`, where nothing starts, is the check of the
// allocation that starts before.
bool IsCheck(const IndexState& index, uint64_t granule) {
  if (granule == 0) return false;
  const uint8_t start = ShadowAt(index, granule - 1);
  const uint8_t second = ShadowAt(index, granule);
  const unsigned size_class = second & kShadowClassMask;
  if (second != (kShadowNotLive | size_class) || size_class < 2) return false;
  if ((start & ~kShadowTagged) == size_class) return true;
  const uint8_t tag = index.tags[granule - 1].load();
  return start == kShadowFreed && tag != kNoTag &&
         index.tags[granule].load() == TagCheck(tag);
}

// Whether the mark or the tag at `granule` may stand there. In a process that
// still runs the start may change meanwhile, so the last look decides: at the
// start byte again, or at the tag, which free() takes away after that changed.
bool MayStand(const IndexState& index, uint64_t granule, ByteCount readable) {
  const uint8_t byte = ShadowAt(index, granule);
  if (IsSmall(byte) || IsLarge(byte)) {
    return LiveAt(index, granule, byte, readable).size != 0 ||
           ShadowAt(index, granule) != byte;
  }
  return byte == kShadowFreed || IsCheck(index, granule) ||
         index.tags[granule].load() == kNoTag;
}

// Whether all live starts of the group have the second granule of their class.
bool SecondsAgree(const IndexState& index, uint64_t first, ByteCount readable) {
  const uint64_t last = readable >> kGranuleShift;
  const auto second_at = [&](uint64_t granule) {
    return granule + 1 < last ? ShadowAt(index, granule + 1) : kShadowNothing;
  };
  const uint64_t end = first + (kGroupSize >> kGranuleShift);
  for (uint64_t granule = first; granule < end; granule += 16) {
    const unsigned next = second_at(granule + 15);
    for (unsigned other =
             OtherSecondMask(LoadHint(index.shadow, granule), next);
         other != 0; other &= other - 1) {
      const uint64_t start =
          granule + static_cast<unsigned>(__builtin_ctz(other));
      const uint8_t byte = ShadowAt(index, start);
      const unsigned size_class = byte & ~kShadowTagged;
      // In a process that still runs: freed since, or used again.
      if (!(IsSmall(byte) || IsLarge(byte)) || size_class < 2) continue;
      if (second_at(start) != (kShadowNotLive | size_class) &&
          ShadowAt(index, start) == byte) {
        return false;
      }
    }
  }
  return true;
}

// Whether the group has no byte that no writer ever stores.
bool BytesExist(const IndexState& index, uint64_t first) {
  const uint64_t end = first + (kGroupSize >> kGranuleShift);
  unsigned odd = 0;
  // The hint is enough: of what a writer may do meanwhile, nothing is odd.
  for (uint64_t granule = first; granule < end; granule += 16) {
    odd |= OddMask(LoadHint(index.shadow, granule));
  }
  return odd == 0;
}

}  // namespace

void ForEachOf(const IndexState& index, const TagState& tags, ByteCount offset,
               Disposition wanted,
               bool (*visit)(void* context, const Allocation& allocation),
               void* context) {
  struct Wanted {
    const TagState& tags;
    Disposition disposition;
    bool (*visit)(void* context, const Allocation& allocation);
    void* context;
  } filter = {tags, wanted, visit, context};
  const auto filtered = [](void* to, const Allocation& allocation) {
    const Wanted& w = *static_cast<const Wanted*>(to);
    return DispositionOf(w.tags, TagOf(w.tags, allocation)) != w.disposition ||
           w.visit(w.context, allocation);
  };
  const ByteCount readable = ReadableBytes(index);
  if (offset >= readable) return;
  const uint64_t word =
      index.chunks[offset >> kChunkShift].tags.load(std::memory_order_relaxed);
  const Disposition of_extent = DispositionOf(tags, ExtentTag(word));
  // The most protective wins: what lies there has at least this one.
  if (of_extent > wanted) return;
  if (of_extent == wanted) {
    ForEachLive(index,
                {index.region + offset, index.region + offset + kChunkSize},
                filtered, &filter);
  }
  ForEachTagEntry(index, offset, [&](uint64_t granule) {
    const uint8_t byte = ShadowAt(index, granule);
    const bool freed =
        byte == kShadowFreed && index.tags[granule].load() != kNoTag;
    if (!freed && of_extent == wanted) return true;  // had its visit
    const Found found = freed ? FreedWithTag(index, granule, readable)
                              : LiveAt(index, granule, byte, readable);
    return found.size == 0 ||
           filtered(&filter, Describe(index, found,
                                      freed ? AllocationState::kFreed
                                            : AllocationState::kLive));
  });
}

bool Contradicts(const IndexState& index, ByteCount offset) {
  const ByteCount readable = ReadableBytes(index);
  if (offset >= readable) return true;
  const ChunkEntry& chunk = index.chunks[offset >> kChunkShift];
  const Address before = chunk.large_before.load(std::memory_order_relaxed);
  const uint64_t tags = chunk.tags.load(std::memory_order_relaxed);
  if (before != 0 &&
      (before - index.region >= offset || before % kGranuleSize != 0)) {
    return true;
  }
  if (!AreChunkTags(tags) || ExtentTag(tags) > kMaxTags) return true;
  if (ExtentTag(tags) != kNoTag && TaggedGroups(tags) != kAllGroups)
    return true;
  for (uint32_t groups = TaggedGroups(tags); groups != 0;
       groups &= groups - 1) {
    const uint64_t first =
        (offset + static_cast<unsigned>(__builtin_ctz(groups)) * kGroupSize) >>
        kGranuleShift;
    if (!BytesExist(index, first) || !SecondsAgree(index, first, readable)) {
      return true;
    }
  }
  return !ForEachTagEntry(index, offset, [&](uint64_t granule) {
    return MayStand(index, granule, readable);
  });
}

Disposition DispositionOf(const TagState& tags, uint8_t tag) {
  if (tag == kNoTag) return Disposition::kKeep;
  if (tag > kMaxTags) return Disposition::kElide;
  const uint8_t rule = tags.entries[tag].rule.load(std::memory_order_relaxed);
  if (rule != 0) {
    return rule <= RuleOf(Disposition::kElide)
               ? static_cast<Disposition>(rule - 1)
               : Disposition::kElide;
  }
  switch (tag) {
    case kTagCache:
      return Disposition::kCut;
    case kTagKeep:
      return Disposition::kKeepAlways;
    default:
      return Disposition::kElide;
  }
}

uint8_t TagOf(const TagState& tags, const Allocation& allocation) {
  return allocation.own_tag == kNoTag ||
                 DispositionOf(tags, allocation.own_tag) <
                     DispositionOf(tags, allocation.extent_tag)
             ? allocation.extent_tag
             : allocation.own_tag;
}

bool RangeAt(const TagState& tags, unsigned slot, AddressRange* range,
             uint8_t* tag) {
  if (slot >= kMaxTagRanges) return false;
  const TagRange& entry = tags.ranges[slot];
  // `end` is written last, with release: whoever sees it sees the tag as well.
  // A slot that is being freed has end = 0 first.
  const Address end = entry.end.load(std::memory_order_acquire);
  const Address begin = entry.begin.load(std::memory_order_relaxed);
  if (begin >= end) return false;
  const uint64_t state = entry.state.load(std::memory_order_relaxed);
  *range = {begin, end};
  // No free slot has bounds: overwritten, then.
  *tag =
      (state & kRangeStateMask) != kRangeFree ? RangeTag(state) : kUnknownTag;
  return true;
}

bool RangeWasMerged(const TagState& tags, unsigned slot) {
  return slot < kMaxTagRanges &&
         (tags.ranges[slot].state.load(std::memory_order_relaxed) &
          kRangeMerged) != 0;
}

void NameOf(const TagState& tags, uint8_t tag, char* name) {
  const char* from = "";
  if (tag <= kMaxTags &&
      tags.entries[tag].ready.load(std::memory_order_acquire) == 1) {
    from = tags.entries[tag].name;
  } else if (tag == kTagSecret) {
    from = "secret";
  } else if (tag == kTagCache) {
    from = "cache";
  } else if (tag == kTagKeep) {
    from = "keep";
  }
  unsigned length = 0;
  while (length < kMaxTagName && from[length] != '\0') {
    name[length] = from[length];
    ++length;
  }
  name[length] = '\0';
}

}  // namespace minicore
