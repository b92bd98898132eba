// Puts the pieces of a plan together.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ASSEMBLY_H_
#define MINICORE_DUMP_HANDLER_ASSEMBLY_H_

#include <cstddef>

#include "alloc/address.h"
#include "dump/handler/piece.h"
#include "dump/handler/range_set.h"

namespace minicore {

// Makes of pieces that come by address, and may overlap, pieces that do not: with what is
// absent around them, and what may hold frames apart. Where pieces overlap, the first keeps
// the common part: kinds are for the report, and the group is the more important one's.
class Assembly {
 public:
  // `absent` is disjoint and by address.
  Assembly(const Pieces& absent, const RangeSet& stacks, Pieces& out)
      : absent_(absent), stacks_(stacks), out_(out) {}

  void Add(Piece piece);
  void Finish();

  // Up to where it is filled; 0: nothing was added.
  Address end() const { return last_.range.end; }

 private:
  void PushAbsent(Address end);
  void PushLast();

  const Pieces& absent_;
  const RangeSet& stacks_;
  Pieces& out_;
  Piece last_;           // not yet pushed: it may still grow
  size_t next_ = 0;      // in absent_
  Address covered_ = 0;  // up to which absent_ is settled
  size_t stack_ = 0;     // in stacks_
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ASSEMBLY_H_
