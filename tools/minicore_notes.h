// minicore's own notes, decoded: dump/elf_core_format.h says what they mean.

#ifndef MINICORE_TOOLS_MINICORE_NOTES_H_
#define MINICORE_TOOLS_MINICORE_NOTES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "dump/elf_core_format.h"
#include "tools/core_reader.h"

namespace minicore {

template <class Row>
struct RowTable {
  bool present = false;
  uint32_t dropped = 0;  // rows that the writer had no room for
  std::vector<Row> rows;
};

struct MinicoreNotes {
  // Lines of the report in their order: key, value.
  std::vector<std::pair<std::string, std::string>> report;
  bool has_report = false;
  RowTable<ThreadRow> threads;
  RowTable<SegmentRow> segments;
  RowTable<HoleRow> holes;
  RowTable<TagRow> tags;
  RowTable<AnchorRow> anchors;

  bool any() const {
    return has_report || threads.present || segments.present || holes.present ||
           tags.present || anchors.present;
  }
  // "" if there is no such line.
  std::string ReportValue(std::string_view key) const;
  // Name of a tag id, "" for none, "tag 9" if the table does not have it.
  std::string TagName(uint8_t id) const;
};

bool IsMinicoreNote(const CoreNote& note);

// Who wrote a core. What is cut off before its notes end could be anybody's.
enum class Origin { kMinicore, kOther, kUnknown };
Origin OriginOf(const CoreReader& core);

// Appends a sentence to `faults` for whatever is not well-formed, and decodes
// the rest. Unknown types, longer rows and unknown keys are skipped: they come
// from a later version.
MinicoreNotes DecodeMinicoreNotes(const CoreReader& core,
                                  std::vector<std::string>* faults);

// A sentence if the file is shorter than its headers or its report say; else "".
std::string WhatIsCutOff(const CoreReader& core, const MinicoreNotes& notes);

const char* KindName(SegmentKind kind);       // "stack"
const char* ReasonName(HoleReason reason);    // "secret_copy"
const char* SourceName(ThreadSource source);  // "signal"
const char* DispositionName(uint8_t disposition);
const char* NoteTypeName(uint32_t type);  // "HOLES"

}  // namespace minicore

#endif  // MINICORE_TOOLS_MINICORE_NOTES_H_
