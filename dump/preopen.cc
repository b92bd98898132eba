#include "dump/preopen.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <initializer_list>

#include "dump/handler/core_file.h"
#include "dump/handler/entry.h"

namespace minicore {
namespace {

// Above what programs count on: select() goes to 1,023, and many close a range from 3 on.
constexpr int kLowestDescriptor = 1000;

// Moves a descriptor to a high number; -1 stays -1.
int Raise(int fd) {
  if (fd < 0) return -1;
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, kLowestDescriptor);
  if (high < 0) return fd;
  close(fd);
  return high;
}

int OpenHigh(const char* path, int flags) {
  return Raise(open(path, flags | O_CLOEXEC));
}

// Runs at exit too, when g_runtime is read-only.
void RemoveUnused() {
  const Preopened& preopened = g_runtime.preopened;
  if (preopened.pid == getpid()) {
    const AsRealUser real_user;
    unlinkat(preopened.directory, preopened.part_name, 0);
  }
}

}  // namespace

void Preopen() {
  Preopened& preopened = g_runtime.preopened;
  if (preopened.pid == getpid()) {
    RemoveUnused();
    for (int fd : {preopened.file, preopened.directory, preopened.maps, preopened.tasks,
                   preopened.status}) {
      if (fd >= 0) close(fd);
    }
    preopened.pid = 0;
  }
  if (!g_runtime.policy.preopen || g_runtime.policy.fd >= 0) return;

  CrashContext self;
  self.pid = self.tid = getpid();
  char path[kMaxPathPattern];
  if (!ExpandPath(g_runtime.policy.path, self, g_runtime.facts, path, sizeof(path))) {
    return;
  }
  struct stat status;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
    const size_t length = strlen(path);
    snprintf(path + length, sizeof(path) - length, "/core.%d", self.pid);
  }
  char copy[kMaxPathPattern];
  strcpy(copy, path);
  const char* name = basename(copy);
  if (strlen(name) >= sizeof(preopened.name)) return;
  strcpy(preopened.name, name);
  snprintf(preopened.part_name, sizeof(preopened.part_name), "%s.part", preopened.name);
  strcpy(copy, path);
  const AsRealUser real_user;
  preopened.directory = OpenHigh(dirname(copy), O_RDONLY | O_DIRECTORY);
  if (preopened.directory < 0) return;
  if (fstat(preopened.directory, &status) != 0 || IsOpenToAll(status)) return;
  preopened.file = Raise(openat(preopened.directory, preopened.part_name,
                                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (preopened.file < 0 || fstat(preopened.file, &status) != 0) return;
  preopened.device = status.st_dev;
  preopened.inode = status.st_ino;
  preopened.maps = OpenHigh("/proc/self/maps", O_RDONLY);
  preopened.tasks = OpenHigh("/proc/self/task", O_RDONLY | O_DIRECTORY);
  preopened.status = OpenHigh("/proc/self/status", O_RDONLY);
  strcpy(preopened.path, path);
  preopened.pid = self.pid;
  static const int registered = atexit(&RemoveUnused);
  (void)registered;
}

}  // namespace minicore
