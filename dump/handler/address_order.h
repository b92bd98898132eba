// Numbers of things in the order of their addresses: sorted are words of an address and a
// number, not the things.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ADDRESS_ORDER_H_
#define MINICORE_DUMP_HANDLER_ADDRESS_ORDER_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/safe/arena.h"

namespace minicore {

class AddressOrder {
 public:
  // Numbers are below this, addresses below the user half's end with 4-level paging.
  static constexpr uint32_t kNumbers = 1 << 20;
  static constexpr Address kAddresses = Address{1} << 47;

  // As safe::FixedVector: room for less in a small arena.
  void Reserve(safe::Arena& arena, size_t count) {
    const size_t most = arena.left() / 8 / sizeof(*keys_);
    capacity_ = count < most ? count : most;
    keys_ = arena.AllocateArray<uint64_t>(capacity_);
    spare_ = arena.AllocateArray<uint64_t>(capacity_);
    if (keys_ == nullptr || spare_ == nullptr) capacity_ = 0;
    size_ = 0;
  }

  // Returns: false if there is no room for more, or the address is none.
  [[nodiscard]] bool Add(Address address, uint32_t number) {
    if (size_ == capacity_ || address >= kAddresses || number >= kNumbers) return false;
    keys_[size_++] = address >> kGranuleBits << kNumberBits | number;
    return true;
  }

  // By address, in steps of 16 bytes; what begins at the same one as it was added. Takes
  // time that grows with the count alone.
  void Sort();

  size_t size() const { return size_; }
  // Number of the i-th.
  uint32_t operator[](size_t i) const {
    return static_cast<uint32_t>(keys_[i] % kNumbers);
  }

 private:
  static constexpr unsigned kGranuleBits = 4;
  static constexpr unsigned kNumberBits = 20;

  uint64_t* keys_ = nullptr;
  uint64_t* spare_ = nullptr;  // as many
  size_t capacity_ = 0;
  size_t size_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ADDRESS_ORDER_H_
