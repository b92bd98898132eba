#include "dump/handler/pipeline.h"

#include <errno.h>

#include <algorithm>
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
#include "dump/handler/rehearsal.h"
#include "dump/handler/report.h"
#include "dump/handler/roots.h"
#include "dump/handler/secrets.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr size_t kMaxHoles = 16384;
// An arena below this (RLIMIT_AS) has a quarter set aside for what comes last.
constexpr size_t kSmallArena = 64 * 1024 * 1024;

// Everything the phases hand to each other. Too large for any stack; one thread dumps at
// a time.
struct Dump {
  const CrashContext& crash;
  const Runtime& runtime;
  safe::Arena arena{};
  safe::Arena late_arena{};
  void* rehearsal_memory = nullptr;  // as much as the arena has; null: no rehearsal
  Outcome outcome{};
  ThreadTable threads{};
  MemoryMap map{};
  Images images{};
  Roots roots{};
  ScanResult scan{};
  Redactor redactor{};
  DumpPlan plan{};
  NoteBuffer notes{};
  Report report{};
  CoreFile file{};
  bool took_descriptors = false;
  // Of a live dump.
  Rehearsal rehearsal{};
  MemoryCopy copy{};

  // Notes, plan and writer come last, and cannot do with nothing.
  safe::Arena& last() { return late_arena.size() != 0 ? late_arena : arena; }
};
alignas(Dump) char g_dump[sizeof(Dump)];

// The phases, as bits of Outcome::failed_stages.
enum Phase : unsigned {
  kFreeze, kMap, kRoots, kScan, kSecrets, kPlan, kWrite, kGiveUp, kFile, kNotes,
  kReport, kRehearse,
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
                       : d.file.unnamed()    ? "it may not be renamed"
                       : d.took_descriptors  ? "no file descriptor was left"
                       : d.file.renumbered() ? "the name was taken"
                                             : nullptr;
  return {error, failed, d.file.reason(), d.file.path(), d.plan.file_bytes,
          d.outcome.Elapsed(), remark};
}

// What does not fit is left out.
int WriteContents(Dump& d, ElfCoreWriter& writer) {
  const Outcome before = d.outcome;
  const int error = writer.WriteContents(d.notes, d.last());
  if (error == 0 || writer.Shorten()) return 0;
  // What was elided is counted again.
  const bool late = d.outcome.past_deadline;
  d.outcome = before;
  d.outcome.past_deadline = late;
  if (late || !writer.ShortenForAnotherFile()) return error;
  const int no_file = d.file.StartOver();
  return no_file != 0 ? no_file : writer.WriteContents(d.notes, d.last());
}

// Contents, then the report. `copy`: of a live dump, where memory is taken from.
int WriteAll(Dump& d, const MemoryCopy* copy) {
  int error = 0;
  ElfCoreWriter writer(d.plan, d.redactor, d.file, copy, d.outcome);
  Guarded(kWrite, d.outcome, [&] { error = WriteContents(d, writer); });
  if (error == 0 && !Failed(d.outcome, kWrite)) {
    // Without its report a core is still one.
    Guarded(kReport, d.outcome, [&] {
      FillReport(d.crash, d.runtime, d.map, d.threads, d.scan, d.plan, d.redactor, d.report,
                 d.outcome);
    });
    Guarded(kWrite, d.outcome, [&] { error = writer.WriteReport(d.report.notes); });
  }
  d.redactor.Wipe();
  return error == 0 && Failed(d.outcome, kWrite) ? -EFAULT : error;
}

// A phase that has an error number for its result.
template <typename Work>
int GuardedFile(Outcome& outcome, Work work) {
  int error = -EFAULT;  // what stays if it faults
  Guarded(kFile, outcome, [&] { error = work(); });
  return error;
}

