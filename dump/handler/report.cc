#include "dump/handler/report.h"

#include <algorithm>

#include "alloc/index_view.h"
#include "dump/safe/format.h"
#include "dump/version.h"

namespace minicore {
namespace {

constexpr size_t kTextBytes = 8192;
// Holes that only show while the file is written: unreadable pages, copies of secrets.
constexpr uint32_t kSpareHoles = 512;

// In the order of struct user_regs_struct.
constexpr const char* kRegisterNames[] = {
    "r15", "r14",      "r13", "r12", "rbp",    "rbx", "r11", "r10",     "r9",
    "r8",  "rax",      "rcx", "rdx", "rsi",    "rdi", "orig_rax", "rip", "cs",
    "eflags", "rsp",   "ss",  "fs_base", "gs_base", "ds", "es", "fs", "gs"};

constexpr const char* kReasonNames[kHoleReasons] = {
    "none",        "secret",       "secret_copy", "environment",
    "cut",         "budget",       "object_limit", "stack_limit",
    "static_limit", "unreadable",  "segment_limit", "out_of_room",
    "deadline",    "sanitized",    "arguments",    "canary"};

constexpr const char* kPlaceNames[kPlaces] = {
    "registers", "stack", "thread_data", "static",
    "heap",      "foreign", "notes",     "code"};

uint8_t* AddRows(NoteBuffer& notes, uint32_t type, uint32_t rows, uint32_t row_bytes) {
  uint8_t* to = notes.AddZeros(kNoteOwner, type, sizeof(NoteRowHeader) + rows * row_bytes);
  if (to == nullptr) return nullptr;
  const NoteRowHeader header = {kFormatVersion, row_bytes, rows, 0};
  __builtin_memcpy(to, &header, sizeof(header));
  return to + sizeof(header);
}

void SetDropped(uint8_t* rows, uint32_t dropped) {
  if (rows == nullptr) return;
  __builtin_memcpy(rows - sizeof(uint32_t), &dropped, sizeof(dropped));
}

// Calls `visit(row)` for each stretch of one kind within a segment. A gap is of the stretch
// before it.
template <typename Visit>
void ForEachStretch(const DumpPlan& plan, Visit visit) {
  for (const Segment& segment : plan.segments) {
    SegmentRow row{};
    for (uint32_t i = 0; i < segment.piece_count; ++i) {
      const Piece& piece = plan.pieces[segment.first_piece + i];
      if (piece.content == Content::kAbsent) continue;
      if (row.end != 0) {
        row.filler += piece.range.begin - row.end;
        row.end = piece.range.begin;
      }
      if (row.end == 0 || row.kind != piece.kind || row.tid != piece.tid) {
        if (row.end != 0) visit(row);
        row = {piece.range.begin, 0, piece.kind, {}, piece.tid};
      }
      row.end = piece.range.end;
    }
    if (row.end != 0) visit(row);
  }
}

// Whether memory of a hole of this reason has no place in the file at all; of the others
// the marker stands there.
bool IsAbsent(HoleReason reason) {
  switch (reason) {
    case HoleReason::kCut:
    case HoleReason::kBudget:
    case HoleReason::kObjectLimit:
    case HoleReason::kStackLimit:
    case HoleReason::kStaticLimit:
    case HoleReason::kSegmentLimit:
    case HoleReason::kOutOfRoom:
      return true;
    default:
      return false;
  }
}

// What one phase left out, another may have kept for its own reasons: calls
// `visit(row)` for the parts of `hole` that are really missing. The last piece decides
// how many there can be: holes are few, and pieces sorted.
template <typename Visit>
void ForEachMissing(const DumpPlan& plan, HoleRow hole, Visit visit) {
  if (!IsAbsent(hole.reason)) {
    visit(hole);
    return;
  }
  const Piece* piece = std::upper_bound(
      plan.pieces.begin(), plan.pieces.end(), hole.begin,
      [](Address value, const Piece& candidate) { return value < candidate.range.end; });
  for (; piece != plan.pieces.end() && piece->range.begin < hole.end; ++piece) {
    if (piece->content == Content::kAbsent) continue;
    if (piece->range.begin > hole.begin) {
      HoleRow part = hole;
      part.end = piece->range.begin;
      visit(part);
    }
    hole.begin = std::max(hole.begin, piece->range.end);
  }
  if (hole.begin < hole.end) visit(hole);
}

bool TagInUse(const ScanResult& scan, unsigned tag) {
  const TagCount& count = scan.tags[tag];
  return count.kept + count.cut + count.elided != 0;
}

void WriteAnchor(const AnchorRow& row, safe::Text& text) {
  text.String("points_to ");
  if (row.source == AnchorSource::kFaultAddress) {
    text.String("the fault address");
  } else {
    text.String(kRegisterNames[row.number]);
  }
  text.String(" points ").Decimal(row.value - row.begin).String(" bytes into a ");
  text.String(row.state == static_cast<uint8_t>(AllocationState::kFreed) ? "freed "
                                                                          : "live ");
  if (row.size != 0) text.Decimal(row.size).String("-byte ");
  text.String("allocation\n");
}

class TextWriter {
 public:
  explicit TextWriter(safe::Text& text) : text_(text) {}
  void Line(const char* key, uint64_t value) {
    text_.String(key).Char(' ').Decimal(value).Char('\n');
  }
  void HexLine(const char* key, uint64_t value) {
    text_.String(key).Char(' ').Hex(value).Char('\n');
  }

