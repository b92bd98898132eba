// The search behind ScanAnchors(): one queue, two rounds.
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

  // Words from now on come from a register or a stack, or not.
  void SetDirect(bool directly) { directly_ = directly; }

  // First round: follows a root word, for at most `root_bytes`.
  void AddRoot(uint64_t word);

  // Keeps what a debugger needs, and what that points to (a DTV's blocks, a link map's
  // name), outside the budget.
  void KeepMetadata(Address address);

  // Keeps a tagged range of any memory.
  void KeepRange(AddressRange range);

  // Second round: follows everything that is kept, oldest first; then widens large
  // allocations with what is left of the budget.
  void Drain();

  // The budget, the tables or the time are used up.
  bool Exhausted() { return full_ || outcome_.Late(); }

  Disposition DispositionOfTag(uint8_t tag) const;

 private:
  // Queues what `word` points to, if it is anything and new.
  void Follow(uint64_t word, uint16_t hops);
  void FollowAllocation(uint64_t word, const Allocation& allocation, uint16_t hops);
  void FollowForeign(uint64_t word, uint16_t hops);
  void Keep(Reached reached, uint8_t tag, ByteCount whole);
  // Follows the words of one reached piece. False if `left_` ran out on the way.
  bool ScanReached(Reached& reached);
  bool Covered(Address address) const;
  // What is larger is kept in part.
  ByteCount LargestWhole() const {
    return AlignDown(runtime_.policy.object_bytes, kGranuleSize);
  }
  bool IsOurs(Address address) const;

  const Runtime& runtime_;
  const MemoryMap& map_;
  const Redactor& redactor_;
  ScanResult& result_;
  Outcome& outcome_;
  AddressSet seen_;
  safe::FixedVector<AddressRange> covered_;  // by the roots' pieces, sorted
  Disposition dispositions_[256];
  ByteCount budget_;         // left of max_bytes
  ByteCount quota_ = 0;      // left for this root word
  bool directly_ = false;
  bool full_ = false;
  bool metadata_ = false;    // outside the budget
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_WALK_H_
