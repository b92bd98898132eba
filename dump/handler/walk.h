// The search behind ScanAnchors(): one queue of what is kept, in rounds. First what the
// words of registers and stacks point to themselves, then for each of these, and for each
// word of static data, what it leads to within a quota, then everything, oldest first.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_WALK_H_
#define MINICORE_DUMP_HANDLER_WALK_H_

#include "dump/handler/anchor_scan.h"

namespace minicore {

class Walk {
 public:
  Walk(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
       const Redactor& redactor, safe::Arena& arena, ScanResult& result,
       Outcome& outcome);

  // Keeps a live allocation whole, or as far as the budget goes, before anything else.
  void KeepAlways(const Allocation& allocation);

  // Keeps what a word of a register or a stack points to, and nothing behind it yet.
  // Freed allocations and the allocator's own structures too, in part: a debugger's user
  // looks there first, and finds what was there.
  void KeepDirect(uint64_t word);

  // Makes large allocations that were kept around the pointer whole, or as large as
  // object_bytes, while more than half of the budget is left.
  void WidenDirect();

  // Follows what KeepDirect() and KeepAlways() kept, each for at most `root_bytes`.
  void FollowDirect();

  // Instead of FollowDirect() and all that comes behind it: keeps what was reached a moment
  // ago and is still there, without looking at its words again, and follows what
  // KeepDirect() has found new, for a few hundred microseconds.
  void GoOnFrom(const ScanResult& before, safe::Arena& arena);

  // Follows one word of static data, for at most `root_bytes`.
  void AddRoot(uint64_t word);

  // Keeps what a debugger needs, and what that points to (a DTV's blocks, a link map's
  // name), on a budget of its own: the list may be overwritten, and lead anywhere.
  void KeepMetadata(Address address);

  // Keeps a tagged range of any memory.
  void KeepRange(AddressRange range);

  // Follows everything that is kept, oldest first, until less than `reserve` bytes of the
  // budget are left.
  void Drain(ByteCount reserve);

  // Widens large allocations with what is left, those that frames point to first. Their
  // words are to be followed again.
  void WidenAll();

  // Lists what is not there of what is kept in part.
  void ListMissing();

  // The budget, the tables or the time are used up.
  bool Exhausted() { return full_ || outcome_.Late(); }

  Disposition DispositionOfTag(uint8_t tag) const;

 private:
  // As minicore::TagOf(), from a table.
  uint8_t TagOf(const Allocation& allocation) const;
  // Without what stands in the high 16 bits of a tagged pointer.
  uint64_t Untagged(uint64_t word) const { return word & untagged_; }
  bool MayPoint(uint64_t word) const;
  // Queues what `word` points to, if it is anything and new.
  void Follow(uint64_t word, uint16_t hops);
  // The same for many, at most 64 at once. Returns: false if the search has to stop.
  bool FollowAll(const uint64_t* words, size_t count, uint16_t hops);
  // `allocation` encloses `word`, if that is in the heap.
  void FollowPointer(uint64_t word, const Allocation& allocation, uint16_t hops);
  void FollowAllocation(uint64_t word, const Allocation& allocation, uint16_t hops);
  void FollowForeign(uint64_t word, uint16_t hops);
  // Whether `range`, known by `key`, was not met before. When the table of what was met is
  // full, nobody knows: then the search ends, and `range` is listed as left out.
  bool IsNew(Address key, AddressRange range, uint8_t tag);
  void KeepFreed(uint64_t word, const Allocation& allocation);
  bool InElidedExtent(Address address) const;
  void KeepLook(uint64_t word, AddressRange where, SegmentKind kind);
  void KeepTail(uint64_t word, const Allocation& allocation);
  // Follows result_.reached[index] and what that leads to, for at most `root_bytes`.
  void FollowFrom(size_t index);
  // Grows a piece within its allocation.
  void Grow(Reached& reached, AddressRange range);
  // Whether more is alive around `reached`: the allocation `whole`, which is not to be cut.
  bool IsPart(const Reached& reached, AddressRange* whole) const;
  void Keep(Reached reached, uint8_t tag, ByteCount whole);
  // Follows the words of one reached piece. False if the quota ran out on the way.
  bool ScanReached(Reached& reached);
  // The least that is kept of an allocation, when the budget comes to its end.
  static constexpr ByteCount kLeastShare = 2048;
  // `size` bytes of `whole` with `address` in the middle, or as near to it as they get.
  static AddressRange Around(Address address, ByteCount size, AddressRange whole);
  // What is larger is kept in part.
  ByteCount LargestWhole() const {
    return AlignDown(runtime_.policy.object_bytes, kGranuleSize);
  }
  bool IsOurs(Address address) const;
  // What KeepDirect() kept: the allocation's begin, and the index in `reached`.
  struct Known {
    Address begin;
    size_t index;
  };
  // Returns: false when there is no room for more.
  static void AskFor(const Reached& reached);
  bool KeepAgain(const Reached& before, safe::FixedVector<Known>& direct);

  const Runtime& runtime_;
  const MemoryMap& map_;
  const Redactor& redactor_;
  const AddressRange heap_;  // it does not grow any more
  ScanResult& result_;
  Outcome& outcome_;
  AddressSet seen_;
  const Roots& roots_;
  RangeSet covered_;  // by the roots' pieces
  safe::FixedVector<size_t> direct_;         // indices of what KeepDirect() kept
  safe::FixedVector<size_t> always_;         // and of what KeepAlways() kept
  Disposition dispositions_[256];
  ByteCount metadata_left_;  // of what debuggers need beyond max_bytes
  const uint64_t untagged_;  // the bits of an address
  ByteCount budget_;         // left of max_bytes
  ByteCount quota_ = 0;      // left for this root word
  bool directly_ = false;
  unsigned refused_ = 0;  // allocations that were larger than the rest of the budget
  bool full_ = false;
  bool metadata_ = false;    // on a budget of its own
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_WALK_H_
