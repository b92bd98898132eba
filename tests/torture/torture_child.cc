// A program that gets into the worst trouble that we could think of, and
// crashes there:
//
//   torture_child SCENARIO [ARGUMENT...]
//
// Environment: VICTIM_FACTS and VICTIM_READY_FD as in tests/e2e/crash_child.cc,
// whose facts and threads it shares; TORTURE_LIBRARY, a directory with
// libraries to open.
//
// Built with minicore linked in, and once without: that one shows what the
// kernel does by itself, and is the unmodified program that the library is
// preloaded into.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/facts.h"
#include "tests/e2e/tags.h"
#include "tests/e2e/threads.h"
#include "tests/torture/scenarios.h"

namespace {

const torture::Scenario* FindScenario(const char* name) {
  using namespace torture;
  for (const Theme* theme :
       {&kAllocatorTheme, &kPlacesTheme, &kRegistersTheme, &kCorruptionTheme,
        &kPlantedTheme, &kExhaustionTheme, &kSandboxTheme, &kThreadsTheme,
        &kProcessesTheme, &kLiveTheme, &kStormTheme}) {
    for (size_t i = 0; i < theme->count; ++i) {
      if (strcmp(theme->scenarios[i].name, name) == 0)
        return &theme->scenarios[i];
    }
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  const char* facts = getenv("VICTIM_FACTS");
  if (argc < 2 || facts == nullptr) {
    fprintf(stderr,
            "usage: VICTIM_FACTS=file torture_child SCENARIO [ARGUMENT...]\n");
    return 2;
  }
  const torture::Scenario* scenario = FindScenario(argv[1]);
  if (scenario == nullptr) {
    fprintf(stderr, "no scenario %s\n", argv[1]);
    return 2;
  }
  victim::OpenFacts(facts);
  victim::InstallMinicore();
  victim::NameThisThread("main");
  scenario->run(torture::Arguments(argv + 2, argv + argc));
  fprintf(stderr, "%s: the crash did not happen\n", argv[1]);
  return 2;
}
