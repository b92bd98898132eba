#include "dump/handler/walk.h"

#include <algorithm>

#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr unsigned kSeenLog2 = 21;
// So many allocations may find the budget used up before the search ends: what it costs
// does not depend on the size of the heap. And once an allocation has not fitted, the
// last thousandth of the budget is worth no further look at all that was kept.
constexpr unsigned kMostRefused = 1024;
constexpr ByteCount kWorthwhileShare = 1024;
// A tagged cache's first bytes: a header with its counters is worth having.
constexpr ByteCount kCutBytes = 256;
// A window into memory that is no allocation of ours, around an object of
// ordinary size whose start is not known: whole blocks, from this much before
// the pointer to `window_bytes` behind it. By default that is as much as lldb
// shows of a text (target.max-string-summary-length; gdb shows 200 characters).
constexpr ByteCount kBlock = 512;
constexpr ByteCount kBeforePointer = 64;
// Of an allocation that a register or a stack points to, this much at first:
// when they point to more than the budget holds, each gets its share.
constexpr ByteCount kFirstShare = 4096;
// Of a freed allocation around the pointer: what was there is of interest, and
// stale pointers to large ones are frequent.
constexpr ByteCount kFreedShare = 4096;
// What a debugger's user sees of any address (`x/8gx`): kept of what nothing is
// known of.
constexpr ByteCount kLook = 64;
// What debuggers need beyond the budget; a list that runs in circles ends here.
constexpr ByteCount kMetadataBytes = 4 * 1024 * 1024;
// Of one allocation: a module's thread-locals may be large.
constexpr ByteCount kLargestMetadata = kMetadataBytes / 4;
constexpr Address kLowest = 64 * 1024;        // vm.mmap_min_addr
constexpr Address kHighest = 0x7fffffffffff;  // user half, 4-level paging
// Type tags, counters, hardware tags stand above these bits. Tags in the low 3
// need nothing: the pointer is then an interior one.
constexpr uint64_t kUntagged = 0xffffffffffff;

}  // namespace

Walk::Walk(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
           const Redactor& redactor, safe::Arena& arena, ScanResult& result,
           Outcome& outcome)
    : runtime_(runtime),
      map_(map),
      redactor_(redactor),
      heap_{runtime.index->region,
            runtime.index->region +
                runtime.index->committed.load(std::memory_order_acquire)},
      result_(result),
      outcome_(outcome),
      roots_(roots),
      metadata_left_(kMetadataBytes),
      untagged_(runtime.policy.tagged_pointers ? kUntagged : ~uint64_t{0}),
      budget_(runtime.policy.max_bytes) {
  seen_.Reserve(arena, kSeenLog2);
  for (unsigned tag = 0; tag < 256; ++tag) {
    dispositions_[tag] =
        DispositionOf(*runtime.tags, static_cast<uint8_t>(tag));
  }
  direct_.Reserve(arena, kMaxReached);
  always_.Reserve(arena, kMaxReached);
  covered_.Reserve(arena, roots.pieces.size());
  for (const Piece& piece : roots.pieces) covered_.Add(piece.range);
  covered_.Sort();
}

AddressRange Walk::Around(Address address, ByteCount size, AddressRange whole) {
  const ByteCount before = AlignDown(size / 2, 16);
  address = AlignDown(address, 16);
  Address begin =
      address - whole.begin > before ? address - before : whole.begin;
  if (whole.end - begin < size) begin = whole.end - size;
  return {begin, begin + size};
}

void Walk::AskFor(const Reached& reached) {
  __builtin_prefetch(reinterpret_cast<const void*>(reached.range.begin));
  __builtin_prefetch(reinterpret_cast<const char*>(reached.range.begin) + 64);
}

Disposition Walk::DispositionOfTag(uint8_t tag) const {
  return dispositions_[tag];
}

uint8_t Walk::TagOf(const Allocation& allocation) const {
  return allocation.own_tag == kNoTag || dispositions_[allocation.own_tag] <
                                             dispositions_[allocation.extent_tag]
             ? allocation.extent_tag
             : allocation.own_tag;
}

