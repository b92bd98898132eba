// A child process that crashes into the dumper and nothing else: without the
// malloc, with an index that says what the test's own heap holds. What the
// dumper does there is measured from outside: the stack it took, the
// allocations it made.

#ifndef MINICORE_TESTS_SUPPORT_HANDLER_CHILD_H_
#define MINICORE_TESTS_SUPPORT_HANDLER_CHILD_H_

#include <cstddef>
#include <functional>
#include <string>

#include "dump/policy.h"
#include "tests/support/test_heap.h"

namespace minicore {

// The dumper's own stack, as dump/install.cc reserves it.
inline constexpr size_t kDumpStackBytes = 256 * 1024;

struct HandlerChild {
  int status = 0;          // of waitpid()
  std::string core;        // where it should be
  size_t stack_bytes = 0;  // of the dumper's stack, at the deepest
  size_t signal_stack_bytes = 0;  // likewise of the thread's signal stack
  size_t allocations = 0;  // calls of malloc and its kin in the handler
};

// Forks, lets `prepare` change the policy and fill the heap, installs the
// handler for SIGSEGV, SIGABRT and SIGBUS, and runs `crash`, which must not
// return. The core is below `directory`.
HandlerChild CrashInChild(
    const std::string& directory,
    const std::function<void(Policy&, TestHeap&)>& prepare,
    const std::function<void(TestHeap&)>& crash);

// Counts one call, if it comes from a thread that is in the handler. For the
// test's own malloc; safe before any constructor has run.
void CountAllocation();

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_HANDLER_CHILD_H_
