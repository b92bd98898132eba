#include "dump/handler/dump_plan.h"

#include <elf.h>
#include <errno.h>
#include <unistd.h>

#include <algorithm>

#include "alloc/index_view.h"
#include "dump/handler/core_file.h"

#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr ByteCount kGranularity = 16;
// A gap up to this costs less as markers than as another program header (56 bytes).
constexpr ByteCount kCheapGap = 64;
// When program headers are short, gaps up to this are filled before memory is dropped.
constexpr ByteCount kWidestGap = 64 * 1024;

// Whether `fd` is a descriptor in which nobody can go back.
bool IsPipe(int fd) {
  return fd >= 0 && (safe::Syscall(SYS_lseek, fd, 0, SEEK_CUR) < 0 || Appends(fd));
}

// Whether a filter lets us write elsewhere than at the end. The kernel looks at the
// descriptor first (fs/read_write.c, ksys_pwrite64()).
bool MayGoBack() { return safe::PWrite(-1, "", 1, 0) == -EBADF; }

// A type of its own, for the compiler to see through: of many threads there are 100,000
// pieces to sort.
struct Before {
  bool operator()(const Piece& a, const Piece& b) const {
    if (a.range.begin != b.range.begin) return a.range.begin < b.range.begin;
    return a.group < b.group;
  }
};

// Neighbours of a module may lie in mappings of other permissions, or be the next module.
bool IsOfModule(const Piece& piece) {
  return piece.kind == SegmentKind::kHeaders || piece.kind == SegmentKind::kModuleData ||
         piece.kind == SegmentKind::kText;
}

// Makes `sorted` disjoint in place: where pieces overlap, the first keeps the common
// part. Kinds are for the report; the group is the more important one's.
void MakeDisjoint(Pieces& sorted) {
  size_t kept = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    Piece piece = sorted[i];
    if (kept != 0) {
      Piece& last = sorted[kept - 1];
      if (piece.range.begin < last.range.end) {
        last.group = std::min(last.group, piece.group);
        piece.range.begin = last.range.end;
      }
      if (piece.range.empty()) continue;
      if (piece.range.begin == last.range.end && piece.kind == last.kind &&
          piece.tid == last.tid && piece.group == last.group && !IsOfModule(piece)) {
        last.range.end = piece.range.end;
        continue;
      }
    }
    if (!piece.range.empty()) sorted[kept++] = piece;
  }
  sorted.Truncate(kept);
}

// Appends `piece` to `out`, in parts: what may hold frames, and what may not.
void PushParts(Piece piece, const RangeSet& stacks, Pieces& out) {
  const Address end = piece.range.end;
  while (piece.range.begin < end) {
    const AddressRange* stack = stacks.FirstAbove(piece.range.begin);
    piece.range.end = end;
    piece.stack = false;
    if (stack != stacks.end()) {
      piece.stack = stack->begin <= piece.range.begin;
      piece.range.end = std::min(end, piece.stack ? stack->end : stack->begin);
    }
    piece.stack |= !stacks.complete() || piece.kind == SegmentKind::kStack;
    (void)out.Push(piece);
    piece.range.begin = piece.range.end;
  }
}

// Appends to `out`, in order, all of `solid` and of `absent` what that does not cover.
// Both are sorted and disjoint.
void Merge(const Pieces& solid, const Pieces& absent, const RangeSet& stacks,
           Pieces& out) {
  const Piece* next = solid.begin();
  Address covered = 0;  // end of the last of `solid` that was appended
  for (Piece rest : absent) {
    rest.range.begin = std::max(rest.range.begin, covered);
    for (; next != solid.end() && next->range.begin < rest.range.end; ++next) {
      if (next->range.begin > rest.range.begin) {
        Piece before = rest;
        before.range.end = next->range.begin;
        (void)out.Push(before);
      }
      PushParts(*next, stacks, out);
      covered = next->range.end;
      rest.range.begin = std::max(rest.range.begin, covered);
    }
    if (!rest.range.empty()) (void)out.Push(rest);
  }
  for (; next != solid.end(); ++next) PushParts(*next, stacks, out);
}

uint32_t FlagsOf(const MemoryMap& map, Address address) {
  const Mapping* mapping = map.Find(address);
  if (mapping == nullptr) return PF_R;
  return (mapping->readable ? PF_R : 0u) | (mapping->writable ? PF_W : 0u) |
         (mapping->executable ? PF_X : 0u);
}

