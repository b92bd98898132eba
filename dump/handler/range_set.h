// Memory as ranges: added in any order, then sorted and joined, then asked for.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_RANGE_SET_H_
#define MINICORE_DUMP_HANDLER_RANGE_SET_H_

#include <algorithm>
#include <cstddef>

#include "alloc/address.h"
#include "dump/safe/arena.h"

namespace minicore {

class RangeSet {
 public:
  void Reserve(safe::Arena& arena, size_t ranges) { ranges_.Reserve(arena, ranges); }

  // Without room for it the set is no longer complete().
  void Add(AddressRange range) {
    if (!range.empty()) (void)ranges_.Push(range);
  }
  bool complete() const { return !ranges_.overflowed(); }

  // After the last Add(). Ranges that touch become one.
  void Sort() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](AddressRange a, AddressRange b) { return a.begin < b.begin; });
    size_t kept = 0;
    for (AddressRange range : ranges_) {
      if (kept != 0 && range.begin <= ranges_[kept - 1].end) {
        ranges_[kept - 1].end = std::max(ranges_[kept - 1].end, range.end);
      } else {
        ranges_[kept++] = range;
      }
    }
    ranges_.Truncate(kept);
  }

  // Requires: Sort(), as for all below.
  bool Contains(Address address) const {
    const AddressRange* range = FirstAbove(address);
    return range != end() && range->begin <= address;
  }
  // The first that ends above `address`; end() if none does.
  const AddressRange* FirstAbove(Address address) const {
    return std::upper_bound(
        begin(), end(), address,
        [](Address value, const AddressRange& range) { return value < range.end; });
  }

  const AddressRange& operator[](size_t i) const { return ranges_[i]; }
  const AddressRange* begin() const { return ranges_.begin(); }
  const AddressRange* end() const { return ranges_.end(); }
  size_t size() const { return ranges_.size(); }

 private:
  safe::FixedVector<AddressRange> ranges_;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_RANGE_SET_H_