// The dumper's memory and the index's planes: pointed to from our static data,
// of no use to anybody, and full of addresses of allocations that the program
// has no pointer to.
bool Walk::IsOurs(Address address) const {
  return runtime_.arena_range.Contains(address) ||
         InIndexPlanes(*runtime_.index, address);
}

inline bool Walk::MayPoint(uint64_t word) const {
  const unsigned possible = word - kLowest <= kHighest - kLowest;
  return (possible & (unsigned{heap_.Contains(word)} |
                      unsigned{map_.MayBeWritable(word)})) != 0;
}

// Nearly all words end here, so they are looked at without a branch: whether
// one is a pointer, no processor can guess.
bool Walk::FollowAll(const uint64_t* words, size_t count, uint16_t hops) {
  uint64_t pointers = 0;
#pragma GCC unroll 4
  for (size_t i = 0; i < count; ++i) {
    pointers |= uint64_t{MayPoint(Untagged(words[i]))} << i;
  }
  // Each look at the index, and at what was seen, is a miss of the caches: first
  // all of them are asked for, then they are used.
  for (uint64_t left = pointers; left != 0; left &= left - 1) {
    const uint64_t word = Untagged(words[__builtin_ctzll(left)]);
    if (heap_.Contains(word)) PrefetchResolve(*runtime_.index, word);
  }
  Allocation allocations[64];
  for (uint64_t left = pointers; left != 0; left &= left - 1) {
    const auto i = __builtin_ctzll(left);
    const uint64_t word = Untagged(words[i]);
    if (!heap_.Contains(word)) continue;
    allocations[i] = Resolve(*runtime_.index, word);
    seen_.Prefetch(allocations[i].begin);
  }
  for (; pointers != 0; pointers &= pointers - 1) {
    const auto i = __builtin_ctzll(pointers);
    FollowPointer(Untagged(words[i]), allocations[i], hops);
    if (full_ || (quota_ == 0 && !metadata_)) return false;
  }
  return !full_ && (quota_ != 0 || metadata_);
}

void Walk::Follow(uint64_t word, uint16_t hops) {
  word = Untagged(word);
  if (!MayPoint(word)) return;
  FollowPointer(word, heap_.Contains(word) ? Resolve(*runtime_.index, word) : Allocation{},
                hops);
}

void Walk::FollowPointer(uint64_t word, const Allocation& allocation, uint16_t hops) {
  if (!heap_.Contains(word)) {
    FollowForeign(word, hops);
    return;
  }
  switch (allocation.state) {
    case AllocationState::kLive:
      ++outcome_.anchors;
      FollowAllocation(word, allocation, hops);
      if (directly_) KeepTail(word, allocation);
      break;
    case AllocationState::kFreed:
      ++outcome_.freed_anchors;
      if (!directly_) break;
      KeepFreed(word, allocation);
      KeepTail(word, allocation);
      break;
    case AllocationState::kUnknown:
      if (directly_) KeepLook(word, heap_, SegmentKind::kForeign);
      break;
  }
}

bool Walk::IsNew(Address key, AddressRange range, uint8_t tag) {
  const AddressSet::Answer answer = seen_.Insert(key);
  if (answer == AddressSet::Answer::kFull) {
    outcome_.AddHole(range.begin, range.end, HoleReason::kOutOfRoom, tag);
    full_ = true;
  }
  return answer == AddressSet::Answer::kNew;
}

void Walk::KeepFreed(uint64_t word, const Allocation& allocation) {
  const uint8_t tag = TagOf(allocation);
  const Disposition disposition = DispositionOfTag(tag);
  if (disposition == Disposition::kElide || disposition == Disposition::kCut)
    return;
  Reached reached;
  reached.range = allocation.range();
  if (allocation.size == 0) {
    reached.range = AddressRange{AlignDown(word, 16), AlignDown(word, 16) + kLook}.Clip(
        heap_);
  } else if (allocation.size > kFreedShare) {
    reached.range = Around(word, kFreedShare, reached.range);
  }
  if (!IsNew(reached.range.begin, reached.range, tag)) return;
  reached.pointer = word;
  reached.tag = tag;
  reached.directly = true;
  reached.scanned = true;  // what it pointed to may long be something else
  Keep(reached, tag, 0);
}

