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
  const char* path;      // of the core, or where it should have gone
  uint64_t file_bytes;
  uint64_t microseconds;        // from the signal to the end
  uint64_t frozen_microseconds;  // of these the other threads stood still
  const char* remark;  // worth a line though all went well; null if nothing is
};

// `go_on`: of a live dump; called once the memory is copied, before the threads go on
// and the file is written. Null for a crash: the threads stay where they are.
DumpResult RunDump(const CrashContext& crash, const Runtime& runtime,
                   void (*go_on)());

// Removes what a dump that cannot go on has written, if it is a file of ours without its
// final name.
void RemoveUnfinishedFile();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_PIPELINE_H_
