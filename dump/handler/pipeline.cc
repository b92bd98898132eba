#include "dump/handler/pipeline.h"

#include <errno.h>

#include <new>

#include "dump/handler/anchor_scan.h"
#include "dump/handler/core_file.h"
#include "dump/handler/descriptors.h"
#include "dump/handler/dump_plan.h"
#include "dump/handler/elf_core_writer.h"
#include "dump/handler/freeze.h"
#include "dump/handler/guessed_map.h"
#include "dump/handler/images.h"
#include "dump/handler/memory_copy.h"
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
  bool took_descriptors = false;
};
alignas(Dump) char g_dump[sizeof(Dump)];

// The phases, as bits of Outcome::failed_stages.
enum Phase : unsigned {
  kFreeze, kMap, kRoots, kScan, kSecrets, kPlan, kWrite, kGiveUp,
};

// Runs one phase. A fault in it (a bug, or memory of ours that was overwritten) ends
// that phase; the next ones work with what it had stored.
template <typename Work>
void Guarded(Phase phase, Outcome& outcome, Work work) {
  const bool finished = safe::RunGuarded(
      [](void* argument) { (*static_cast<Work*>(argument))(); }, &work);
  if (!finished) outcome.failed_stages |= 1u << phase;
}

bool Failed(const Outcome& outcome, Phase phase) {
  return (outcome.failed_stages >> phase & 1) != 0;
}

DumpResult Finish(const Dump& d, int error, const char* failed) {
  const char* remark = d.outcome.truncated   ? "cut short: no more room"
                       : d.took_descriptors  ? "no file descriptor was left"
                       : d.file.renumbered() ? "the name was taken"
                                             : nullptr;
  return {error, failed, d.file.path(), d.plan.file_bytes, d.outcome.Elapsed(),
          d.outcome.thawed_us, remark};
}

// Contents, then the report: into `to`, which is the file or, of a live dump, memory.
int WriteAll(const CrashContext& crash, const Runtime& runtime, Dump& d,
             MemoryCopy* copy) {
  int error = 0;
  Guarded(kWrite, d.outcome, [&] {
    ElfCoreWriter writer(d.plan, d.redactor, d.file, copy, d.outcome);
    error = writer.WriteContents(d.notes, d.arena);
    if (error != 0 && writer.Shorten()) error = 0;
    if (error != 0) return;
    FillReport(crash, runtime, d.map, d.threads, d.scan, d.plan, d.redactor, d.report,
               d.outcome);
    error = writer.WriteReport(d.report.notes);
  });
  d.redactor.Wipe();
  return error == 0 && Failed(d.outcome, kWrite) ? -EFAULT : error;
}

}  // namespace

DumpResult RunDump(const CrashContext& crash, const Runtime& runtime,
                   void (*go_on)()) {
  const bool live = go_on != nullptr;
  Dump& d = *new (g_dump) Dump;
  d.outcome.started_us = safe::NowMicroseconds();
  d.outcome.deadline_us = runtime.policy.deadline_us;
  d.arena.Reset(runtime.arena, runtime.arena_bytes);
  d.outcome.holes.Reserve(d.arena, kMaxHoles);
  MemoryCopy copy;
  if (live) {
    copy.Prepare(runtime.policy.max_bytes);
  } else {
    d.took_descriptors = MakeRoomForDescriptors(runtime);
  }

  Guarded(kFreeze, d.outcome,
          [&] { FreezeThreads(crash, runtime, d.arena, d.threads, d.outcome); });
  d.outcome.frozen_us = d.outcome.Elapsed();
  Guarded(kMap, d.outcome, [&] {
    const bool mine = runtime.preopened.pid == crash.pid;
    ReadMemoryMap(d.arena, mine ? runtime.preopened.maps : -1, d.map, d.outcome);
    if (d.map.mappings().empty()) {
      GuessMemoryMap(crash, runtime, d.threads, d.arena, d.map);
    }
    FindImages(d.map, d.arena, d.images);
  });
  Guarded(kRoots, d.outcome, [&] {
    CollectRoots(crash, runtime, d.map, d.images, d.threads, d.arena, d.roots,
                 d.outcome);
  });
  d.outcome.mapped_us = d.outcome.Elapsed();
  // Before the scan, which follows no pointer out of a secret.
  Guarded(kSecrets, d.outcome, [&] {
    FindSecrets(runtime, d.map, d.images, d.threads, d.roots, d.arena, d.redactor,
                d.outcome);
  });
  // Then anything may be one.
  if (Failed(d.outcome, kSecrets)) {
    Guarded(kGiveUp, d.outcome, [&] { d.redactor.GiveUp(); });
  }
  d.outcome.uncertain = d.redactor.uncertain();
  Guarded(kScan, d.outcome, [&] {
    ScanAnchors(crash, runtime, d.map, d.threads, d.roots, d.redactor, d.arena, d.scan,
                d.outcome);
  });
  d.outcome.scanned_us = d.outcome.Elapsed();
  Guarded(kPlan, d.outcome, [&] {
    BuildNotes(crash, runtime, d.map, d.threads, d.redactor, d.arena, d.notes,
               d.outcome);
    BuildPlan(runtime, d.map, d.roots, d.scan, d.redactor, d.arena, d.plan, d.outcome);
    ReserveReport(d.threads, d.plan, d.scan, d.outcome, d.arena, d.report);
    LayOut(d.notes.size(), d.report.notes.size(), d.arena, d.plan);
  });
  d.outcome.planned_us = d.outcome.Elapsed();

  int error = 0;
  const char* failed = nullptr;
  // Without the secrets nothing can be told to be none, without the plan there is
  // nothing to write.
  if (Failed(d.outcome, kGiveUp) || Failed(d.outcome, kPlan)) {
    error = -EFAULT;
    failed = "find out what to write to";
  }
  if (live) {
    if (error == 0 && (error = copy.Reserve(d.plan.file_bytes)) == 0) {
      error = WriteAll(crash, runtime, d, &copy);
    }
    if (error != 0 && failed == nullptr) failed = "copy the memory for";
    go_on();
  }
  d.outcome.thawed_us = d.outcome.Elapsed();
  const uint64_t until = d.outcome.started_us + d.outcome.deadline_us;
  if (error == 0 && (error = d.file.Open(crash, runtime, until)) != 0) failed = "create";
  if (error == 0) {
    error = live ? d.file.Append(copy.data(), copy.size())
                 : WriteAll(crash, runtime, d, nullptr);
    if (error != 0) {
      d.file.Abandon();
      failed = "write";
    } else if ((error = d.file.Commit()) != 0) {
      failed = "name";
    }
  }
  copy.Release();
  return Finish(d, error, failed);
}

}  // namespace minicore
