#include "dump/handler/dump_plan.h"

#include <elf.h>
#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "alloc/index_view.h"
#include "dump/handler/address_order.h"
#include "dump/handler/assembly.h"
#include "dump/handler/core_file.h"
#include "dump/handler/gaps.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// Every root and everything that was reached has a number.
static_assert(kMaxRootPieces + kMaxReached <= AddressOrder::kNumbers);
constexpr ByteCount kGranularity = 16;
// Markers may take as much as max_bytes, or this between roots.
constexpr ByteCount kLeastFiller = 256 * 1024;
// So often it is tried how much of what was reached has room.
constexpr unsigned kMostTurns = 6;
// So many pieces ahead, a piece is asked for.
constexpr size_t kAhead = 8;

// Whether `fd` is a descriptor in which nobody can go back.
bool IsPipe(int fd) {
  return fd >= 0 && (safe::Syscall(SYS_lseek, fd, 0, SEEK_CUR) < 0 || Appends(fd));
}

// Whether a filter lets us write elsewhere than at the end. The kernel looks at the
// descriptor first (fs/read_write.c, ksys_pwrite64()).
bool MayGoBack() { return safe::PWrite(-1, "", 1, 0) == -EBADF; }

// Whether a root must not be written after all: a stack may lie in the heap, in an
// allocation that is secret as a whole; and with secrets that are not all known, code may
// be data as well, and the debugger has the file.
bool Elided(const Runtime& runtime, const Redactor& redactor, const Piece& piece) {
  if (piece.kind == SegmentKind::kText && redactor.uncertain()) return true;
  if (!InHeap(*runtime.index, piece.range.begin)) return false;
  const Allocation allocation = Resolve(*runtime.index, piece.range.begin);
  return DispositionOf(*runtime.tags, TagOf(*runtime.tags, allocation)) ==
         Disposition::kElide;
}

// With secrets that are not all known, only what debuggers need is written of the memory
// that may hold copies of them, and that sanitised.
bool MayBeWritten(const Reached& reached, const Redactor& redactor) {
  return !redactor.uncertain() || reached.kind == SegmentKind::kThreadData;
}

Piece PieceOf(const Reached& reached) {
  Piece piece;
  piece.range = reached.range;
  piece.kind = reached.kind;
  piece.group = reached.kind == SegmentKind::kThreadData ? FileGroup::kMetadata
                : reached.kind == SegmentKind::kForeign && !reached.look
                    ? FileGroup::kForeign
                    : FileGroup::kHeap;
  return piece;
}

class Planner {
 public:
  Planner(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
          const Redactor& redactor, ScanResult& scan, DumpPlan& plan, Outcome& outcome)
      : runtime_(runtime), map_(map), roots_(roots), redactor_(redactor), scan_(scan),
        plan_(plan), outcome_(outcome),
        most_filler_(std::max(runtime.policy.max_bytes, kLeastFiller)) {}

  void ReserveTables(safe::Arena& arena);
  void CollectAbsent();
  void CollectKept();
  void Choose();
  void MakeSegments();
  void MissElided();

 private:
  // Of what was reached the first so many, with looks or without; and what follows one of
  // them so closely that it needs no program header, if it is these that run short.
  struct Choice {
    size_t reached;
    bool looks;
  };

  void Miss(const Piece& piece, HoleReason reason);
  void Drop(size_t reached, HoleReason reason);
  bool Fits(Choice choice);
  size_t MostThatFits();
  void Assemble(Choice choice, bool final);

  const Runtime& runtime_;
  const MemoryMap& map_;
  const Roots& roots_;
  const Redactor& redactor_;
  ScanResult& scan_;
  DumpPlan& plan_;
  Outcome& outcome_;
  const ByteCount most_filler_;
  uint64_t most_ = 0;  // segments
  Pieces absent_;      // by address, apart
  AddressOrder kept_;  // roots by their numbers, then what was reached
  HoleReason lacks_ = HoleReason::kSegmentLimit;  // what drops what was reached
  Filling filling_ = {};
};

// The tables whose overflow would lose the wrong things come first.
void Planner::ReserveTables(safe::Arena& arena) {
  const uint64_t most = std::min<uint64_t>(runtime_.policy.segments, kMaxSegments - 2);
  plan_.segments.Reserve(arena, most);
  plan_.file_order.Reserve(arena, most);
  most_ = std::min(plan_.segments.capacity(), plan_.file_order.capacity());
  absent_.Reserve(arena, roots_.pieces.size());
  kept_.Reserve(arena, roots_.pieces.size() + scan_.reached.size());
  // Each absent piece may be parted by each that is kept, and these by each stack.
  plan_.pieces.Reserve(arena, 2 * (roots_.pieces.size() + scan_.reached.size() +
                                   roots_.stack_memory.size()), 4);
}

// For what there is neither a place in the file nor a file to read it from.
void Planner::Miss(const Piece& piece, HoleReason reason) {
  if (piece.content == Content::kAbsent && piece.kind == SegmentKind::kText) return;
  outcome_.AddHole(piece.range.begin, piece.range.end, reason);
}

