#include "dump/handler/pipeline.h"

#include <errno.h>

#include "dump/handler/anchor_scan.h"
#include "dump/handler/core_file.h"
#include "dump/handler/dump_plan.h"
#include "dump/handler/elf_core_writer.h"
#include "dump/handler/freeze.h"
#include "dump/handler/images.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/notes.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"
#include "dump/handler/report.h"
#include "dump/handler/roots.h"
#include "dump/handler/secrets.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr size_t kMaxHoles = 16384;

// Everything the phases hand to each other. Too large for any stack; one thread dumps at
// a time.
struct Dump {
  safe::Arena arena;
  Outcome outcome;
  ThreadTable threads;
  MemoryMap map;
  Images images;
  Roots roots;
  ScanResult scan;
  Redactor redactor;
  DumpPlan plan;
  NoteBuffer notes;
  Report report;
  CoreFile file;
};
Dump g_dump{};

// Runs one phase. A fault in it (a bug, or memory of ours that was overwritten) ends
// that phase; the next ones work with what it had stored.
template <typename Phase>
void Guarded(unsigned number, Phase phase) {
  const bool finished = safe::RunGuarded(
      [](void* argument) { (*static_cast<Phase*>(argument))(); }, &phase);
  if (!finished) g_dump.outcome.failed_stages |= 1u << number;
}

DumpResult Finish(int error, const char* failed) {
  const Dump& dump = g_dump;
  return {error, failed, dump.file.path(), dump.plan.file_bytes,
          dump.outcome.Elapsed(), dump.outcome.truncated};
}

}  // namespace

DumpResult RunDump(const CrashContext& crash, const Runtime& runtime) {
  Dump& d = g_dump;
  d.outcome.started_us = safe::NowMicroseconds();
  d.outcome.deadline_us = runtime.policy.deadline_us;
  d.arena.Reset(runtime.arena, runtime.arena_bytes);
  d.outcome.holes.Reserve(d.arena, kMaxHoles);

  Guarded(0, [&] { FreezeThreads(crash, runtime, d.arena, d.threads, d.outcome); });
  d.outcome.frozen_us = d.outcome.Elapsed();
  Guarded(1, [&] {
    ReadMemoryMap(d.arena, d.map, d.outcome);
    FindImages(d.map, d.arena, d.images);
  });
  Guarded(2, [&] {
    CollectRoots(crash, runtime, d.map, d.images, d.threads, d.arena, d.roots,
                 d.outcome);
  });
  d.outcome.mapped_us = d.outcome.Elapsed();
  Guarded(3, [&] {
    ScanAnchors(crash, runtime, d.map, d.threads, d.roots, d.arena, d.scan, d.outcome);
  });
  Guarded(4, [&] { FindSecrets(runtime, d.arena, d.redactor, d.outcome); });
  // Without the secrets nothing can be told to be none.
  if ((d.outcome.failed_stages & 1u << 4) != 0) return Finish(-EFAULT, "find the secrets");
  d.outcome.scanned_us = d.outcome.Elapsed();
  Guarded(5, [&] {
    BuildNotes(crash, runtime, d.map, d.threads, d.redactor, d.arena, d.notes,
               d.outcome);
    BuildPlan(runtime, d.map, d.roots, d.scan, d.redactor, d.arena, d.plan, d.outcome);
    ReserveReport(d.threads, d.plan, d.scan, d.outcome, d.arena, d.report);
    LayOut(d.notes.size(), d.report.notes.size(), d.arena, d.plan);
  });
  d.outcome.planned_us = d.outcome.Elapsed();

  int error = d.file.Open(crash, runtime);
  if (error != 0) return Finish(error, "create the file");
  Guarded(6, [&] {
    ElfCoreWriter writer(d.plan, d.redactor, d.file, d.outcome);
    error = writer.WriteContents(d.notes, d.arena);
    if (error != 0 && writer.Shorten()) error = 0;
    if (error == 0) {
      FillReport(crash, runtime, d.threads, d.scan, d.plan, d.redactor, d.report,
                 d.outcome);
      error = writer.WriteReport(d.report.notes);
    }
  });
  d.redactor.Wipe();
  if ((d.outcome.failed_stages & 1u << 6) != 0 && error == 0) error = -EFAULT;
  if (error != 0) {
    d.file.Abandon();
    return Finish(error, "write the file");
  }
  error = d.file.Commit();
  return Finish(error, error == 0 ? nullptr : "give the file its name");
}

}  // namespace minicore
