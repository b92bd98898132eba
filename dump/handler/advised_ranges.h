// The ranges for which the program has asked for MADV_DONTDUMP, and has not taken that
// back: what the kernel says of it only in /proc/thread-self/smaps, which costs
// milliseconds for each GiB to read (undumpable.h).
//
// Writers: the interposed madvise() and mremap(), in any thread, a signal handler's too.
// Reader: the handler, while a writer may be frozen between any two instructions.
// Publication: a range is one word, so that it is there or not. It is entered before the
// kernel is asked, and taken out before the kernel is asked to forget it: of two threads
// that do both to the same memory, either the one that enters finds its range gone
// afterwards, or the other one's call is the last that the kernel got.
// Staleness: munmap() is not followed. What was mapped there since is taken for what was
// there before unless its bounds are others.
//
// When the ranges are not known any more (too many, too large, moved, taken back in part),
// they are lost for good, and smaps must be asked.

#ifndef MINICORE_DUMP_HANDLER_ADVISED_RANGES_H_
#define MINICORE_DUMP_HANDLER_ADVISED_RANGES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "alloc/address.h"

namespace minicore {

class AdvisedRanges {
 public:
  static constexpr size_t kMost = 1024;

  // What an advice of the kernel for [begin, begin + size) is about: whole pages; empty if
  // it is about nothing (mm/madvise.c, do_madvise()).
  static AddressRange Pages(Address begin, ByteCount size) {
    const Address end = begin + AlignUp(size, kPageSize);
    if (begin % kPageSize != 0 || end < begin || AlignUp(size, kPageSize) < size) return {};
    return {begin, end};
  }

  // Context: any.
  void Add(AddressRange range) {
    if (Covers(range)) return;
    const uint64_t word = Pack(range);
    if (word == 0) return Lose();
    for (size_t i = 0; i < kMost; ++i) {
      // Before the slot is: no reader must miss it.
      size_t used = i;
      used_.compare_exchange_strong(used, i + 1, std::memory_order_release,
                                    std::memory_order_relaxed);
      uint64_t old = slots_[i].load(std::memory_order_relaxed);
      // One within the new range is no loss; most of them were unmapped long ago.
      if (old != 0 && !range.Contains(Unpack(old))) continue;
      // Release: as all that the handler reads.
      if (slots_[i].compare_exchange_strong(old, word, std::memory_order_release,
                                            std::memory_order_relaxed)) {
        return;
      }
    }
    Lose();
  }

  // Returns: whether any was there. One that is covered in part makes all lost.
  //
  // Context: any.
  bool Remove(AddressRange range) {
    bool any = false;
    for (std::atomic<uint64_t>& slot : *this) {
      uint64_t word = slot.load(std::memory_order_relaxed);
      if (!range.Overlaps(Unpack(word))) continue;
      any = true;
      if (!range.Contains(Unpack(word))) {
        Lose();
      } else {
        // If it fails, another thread has entered something else.
        slot.compare_exchange_strong(word, 0, std::memory_order_release,
                                     std::memory_order_relaxed);
      }
    }
    return any;
  }

  // Whether some range covers `range`, or all are lost.
  bool Covers(AddressRange range) const {
    bool covers = range.empty() || lost();
    ForEach([&](AddressRange known) { covers = covers || known.Contains(range); });
    return covers;
  }
  bool Touches(AddressRange range) const {
    bool touches = false;
    ForEach([&](AddressRange known) { touches = touches || known.Overlaps(range); });
    return touches;
  }

  void Lose() { lost_.store(true, std::memory_order_release); }
  bool lost() const { return lost_.load(std::memory_order_acquire); }

  // Calls visit(range) for each.
  //
  // Context: any, the handler's too.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (const std::atomic<uint64_t>& slot : *this) {
      const AddressRange range = Unpack(slot.load(std::memory_order_acquire));
      if (!range.empty()) visit(range);
    }
  }

 private:
  //   bit   63..28                    27..0
  //         number of the first page  pages
  static constexpr unsigned kPagesBits = 28;
  static constexpr uint64_t kMostPages = (uint64_t{1} << kPagesBits) - 1;

  // 0 if it does not fit: a TiB, or addresses above 48 bits.
  static uint64_t Pack(AddressRange range) {
    const uint64_t first = range.begin / kPageSize;
    const uint64_t pages = range.size() / kPageSize;
    if (pages > kMostPages || first >> (64 - kPagesBits) != 0) return 0;
    return first << kPagesBits | pages;
  }
  static AddressRange Unpack(uint64_t word) {
    const Address begin = (word >> kPagesBits) * kPageSize;
    return {begin, begin + (word & kMostPages) * kPageSize};
  }

  std::atomic<uint64_t>* begin() { return slots_; }
  std::atomic<uint64_t>* end() { return slots_ + used_.load(std::memory_order_relaxed); }
  const std::atomic<uint64_t>* begin() const { return slots_; }
  const std::atomic<uint64_t>* end() const {
    return slots_ + used_.load(std::memory_order_acquire);
  }

  std::atomic<uint64_t> slots_[kMost] = {};
  std::atomic<size_t> used_{0};  // slots above this were never used
  std::atomic<bool> lost_{false};
};

// Those of this process. Constant-initialised: none.
extern AdvisedRanges g_advised;

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ADVISED_RANGES_H_
