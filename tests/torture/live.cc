#include "tests/torture/live.h"

#include <dlfcn.h>
#include <errno.h>

#ifdef VICTIM_WITHOUT_MINICORE

namespace torture {

int DumpTo(const char* path) {
  static auto* const dump =
      reinterpret_cast<int (*)(const char*)>(dlsym(RTLD_DEFAULT, "minicore_dump"));
  return dump != nullptr ? dump(path) : -ENOSYS;
}

int DumpToDescriptor(int fd) {
  static auto* const dump =
      reinterpret_cast<int (*)(int)>(dlsym(RTLD_DEFAULT, "minicore_dump_fd"));
  return dump != nullptr ? dump(fd) : -ENOSYS;
}

void InitThread() {
  auto* const init = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "minicore_thread_init"));
  if (init != nullptr) init();
}

}  // namespace torture

#else

#include "minicore/minicore.h"

namespace torture {

int DumpTo(const char* path) { return minicore_dump(path); }
int DumpToDescriptor(int fd) { return minicore_dump_fd(fd); }
void InitThread() { minicore_thread_init(); }

}  // namespace torture

#endif
