// A set of addresses with open addressing in the arena, for "have we seen this one".
//
// It starts with one page and grows by four. With its final size from the start, the
// first few thousand entries would be scattered over as many untouched pages, and each
// first touch is a page fault: that was half of a scan's time.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ADDRESS_SET_H_
#define MINICORE_DUMP_HANDLER_ADDRESS_SET_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/safe/arena.h"

namespace minicore {

class AddressSet {
 public:
  // `slots_log2`: room for three quarters of 2^slots_log2 addresses, in the end. Less in
  // an arena of which that would be more than an eighth.
  void Reserve(safe::Arena& arena, unsigned slots_log2) {
    while (slots_log2 > 10 && (sizeof(Address) << slots_log2) > arena.left() / 8) {
      --slots_log2;
    }
    arena_ = &arena;
    limit_log2_ = slots_log2;
    slots_ = nullptr;
    used_ = 0;
    (void)Resize(slots_log2 < kFirstLog2 ? slots_log2 : kFirstLog2);
  }

  // Asks for the line that Insert(address) will look at first.
  void Prefetch(Address address) const {
    __builtin_prefetch(slots_ + (address * kMultiplier >> shift_));
  }

  enum class Answer : uint8_t { kNew, kSeen, kFull };

  Answer Insert(Address address) {
    if (slots_ == nullptr) return Answer::kFull;
    if (used_ > mask_ / 4 * 3 && !Grow()) return Answer::kFull;
    const size_t at = Find(address);
    if (slots_[at] == address) return Answer::kSeen;
    slots_[at] = address;
    ++used_;
    return Answer::kNew;
  }

 private:
  static constexpr unsigned kFirstLog2 = 9;  // a page of slots
  static constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio

  // Fibonacci hashing: Knuth, TAOCP volume 3, 6.4. At most 3/4 of the slots are ever
  // used, so that an empty one ends every search.
  size_t Find(Address address) const {
    size_t at = address * kMultiplier >> shift_;
    while (slots_[at] != 0 && slots_[at] != address) at = (at + 1) & mask_;
    return at;
  }

  bool Resize(unsigned log2) {
    Address* slots = arena_->AllocateArray<Address>(size_t{1} << log2);
    if (slots == nullptr) return false;
    slots_ = slots;
    log2_ = log2;
    shift_ = 64 - log2;
    mask_ = (size_t{1} << log2) - 1;
    return true;
  }

  // The old slots are lost to the arena: a third of what the new ones take, in sum.
  bool Grow() {
    if (log2_ >= limit_log2_) return false;
    const Address* old = slots_;
    const size_t count = mask_ + 1;
    if (!Resize(log2_ + 2 < limit_log2_ ? log2_ + 2 : limit_log2_)) return false;
    for (size_t i = 0; i < count; ++i) {
      if (old[i] != 0) slots_[Find(old[i])] = old[i];
    }
    return true;
  }

  safe::Arena* arena_ = nullptr;
  Address* slots_ = nullptr;
  unsigned limit_log2_ = 0;
  unsigned log2_ = 0;
  unsigned shift_ = 64;
  size_t mask_ = 0;
  size_t used_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ADDRESS_SET_H_
