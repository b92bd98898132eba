// Tagged ranges: slots taken and given back without a lock, widened when they
// run out.
//
// A slot is free, claimed (by the one thread that fills or empties it) or live.
// A live slot may be widened by anybody: its begin only falls and its end only
// rises. Widening and emptying meet like this, all sequentially consistent:
//
//   widen:  change begin and end;  then read state: must still be live
//   empty:  claim the state;       then read begin and end: must be unchanged
//
// In any order, at least one of the two sees the other and steps back.

#include <cerrno>

#include "alloc/index_view.h"
#include "alloc/tag_table.h"

namespace minicore {
namespace {

bool TakeFreeSlot(TagState& tags, AddressRange range, uint8_t tag) {
  for (TagRange& slot : tags.ranges) {
    uint32_t state = slot.state.load(std::memory_order_relaxed);
    if (state != kRangeFree ||
        !slot.state.compare_exchange_strong(state, kRangeClaimed)) {
      continue;
    }
    slot.tag.store(tag, std::memory_order_relaxed);
    slot.merged.store(0, std::memory_order_relaxed);
    slot.begin.store(range.begin, std::memory_order_relaxed);
    // The end makes the range real for a reader: last, with release.
    slot.end.store(range.end, std::memory_order_release);
    slot.state.store(kRangeLive);
    return true;
  }
  return false;
}

// How many bytes more the hull of both would cover.
ByteCount Growth(AddressRange a, AddressRange b) {
  const ByteCount below = b.begin < a.begin ? a.begin - b.begin : 0;
  const ByteCount above = b.end > a.end ? b.end - a.end : 0;
  return below > UINT64_MAX - above ? UINT64_MAX : below + above;
}

// The slot whose hull with `range` is smallest, of those with this disposition.
TagRange* NearestSlot(TagState& tags, AddressRange range, Disposition wanted) {
  TagRange* nearest = nullptr;
  ByteCount least = UINT64_MAX;
  for (TagRange& slot : tags.ranges) {
    if (slot.state.load(std::memory_order_acquire) != kRangeLive ||
        DispositionOf(tags, slot.tag.load(std::memory_order_relaxed)) !=
            wanted) {
      continue;
    }
    const ByteCount growth = Growth({slot.begin.load(std::memory_order_relaxed),
                                     slot.end.load(std::memory_order_relaxed)},
                                    range);
    if (growth <= least) {
      least = growth;
      nearest = &slot;
    }
  }
  return nearest;
}

bool Widen(TagRange& slot, AddressRange range) {
  slot.merged.store(1);  // before it is
  Address begin = slot.begin.load();
  while (range.begin < begin &&
         !slot.begin.compare_exchange_weak(begin, range.begin)) {
  }
  Address end = slot.end.load();
  while (range.end > end && !slot.end.compare_exchange_weak(end, range.end)) {
  }
  return slot.state.load() == kRangeLive && slot.begin.load() <= range.begin &&
         slot.end.load() >= range.end;
}

bool WidenSome(TagState& tags, AddressRange range, uint8_t tag) {
  const Disposition wanted = DispositionOf(tags, tag);
  TagRange* slot = NearestSlot(tags, range, wanted);
  if (slot != nullptr) return Widen(*slot, range);
  // None of its kind: a more protective one leaves out too much, which is
  // allowed, a less protective one is made more protective first.
  for (int other = static_cast<int>(Disposition::kElide); other >= 0; --other) {
    slot = NearestSlot(tags, range, static_cast<Disposition>(other));
    if (slot == nullptr) continue;
    if (other < static_cast<int>(wanted)) slot->tag.store(tag);
    return Widen(*slot, range);
  }
  return false;
}

}  // namespace

void TagRangeOf(TagState& tags, AddressRange range, uint8_t tag) {
  // Fails only while others take and give back slots at the same time, and
  // every round that fails here is one in which another thread got on.
  while (!TakeFreeSlot(tags, range, tag) && !WidenSome(tags, range, tag)) {
  }
}

int UntagRangeOf(TagState& tags, AddressRange range, uint8_t tag) {
  for (TagRange& slot : tags.ranges) {
    const auto matches = [&slot, range, tag] {
      return slot.begin.load() == range.begin && slot.end.load() == range.end &&
             slot.tag.load() == tag;
    };
    uint32_t state = kRangeLive;
    if (slot.state.load(std::memory_order_acquire) != kRangeLive ||
        !matches() ||
        !slot.state.compare_exchange_strong(state, kRangeClaimed)) {
      continue;
    }
    if (!matches()) {  // widened, or reused, in between
      slot.state.store(kRangeLive);
      continue;
    }
    slot.end.store(0);
    slot.begin.store(0);
    slot.state.store(kRangeFree);
    return 0;
  }
  return -ENOENT;
}

}  // namespace minicore
