#include "dump/handler/walk.h"

#include <algorithm>

#include "dump/safe/format.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr unsigned kSeenLog2 = 21;
// A tagged cache's first bytes: a header with its counters is worth having.
constexpr ByteCount kCutBytes = 256;
// A window into memory that is no allocation of ours: an object of ordinary size whose
// start is not known.
constexpr ByteCount kWindow = 2048;
constexpr ByteCount kWindowStep = 1024;
// What debuggers need beyond the budget; a list that runs in circles ends here.
constexpr ByteCount kMetadataBytes = 4 * 1024 * 1024;
constexpr Address kLowest = 64 * 1024;             // vm.mmap_min_addr
constexpr Address kHighest = 0x7fffffffffff;       // user half, 4-level paging

// `size` bytes of `whole` with `address` in the middle, or as near to it as they get.
AddressRange Around(Address address, ByteCount size, AddressRange whole) {
  const ByteCount before = AlignDown(size / 2, 16);
  address = AlignDown(address, 16);
  Address begin = address - whole.begin > before ? address - before : whole.begin;
  if (whole.end - begin < size) begin = whole.end - size;
  return {begin, begin + size};
}

}  // namespace

Walk::Walk(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
           const Redactor& redactor, safe::Arena& arena, ScanResult& result,
           Outcome& outcome)
    : runtime_(runtime), map_(map), redactor_(redactor), result_(result), outcome_(outcome),
      budget_(runtime.policy.max_bytes) {
  seen_.Reserve(arena, kSeenLog2);
  for (unsigned tag = 0; tag < 256; ++tag) {
    dispositions_[tag] = DispositionOf(*runtime.tags, static_cast<uint8_t>(tag));
  }
  covered_.Reserve(arena, roots.pieces.size());
  for (const Piece& piece : roots.pieces) {
    if (piece.content == Content::kMemory) (void)covered_.Push(piece.range);
  }
  std::sort(covered_.begin(), covered_.end(),
            [](AddressRange a, AddressRange b) { return a.begin < b.begin; });
  size_t merged = 0;
  for (size_t i = 0; i < covered_.size(); ++i) {
    if (merged != 0 && covered_[i].begin <= covered_[merged - 1].end) {
      covered_[merged - 1].end = std::max(covered_[merged - 1].end, covered_[i].end);
    } else {
      covered_[merged++] = covered_[i];
    }
  }
  covered_.Truncate(merged);
}

Disposition Walk::DispositionOfTag(uint8_t tag) const { return dispositions_[tag]; }

bool Walk::Covered(Address address) const {
  const AddressRange* above = std::upper_bound(
      covered_.begin(), covered_.end(), address,
      [](Address value, const AddressRange& range) { return value < range.begin; });
  return above != covered_.begin() && (above - 1)->Contains(address);
}

// The dumper's memory and the index's planes: pointed to from our static data, of no use
// to anybody, and full of addresses of allocations that the program has no pointer to.
bool Walk::IsOurs(Address address) const {
  const IndexState& index = *runtime_.index;
  const auto within = [address](const void* plane, ByteCount bytes) {
    return address - reinterpret_cast<Address>(plane) < bytes;
  };
  const ByteCount granules = index.region_bytes >> kGranuleShift;
  return runtime_.arena_range.Contains(address) || within(index.shadow, granules) ||
         within(index.tags, granules) ||
         within(index.large, (index.region_bytes >> kPageShift) * sizeof(uint64_t)) ||
         within(index.chunks,
                (index.region_bytes >> kChunkShift) * sizeof(ChunkEntry));
}

void Walk::Follow(uint64_t word, uint16_t hops) {
  if (word < kLowest) return;
  if (InHeap(*runtime_.index, word)) {
    const Allocation allocation = Resolve(*runtime_.index, word);
    if (allocation.state == AllocationState::kLive) {
      ++outcome_.anchors;
      FollowAllocation(word, allocation, hops);
    } else if (allocation.state == AllocationState::kFreed) {
      ++outcome_.freed_anchors;
    }
    return;
  }
  if (word <= kHighest) FollowForeign(word, hops);
}

void Walk::FollowAllocation(uint64_t word, const Allocation& allocation,
                            uint16_t hops) {
  Reached reached;
  reached.range = allocation.range();
  reached.pointer = word;
  reached.tag = allocation.tag;
  reached.directly = directly_ && hops == 0;
  reached.hops = hops;
  if (seen_.Insert(allocation.begin) != AddressSet::Answer::kNew) return;
  TagCount& count = result_.tags[allocation.tag <= kMaxTags ? allocation.tag : 0];
  const ByteCount whole = allocation.size;
  switch (DispositionOfTag(allocation.tag)) {
    case Disposition::kElide:
      ++count.elided;
      count.bytes_out += whole;
      outcome_.AddHole(reached.range.begin, reached.range.end, HoleReason::kSecret,
                       allocation.tag);
      return;
    case Disposition::kCut:
      ++count.cut;
      reached.scanned = true;
      if (whole > kCutBytes) {
        reached.range.end = reached.range.begin + kCutBytes;
        outcome_.AddHole(reached.range.end, allocation.range().end, HoleReason::kCut,
                         allocation.tag);
      }
      break;
    case Disposition::kKeep:
    case Disposition::kKeepAlways:
      ++count.kept;
      if (whole > LargestWhole() && !metadata_) {
        reached.range = Around(word, LargestWhole(), allocation.range());
      }
      break;
  }
  Keep(reached, allocation.tag, whole);
}

