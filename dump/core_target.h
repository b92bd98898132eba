// Whether a core can go where the options say: what the system knows of it, which their
// text (config.h) does not show.
//
// Context: ordinary.

#ifndef MINICORE_DUMP_CORE_TARGET_H_
#define MINICORE_DUMP_CORE_TARGET_H_

#include "dump/config.h"

namespace minicore {

// Returns: false, with `error` filled, if there is no such descriptor, if it is not for
//          writing, or if the path leads to a device.
bool CheckTarget(const Policy& policy, OptionError* error);

}  // namespace minicore

#endif  // MINICORE_DUMP_CORE_TARGET_H_
