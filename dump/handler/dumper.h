// One dump of the elected thread, from inside its signal handler: the signals that it
// needs, the stack that it runs on, the line that it prints.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_DUMPER_H_
#define MINICORE_DUMP_HANDLER_DUMPER_H_

#include <signal.h>

#include "dump/handler/crash_context.h"
#include "dump/handler/pipeline.h"

namespace minicore {

struct Request {
  CrashContext crash;
  const Runtime* runtime;
  bool live;
  DumpResult result;
};

// Requires: the calling thread won the election.
void Dump(Request& request);

// For a child of fork(): gives the program's actions back if a crash had taken them when it
// was made. The kernel copies actions before memory (kernel/fork.c, copy_process()).
//
// Context: any; the only thread of its process.
void GiveActionsBack();

// Makes kFreezeSignal ours. glibc's use of it (setuid() and its kin tell all threads by
// it) is passed on.
// Returns: 0 or -errno (a seccomp filter): then the signal may end the process.
long TakeFreezeSignal(unsigned long flags);

// Hands a signal that is not ours to whose kFreezeSignal was before.
void PassOn(int signal, siginfo_t* info, void* context);

// Whether there has been a live dump, for whose time our handlers stood in for those of
// the program: a signal that reached one of them may be the program's.
bool HasStoodIn();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_DUMPER_H_
