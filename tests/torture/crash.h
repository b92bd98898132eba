// The crash itself, and small things that the scenarios share.

#ifndef MINICORE_TESTS_TORTURE_CRASH_H_
#define MINICORE_TESTS_TORTURE_CRASH_H_

#include <stddef.h>
#include <stdint.h>

#include <string>

namespace torture {

// Writes to address 0. The function that every backtrace must show.
[[noreturn]] void CrashHere();

// States this thread as the one that is going to crash.
void NameTheCrasher();

// Ends the process with a sentence and status 2, which no crash has.
[[noreturn]] void Fail(const char* what);

// A mapping of /proc/self/maps, found without a call that allocates.
struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool writable = false;
};

// The `number`th of all mappings; begin == end if there are not so many.
Mapping MappingNumber(int number);

// The `number`th mapping whose name is exactly `name`; begin == end if there is
// none.
Mapping FindMapping(const char* name, int number = 0);

// The state letter of a thread of this process, as in /proc/PID/stat; '?' if it
// is gone.
char StateOf(int tid);

// Returns once thread `tid` sleeps in the kernel.
void AwaitSleep(int tid);

// Small, fast and repeatable.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  uint64_t Below(uint64_t limit) { return Next() % limit; }

 private:
  uint64_t state_;
};

}  // namespace torture

#endif  // MINICORE_TESTS_TORTURE_CRASH_H_