void Planner::Drop(size_t reached, HoleReason reason) {
  const AddressRange range = scan_.reached[reached].range;
  outcome_.AddHole(range.begin, range.end, reason, scan_.reached[reached].tag);
  scan_.Drop(reached, outcome_);
}

void Planner::CollectAbsent() {
  for (const Piece& piece : roots_.pieces) {
    if (piece.content == Content::kAbsent && !absent_.Push(piece)) {
      Miss(piece, HoleReason::kOutOfRoom);
    }
  }
  std::sort(absent_.begin(), absent_.end(), [](const Piece& a, const Piece& b) {
    return a.range.begin < b.range.begin;
  });
  Address end = 0;
  size_t kept = 0;
  for (Piece piece : absent_) {
    piece.range.begin = std::max(piece.range.begin, end);
    if (piece.range.empty()) continue;
    end = piece.range.end;
    absent_[kept++] = piece;
  }
  absent_.Truncate(kept);
}

// All that may be in the file, by address: sorted once, whatever of it is chosen.
void Planner::CollectKept() {
  uint32_t number = 0;
  for (const Piece& piece : roots_.pieces) {
    if (piece.content != Content::kAbsent) {
      // What is elided is a hole but for what others of it keep: MissElided().
      if (!Elided(runtime_, redactor_, piece) && !kept_.Add(piece.range.begin, number)) {
        Miss(piece, HoleReason::kOutOfRoom);
      }
    }
    ++number;
  }
  for (size_t i = 0; i < scan_.reached.size(); ++i, ++number) {
    const Reached& reached = scan_.reached[i];
    if (reached.range.empty()) continue;
    if (!MayBeWritten(reached, redactor_) || !kept_.Add(reached.range.begin, number)) {
      Drop(i, HoleReason::kOutOfRoom);
    }
  }
  kept_.Sort();
}

void Planner::Assemble(Choice choice, bool final) {
  plan_.pieces.Clear();
  Assembly assembly(absent_, roots_.stack_memory, plan_.pieces);
  const size_t roots = roots_.pieces.size();
  const bool near = choice.reached != 0 && lacks_ == HoleReason::kSegmentLimit;
  for (size_t i = 0; i < kept_.size(); ++i) {
    if (i + kAhead < kept_.size() && kept_[i + kAhead] >= roots) {
      __builtin_prefetch(&scan_.reached[kept_[i + kAhead] - roots]);
    }
    if (kept_[i] < roots) {
      assembly.Add(roots_.pieces[kept_[i]]);
      continue;
    }
    const size_t number = kept_[i] - roots;
    const Reached& reached = scan_.reached[number];
    if ((number < choice.reached && (choice.looks || !reached.look)) ||
        (near && reached.range.begin <= assembly.end() + kCheapGap)) {
      assembly.Add(PieceOf(reached));
    } else if (final) {
      Drop(number, lacks_);
    }
  }
  assembly.Finish();
}

bool Planner::Fits(Choice choice) {
  Assemble(choice, false);
  filling_ = FillingFor(plan_.pieces, map_, most_, most_filler_);
  return !plan_.pieces.overflowed() && filling_.segments <= most_ &&
         filling_.bytes <= most_filler_;
}

// How many of what was reached find room, nearly; all of it does not.
size_t Planner::MostThatFits() {
  size_t fits = 0;
  size_t too_many = std::min(scan_.reached.size(), plan_.pieces.capacity() + 1);
  // If each of them costs as much as any other, this.
  size_t next = too_many * most_ / std::max<uint64_t>(filling_.segments, 1);
  for (unsigned turn = 0; turn < kMostTurns; ++turn) {
    const size_t half = (fits + too_many) / 2;
    next = std::min(next, half);
    (Fits({next, false}) ? fits : too_many) = next;
    next = fits == 0 ? half : 2 * fits;
  }
  return fits;
}

// With more pieces than the tables hold, or than there are program headers for, even with
// gaps filled, or with more markers than there may be: mere looks are dropped, and then
// what was reached last.
void Planner::Choose() {
  Choice choice = {scan_.reached.size(), true};
  if (Fits(choice)) return;
  if (plan_.pieces.overflowed()) {
    lacks_ = HoleReason::kOutOfRoom;
  } else if (filling_.segments <= most_) {
    lacks_ = HoleReason::kBudget;
  }
  choice.looks = false;
  if (!Fits(choice)) choice.reached = MostThatFits();
  Assemble(choice, true);
  filling_ = FillingFor(plan_.pieces, map_, most_, most_filler_);
  if (!plan_.pieces.overflowed()) return;
  // Not even the roots have room.
  const Address end = plan_.pieces.empty() ? 0 : plan_.pieces.back().range.end;
  for (Piece piece : roots_.pieces) {
    piece.range.begin = std::max(piece.range.begin, end);
    Miss(piece, HoleReason::kOutOfRoom);
  }
}

