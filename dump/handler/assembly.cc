#include "dump/handler/assembly.h"

#include <algorithm>

namespace minicore {
namespace {

// Neighbours of a module may lie in mappings of other permissions, or be the next module.
bool IsOfModule(const Piece& piece) {
  return piece.kind == SegmentKind::kHeaders || piece.kind == SegmentKind::kModuleData ||
         piece.kind == SegmentKind::kText;
}

}  // namespace

void Assembly::Add(Piece piece) {
  if (!last_.range.empty()) {
    if (piece.range.begin < last_.range.end) {
      last_.group = std::min(last_.group, piece.group);
      piece.range.begin = last_.range.end;
    }
    if (piece.range.empty()) return;
    if (piece.range.begin == last_.range.end && piece.kind == last_.kind &&
        piece.tid == last_.tid && piece.group == last_.group && !IsOfModule(piece)) {
      last_.range.end = piece.range.end;
      return;
    }
    PushLast();
  }
  last_ = piece;
}

void Assembly::Finish() {
  if (!last_.range.empty()) PushLast();
  PushAbsent(~Address{0});
}

// Pushes what is absent from where it is settled up to `end`.
void Assembly::PushAbsent(Address end) {
  for (; next_ < absent_.size(); ++next_) {
    Piece piece = absent_[next_];
    piece.range = piece.range.Clip({covered_, end});
    if (!piece.range.empty()) (void)out_.Push(piece);
    if (absent_[next_].range.end > end) break;  // the rest is for later
  }
  covered_ = end;
}

void Assembly::PushLast() {
  PushAbsent(last_.range.begin);
  covered_ = last_.range.end;
  Piece part = last_;
  while (part.range.begin < last_.range.end) {
    while (stack_ < stacks_.size() && stacks_[stack_].end <= part.range.begin) ++stack_;
    part.range.end = last_.range.end;
    part.stack = false;
    if (stack_ < stacks_.size()) {
      const AddressRange stack = stacks_[stack_];
      part.stack = stack.begin <= part.range.begin;
      part.range.end = std::min(part.range.end, part.stack ? stack.end : stack.begin);
    }
    part.stack |= !stacks_.complete() || part.kind == SegmentKind::kStack;
    (void)out_.Push(part);
    part.range.begin = part.range.end;
  }
}

}  // namespace minicore
