// Which memory is secret: tagged allocations, tagged extents, tagged ranges, and what
// the policy elides by itself.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_SECRETS_H_
#define MINICORE_DUMP_HANDLER_SECRETS_H_

#include "dump/handler/crash_context.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"

namespace minicore {

// Tells `redactor` of all of it and builds it. What can't be found out counts as
// overflow: see Redactor::overflowed().
void FindSecrets(const Runtime& runtime, safe::Arena& arena, Redactor& redactor,
                 Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SECRETS_H_
