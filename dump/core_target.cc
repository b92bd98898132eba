#include "dump/core_target.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump/handler/core_file.h"
#include "dump/handler/runtime.h"

namespace minicore {
namespace {

bool CheckDescriptor(int fd, OptionError* error) {
  const int flags = fcntl(fd, F_GETFL);
  const char* wrong = flags < 0                            ? "no such descriptor is open"
                      : (flags & O_ACCMODE) == O_RDONLY ? "it is not open for writing"
                                                        : nullptr;
  if (wrong != nullptr) {
    snprintf(error->text, sizeof(error->text), "option fd=%d: %s", fd, wrong);
  }
  return wrong == nullptr;
}

bool CheckPath(const char* pattern, OptionError* error) {
  CrashContext self;
  self.pid = self.tid = getpid();
  char path[kMaxPathPattern];
  struct stat status;
  const AsRealUser real_user;
  if (!ExpandPath(pattern, self, g_runtime.facts, NameNow(self.pid), path, sizeof(path)) ||
      stat(path, &status) != 0 || (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode))) {
    return true;
  }
  snprintf(error->text, sizeof(error->text), "option path=%.80s: it is a device", pattern);
  return false;
}

}  // namespace

bool CheckTarget(const Policy& policy, OptionError* error) {
  return policy.fd >= 0 ? CheckDescriptor(policy.fd, error) : CheckPath(policy.path, error);
}

}  // namespace minicore