struct Gaps {
  ByteCount widest;   // gaps up to this are filled with markers
  uint64_t segments;  // that are left then, if permissions agree
};

// The narrowest gaps to fill so that at most `most` segments are left, for at most
// `filler` bytes of markers.
Gaps GapsFor(const Pieces& pieces, uint64_t most, ByteCount filler) {
  constexpr unsigned kWidths = 11;
  static_assert(kCheapGap << (kWidths - 1) == kWidestGap);
  // [i]: of the gaps of at most 64 << i bytes, and more than the one before.
  uint64_t gaps[kWidths] = {};
  ByteCount bytes[kWidths] = {};
  for (size_t i = 1; i < pieces.size(); ++i) {
    const bool absent = pieces[i].content == Content::kAbsent;
    const ByteCount gap = pieces[i].range.begin - pieces[i - 1].range.end;
    if (absent ? gap != 0 : pieces[i - 1].content == Content::kAbsent) continue;
    for (unsigned j = 0; j < kWidths; ++j) {
      if (gap > kCheapGap << j) continue;
      ++gaps[j];
      bytes[j] += gap;
      break;
    }
  }
  Gaps result = {kCheapGap, pieces.size() - gaps[0]};
  for (unsigned j = 1; j < kWidths && result.segments > most; ++j) {
    if (bytes[j] > filler) break;
    filler -= bytes[j];
    result = {kCheapGap << j, result.segments - gaps[j]};
  }
  return result;
}

class Builder {
 public:
  Builder(const MemoryMap& map, DumpPlan& plan, Outcome& outcome)
      : map_(map), plan_(plan), outcome_(outcome) {}

  void MakeSegments(uint64_t most, ByteCount widest_gap);

 private:
  bool Extends(const Segment& segment, const Piece& piece, ByteCount widest_gap,
               uint32_t flags) const;

  const MemoryMap& map_;
  DumpPlan& plan_;
  Outcome& outcome_;
};

// Whether `piece` can be part of `segment` which ends before it: solid after solid with
// at most a small gap, absent after anything it touches, never solid after absent. An
// image always begins a segment: elfutils finds no module for an address in one that
// begins in the middle of a segment (libdwfl/segment.c, reify_segments()).
bool Builder::Extends(const Segment& segment, const Piece& piece,
                      ByteCount widest_gap, uint32_t flags) const {
  if (segment.flags != flags || piece.kind == SegmentKind::kHeaders) return false;
  const ByteCount gap = piece.range.begin - segment.range.end;
  if (piece.content == Content::kAbsent) return gap == 0;
  if (segment.file_bytes != segment.range.size()) return false;
  return gap <= widest_gap;
}

// When program headers run out, a piece gets one only if enough are left for all the
// more important ones at higher addresses: the stacks are there.
void Builder::MakeSegments(uint64_t most, ByteCount widest_gap) {
  uint64_t ahead[kFileGroups] = {};
  for (const Piece& piece : plan_.pieces) ++ahead[static_cast<unsigned>(piece.group)];
  size_t kept = 0;  // pieces that found a segment; the others leave the plan
  for (size_t i = 0; i < plan_.pieces.size(); ++i) {
    const Piece piece = plan_.pieces[i];
    const uint32_t flags = FlagsOf(map_, piece.range.begin);
    const bool solid = piece.content != Content::kAbsent;
    const auto group = static_cast<unsigned>(piece.group);
    --ahead[group];
    if (!plan_.segments.empty()) {
      Segment& last = plan_.segments.back();
      if (Extends(last, piece, widest_gap, flags)) {
        last.range.end = piece.range.end;
        if (solid) last.file_bytes = last.range.size();
        last.group = std::min(last.group, piece.group);
        ++last.piece_count;
        plan_.pieces[kept++] = piece;
        continue;
      }
    }
    Segment segment = {piece.range, solid ? piece.range.size() : 0, 0, flags,
                       static_cast<uint32_t>(kept), 1, piece.group};
    uint64_t taken = plan_.segments.size();
    for (unsigned better = 0; better < group; ++better) taken += ahead[better];
    if (taken >= most || !plan_.segments.Push(segment)) {
      outcome_.AddHole(piece.range.begin, piece.range.end, HoleReason::kSegmentLimit);
      continue;
    }
    plan_.pieces[kept++] = piece;
  }
  plan_.pieces.Truncate(kept);
}

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

