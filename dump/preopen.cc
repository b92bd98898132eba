#include "dump/preopen.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

// A file to be, if nobody else has it: new, or what a process that was ended without a
// crash has left, which is empty, and has the lock of nobody who lives.
// Returns: a descriptor that holds the lock, or -1.
int OpenPart(int directory, const char* name) {
  int fd = CreateCore(directory, name);
  if (fd < 0) {
    fd = openat(directory, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  }
  if (fd < 0) return -1;
  struct stat status;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &status) == 0 &&
      S_ISREG(status.st_mode) && status.st_size == 0 && status.st_nlink == 1 &&
      status.st_uid == getuid() && (status.st_mode & (S_IRWXG | S_IRWXO)) == 0) {
    return fd;
  }
  close(fd);
  return -1;
}

// Under the first of the names that are left: several processes may have one path.
int OpenAnyPart(Preopened& preopened) {
  for (unsigned number = 0; number < kMostOfOneName; ++number) {
    const char* const name = preopened.name;
    char* const part = preopened.part_name;
    if (number == 0) {
      snprintf(part, sizeof(preopened.part_name), "%s.part", name);
    } else {
      snprintf(part, sizeof(preopened.part_name), "%s.%u.part", name, number);
    }
    const int fd = OpenPart(preopened.directory, part);
    if (fd >= 0) return Raise(fd);
  }
  return -1;
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
  const AsRealUser real_user;
  char path[kMaxPathPattern];
  const ProgramName program = NameNow(self.pid);
  if (!ExpandPath(g_runtime.policy.path, self, g_runtime.facts, program, path,
                  sizeof(path))) {
    return;
  }
  struct stat status;
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
    char pattern[kMaxPathPattern + sizeof(kDefaultName)];
    snprintf(pattern, sizeof(pattern), "%s/%s", g_runtime.policy.path, kDefaultName);
    if (!ExpandPath(pattern, self, g_runtime.facts, program, path, sizeof(path))) return;
  }
  char copy[kMaxPathPattern];
  strcpy(copy, path);
  const char* name = basename(copy);
  if (strlen(name) >= sizeof(preopened.name)) return;
  strcpy(preopened.name, name);
  strcpy(copy, path);
  preopened.directory = OpenHigh(dirname(copy), O_RDONLY | O_DIRECTORY);
  if (preopened.directory < 0) return;
  if (fstat(preopened.directory, &status) != 0 || WhoElseWrites(status) != nullptr) return;
  preopened.file = OpenAnyPart(preopened);
  if (preopened.file < 0 || fstat(preopened.file, &status) != 0) return;
  preopened.device = status.st_dev;
  preopened.inode = status.st_ino;
  preopened.maps = OpenHigh("/proc/self/maps", O_RDONLY);
  preopened.tasks = OpenHigh("/proc/self/task", O_RDONLY | O_DIRECTORY);
  preopened.status = OpenHigh("/proc/self/status", O_RDONLY);
  strcpy(preopened.path, path);
  preopened.pid = self.pid;
  static const bool registered =
      atexit(&RemoveUnused) == 0 && at_quick_exit(&RemoveUnused) == 0;
  (void)registered;
}

}  // namespace minicore
