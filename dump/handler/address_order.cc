#include "dump/handler/address_order.h"

#include <utility>

namespace minicore {
namespace {

constexpr unsigned kDigitBits = 11;
constexpr unsigned kDigits = 4;  // 43 bits of an address
constexpr size_t kValues = size_t{1} << kDigitBits;

// How often each digit has each value, and then where the keys that have it go.
uint32_t g_places[kDigits][kValues];  // one thread dumps at a time

}  // namespace

// Radix sort, least significant digit first: Knuth, TAOCP volume 3, 5.2.5.
void AddressOrder::Sort() {
  static_assert(kDigits * kDigitBits + kNumberBits >= 63);
  const auto digit = [](uint64_t key, unsigned which) {
    return key >> (kNumberBits + which * kDigitBits) & (kValues - 1);
  };
  __builtin_memset(g_places, 0, sizeof(g_places));
  for (size_t k = 0; k < size_; ++k) {
    for (unsigned i = 0; i < kDigits; ++i) ++g_places[i][digit(keys_[k], i)];
  }
  for (unsigned i = 0; i < kDigits; ++i) {
    uint32_t place = 0;
    for (uint32_t& count : g_places[i]) place += std::exchange(count, place);
    for (size_t k = 0; k < size_; ++k) {
      spare_[g_places[i][digit(keys_[k], i)]++] = keys_[k];
    }
    std::swap(keys_, spare_);
  }
}

}  // namespace minicore
