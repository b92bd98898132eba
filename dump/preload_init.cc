// The preloaded library installs itself.

#include "minicore/minicore.h"

namespace {

__attribute__((constructor)) void InstallAtLoad() { minicore_install(nullptr); }

}  // namespace