// The program's name as others may see it, in the name of a file: where a secret stands in
// it, as it was at the start. A marker would be none that a shell likes.
ProgramName PublicName(Dump& d) {
  const ProgramName name = NameNow(d.crash.pid);
  ProgramName redacted = name;
  d.redactor.RedactName(redacted.text, sizeof(redacted.text), d.outcome);
  return safe::Equal(redacted.text, name.text) ? name : NameAtStart(d.runtime.facts);
}

// From the opening of the file to its name.
int WriteFile(Dump& d, const MemoryCopy* copy, const char** failed) {
  const AsRealUser real_user;
  const uint64_t until = d.outcome.started_us + d.outcome.deadline_us;
  *failed = "create";
  int error = GuardedFile(d.outcome, [&] {
    return d.file.Open(d.crash, d.runtime, PublicName(d), until);
  });
  if (error == 0) {
    *failed = "write";
    GuardedFile(d.outcome, [&] {
      d.file.Expect(d.plan.file_bytes);
      return 0;
    });
    error = WriteAll(d, copy);
  }
  if (error == 0) {
    *failed = "name";
    error = GuardedFile(d.outcome, [&] { return d.file.Commit(); });
  }
  if (error == 0) *failed = nullptr;
  if (error != 0) {
    GuardedFile(d.outcome, [&] {
      d.file.Abandon();
      return 0;
    });
  }
  return error;
}

// A live dump's rehearsal has the upper half.
void TakeMemory(bool live, Dump& d) {
  const bool rehearses = live && d.runtime.arena_bytes >= 2 * kSmallArena;
  const ByteCount bytes = rehearses ? AlignDown(d.runtime.arena_bytes / 2, kPageSize)
                                    : d.runtime.arena_bytes;
  if (rehearses) d.rehearsal_memory = static_cast<char*>(d.runtime.arena) + bytes;
  d.arena.Reset(d.runtime.arena, bytes);
  if (bytes < kSmallArena) {
    const size_t quarter = d.arena.left() / 4;
    d.late_arena.Reset(d.arena.Allocate(quarter), quarter);
  }
  d.outcome.holes.Reserve(d.arena, kMaxHoles);
}

// What can be done before the threads of a live dump have to stand still. Then the pause
// begins, and its clock, with what is left of the time.
void Rehearse(Dump& d) {
  d.copy.Prepare(d.runtime.policy.max_bytes);
  if (d.rehearsal_memory != nullptr) {
    Guarded(kRehearse, d.outcome, [&] {
      d.rehearsal.Run(d.crash, d.runtime, d.rehearsal_memory, d.arena.size());
    });
  }
  d.rehearsal.End();
  const uint64_t late = d.outcome.started_us + d.outcome.deadline_us;
  d.outcome.started_us = safe::NowMicroseconds();
  d.outcome.deadline_us = late - std::min(late, d.outcome.started_us);
}

// Copies what the plan takes, and lets the threads of a live dump go.
// Returns: 0 or -errno.
int CopyAndGoOn(const LiveSteps& live, bool is_planned, Dump& d) {
  int error = 0;
  if (is_planned) {
    error = GuardedFile(d.outcome, [&] {
      const int no_room = d.copy.Reserve(d.plan.file_bytes);
      if (no_room == 0) d.copy.Fill(d.plan, d.outcome);
      return no_room;
    });
  }
  d.outcome.thawed_us = d.outcome.Elapsed();
  live.go_on();
  return error;
}

void ReadMap(Dump& d) {
  Guarded(kMap, d.outcome, [&] {
    const bool mine = d.runtime.preopened.pid == d.crash.pid;
    ReadMemoryMap(d.arena, mine ? d.runtime.preopened.maps : -1, d.map, d.outcome);
  });
  if (d.map.mappings().empty()) {
    Guarded(kMap, d.outcome, [&] {
      GuessMemoryMap(d.crash, d.runtime, d.threads, d.arena, d.map, d.outcome);
    });
  }
  Guarded(kMap, d.outcome, [&] { FindImages(d.map, d.arena, d.images); });
}

