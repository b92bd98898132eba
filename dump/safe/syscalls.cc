#include "dump/safe/syscalls.h"

namespace minicore::safe {

bool g_basic_calls_only = false;

}  // namespace minicore::safe
