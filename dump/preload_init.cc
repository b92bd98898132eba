// The preloaded library installs itself, before any other library's constructor has run
// (-z initfirst): those crash, too, and start threads. Or it says why it can't: nobody else
// would.

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "minicore/minicore.h"

namespace {

// libc's constructor, which sets this, runs later (glibc 2.36, elf/dl-init.c, _dl_init(),
// and csu/init-first.c, _init_first()). Ahead of jemalloc's, which reads MALLOC_CONF.
__attribute__((constructor(101))) void SetEnvironment(int, char**, char** environment) {
  if (environ == nullptr) environ = environment;
}

__attribute__((constructor)) void InstallAtLoad() {
  const int error = minicore_install(nullptr);
  if (error != 0) dprintf(2, "minicore: not installed: %s\n", strerror(-error));
}

}  // namespace
