#include "tests/torture/crash.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/e2e/threads.h"

namespace torture {
namespace {

char g_maps[16 << 20];

}  // namespace

__attribute__((noinline)) void CrashHere() {
  *static_cast<volatile int*>(nullptr) = 1;
  _exit(2);  // the crash did not happen
}

void NameTheCrasher() { victim::NameThisThread("crasher"); }

void Fail(const char* what) {
  perror(what);
  _exit(2);
}

namespace {

// Null stands for any name.
Mapping Find(const char* name, int number) {
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) Fail("/proc/self/maps");
  size_t size = 0;
  for (ssize_t got = 1; got > 0 && size < sizeof(g_maps) - 1; size += got) {
    got = read(fd, g_maps + size, sizeof(g_maps) - 1 - size);
    if (got < 0) Fail("/proc/self/maps");
  }
  close(fd);
  g_maps[size] = '\0';
  for (char* line = g_maps; *line != '\0';) {
    char* end = strchr(line, '\n');
    *end = '\0';
    unsigned long from = 0;
    unsigned long to = 0;
    char permissions[5] = "";
    int name_at = 0;
    sscanf(line, "%lx-%lx %4s %*x %*x:%*x %*u %n", &from, &to, permissions,
           &name_at);
    if ((name == nullptr || strcmp(line + name_at, name) == 0) &&
        number-- == 0) {
      return {from, to, permissions[1] == 'w'};
    }
    line = end + 1;
  }
  return {};
}

}  // namespace

Mapping MappingNumber(int number) { return Find(nullptr, number); }
Mapping FindMapping(const char* name, int number) { return Find(name, number); }

char StateOf(int tid) {
  char path[64];
  char stat[512] = {};
  snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return '?';
  const ssize_t size = read(fd, stat, sizeof(stat) - 1);
  close(fd);
  const char* name_end = size > 0 ? strrchr(stat, ')') : nullptr;
  return name_end != nullptr ? name_end[2] : '?';
}

void AwaitSleep(int tid) {
  for (char state = StateOf(tid); state != 'S' && state != 'D';
       state = StateOf(tid)) {
    if (state == '?') Fail("a thread is gone");
    sched_yield();
  }
}

}  // namespace torture
