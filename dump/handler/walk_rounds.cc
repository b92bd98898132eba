// The rounds: in which order what is kept is followed, and who gets what is left of the
// budget. What one word leads to is in walk.cc.

#include <algorithm>

#include "dump/handler/walk.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// So many pieces before it is scanned, a piece's memory is asked for.
constexpr size_t kAhead = 8;
// Of so many roots next to each other, as those of one object are, allocations above this
// come last. The buckets of a hash table lead to its nodes in any order, and each that they
// keep ends the chain of nodes, by which debuggers print it.
constexpr size_t kNeighbours = 64;
constexpr ByteCount kTable = 2048;

}  // namespace

void Walk::KeepDirect(uint64_t word) {
  const size_t before = result_.reached.size();
  quota_ = UINT64_MAX;
  directly_ = true;
  Follow(word, 0);
  directly_ = false;
  if (result_.reached.size() != before) (void)direct_.Push(before);
}

void Walk::KeepAlways(const Allocation& allocation) {
  Reached reached;
  reached.range = allocation.range();
  reached.pointer = allocation.begin;
  const uint8_t tag = TagOf(allocation);
  reached.tag = tag;
  if (!IsNew(allocation.begin, reached.range, tag)) return;
  ++result_.tags[tag <= kMaxTags ? tag : 0].kept;
  const ByteCount room = AlignDown(budget_, kGranuleSize);
  if (room != 0 && room < allocation.size) {
    reached.range.end = reached.range.begin + room;
  }
  const size_t before = result_.reached.size();
  Keep(reached, tag, allocation.size);
  if (result_.reached.size() != before) (void)always_.Push(before);
}

void Walk::FollowFrom(size_t index) {
  size_t next = result_.reached.size();
  quota_ = runtime_.policy.root_bytes;
  if (!ScanReached(result_.reached[index])) return;
  // Each turn follows at least one piece or stops, and the queue is bounded.
  while (next < result_.reached.size() && quota_ != 0 && !full_) {
    if (!ScanReached(result_.reached[next])) break;
    ++next;
  }
}

void Walk::FollowDirect() {
  for (const auto* roots : {&direct_, &always_}) {
    for (size_t first = 0; first < roots->size(); first += kNeighbours) {
      const size_t end = std::min(first + kNeighbours, roots->size());
      for (const bool tables : {false, true}) {
        for (size_t i = first; i < end; ++i) {
          const size_t index = (*roots)[i];
          if (Exhausted()) return;
          if (!tables && i + kAhead < roots->size()) {
            AskFor(result_.reached[(*roots)[i + kAhead]]);
          }
          if ((result_.reached[index].range.size() > kTable) == tables) FollowFrom(index);
        }
      }
    }
  }
}

bool Walk::KeepAgain(const Reached& before, safe::FixedVector<Known>& direct) {
  const Address word = before.pointer;
  const size_t first = result_.reached.size();
  quota_ = UINT64_MAX;
  if (InHeap(*runtime_.index, word)) {
    const Allocation allocation = Resolve(*runtime_.index, word);
    Known* const known =
        std::lower_bound(direct.begin(), direct.end(), allocation.begin,
                         [](const Known& a, Address begin) { return a.begin < begin; });
    if (known != direct.end() && known->begin == allocation.begin) {
      result_.reached[known->index].scanned = true;
      return true;
    }
    if (allocation.state != AllocationState::kLive) return true;
    ++outcome_.anchors;
    FollowAllocation(word, allocation, before.hops);
  } else {
    FollowForeign(word, before.hops);
  }
  for (size_t i = first; i < result_.reached.size(); ++i) {
    result_.reached[i].scanned = true;
  }
  return !Exhausted();
}

void Walk::GoOnFrom(const ScanResult& before, safe::Arena& arena) {
  // The threads stand still for it: of what is new some dozen allocations are followed.
  constexpr uint64_t kMicrosecondsForNew = 300;
  safe::FixedVector<Known> direct;
  direct.Reserve(arena, direct_.size());
  for (size_t index : direct_) {
    const Address pointer = result_.reached[index].pointer;
    if (!InHeap(*runtime_.index, pointer)) continue;
    (void)direct.Push({Resolve(*runtime_.index, pointer).begin, index});
  }
  std::sort(direct.begin(), direct.end(),
            [](const Known& a, const Known& b) { return a.begin < b.begin; });
  size_t next = 0;
  const ByteCount reserve = runtime_.policy.max_bytes / 64;
  while (next < before.reached.size() && budget_ > reserve) {
    if (!KeepAgain(before.reached[next++], direct)) break;
  }
  const uint64_t until = safe::NowMicroseconds() + kMicrosecondsForNew;
  for (size_t index : direct_) {
    if (result_.reached[index].scanned) continue;
    if (Exhausted() || safe::NowMicroseconds() >= until) break;
    FollowFrom(index);
  }
  while (next < before.reached.size()) {
    if (!KeepAgain(before.reached[next++], direct)) break;
  }
}

