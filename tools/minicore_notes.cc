#include "tools/minicore_notes.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "tools/text.h"

namespace minicore {
namespace {

using Faults = std::vector<std::string>;

template <size_t N>
const char* NameIn(const char* const (&names)[N], size_t index) {
  return index < N ? names[index] : "unknown";
}

template <class Row>
bool IsZero(const Row& row) {
  const Row zero{};
  return std::memcmp(&row, &zero, sizeof(row)) == 0;
}

template <class Row>
void DecodeRows(const CoreNote& note, RowTable<Row>* table, Faults* faults) {
  const std::string name = NoteTypeName(note.type);
  if (table->present) {
    faults->push_back("There is more than one MINICORE note " + name + ".");
    return;
  }
  table->present = true;
  const auto header = DescAs<NoteRowHeader>(note.desc);
  if (!header) {
    faults->push_back("The MINICORE note " + name +
                      " is too short for its header.");
    return;
  }
  if (header->version != kFormatVersion) {
    faults->push_back("The MINICORE note " + name + " is of version " +
                      std::to_string(header->version) + ", not " +
                      std::to_string(kFormatVersion) + ".");
    return;
  }
  if (header->row_bytes < sizeof(Row)) {
    faults->push_back("The rows of the MINICORE note " + name + " have " +
                      Count(header->row_bytes, "byte") + " instead of " +
                      std::to_string(sizeof(Row)) + ".");
    return;
  }
  table->dropped = header->dropped;
  const uint64_t room =
      (note.desc.size() - sizeof(*header)) / header->row_bytes;
  if (header->rows > room) {
    faults->push_back("The MINICORE note " + name + " says that it has " +
                      Count(header->rows, "row") + " but has room for " +
                      std::to_string(room) + ".");
  }
  for (uint64_t i = 0; i < std::min<uint64_t>(header->rows, room); ++i) {
    const auto row =
        DescAs<Row>(note.desc, sizeof(*header) + i * header->row_bytes);
    if (!row || IsZero(*row)) break;  // a row of zeros ends the array early
    table->rows.push_back(*row);
  }
}

void DecodeReport(const CoreNote& note, MinicoreNotes* notes, Faults* faults) {
  if (notes->has_report) {
    faults->push_back("There is more than one MINICORE note REPORT.");
    return;
  }
  notes->has_report = true;
  std::string_view text = note.desc;
  if (!text.empty() && text.back() != '\n') {
    faults->push_back("The MINICORE report does not end with a line end.");
  }
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;  // padding
    const size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos) {
      faults->push_back(
          "The MINICORE report has a line that is not \"key value\": \"" +
          Printable(line.substr(0, 60)) + "\".");
      continue;
    }
    notes->report.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
}

}  // namespace

std::string MinicoreNotes::ReportValue(std::string_view key) const {
  for (const auto& [name, value] : report) {
    if (name == key) return value;
  }
  return "";
}

std::string MinicoreNotes::TagName(uint8_t id) const {
  if (id == 0) return "";
  for (const TagRow& row : tags.rows) {
    if (row.id == id) {
      return std::string(row.name, strnlen(row.name, sizeof(row.name)));
    }
  }
  return "tag " + std::to_string(id);
}

bool IsMinicoreNote(const CoreNote& note) { return note.owner == kNoteOwner; }

Origin OriginOf(const CoreReader& core) {
  for (const CoreNote& note : core.notes()) {
    if (IsMinicoreNote(note)) return Origin::kMinicore;
  }
  // Ours stand in the last program header: without the whole table, and all bytes of all
  // notes, they may just be missing.
  if (!core.faults().empty() || core.notes().empty()) return Origin::kUnknown;
  for (const CoreSegment& segment : core.segments()) {
    const bool cut = segment.file_end() > core.file_bytes();
    if (segment.type == PT_NOTE && cut) return Origin::kUnknown;
  }
  return Origin::kOther;
}

MinicoreNotes DecodeMinicoreNotes(const CoreReader& core, Faults* faults) {
  MinicoreNotes notes;
  for (const CoreNote& note : core.notes()) {
    if (!IsMinicoreNote(note)) continue;
    if (note.desc.empty()) {
      // Breakpad's core2md aborts on a note without a description.
      faults->push_back("The MINICORE note " +
                        std::string(NoteTypeName(note.type)) + " is empty.");
      continue;
    }
    switch (note.type) {
      case kNoteReport:
        DecodeReport(note, &notes, faults);
        break;
      case kNoteThreads:
        DecodeRows(note, &notes.threads, faults);
        break;
      case kNoteSegments:
        DecodeRows(note, &notes.segments, faults);
        break;
      case kNoteHoles:
        DecodeRows(note, &notes.holes, faults);
        break;
      case kNoteTags:
        DecodeRows(note, &notes.tags, faults);
        break;
      case kNoteAnchors:
        DecodeRows(note, &notes.anchors, faults);
        break;
      default:
        break;
    }
  }
  return notes;
}

std::string WhatIsCutOff(const CoreReader& core, const MinicoreNotes& notes) {
  uint64_t promised = core.PromisedBytes();
  // What was made shorter for want of room has a report of before.
  if (notes.ReportValue("truncated") != "1") {
    const std::string planned = notes.ReportValue("file_bytes");
    promised = std::max<uint64_t>(promised, std::strtoull(planned.c_str(), nullptr, 10));
  }
  if (core.file_bytes() >= promised) return "";
  return "The file is cut short: of " + Count(promised, "byte") + " it has " +
         std::to_string(core.file_bytes()) + ".";
}

const char* KindName(SegmentKind kind) {
  static constexpr const char* kNames[] = {
      "nothing",     "headers", "text", "vdso",   "module_data",
      "thread_data", "stack",   "heap", "foreign"};
  return NameIn(kNames, static_cast<size_t>(kind));
}

const char* ReasonName(HoleReason reason) {
  static constexpr const char* kNames[] = {
      "none",         "secret",     "secret_copy",   "environment",
      "cut",          "budget",     "object_limit",  "stack_limit",
      "static_limit", "unreadable", "segment_limit", "out_of_room",
      "deadline",     "sanitized",  "arguments",     "canary"};
  return NameIn(kNames, static_cast<size_t>(reason));
}

const char* SourceName(ThreadSource source) {
  static constexpr const char* kNames[] = {"none", "crashed", "signal", "proc",
                                           "ptrace"};
  return NameIn(kNames, static_cast<size_t>(source));
}

const char* DispositionName(uint8_t disposition) {
  static constexpr const char* kNames[] = {"label", "keep", "cut", "elide"};
  return NameIn(kNames, disposition);
}

const char* NoteTypeName(uint32_t type) {
  static constexpr const char* kNames[] = {"REPORT", "THREADS", "SEGMENTS",
                                           "HOLES",  "TAGS",    "ANCHORS"};
  return NameIn(kNames, type - kNoteReport);
}

}  // namespace minicore