// When not even the roots find program headers, a piece gets one only if enough are left
// for all the more important ones at higher addresses: the stacks are there.
void Planner::MakeSegments() {
  auto& pieces = plan_.pieces;
  uint64_t ahead[kFileGroups] = {};
  if (filling_.segments > most_) {
    for (const Piece& piece : pieces) ++ahead[static_cast<unsigned>(piece.group)];
  }
  Permissions permissions(map_);
  uint32_t flags_before = 0;
  size_t kept = 0;  // pieces that found a segment; the others leave the plan
  for (const Piece piece : pieces) {
    const uint32_t flags = permissions.At(piece.range.begin);
    const auto group = static_cast<unsigned>(piece.group);
    uint64_t taken = plan_.segments.size();
    if (ahead[group] != 0) --ahead[group];
    for (unsigned better = 0; better < group; ++better) taken += ahead[better];
    const bool joins =
        kept != 0 &&
        filling_.Takes(GapBetween(pieces[kept - 1], flags_before, piece, flags));
    if (!joins && taken >= most_) {
      Miss(piece, HoleReason::kSegmentLimit);
      continue;
    }
    if (!joins) {
      (void)plan_.segments.Push({piece.range, 0, 0, flags, static_cast<uint32_t>(kept), 0,
                                 piece.group});  // it has room for most_
    }
    Segment& last = plan_.segments.back();
    last.range.end = piece.range.end;
    if (piece.content != Content::kAbsent) last.file_bytes = last.range.size();
    last.group = std::min(last.group, piece.group);
    ++last.piece_count;
    pieces[kept++] = piece;
    flags_before = flags;
  }
  pieces.Truncate(kept);
}

// Requires: the pieces are final.
void Planner::MissElided() {
  for (Piece piece : roots_.pieces) {
    if (piece.content == Content::kAbsent || !Elided(runtime_, redactor_, piece)) continue;
    const Address end = piece.range.end;
    const Piece* kept = std::lower_bound(
        plan_.pieces.begin(), plan_.pieces.end(), piece.range.begin,
        [](const Piece& other, Address begin) { return other.range.end <= begin; });
    for (; kept != plan_.pieces.end() && kept->range.begin < end; ++kept) {
      if (kept->content == Content::kAbsent) continue;
      piece.range.end = kept->range.begin;
      Miss(piece, HoleReason::kSecret);  // nothing if it is empty
      piece.range.begin = kept->range.end;
    }
    piece.range.end = end;
    Miss(piece, HoleReason::kSecret);
  }
}

// Whether an object can lie across the boundary: in writable memory. What is read-only
// on one side begins or ends with a module.
bool Touch(const Segment& a, const Segment& b) {
  return a.range.end == b.range.begin && (a.flags & b.flags & PF_W) != 0;
}

}  // namespace

void BuildPlan(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
               ScanResult& scan, const Redactor& redactor, safe::Arena& arena,
               DumpPlan& plan, Outcome& outcome) {
  // Under a filter that forbids all but write(), nobody can go back either.
  plan.report_last = IsPipe(runtime.policy.fd) || !MayGoBack();
  Planner planner(runtime, map, roots, redactor, scan, plan, outcome);
  planner.ReserveTables(arena);
  planner.CollectAbsent();
  planner.CollectKept();
  planner.Choose();
  planner.MakeSegments();
  planner.MissElided();
}

// Segments that touch share the group of the most important one, so that they touch in
// the file too: lldb reads zeros across a boundary that does not.
void LayOut(uint64_t notes_bytes, uint64_t report_bytes, DumpPlan& plan) {
  auto& segments = plan.segments;
  for (size_t first = 0; first < segments.size();) {
    size_t end = first + 1;
    FileGroup group = segments[first].group;
    while (end < segments.size() && Touch(segments[end - 1], segments[end])) {
      group = std::min(group, segments[end++].group);
    }
    for (; first < end; ++first) segments[first].group = group;
  }
  uint64_t offset = sizeof(Elf64_Ehdr) + (segments.size() + 2) * sizeof(Elf64_Phdr);
  plan.notes_offset = AlignUp(offset, kGranularity);
  plan.notes_bytes = notes_bytes;
  plan.report_bytes = report_bytes;
  offset = AlignUp(plan.notes_offset + notes_bytes, kGranularity);
  if (!plan.report_last) {
    plan.report_offset = offset;
    offset = AlignUp(offset + report_bytes, kGranularity);
  }
  for (unsigned group = 0; group < kFileGroups; ++group) {
    for (size_t i = 0; i < segments.size(); ++i) {
      if (static_cast<unsigned>(segments[i].group) != group) continue;
      segments[i].file_offset = offset;
      offset += segments[i].file_bytes;
      (void)plan.file_order.Push(static_cast<uint32_t>(i));
    }
    if (group == static_cast<unsigned>(FileGroup::kCrashedStack)) {
      plan.least_bytes = offset;
    }
  }
  if (plan.report_last) {
    plan.report_offset = AlignUp(offset, kGranularity);
    offset = plan.report_offset + report_bytes;
  }
  plan.file_bytes = offset;
}

}  // namespace minicore