void Walk::AddRoot(uint64_t word) {
  const size_t before = result_.reached.size();
  quota_ = runtime_.policy.root_bytes;
  Follow(word, 0);
  if (result_.reached.size() != before && !full_) FollowFrom(before);
}

void Walk::KeepMetadata(Address address) {
  if (!InHeap(*runtime_.index, address)) return;
  metadata_ = true;
  const size_t first = result_.reached.size();
  Follow(address, 0);
  for (size_t i = first; i < result_.reached.size() && i < first + 64; ++i) {
    Reached& reached = result_.reached[i];
    // What the structure itself points to, one hop: not the program's data
    // behind it.
    if (reached.hops == 0) ScanReached(reached);
    reached.kind = SegmentKind::kThreadData;
  }
  metadata_ = false;
}

void Walk::KeepRange(AddressRange range) {
  if (range.empty()) return;
  Reached reached;
  reached.range = {AlignDown(range.begin, 16), AlignUp(range.end, 16)};
  reached.kind = SegmentKind::kForeign;
  reached.pointer = range.begin;
  Keep(reached, kNoTag, 0);
}

void Walk::Drain(ByteCount reserve) {
  // The queue grows while it is walked, up to its capacity; each piece is
  // scanned once.
  for (size_t i = 0; i < result_.reached.size() && !Exhausted(); ++i) {
    if (i + kAhead < result_.reached.size()) AskFor(result_.reached[i + kAhead]);
    // With nothing in reserve, the first that does not fit is noted.
    if (reserve != 0 && budget_ <= reserve) return;
    quota_ = budget_ - reserve;
    ScanReached(result_.reached[i]);
  }
}

bool Walk::IsPart(const Reached& reached, AddressRange* whole) const {
  // What is smaller is whole.
  if (reached.range.size() < std::min(kLeastShare, LargestWhole())) return false;
  if ((reached.kind != SegmentKind::kHeap &&
       reached.kind != SegmentKind::kThreadData) ||
      DispositionOfTag(reached.tag) == Disposition::kCut) {
    return false;
  }
  const Allocation allocation = Resolve(*runtime_.index, reached.pointer);
  *whole = allocation.range();
  return allocation.state == AllocationState::kLive &&
         whole->Contains(reached.range) &&
         whole->size() != reached.range.size();
}

void Walk::Grow(Reached& reached, AddressRange range) {
  const ByteCount more = range.size() - reached.range.size();
  budget_ -= more;
  outcome_.heap_bytes += more;
  TagCount& count = result_.tags[reached.tag <= kMaxTags ? reached.tag : 0];
  count.bytes_in += more;
  count.bytes_out -= more;
  reached.range = range;
  reached.scanned = false;
}

void Walk::WidenDirect() {
  for (size_t index : direct_) {
    Reached& reached = result_.reached[index];
    AddressRange whole;
    if (!IsPart(reached, &whole)) continue;
    if (whole.size() > LargestWhole()) {
      whole = Around(reached.pointer, LargestWhole(), whole);
    }
    const ByteCount more = whole.size() - reached.range.size();
    if (whole.size() <= reached.range.size() ||
        !whole.Contains(reached.range) || more > budget_ ||
        budget_ - more < runtime_.policy.max_bytes / 2) {
      continue;
    }
    Grow(reached, whole);
  }
}

void Walk::WidenAll() {
  for (const bool directly : {true, false}) {
    for (Reached& reached : result_.reached) {
      AddressRange whole;
      if (reached.directly != directly || reached.kind != SegmentKind::kHeap ||
          !IsPart(reached, &whole)) {
        continue;
      }
      const AddressRange most =
          whole.size() > LargestWhole()
              ? Around(reached.pointer, LargestWhole(), whole)
              : whole;
      for (const AddressRange& range : {whole, most}) {
        if (range.Contains(reached.range) &&
            range.size() - reached.range.size() <= budget_) {
          Grow(reached, range);
        }
      }
    }
  }
}

void Walk::ListMissing() {
  for (const Reached& reached : result_.reached) {
    AddressRange whole;
    if (!IsPart(reached, &whole)) continue;
    const bool limited =
        whole.size() > LargestWhole() &&
        DispositionOfTag(reached.tag) != Disposition::kKeepAlways;
    const HoleReason reason =
        limited ? HoleReason::kObjectLimit : HoleReason::kBudget;
    outcome_.AddHole(whole.begin, reached.range.begin, reason, reached.tag);
    outcome_.AddHole(reached.range.end, whole.end, reason, reached.tag);
  }
}

}  // namespace minicore