void AddReached(const Reached& reached, Pieces& solid) {
  if (reached.range.empty()) return;
  Piece piece;
  piece.range = reached.range;
  piece.kind = reached.kind;
  piece.group = reached.kind == SegmentKind::kThreadData ? FileGroup::kMetadata
                : reached.kind == SegmentKind::kForeign && !reached.look
                    ? FileGroup::kForeign
                    : FileGroup::kHeap;
  (void)solid.Push(piece);  // it has room for all
}

}  // namespace

void BuildPlan(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
               const ScanResult& scan, const Redactor& redactor, safe::Arena& arena,
               DumpPlan& plan, Outcome& outcome) {
  const uint64_t most = std::min<uint64_t>(runtime.policy.segments, kMaxSegments - 2);
  // Under a filter that forbids all but write(), nobody can go back either.
  plan.report_last = IsPipe(runtime.policy.fd) || !MayGoBack();
  Pieces solid;
  Pieces absent;
  solid.Reserve(arena, roots.pieces.size() + scan.reached.size());
  absent.Reserve(arena, roots.pieces.size());
  for (const Piece& piece : roots.pieces) {
    if (piece.content == Content::kAbsent) {
      (void)absent.Push(piece);
    } else if (Elided(runtime, redactor, piece)) {
      outcome.AddHole(piece.range.begin, piece.range.end, HoleReason::kSecret);
    }
  }
  std::sort(absent.begin(), absent.end(), Before());
  MakeDisjoint(absent);
  plan.pieces.Reserve(arena, 2 * (solid.capacity() + absent.size() +
                                  roots.stack_memory.size()) + 16);
  // With more pieces far from each other than there are program headers, mere looks are
  // dropped, and then allocations that were reached last. Each turn drops a sixteenth of
  // them at least; past the deadline, all that surely find none.
  size_t reached = scan.reached.size();
  bool looks = true;
  const auto wanted = [&](size_t i) {
    return i < reached && (looks || !scan.reached[i].look);
  };
  Gaps gaps;
  for (;;) {
    solid.Clear();
    plan.pieces.Clear();
    for (const Piece& piece : roots.pieces) {
      if (piece.content != Content::kAbsent && !Elided(runtime, redactor, piece)) {
        (void)solid.Push(piece);
      }
    }
    for (size_t i = 0; i < reached; ++i) {
      if (wanted(i) && MayBeWritten(scan.reached[i], redactor)) {
        AddReached(scan.reached[i], solid);
      }
    }
    std::sort(solid.begin(), solid.end(), Before());
    MakeDisjoint(solid);
    Merge(solid, absent, roots.stack_memory, plan.pieces);
    gaps = GapsFor(plan.pieces, most, runtime.policy.max_bytes);
    if (gaps.segments <= most || reached == 0) break;
    if (looks) {
      looks = false;
      continue;
    }
    reached = reached * most / gaps.segments;
    reached -= reached / 16;
    if (outcome.LateByNow()) reached = std::min<size_t>(reached, most / 2);
  }
  for (size_t i = 0; i < scan.reached.size(); ++i) {
    const Reached& piece = scan.reached[i];
    if (!wanted(i)) {
      outcome.AddHole(piece.range.begin, piece.range.end, HoleReason::kSegmentLimit);
    } else if (!MayBeWritten(piece, redactor)) {
      outcome.AddHole(piece.range.begin, piece.range.end, HoleReason::kOutOfRoom);
    }
  }
  plan.segments.Reserve(arena, std::min<size_t>(plan.pieces.size(), kMaxSegments));
  Builder builder(map, plan, outcome);
  builder.MakeSegments(most, gaps.widest);
}

// Whether an object can lie across the boundary: in writable memory. What is read-only
// on one side begins or ends with a module.
bool Touch(const Segment& a, const Segment& b) {
  return a.range.end == b.range.begin && (a.flags & b.flags & PF_W) != 0;
}

// Segments that touch share the group of the most important one, so that they touch in
// the file too: lldb reads zeros across a boundary that does not.
void LayOut(uint64_t notes_bytes, uint64_t report_bytes, safe::Arena& arena,
            DumpPlan& plan) {
  auto& segments = plan.segments;
  for (size_t first = 0; first < segments.size();) {
    size_t end = first + 1;
    FileGroup group = segments[first].group;
    while (end < segments.size() && Touch(segments[end - 1], segments[end])) {
      group = std::min(group, segments[end++].group);
    }
    for (; first < end; ++first) segments[first].group = group;
  }
  plan.file_order.Reserve(arena, segments.size());
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
