// Where in the program a scenario crashes: in main's thread or in another one.

#ifndef MINICORE_TESTS_TORTURE_PLACES_H_
#define MINICORE_TESTS_TORTURE_PLACES_H_

#include "tests/torture/scenarios.h"

namespace torture {

// Starts two threads that stand by, then runs `crash` in a thread of its own if
// the first argument is "worker", else right here.
void CrashIn(const Arguments& arguments, void (*crash)());

// Starts `count` threads that stand by, and returns when they do.
void StartBystanders(int count);

}  // namespace torture

#endif  // MINICORE_TESTS_TORTURE_PLACES_H_