// Without the list of secrets anything may be one.
void LearnSecrets(Dump& d) {
  Guarded(kSecrets, d.outcome, [&] {
    FindSecrets(d.runtime, d.map, d.threads, d.roots, d.arena, d.redactor, d.outcome);
  });
  if (Failed(d.outcome, kSecrets)) {
    Guarded(kGiveUp, d.outcome, [&] { d.redactor.GiveUp(); });
  }
  d.outcome.uncertain = d.redactor.uncertain();
}

// Without the secrets nothing can be told to be none, without notes and plan there is
// nothing to write.
bool IsPlanned(const Dump& d) {
  return !Failed(d.outcome, kGiveUp) && !Failed(d.outcome, kPlan) && d.notes.size() != 0;
}

}  // namespace

void RemoveUnfinishedFile() {
  const AsRealUser real_user;
  std::launder(reinterpret_cast<Dump*>(g_dump))->file.Abandon();
}

DumpResult RunDump(const CrashContext& crash, const Runtime& runtime,
                   const LiveSteps* live) {
  Dump& d = *new (g_dump) Dump{crash, runtime};
  d.outcome.started_us = safe::NowMicroseconds();
  d.outcome.deadline_us = runtime.policy.deadline_us;
  TakeMemory(live != nullptr, d);
  if (live != nullptr) {
    Rehearse(d);
  } else {
    d.took_descriptors = MakeRoomForDescriptors(runtime);
  }

  // Whatever becomes of the others, this one is there.
  Guarded(kFreeze, d.outcome, [&] { AddCrashedThread(crash, d.arena, d.threads); });
  d.outcome.threads = static_cast<uint32_t>(d.threads.size());
  Guarded(kFreeze, d.outcome,
          [&] { FreezeThreads(crash, runtime, d.arena, d.threads, d.outcome); });
  if (Failed(d.outcome, kFreeze)) ++d.outcome.threads_running;
  if (live != nullptr) live->stopped();
  d.outcome.frozen_us = d.outcome.Elapsed();
  ReadMap(d);
  Guarded(kRoots, d.outcome, [&] {
    CollectRoots(crash, runtime, d.map, d.images, d.threads, d.arena, d.roots,
                 d.outcome);
  });
  d.outcome.mapped_us = d.outcome.Elapsed();
  // Before the scan, which follows no pointer out of a secret.
  LearnSecrets(d);
  Guarded(kScan, d.outcome, [&] {
    ScanAnchors(crash, runtime, d.map, d.threads, d.roots, d.redactor, d.arena, d.scan,
                d.outcome, d.rehearsal.found());
  });
  d.outcome.scanned_us = d.outcome.Elapsed();
  Guarded(kNotes, d.outcome, [&] {
    BuildNotes(crash, runtime, d.map, d.images, d.threads, d.redactor, d.last(), d.notes,
               d.outcome);
  });
  Guarded(kPlan, d.outcome, [&] {
    BuildPlan(runtime, d.map, d.roots, d.scan, d.redactor, d.last(), d.plan, d.outcome);
    ReserveReport(d.threads, d.plan, d.scan, d.outcome, d.last(), d.report);
    LayOut(d.notes.size(), d.report.notes.size(), d.plan);
  });
  d.outcome.planned_us = d.outcome.Elapsed();

  int error = IsPlanned(d) ? 0 : -EFAULT;
  const char* failed = error == 0 ? nullptr : "find out what to write to";
  if (live != nullptr) {
    const int not_copied = CopyAndGoOn(*live, error == 0, d);
    if (not_copied != 0) failed = "copy the memory for";
    error = error != 0 ? error : not_copied;
  }
  if (error == 0) error = WriteFile(d, live != nullptr ? &d.copy : nullptr, &failed);
  d.copy.Release();
  return Finish(d, error, failed);
}

}  // namespace minicore
