// A set of addresses with open addressing in the arena, for "have we seen this one".
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
  // `slots_log2`: room for three quarters of 2^slots_log2 addresses.
  // Less in an arena of which that would be more than an eighth.
  void Reserve(safe::Arena& arena, unsigned slots_log2) {
    while (slots_log2 > 10 && (sizeof(Address) << slots_log2) > arena.left() / 8) {
      --slots_log2;
    }
    slots_ = arena.AllocateArray<Address>(size_t{1} << slots_log2);
    shift_ = 64 - slots_log2;
    mask_ = slots_ == nullptr ? 0 : (size_t{1} << slots_log2) - 1;
    used_ = 0;
  }

  enum class Answer : uint8_t { kNew, kSeen, kFull };

  Answer Insert(Address address) {
    if (slots_ == nullptr || used_ > mask_ / 4 * 3) return Answer::kFull;
    // Fibonacci hashing: Knuth, TAOCP volume 3, 6.4. At most 3/4 of the slots are ever
    // used, so that an empty one ends every search.
    size_t at = address * 0x9e3779b97f4a7c15 >> shift_;
    for (;; at = (at + 1) & mask_) {
      if (slots_[at] == address) return Answer::kSeen;
      if (slots_[at] == 0) break;
    }
    slots_[at] = address;
    ++used_;
    return Answer::kNew;
  }

 private:
  Address* slots_ = nullptr;
  unsigned shift_ = 64;
  size_t mask_ = 0;
  size_t used_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ADDRESS_SET_H_
