#include "tests/torture/places.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"

namespace torture {

void StartBystanders(int count) {
  for (int i = 0; i < count; ++i) {
    victim::StartThread(("bystander" + std::to_string(i)).c_str(),
                        victim::Park);
  }
  victim::AwaitParked(count);
}

void CrashIn(const Arguments& arguments, void (*crash)()) {
  StartBystanders(2);
  if (!arguments.empty() && arguments[0] == "worker") {
    pthread_join(victim::StartThread("crasher", crash), nullptr);
  } else {
    NameTheCrasher();
    crash();
  }
}

}  // namespace torture
