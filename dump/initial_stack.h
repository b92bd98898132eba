// What execve() left at the top of the main stack: arguments, environment and auxiliary
// vector, for a process that is started without /proc.

#ifndef MINICORE_DUMP_INITIAL_STACK_H_
#define MINICORE_DUMP_INITIAL_STACK_H_

#include "dump/handler/crash_context.h"

namespace minicore {

// Fills in auxv and where the strings of arguments and environment lie, as
// /proc/self/auxv and /proc/self/stat would tell.
//
// Context: ordinary, before the program can have changed its first environment (at
// install, from a constructor). Reads the main stack of this process.
void LearnInitialStack(ProcessFacts& facts);

}  // namespace minicore

#endif  // MINICORE_DUMP_INITIAL_STACK_H_
