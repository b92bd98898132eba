// What every process has that is nobody else's business: the values of the environment,
// the arguments if the policy says so, and the secrets of libc: stack canary, pointer
// guard and the random bytes that both are made from.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_PROGRAM_DATA_H_
#define MINICORE_DUMP_HANDLER_PROGRAM_DATA_H_

#include "dump/handler/crash_context.h"
#include "dump/handler/redactor.h"
#include "dump/handler/thread_table.h"
#include "dump/safe/arena.h"

namespace minicore {

// Values of the environment, as it was at the start (at the top of the main stack, and what
// stood there at install) and as it is now. Names stay. Allowed values are told to
// `redactor` as public. If there are more strings than there can be, or more than there is
// time for, the redactor gives up.
void AddEnvironment(const Runtime& runtime, safe::Arena& arena, Redactor& redactor,
                    Outcome& outcome);

// All arguments, as they are and as they were, if policy.elide_argv. Likewise.
void AddArguments(const Runtime& runtime, Redactor& redactor, Outcome& outcome);

void AddCanaries(const Runtime& runtime, const ThreadTable& threads,
                 Redactor& redactor);

// Whether the variable of this name may be written: a built-in list, and `allowed`, names
// each followed by NUL, the last one empty. A name that ends with '*' stands for all that
// begin like it.
bool IsAllowedVariable(const char* name, size_t length, const char* allowed);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_PROGRAM_DATA_H_