// Whether `address` lies in an extent of a tag whose memory is left out, whatever
// lives there or not.
bool Walk::InElidedExtent(Address address) const {
  if (!heap_.Contains(address)) return false;
  const ChunkEntry& chunk =
      runtime_.index->chunks[(address - heap_.begin) >> kChunkShift];
  const uint64_t tags = chunk.tags.load(std::memory_order_relaxed);
  return DispositionOfTag(ExtentTag(tags)) == Disposition::kElide;
}

// What kLook bytes from `word` on show of [begin, end), and of which nothing is
// scanned.
void Walk::KeepLook(uint64_t word, AddressRange where, SegmentKind kind) {
  Reached reached;
  reached.kind = kind;
  reached.range =
      AddressRange{AlignDown(word, 16), AlignUp(word + kLook, 16)}.Clip(where);
  // Odd: no allocation and no block begins there.
  if (reached.range.empty() || InElidedExtent(reached.range.begin) ||
      InElidedExtent(reached.range.end - 1) ||
      !IsNew(reached.range.begin + 1, reached.range, kNoTag)) {
    return;
  }
  reached.pointer = word;
  reached.directly = true;
  reached.look = true;
  reached.scanned = true;
  Keep(reached, kNoTag, 0);
}

// What a look at a small allocation shows behind its end, as far as nothing
// lives there.
void Walk::KeepTail(uint64_t word, const Allocation& allocation) {
  if (DispositionOfTag(TagOf(allocation)) == Disposition::kElide) return;
  const Address begin = allocation.range().end;
  const Address end = AlignUp(word + kLook, kGranuleSize);
  Address dead = begin;
  // At most kLook / kGranuleSize turns.
  while (dead < end && InHeap(*runtime_.index, dead)) {
    const Allocation next = Resolve(*runtime_.index, dead);
    if (next.state == AllocationState::kLive ||
        DispositionOfTag(TagOf(next)) == Disposition::kElide) {
      break;
    }
    dead += kGranuleSize;
  }
  if (dead > begin) KeepLook(word, {begin, dead}, SegmentKind::kForeign);
}

void Walk::FollowAllocation(uint64_t word, const Allocation& allocation,
                            uint16_t hops) {
  const uint8_t tag = TagOf(allocation);
  Reached reached;
  reached.range = allocation.range();
  reached.pointer = word;
  reached.tag = tag;
  reached.directly = directly_;
  reached.hops = hops;
  if (!IsNew(allocation.begin, reached.range, tag)) return;
  TagCount& count = result_.tags[tag <= kMaxTags ? tag : 0];
  const ByteCount whole = allocation.size;
  switch (DispositionOfTag(tag)) {
    case Disposition::kElide:
      ++count.elided;
      count.bytes_out += whole;
      outcome_.AddHole(reached.range.begin, reached.range.end,
                       HoleReason::kSecret, tag);
      return;
    case Disposition::kCut:
      ++count.cut;
      reached.scanned = true;
      if (whole > kCutBytes) {
        reached.range.end = reached.range.begin + kCutBytes;
        outcome_.AddHole(reached.range.end, allocation.range().end,
                         HoleReason::kCut, tag);
      }
      break;
    case Disposition::kKeep:
    case Disposition::kKeepAlways:
      ++count.kept;
      const ByteCount most = metadata_   ? kLargestMetadata
                             : directly_ ? std::min(kFirstShare, LargestWhole())
                                         : LargestWhole();
      if (whole > most)
        reached.range = Around(word, most, allocation.range());
      break;
  }
  Keep(reached, tag, whole);
}

