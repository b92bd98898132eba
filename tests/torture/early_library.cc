// A library that a program is linked with: what it does before the program's own code runs
// is said by TORTURE_EARLY.

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

extern "C" __attribute__((noinline)) void CrashEarly() {
  *static_cast<volatile int*>(nullptr) = 1;
}

extern "C" __attribute__((noinline)) int OverflowLate(int depth) {
  volatile char frame[1024];
  for (size_t i = sizeof(frame); i > 0; --i) frame[i - 1] = static_cast<char>(depth);
  if (depth < 0) return 0;
  return OverflowLate(depth + 1) + frame[depth % sizeof(frame)];
}

namespace {

pthread_barrier_t g_barrier;
pthread_t g_thread;
bool g_has_thread = false;

void* WaitAndOverflow(void*) {
  pthread_barrier_wait(&g_barrier);
  OverflowLate(0);
  return nullptr;
}

__attribute__((constructor)) void Construct() {
  const char* wanted = getenv("TORTURE_EARLY");
  if (wanted == nullptr) return;
  if (strcmp(wanted, "crash") == 0) CrashEarly();
  if (strcmp(wanted, "thread") == 0) {
    pthread_barrier_init(&g_barrier, nullptr, 2);
    g_has_thread = pthread_create(&g_thread, nullptr, WaitAndOverflow, nullptr) == 0;
  }
}

}  // namespace

// The thread that was started early overflows its stack.
extern "C" int LetThreadOverflow() {
  if (!g_has_thread) return 2;
  pthread_barrier_wait(&g_barrier);
  pthread_join(g_thread, nullptr);
  return 2;
}
