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
  if (state == AllocationState::kLive &&
      (ShadowAt(index, found.granule) & kShadowTagged) != 0) {
    result.tag = index.tags[found.granule].load(std::memory_order_relaxed);
  }
  if (result.tag == kNoTag) {
    result.tag = index.chunks[offset >> kChunkShift].extent_tag.load(
        std::memory_order_relaxed);
  }
  return result;
}

__attribute__((noinline)) Allocation ResolveOther(const IndexState& index,
                                                  uint64_t offset,
                                                  ByteCount readable) {
  bool any = false;
  Found found = FindLive(index, offset, readable, &any);
  if (found.size != 0) return Describe(index, found, AllocationState::kLive);
  if (!any) return {};
  found = FindFreed(index, offset, readable);
  if (found.size != 0) return Describe(index, found, AllocationState::kFreed);
  return {};
}

}  // namespace

Allocation Resolve(const IndexState& index, Address address) {
  const ByteCount readable = ReadableBytes(index);
  const uint64_t offset = address - index.region;
  if (offset >= readable) return {};
  // Most words that point into the heap point into one of the smaller small
  // allocations: a few instructions for those, before anything is saved.
  const uint64_t granule = offset >> kGranuleShift;
  const uint64_t live =
      UpTo(granule, LineMask<LiveMask>(index, AlignDown(granule, kLine)));
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

bool Contradicts(const IndexState& index, ByteCount offset) {
  const ByteCount readable = ReadableBytes(index);
  if (offset >= readable) return true;
  const ChunkEntry& chunk = index.chunks[offset >> kChunkShift];
  const Address before = chunk.large_before.load(std::memory_order_relaxed);
  if (before != 0 &&
      (before - index.region >= offset || before % kGranuleSize != 0)) {
    return true;
  }
  if (chunk.extent_tag.load(std::memory_order_relaxed) > kMaxTags ||
      chunk.has_tags.load(std::memory_order_relaxed) > 1) {
    return true;
  }
  for (const uint8_t byte : chunk.reserved) {
    if (byte != 0) return true;
  }
  const uint64_t first = offset >> kGranuleShift;
  const uint64_t end = first + (kChunkSize >> kGranuleShift);
  for (uint64_t granule = first; granule < end; granule += 16) {
    // The hint is enough: of what a writer may do meanwhile, nothing is odd.
    if (OddMask(LoadHint(index, granule)) != 0) return true;
    for (unsigned tagged = TaggedMask(LoadHint(index, granule)); tagged != 0;
         tagged &= tagged - 1) {
      const uint64_t start = granule + __builtin_ctz(tagged);
      const uint8_t byte = ShadowAt(index, start);
      if ((byte & kShadowTagged) == 0) continue;  // freed since
      if (LiveAt(index, start, byte, readable).size == 0 ||
          index.tags[start].load(std::memory_order_relaxed) == kNoTag) {
        return true;
      }
    }
  }
  return false;
}

Disposition DispositionOf(const TagState& tags, uint8_t tag) {
  if (tag == kNoTag) return Disposition::kKeep;
  if (tag > kMaxTags) return Disposition::kElide;
  const TagEntry& entry = tags.entries[tag];
  // Acquire: an entry that is ready has its name and its rule.
  if (entry.ready.load(std::memory_order_acquire) == 1) {
    const uint8_t rule = entry.disposition.load(std::memory_order_relaxed);
    return rule <= static_cast<uint8_t>(Disposition::kElide)
               ? static_cast<Disposition>(rule)
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

bool RangeAt(const TagState& tags, unsigned slot, AddressRange* range,
             uint8_t* tag) {
  if (slot >= kMaxTagRanges) return false;
  const TagRange& entry = tags.ranges[slot];
  // `end` is written last, with release: whoever sees it sees the tag as well.
  // A slot that is being freed has end = 0 first.
  const Address end = entry.end.load(std::memory_order_acquire);
  const Address begin = entry.begin.load(std::memory_order_relaxed);
  if (begin >= end ||
      entry.state.load(std::memory_order_relaxed) == kRangeFree) {
    return false;
  }
  *range = {begin, end};
  *tag = entry.tag.load(std::memory_order_relaxed);
  return true;
}

bool RangeWasMerged(const TagState& tags, unsigned slot) {
  return slot < kMaxTagRanges &&
         tags.ranges[slot].merged.load(std::memory_order_relaxed) != 0;
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