 private:
  safe::Text& text_;
};

void WriteText(const CrashContext& crash, const Policy& policy,
               const Redactor& redactor,
               const ScanResult& scan, const DumpPlan& plan, const Outcome& outcome,
               safe::Text& text) {
  TextWriter out(text);
  text.String("version ").String(kVersion).Char('\n');
  out.Line("pid", static_cast<uint64_t>(crash.pid));
  out.Line("tid", static_cast<uint64_t>(crash.tid));
  out.Line("signal", static_cast<uint64_t>(crash.signal));
  if (crash.info->si_code > 0 && (crash.signal == SIGSEGV || crash.signal == SIGBUS)) {
    uint64_t address = reinterpret_cast<uint64_t>(crash.info->si_addr);
    Outcome ignored;
    redactor.RedactWords(&address, 1, ignored);
    if (address != kElidedMarkerWord) out.HexLine("fault_address", address);
  }
  out.Line("threads", outcome.threads);
  out.Line("threads_silent", outcome.threads_silent);
  if (outcome.threads_beyond != 0) out.Line("threads_beyond", outcome.threads_beyond);
  if (outcome.threads_running != 0) out.Line("threads_running", outcome.threads_running);
  out.Line("anchors", outcome.anchors);
  out.Line("anchors_into_freed", outcome.freed_anchors);
  out.Line("allocations", outcome.allocations);
  out.Line("heap_bytes", outcome.heap_bytes);
  out.Line("segments", plan.segments.size());
  out.Line("file_bytes", plan.file_bytes);
  out.Line("frozen_us", outcome.frozen_us);
  out.Line("mapped_us", outcome.mapped_us);
  out.Line("scanned_us", outcome.scanned_us);
  out.Line("planned_us", outcome.planned_us);
  if (outcome.thawed_us != 0) out.Line("thawed_us", outcome.thawed_us);
  out.Line("written_us", outcome.Elapsed());
  out.Line("past_deadline", outcome.past_deadline);
  out.Line("truncated", outcome.truncated);
  out.Line("uncertain", outcome.uncertain);
  out.HexLine("failed_stages", outcome.failed_stages);
  out.Line("option.max_bytes", policy.max_bytes);
  out.Line("option.root_bytes", policy.root_bytes);
  out.Line("option.object_bytes", policy.object_bytes);
  out.Line("option.window_bytes", policy.window_bytes);
  out.Line("option.hops", policy.hops);
  out.Line("option.stack_bytes", policy.stack_bytes);
  out.Line("option.static_bytes", policy.static_bytes);
  out.Line("option.segments", policy.segments);
  out.Line("option.freeze_us", policy.freeze_us);
  out.Line("option.deadline_us", policy.deadline_us);
  for (unsigned i = 1; i < kHoleReasons; ++i) {
    if (outcome.hole_count[i] == 0) continue;
    text.String("holes.").String(kReasonNames[i]).Char(' ');
    text.Decimal(outcome.hole_count[i]).Char(' ').Decimal(outcome.hole_bytes[i]);
    text.Char('\n');
  }
  for (unsigned i = 0; i < kPlaces; ++i) {
    if (outcome.elided_count[i] == 0) continue;
    text.String("elided.").String(kPlaceNames[i]).Char(' ');
    text.Decimal(outcome.elided_count[i]).Char(' ').Decimal(outcome.elided_bytes[i]);
    text.Char('\n');
  }
  for (const AnchorRow& row : scan.anchors) WriteAnchor(row, text);
}

}  // namespace

void ReserveReport(const ThreadTable& threads, const DumpPlan& plan,
                   const ScanResult& scan, const Outcome& outcome,
                   safe::Arena& arena, Report& report) {
  report.segment_rows = 0;
  ForEachStretch(plan, [&](const SegmentRow&) { ++report.segment_rows; });
  report.hole_rows = static_cast<uint32_t>(outcome.holes.size()) + kSpareHoles;
  report.tag_rows = 0;
  for (unsigned tag = 0; tag <= kMaxTags; ++tag) report.tag_rows += TagInUse(scan, tag);
  const auto thread_rows = static_cast<uint32_t>(threads.size());
  const auto anchor_rows = static_cast<uint32_t>(scan.anchors.size());
  NoteBuffer& notes = report.notes;
  notes.Reserve(arena, 1024 + kTextBytes + report.segment_rows * sizeof(SegmentRow) +
                           report.hole_rows * sizeof(HoleRow) +
                           report.tag_rows * sizeof(TagRow) +
                           thread_rows * sizeof(ThreadRow) +
                           anchor_rows * sizeof(AnchorRow));
  report.text = notes.AddZeros(kNoteOwner, kNoteReport, kTextBytes);
  // A report without lines, should nobody come to write one.
  if (report.text != nullptr) __builtin_memset(report.text, '\n', kTextBytes);
  report.threads = AddRows(notes, kNoteThreads, thread_rows, sizeof(ThreadRow));
  report.segments =
      AddRows(notes, kNoteSegments, report.segment_rows, sizeof(SegmentRow));
  report.holes = AddRows(notes, kNoteHoles, report.hole_rows, sizeof(HoleRow));
  report.tags = AddRows(notes, kNoteTags, report.tag_rows, sizeof(TagRow));
  report.anchors = AddRows(notes, kNoteAnchors, anchor_rows, sizeof(AnchorRow));
}

void FillReport(const CrashContext& crash, const Runtime& runtime,
                const MemoryMap& map, const ThreadTable& threads, const ScanResult& scan,
                const DumpPlan& plan, const Redactor& redactor, Report& report,
                Outcome& outcome) {
  const auto put = [](uint8_t*& to, const auto& row) {
    if (to == nullptr) return;
    __builtin_memcpy(to, &row, sizeof(row));
    to += sizeof(row);
  };
  uint8_t* to = report.threads;
  for (const Thread& thread : threads) {
    ThreadRow row{};
    row.tid = static_cast<uint32_t>(thread.tid);
    row.source = thread.source;
    user_regs_struct registers = thread.registers;
    redactor.RedactRegisters(map, &registers, outcome);
    row.stack_pointer = registers.rsp;
    row.program_counter = registers.rip;
    row.fs_base = registers.fs_base;
    __builtin_memcpy(row.name, thread.name, sizeof(row.name));
    redactor.RedactName(row.name, sizeof(row.name), outcome);
    put(to, row);
  }
  SetDropped(report.threads, outcome.threads_beyond);
  to = report.segments;
  uint32_t rows = 0;
  ForEachStretch(plan, [&](const SegmentRow& row) {
    if (rows++ < report.segment_rows) put(to, row);
  });
  to = report.tags;
  for (unsigned tag = 0; tag <= kMaxTags; ++tag) {
    if (!TagInUse(scan, tag)) continue;
    const TagCount& count = scan.tags[tag];
    TagRow row{};
    row.id = static_cast<uint8_t>(tag);
    row.disposition =
        static_cast<uint8_t>(DispositionOf(*runtime.tags, row.id));
    row.kept = count.kept;
    row.cut = count.cut;
    row.elided = count.elided;
    row.bytes_in = count.bytes_in;
    row.bytes_out = count.bytes_out;
    NameOf(*runtime.tags, row.id, row.name);
    // The names that every process has say nothing of this one.
    if (row.id >= kFirstUserTag || !redactor.uncertain()) {
      redactor.RedactName(row.name, sizeof(row.name), outcome);
    }
    put(to, row);
  }
  to = report.anchors;
  for (AnchorRow row : scan.anchors) {
    redactor.RedactWords(&row.value, 1, outcome);
    put(to, row);
  }
  // The holes last: what stands above may have added some.
  to = report.holes;
  rows = 0;
  for (const HoleRow& hole : outcome.holes) {
    uint64_t missing = 0;
    const auto reason = static_cast<unsigned>(hole.reason);
    ForEachMissing(plan, hole, [&](const HoleRow& row) {
      missing += row.end - row.begin;
      if (rows++ < report.hole_rows) {
        put(to, row);
      } else {
        ++outcome.holes_dropped;
      }
    });
    // The report's sums are of what is missing, too.
    outcome.hole_bytes[reason] -= (hole.end - hole.begin) - missing;
    if (missing == 0) outcome.hole_count[reason] -= hole.count;
  }
  SetDropped(report.holes, outcome.holes_dropped);
  if (report.text == nullptr) return;
  safe::Text text(reinterpret_cast<char*>(report.text), kTextBytes);
  WriteText(crash, runtime.policy, redactor, scan, plan, outcome, text);
  for (size_t i = text.length(); i < kTextBytes; ++i) report.text[i] = '\n';
}

}  // namespace minicore
