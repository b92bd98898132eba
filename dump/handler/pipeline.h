// The whole dump, in one function: read this file first.
//
// Context: handler, on the dumper's own stack, with the altstack disabled.

#ifndef MINICORE_DUMP_HANDLER_PIPELINE_H_
#define MINICORE_DUMP_HANDLER_PIPELINE_H_

#include "dump/handler/crash_context.h"

namespace minicore {

struct DumpResult {
  int error;             // 0, or -errno of what failed last
  const char* failed;    // what that was; null if nothing
  const char* reason;    // why, where the number does not explain it; else null
  const char* path;      // of the core, or where it should have gone
  uint64_t file_bytes;
  uint64_t microseconds;  // from the signal, or the stop of a live dump, to the end
  const char* remark;  // worth a line though all went well; null if nothing is
};

// What happens at the ends of the time in which the threads of a live dump stand still.
struct LiveSteps {
  void (*stopped)();  // no child can be made, no action set: faults become ours
  void (*go_on)();    // memory is copied: gives them back, and lets the threads go
};

// `live`: of a live dump. Null for a crash: the threads stay where they are.
DumpResult RunDump(const CrashContext& crash, const Runtime& runtime,
                   const LiveSteps* live);

// Removes what a dump that cannot go on has written, if it is a file of ours without its
// final name.
void RemoveUnfinishedFile();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_PIPELINE_H_
