// minicore's own notes: what was kept, what was left out and why (docs/FORMAT.md).
//
// Their size is fixed by ReserveReport(), before the layout; their contents are written
// by FillReport(), after everything else, so that they can tell of the writing too.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_REPORT_H_
#define MINICORE_DUMP_HANDLER_REPORT_H_

#include "dump/handler/anchor_scan.h"
#include "dump/handler/crash_context.h"
#include "dump/handler/dump_plan.h"
#include "dump/handler/notes.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"
#include "dump/handler/thread_table.h"

namespace minicore {

struct Report {
  NoteBuffer notes;
  uint8_t* text = nullptr;
  uint8_t* threads = nullptr;
  uint8_t* segments = nullptr;
  uint8_t* holes = nullptr;
  uint8_t* tags = nullptr;
  uint8_t* anchors = nullptr;
  uint32_t segment_rows = 0;
  uint32_t hole_rows = 0;
  uint32_t tag_rows = 0;
};

void ReserveReport(const ThreadTable& threads, const DumpPlan& plan,
                   const ScanResult& scan, const Outcome& outcome,
                   safe::Arena& arena, Report& report);

void FillReport(const CrashContext& crash, const Runtime& runtime,
                const MemoryMap& map, const ThreadTable& threads,
                const ScanResult& scan, const DumpPlan& plan, const Redactor& redactor, Report& report,
                Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_REPORT_H_
