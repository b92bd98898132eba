// The long part of a live dump, done while the threads run: what the words of stacks and
// data lead to. The threads are stopped for their registers, go on, and the scan goes
// through memory that changes under it. When they are stopped for good, its result is
// checked against the index as it then is, and only what registers and stacks point to by
// then is scanned again. What is in the core is of one instant; what was chosen for it may
// be some milliseconds old.
//
// Context: handler. Reads memory by calls (guarded.h), as the program's own handlers for
// faults are in force, and in a process of its own, which can be ended if one does not
// return.

#ifndef MINICORE_DUMP_HANDLER_REHEARSAL_H_
#define MINICORE_DUMP_HANDLER_REHEARSAL_H_

#include "dump/handler/anchor_scan.h"
#include "dump/handler/crash_context.h"

namespace minicore {

class Rehearsal {
 public:
  // Works in [memory, memory + bytes), which is zero and part of the dumper's memory: no
  // scan follows a pointer there. Where reads by calls are forbidden, nothing is found.
  void Run(const CrashContext& crash, const Runtime& runtime, void* memory,
           ByteCount bytes);

  // Lets the threads go, ends the helper and makes reads ordinary again; after Run(), even
  // one that was abandoned.
  void End();

  // What was reached, or null: then the scan has to do all.
  const ScanResult* found() const { return found_; }

 private:
  bool HelperHasEnded();
  void EndHelper();

  bool begun_ = false;
  int helper_ = 0;  // its process; 0: there is none
  const ScanResult* found_ = nullptr;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_REHEARSAL_H_
