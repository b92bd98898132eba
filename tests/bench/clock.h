// Clocks for the benchmarks, in nanoseconds.

#ifndef MINICORE_TESTS_BENCH_CLOCK_H_
#define MINICORE_TESTS_BENCH_CLOCK_H_

#include <time.h>

#include <cstdint>

namespace minicore {

inline int64_t Nanoseconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

inline int64_t MonotonicNanoseconds() { return Nanoseconds(CLOCK_MONOTONIC); }

// Of the calling thread. On a machine that others use as well, the one clock
// that does not count their turns.
inline int64_t ThreadCpuNanoseconds() {
  return Nanoseconds(CLOCK_THREAD_CPUTIME_ID);
}

}  // namespace minicore

#endif  // MINICORE_TESTS_BENCH_CLOCK_H_
