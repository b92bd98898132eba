// Tagged ranges: slots taken and given back without a lock, widened when they
// run out.
//
// A slot is free, claimed (by the one thread that fills or empties it) or live.
// Everything but its bounds is one word, `state`, and every writer's right to
// the bounds comes from a compare-and-swap of that word, as it was when the
// bounds were read:
//
//   take    free -> claimed, one use more | begin | end | -> live
//   untag   live, not merged -> claimed | end = 0 | begin = 0 | -> free
//   widen   live -> live, merged | begin only falls, end only rises
//
// Each use of a slot has words of its own, so a compare-and-swap that succeeds
// proves that the slot is still in the use whose bounds and tag were seen, and
// nobody has widened it or begun to. From "merged" there is no way back: such a
// slot stays live as long as the process, and its bounds only grow. So whoever
// has merged a range into a slot may widen it in peace, and untagging meets
// either an unmerged slot, which is his alone, or none.
//
// A crash finds a range as soon as begin < end, with the tag that is in the word
// by then, and until end = 0: at no instant is one missing whose call has
// returned. (All sequentially consistent; only a crash reads less strictly, and
// by then nobody writes.)

#include <cerrno>

#include "alloc/index_view.h"
#include "alloc/tag_table.h"

namespace minicore {
namespace {

bool TakeFreeSlot(TagState& tags, AddressRange range, uint8_t tag) {
  for (TagRange& slot : tags.ranges) {
    uint64_t state = slot.state.load();
    if ((state & kRangeStateMask) != kRangeFree) continue;
    // The use counts in what is above everything else.
    const uint64_t use = AlignDown(state, kRangeUse) + kRangeUse;
    if (!slot.state.compare_exchange_strong(state, use | kRangeClaimed | tag)) {
      continue;
    }
    slot.begin.store(range.begin);
    slot.end.store(range.end);  // last: makes it real for a reader
    slot.state.store(use | kRangeLive | tag);
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

// The slot whose hull with `range` is smallest, and its word: of this tag, or if
// `any`, of all. Null if there is none.
TagRange* NearestSlot(TagState& tags, AddressRange range, uint8_t tag, bool any,
                      uint64_t* word) {
  TagRange* nearest = nullptr;
  ByteCount least = UINT64_MAX;
  for (TagRange& slot : tags.ranges) {
    const uint64_t state = slot.state.load();
    if ((state & kRangeStateMask) != kRangeLive ||
        (!any && RangeTag(state) != tag)) {
      continue;
    }
    const ByteCount growth =
        Growth({slot.begin.load(), slot.end.load()}, range);
    if (nearest == nullptr || growth < least) {
      least = growth;
      nearest = &slot;
      *word = state;
    }
  }
  return nearest;
}

// Merges `range` into a slot whose word was `state`. Returns: false if it is not
// any more.
bool Widen(TagRange& slot, uint64_t state, AddressRange range, uint8_t tag) {
  // Of two tags a slot has no room for both, nor for what a later rule says of
  // either.
  const uint8_t both = RangeTag(state) == tag ? tag : kUnknownTag;
  const uint64_t merged = (state - RangeTag(state) + both) | kRangeMerged;
  if (!slot.state.compare_exchange_strong(state, merged)) return false;
  Address begin = slot.begin.load();
  while (range.begin < begin &&
         !slot.begin.compare_exchange_weak(begin, range.begin)) {
  }
  Address end = slot.end.load();
  while (range.end > end && !slot.end.compare_exchange_weak(end, range.end)) {
  }
  return true;
}

bool WidenSome(TagState& tags, AddressRange range, uint8_t tag) {
  uint64_t state = 0;
  TagRange* slot = NearestSlot(tags, range, tag, false, &state);
  if (slot == nullptr) slot = NearestSlot(tags, range, tag, true, &state);
  return slot != nullptr && Widen(*slot, state, range, tag);
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
    uint64_t state = slot.state.load();
    if ((state & (kRangeStateMask | kRangeMerged)) != kRangeLive ||
        RangeTag(state) != tag || slot.begin.load() != range.begin ||
        slot.end.load() != range.end) {
      continue;
    }
    const uint64_t claimed = state - kRangeLive + kRangeClaimed;
    if (!slot.state.compare_exchange_strong(state, claimed)) continue;
    slot.end.store(0);
    slot.begin.store(0);
    slot.state.store(AlignDown(claimed, kRangeUse) | kRangeFree);
    return 0;
  }
  return -ENOENT;
}

}  // namespace minicore
