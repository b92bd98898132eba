// Makes minicore the default action: reserves the dumper's memory, learns what the
// handler can't ask, takes the signals.
//
// Context: ordinary.

#ifndef MINICORE_DUMP_INSTALL_H_
#define MINICORE_DUMP_INSTALL_H_

#include "dump/config.h"

namespace minicore {

// Returns: 0 or -errno. May be called again; memory is reserved once.
int Install(const Policy& policy, const TagRules& rules);

}  // namespace minicore

#endif  // MINICORE_DUMP_INSTALL_H_
