#include "dump/handler/descriptors.h"

#include <sched.h>
#include <sys/resource.h>

#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

bool OneCanBeOpened() {
  const int fd = safe::Open("/", O_RDONLY | O_DIRECTORY);
  if (fd >= 0) safe::Close(fd);
  return fd != -EMFILE;
}

bool IsWanted(const Runtime& runtime, int fd) {
  const Preopened& preopened = runtime.preopened;
  return fd <= 2 || fd == runtime.policy.fd || fd == preopened.file ||
         fd == preopened.directory || fd == preopened.maps || fd == preopened.tasks;
}

}  // namespace

bool MakeRoomForDescriptors(const Runtime& runtime) {
  if (OneCanBeOpened()) return false;
  rlimit limit;
  if (safe::Syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, safe::Word(&limit)) == 0 &&
      limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    safe::Syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, safe::Word(&limit), 0);
    if (OneCanBeOpened()) return true;
  }
  if (safe::Syscall(SYS_unshare, CLONE_FILES) != 0) return true;
  // The dump never has more than two open at a time; the limit counts numbers, so low
  // ones are the ones to free.
  int closed = 0;
  for (int fd = 3; fd < 1024 && closed < 2; ++fd) {
    if (!IsWanted(runtime, fd) && safe::Close(fd) == 0) ++closed;
  }
  return true;
}

}  // namespace minicore
