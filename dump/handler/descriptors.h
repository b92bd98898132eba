// A free file descriptor for the dump, in a process that has used up its own.
//
// Context: handler; of a crash only: what it does to the process can't be undone.

#ifndef MINICORE_DUMP_HANDLER_DESCRIPTORS_H_
#define MINICORE_DUMP_HANDLER_DESCRIPTORS_H_

#include "dump/handler/crash_context.h"

namespace minicore {

// If none can be opened: raises the soft limit; else gives this thread a table of its own
// (other threads and processes keep theirs) and closes two of its copies.
// Returns: whether it had to.
bool MakeRoomForDescriptors(const Runtime& runtime);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_DESCRIPTORS_H_