void Walk::FollowForeign(uint64_t word, uint16_t hops) {
  if (IsOurs(word) || Covered(word)) return;
  const Mapping* mapping = map_.Find(word);
  if (mapping == nullptr || !mapping->readable || !mapping->writable) return;
  const char* name = map_.NameOf(*mapping);
  // A device's memory may do something when it is read.
  if (safe::StartsWith(name, "/dev/") && !safe::StartsWith(name, "/dev/shm/") &&
      !safe::StartsWith(name, "/dev/zero")) {
    return;
  }
  Reached reached;
  reached.kind = SegmentKind::kForeign;
  reached.pointer = word;
  reached.directly = directly_ && hops == 0;
  reached.hops = hops;
  reached.range.begin = AlignDown(word, kWindowStep);
  if (seen_.Insert(reached.range.begin) != AddressSet::Answer::kNew) return;
  reached.range.end = reached.range.begin + kWindow;
  reached.range = reached.range.Clip(mapping->range);
  Keep(reached, kNoTag, reached.range.size());
}

void Walk::Keep(Reached reached, uint8_t tag, ByteCount whole) {
  const ByteCount size = reached.range.size();
  if (!metadata_) {
    if (size > budget_) {
      outcome_.AddHole(reached.range.begin, reached.range.end, HoleReason::kBudget, tag);
      if (budget_ < kGranuleSize) full_ = true;
      return;
    }
    budget_ -= size;
    quota_ = quota_ > size ? quota_ - size : 0;
  }
  if (!result_.reached.Push(reached)) {
    outcome_.AddHole(reached.range.begin, reached.range.end, HoleReason::kOutOfRoom, tag);
    full_ = true;
    return;
  }
  if (reached.kind == SegmentKind::kHeap) {
    TagCount& count = result_.tags[tag <= kMaxTags ? tag : 0];
    count.bytes_in += size;
    count.bytes_out += whole - size;
    ++outcome_.allocations;
    outcome_.heap_bytes += size;
  }
}

bool Walk::ScanReached(Reached& reached) {
  if (reached.scanned) return true;
  if (runtime_.policy.hops != 0 && reached.hops >= runtime_.policy.hops) return true;
  if (outcome_.Late()) return false;
  uint64_t block[128];
  const AddressRange range = reached.range;
  const auto hops = static_cast<uint16_t>(reached.hops + (reached.hops < 0xffff));
  for (Address at = AlignUp(range.begin, 8); at + 8 <= range.end;) {
    const ByteCount size = std::min<ByteCount>(range.end - at, sizeof(block));
    const size_t read = safe::GuardedCopy(block, at, size);
    redactor_.Blank(at, block, read / 8);
    for (size_t i = 0; i < read / 8; ++i) {
      Follow(block[i], hops);
      if (full_ || (quota_ == 0 && !metadata_)) return false;
    }
    at = read == size ? at + size : AlignDown(at + read, kPageSize) + kPageSize;
  }
  reached.scanned = true;
  return true;
}

void Walk::AddRoot(uint64_t word) {
  size_t next = result_.reached.size();
  quota_ = runtime_.policy.root_bytes;
  Follow(word, 0);
  // Each turn follows at least one piece or stops, and the queue is bounded.
  while (next < result_.reached.size() && quota_ != 0 && !full_) {
    if (!ScanReached(result_.reached[next])) break;
    ++next;
  }
}

void Walk::KeepMetadata(Address address) {
  if (!InHeap(*runtime_.index, address) || outcome_.heap_bytes > kMetadataBytes) {
    return;
  }
  metadata_ = true;
  const size_t first = result_.reached.size();
  Follow(address, 0);
  for (size_t i = first; i < result_.reached.size() && i < first + 64; ++i) {
    Reached& reached = result_.reached[i];
    // What the structure itself points to, one hop: not the program's data behind it.
    if (reached.hops == 0) ScanReached(reached);
    reached.kind = SegmentKind::kThreadData;
  }
  metadata_ = false;
}

void Walk::KeepRange(AddressRange range) {
  if (range.empty() || range.size() > budget_) return;
  Reached reached;
  reached.range = {AlignDown(range.begin, 16), AlignUp(range.end, 16)};
  reached.kind = SegmentKind::kForeign;
  reached.pointer = range.begin;
  quota_ = runtime_.policy.root_bytes;
  Keep(reached, kNoTag, reached.range.size());
}

void Walk::Drain() {
  // The queue grows while it is walked, up to its capacity; each piece is scanned once.
  for (size_t i = 0; i < result_.reached.size() && !Exhausted(); ++i) {
    quota_ = budget_;
    ScanReached(result_.reached[i]);
  }
  for (size_t i = 0; i < result_.reached.size(); ++i) {
    Reached& reached = result_.reached[i];
    if (reached.kind != SegmentKind::kHeap) continue;
    if (DispositionOfTag(reached.tag) == Disposition::kCut) continue;
    if (reached.range.size() < LargestWhole()) continue;
    const Allocation allocation = Resolve(*runtime_.index, reached.pointer);
    if (allocation.state != AllocationState::kLive) continue;
    const AddressRange whole = allocation.range();
    const ByteCount more = whole.size() - reached.range.size();
    if (more == 0 || !whole.Contains(reached.range)) continue;
    if (reached.directly && more <= budget_) {
      budget_ -= more;
      outcome_.heap_bytes += more;
      TagCount& count = result_.tags[reached.tag <= kMaxTags ? reached.tag : 0];
      count.bytes_in += more;
      count.bytes_out -= more;
      reached.range = whole;
      continue;
    }
    outcome_.AddHole(whole.begin, reached.range.begin, HoleReason::kObjectLimit,
                     reached.tag);
    outcome_.AddHole(reached.range.end, whole.end, HoleReason::kObjectLimit,
                     reached.tag);
  }
}

}  // namespace minicore
