// What a core says: for people, and as JSON for programs.

#ifndef MINICORE_TOOLS_INFO_H_
#define MINICORE_TOOLS_INFO_H_

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/backtrace.h"
#include "tools/core_reader.h"
#include "tools/minicore_notes.h"
#include "tools/process_notes.h"

namespace minicore {

// Counts and bytes under a name, largest bytes first.
struct Total {
  std::string name;
  uint64_t count = 0;
  uint64_t bytes = 0;
};

struct CoreInfo {
  std::string path;
  uint64_t file_bytes = 0;
  ProcessNotes process;
  MinicoreNotes notes;
  std::vector<ModuleInfo> modules;
  std::vector<Total> bytes_by_kind;
  // As the report counts, which is complete; as the rows say where it says nothing.
  std::vector<Total> holes_by_reason;
  Origin origin = Origin::kUnknown;
  bool live = false;  // nothing had crashed
  bool stack_overflow = false;
  std::vector<Backtrace> backtraces;  // of AddBacktraces()
  // What somebody should know who misses something: one sentence each.
  std::vector<std::string> remarks;
  // What was wrong with the notes: info shows what it can all the same.
  Faults faults;
};

CoreInfo CollectInfo(const CoreReader& core, const std::string& path);

// Adds what is asked for, and its remarks.
void AddBacktraces(const CoreReader& core, const BacktraceOptions& options, CoreInfo* info);

// Whether there is anything of a process in the file.
bool HasProcess(const CoreInfo& info);

// "Thread 12 got SIGSEGV at 0x10: the address is not mapped", or ": stack overflow",
// without a full stop.
std::string CrashSentence(const CoreInfo& info);

// "rdi = 0x5000 points 16 bytes into a freed allocation of 48 bytes at 0x4ff0".
std::string AnchorSentence(const CoreInfo& info, const AnchorRow& anchor);

// "libc.so.6+0x8b", "" if no mapped file is there.
std::string PlaceOf(const CoreInfo& info, uint64_t address);

// Whether si_addr means anything.
bool HasFaultAddress(const SignalInfo& signal);

// A count and a sum of bytes behind a key of the report: "holes.secret 2 64".
bool ReadTotal(const std::string& value, Total* total);

// How the registers of a thread were had: of a live dump, "dumper" for "crashed".
std::string SourceOf(const CoreInfo& info, ThreadSource source);

// The row's name, "(untagged)" for what has no tag.
std::string TagKey(const CoreInfo& info, const TagRow& row);

std::string InfoText(const CoreInfo& info);
nlohmann::json InfoJson(const CoreInfo& info);

}  // namespace minicore

#endif  // MINICORE_TOOLS_INFO_H_