void Walk::FollowForeign(uint64_t word, uint16_t hops) {
  if (runtime_.policy.window_bytes == 0 || IsOurs(word) || covered_.Contains(word) ||
      roots_.left_out_stacks.Contains(word)) {
    return;
  }
  const Mapping* mapping = map_.Find(word);
  if (mapping == nullptr || !mapping->readable || !mapping->writable) return;
  if (map_.IsDevice(*mapping)) return;
  if (roots_.unused_stacks.Contains(word)) {
    // Nothing on it is alive.
    if (directly_) KeepLook(word, mapping->range, SegmentKind::kStack);
    return;
  }
  // Neighbouring windows share blocks: each block is kept, and paid for, once.
  const AddressRange window =
      AddressRange{AlignDown(word - kBeforePointer, kBlock),
                   AlignUp(word + runtime_.policy.window_bytes, kBlock)}
          .Clip(mapping->range);
  Reached reached;
  reached.kind = SegmentKind::kForeign;
  reached.pointer = word;
  reached.directly = directly_;
  reached.hops = hops;
  for (Address at = window.begin; at < window.end; at += kBlock) {
    if (!IsNew(at, {at, std::min(at + kBlock, window.end)}, kNoTag)) continue;
    if (reached.range.empty() || reached.range.end != at) {
      if (!reached.range.empty()) Keep(reached, kNoTag, 0);
      reached.range = {at, at};
    }
    reached.range.end = std::min(at + kBlock, window.end);
  }
  if (!reached.range.empty()) Keep(reached, kNoTag, 0);
}

void Walk::Keep(Reached reached, uint8_t tag, ByteCount whole) {
  ByteCount size = reached.range.size();
  if (!metadata_) {
    if (size > budget_ && reached.directly &&
        reached.kind == SegmentKind::kHeap && budget_ >= kLeastShare) {
      // A share of it is worth more than the next one whole.
      reached.range = Around(reached.pointer, kLeastShare, reached.range);
      size = kLeastShare;
    }
    if (size > budget_) {
      outcome_.AddHole(reached.range.begin, reached.range.end,
                       HoleReason::kBudget, tag);
      // What else might fit into the rest is not worth looking at a whole heap.
      if (budget_ <= runtime_.policy.max_bytes / kWorthwhileShare ||
          ++refused_ == kMostRefused) {
        full_ = true;
      }
      return;
    }
    budget_ -= size;
    quota_ = quota_ > size ? quota_ - size : 0;
  } else if (size > metadata_left_) {
    outcome_.AddHole(reached.range.begin, reached.range.end,
                     HoleReason::kBudget, tag);
    return;
  } else {
    metadata_left_ -= size;
  }
  AskFor(reached);
  reached.counted = whole != 0;
  if (!result_.reached.Push(reached)) {
    outcome_.AddHole(reached.range.begin, reached.range.end,
                     HoleReason::kOutOfRoom, tag);
    full_ = true;
    return;
  }
  if (reached.kind == SegmentKind::kHeap) outcome_.heap_bytes += size;
  if (whole != 0) {
    TagCount& count = result_.tags[tag <= kMaxTags ? tag : 0];
    count.bytes_in += size;
    count.bytes_out += whole - size;
    ++outcome_.allocations;
  }
}

bool Walk::ScanReached(Reached& reached) {
  if (reached.scanned) return true;
  if (runtime_.policy.hops != 0 && reached.hops >= runtime_.policy.hops)
    return true;
  if (outcome_.Late()) return false;
  uint64_t block[128];
  const AddressRange range = reached.range;
  const auto hops =
      static_cast<uint16_t>(reached.hops + (reached.hops < 0xffff));
  for (Address at = AlignUp(range.begin, 8); at + 8 <= range.end;) {
    const ByteCount size = std::min<ByteCount>(range.end - at, sizeof(block));
    const size_t read = safe::GuardedCopy(block, at, size);
    redactor_.Blank(at, block, read / 8);
    for (size_t i = 0; i < read / 8; i += 64) {
      if (!FollowAll(block + i, std::min<size_t>(read / 8 - i, 64), hops)) return false;
    }
    at = read == size ? at + size : AlignDown(at + read, kPageSize) + kPageSize;
  }
  reached.scanned = true;
  return true;
}

}  // namespace minicore
