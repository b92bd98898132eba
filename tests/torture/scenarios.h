// Every scenario of the bench, by theme: each theme is a file (or two) of its
// own, and a table of the names by which torture_child.cc runs them.

#ifndef MINICORE_TESTS_TORTURE_SCENARIOS_H_
#define MINICORE_TESTS_TORTURE_SCENARIOS_H_

#include <stddef.h>

#include <string>
#include <vector>

namespace torture {

using Arguments = std::vector<std::string>;

struct Scenario {
  const char* name;
  void (*run)(const Arguments& arguments);
};

struct Theme {
  const Scenario* scenarios;
  size_t count;
};

template <size_t kCount>
constexpr Theme MakeTheme(const Scenario (&scenarios)[kCount]) {
  return {scenarios, kCount};
}

extern const Theme
    kAllocatorTheme;  // inside malloc, its locks, its hooks, tags
extern const Theme
    kPlacesTheme;  // handlers, constructors, destructors, the linker
extern const Theme
    kRegistersTheme;  // stacks, instruction pointers and flags gone wild
extern const Theme kCorruptionTheme;  // memory scribbled over, ours too
extern const Theme kPlantedTheme;     // faults of the dumper itself
extern const Theme
    kExhaustionTheme;  // address space, descriptors, stacks, file systems
extern const Theme kSandboxTheme;  // seccomp, chroot, privileges
extern const Theme
    kThreadsTheme;  // how many, how silent, how many faults at once
extern const Theme kProcessesTheme;  // fork, vfork, daemons
extern const Theme kLiveTheme;       // dumps of programs that go on
extern const Theme kStormTheme;      // long life under random kills

}  // namespace torture

#endif  // MINICORE_TESTS_TORTURE_SCENARIOS_H_
