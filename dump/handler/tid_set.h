// A set of thread ids, one bit each, so that no step costs the square of the number of
// threads.
//
// Context: any. Membership is published by other means (freeze.h): relaxed is enough.

#ifndef MINICORE_DUMP_HANDLER_TID_SET_H_
#define MINICORE_DUMP_HANDLER_TID_SET_H_

#include <atomic>
#include <cstdint>

#include "dump/safe/arena.h"

namespace minicore {

// Thread ids go up to 4,194,304 (linux/threads.h, PID_MAX_LIMIT).
inline constexpr uint32_t kMaxTid = 4 * 1024 * 1024;

class TidSet {
 public:
  constexpr TidSet() = default;
  explicit TidSet(safe::Arena& arena)
      : words_(arena.AllocateArray<std::atomic<uint64_t>>(kMaxTid / 64)) {}

  // Returns false if it was in already, or can't be remembered.
  bool Insert(uint32_t tid) {
    if (words_ == nullptr || tid >= kMaxTid) return false;
    const uint64_t bit = 1ull << (tid % 64);
    return (words_[tid / 64].fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }
  bool Contains(uint32_t tid) const {
    return words_ != nullptr && tid < kMaxTid &&
           (words_[tid / 64].load(std::memory_order_relaxed) >> (tid % 64) & 1) != 0;
  }

 private:
  std::atomic<uint64_t>* words_ = nullptr;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_TID_SET_H_
