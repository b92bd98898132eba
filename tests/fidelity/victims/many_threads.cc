// A thousand threads (or argv[1]).

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "tests/fidelity/victims/crash.h"

namespace {

thread_local int tls_index = -1;
std::atomic<int> g_ready{0};

void Leaf(const std::string& name) {
  ++g_ready;
  for (;;) pause();
  KeepAlive(&name);
}

void* Thread(void* argument) {
  tls_index = static_cast<int>(reinterpret_cast<intptr_t>(argument));
  std::string name = "thread with the index " + std::to_string(tls_index);
  Leaf(name);
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? atoi(argv[1]) : 1000;
  AllocateBallast(64 << 20);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  for (int i = 0; i < count; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, &Thread,
                       reinterpret_cast<void*>(static_cast<intptr_t>(i))) != 0) {
      return 1;
    }
  }
  while (g_ready != count) usleep(1000);
  std::string local = "main's local";
  Crash();
  KeepAlive(&local);
}
