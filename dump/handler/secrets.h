// Which memory is secret: tagged allocations, tagged extents, tagged ranges, and what
// the policy elides by itself.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_SECRETS_H_
#define MINICORE_DUMP_HANDLER_SECRETS_H_

#include "dump/handler/crash_context.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"
#include "dump/handler/roots.h"
#include "dump/handler/thread_table.h"

namespace minicore {

// Tells `redactor` of all of it and builds it. If not all of it can be found out, the
// redactor is left uncertain.
void FindSecrets(const Runtime& runtime, const MemoryMap& map, const ThreadTable& threads,
                 const Roots& roots, safe::Arena& arena, Redactor& redactor,
                 Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SECRETS_H_
