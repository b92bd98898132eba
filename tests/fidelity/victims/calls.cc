// Backtraces with something special in them: calls [inlined|null|handler|null_in_handler|
// overflow|worker_overflow].

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "tests/fidelity/victims/crash.h"

namespace {

volatile int g_depth = 1;

// Two inlined calls between two that are not.
inline __attribute__((always_inline)) void Inner(int depth) {
  KeepAlive(&depth);
  Crash();
}
inline __attribute__((always_inline)) void Middle(int depth) {
  KeepAlive(&depth);
  Inner(depth + 1);
}
__attribute__((noinline)) int Inlined(int depth) {
  Middle(depth + 1);
  KeepAlive(&depth);
  return depth;
}

__attribute__((noinline)) int CallNull(int depth) {
  int (*volatile function)(int) = nullptr;
  const int result = function(depth);
  KeepAlive(&depth);
  return result + 1;
}

void CrashInHandler(int) { Crash(); }
void AbortInHandler(int) { abort(); }

__attribute__((noinline)) int Interrupted(int depth) {
  signal(SIGUSR1, CrashInHandler);
  raise(SIGUSR1);
  KeepAlive(&depth);
  return depth;
}

__attribute__((noinline)) int Recurse(int depth) {
  char large[1000];
  large[0] = static_cast<char>(depth);
  KeepAlive(large);
  return Recurse(depth + 1) + large[0];
}

void* Overflow(void*) { return reinterpret_cast<void*>(static_cast<long>(Recurse(g_depth))); }

__attribute__((noinline)) int Run(const char* what) {
  if (strcmp(what, "inlined") == 0) return Inlined(g_depth);
  if (strcmp(what, "null") == 0) return CallNull(g_depth);
  if (strcmp(what, "handler") == 0) return Interrupted(g_depth);
  if (strcmp(what, "null_in_handler") == 0) {
    signal(SIGSEGV, AbortInHandler);
    return CallNull(g_depth);
  }
  if (strcmp(what, "overflow") == 0) return Recurse(g_depth);
  if (strcmp(what, "worker_overflow") == 0) {
    pthread_t worker;
    pthread_create(&worker, nullptr, Overflow, nullptr);
    pthread_join(worker, nullptr);
  }
  return 0;
}

}  // namespace

int main(int, char** arguments) { return Run(arguments[1]) + g_depth; }
