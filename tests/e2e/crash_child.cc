// A program that crashes in the way it is told:
//
//   crash_child SCENARIO [--worker]
//
// Environment: VICTIM_FACTS, the file in which it states what it knows before
// it crashes; VICTIM_READY_FD, where it says that it waits for the parent;
// VICTIM_PLUGIN, the library to open with dlopen.
//
// Built with minicore linked in, and once without: that one shows what the
// kernel does by itself, and is the unmodified program that the library is
// preloaded into.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/e2e/facts.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/tags.h"
#include "tests/e2e/threads.h"

namespace {

struct Scenario {
  const char* name;
  void (*run)(bool in_worker);
};

constexpr Scenario kScenarios[] = {
    {"service", victim::Service},
    {"null_write", victim::NullWrite},
    {"null_call", victim::NullCall},
    {"abort", victim::Abort},
    {"terminate", victim::Terminate},
    {"assert", victim::Assert},
    {"divide", victim::Divide},
    {"illegal", victim::Illegal},
    {"trap", victim::Trap},
    {"bus", victim::Bus},
    {"seccomp", victim::Seccomp},
    {"quit", victim::Quit},
    {"overflow", victim::Overflow},
    {"fork", victim::Fork},
    {"signalled", victim::Signalled},
    {"signals_blocked", victim::SignalsBlocked},
    {"eight_at_once", victim::EightAtOnce},
    {"objects_middle", victim::ObjectsMiddle},
    {"objects_last_byte", victim::ObjectsLastByte},
    {"objects_next_byte", victim::ObjectsNextByte},
    {"objects_freed", victim::ObjectsFreed},
    {"objects_chain", victim::ObjectsChain},
    {"secrets", victim::Secrets},
    {"handler_recovers", victim::HandlerRecovers},
    {"handler_exits", victim::HandlerExits},
    {"handler_raises", victim::HandlerRaises},
    {"handler_raises_inside", victim::HandlerRaisesInside},
    {"handler_returns", victim::HandlerReturnsToTheFault},
    {"handler_once", victim::HandlerIsForOneTime},
    {"handler_once_vfork", victim::HandlerIsForOneTimeInVforkChild},
    {"handler_ignores", victim::HandlerIgnores},
    {"handler_stack", victim::HandlerOnAlternateStack},
    {"dispositions", victim::Dispositions},
    {"inside_malloc", victim::InsideMalloc},
    {"hammered", victim::Hammered},
    {"wild_free", victim::WildFree},
    {"double_free", victim::DoubleFree},
    {"heap_scribbled", victim::HeapScribbled},
    {"abort_after_overrun", victim::AbortAfterOverrun},
    {"no_descriptors", victim::NoDescriptors},
};

}  // namespace

int main(int argc, char** argv) {
  const char* facts = getenv("VICTIM_FACTS");
  if (argc < 2 || facts == nullptr) {
    fprintf(stderr, "usage: VICTIM_FACTS=file crash_child SCENARIO\n");
    return 2;
  }
  const bool in_worker = argc > 2 && strcmp(argv[2], "--worker") == 0;
  for (const Scenario& scenario : kScenarios) {
    if (strcmp(argv[1], scenario.name) != 0) continue;
    victim::OpenFacts(facts);
    victim::InstallMinicore();
    victim::NameThisThread("main");
    scenario.run(in_worker);
    return 0;
  }
  fprintf(stderr, "no scenario %s\n", argv[1]);
  return 2;
}
