// Programs that have run out of something when they crash.

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/e2e/facts.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/threads.h"

namespace victim {

// Not one file descriptor is left.
void NoDescriptors(bool) {
  NameThisThread("crasher");
  while (open("/dev/null", O_RDONLY) >= 0) {
  }
  Fact("errno_is_emfile", errno == EMFILE);
  WriteToNull();
}

}  // namespace victim
