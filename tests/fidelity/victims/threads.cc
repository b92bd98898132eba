// Threads deep in a dlopen'ed library, with static and dynamic thread-locals. Waiting in
// a system call, on a mutex, or spinning.

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/fidelity/victims/crash.h"
#include "tests/fidelity/victims/plugin.h"

namespace {

constexpr int kWorkers = 6;

thread_local int tls_number = 5;
thread_local std::string tls_name;
thread_local double tls_reals[40];
__thread int tls_zero;

decltype(&PluginRun) g_plugin_run;
std::atomic<int> g_ready{0};
std::mutex g_mutex;
std::condition_variable g_never;
volatile bool g_spin = true;
std::map<int, std::string> g_table;
int g_bss_counter;
[[gnu::used]] const char* g_text = "constant text";

int Wait(void* argument) {
  const int number = *static_cast<int*>(argument);
  std::vector<std::string> local(static_cast<size_t>(number) + 2, "a local of the waiting frame");
  std::map<int, std::string> numbers;
  for (int i = 0; i < 8; ++i) numbers[i] = std::string(static_cast<size_t>(number) * 5 + 3, static_cast<char>('a' + i));
  ++g_ready;
  switch (number % 3) {
    case 0: {
      std::unique_lock<std::mutex> lock(g_mutex);
      g_never.wait(lock, [] { return !g_spin; });
      break;
    }
    case 1:
      for (;;) pause();
      break;
    default:
      while (g_spin) {
      }
      break;
  }
  KeepAlive(&local), KeepAlive(&numbers);
  return number;
}

int Fault(void* argument) {
  std::string reason = "the reason for which this thread will crash";
  const int number = *static_cast<int*>(argument);
  Crash();
  KeepAlive(&reason);
  return number;
}

void Work(int number) {
  tls_number = number * 100;
  tls_name = "worker " + std::to_string(number) + " of the threads victim";
  tls_reals[number] = number / 4.0;
  tls_zero += number;
  int argument = number;
  std::string frame = "frame of worker " + std::to_string(number);
  g_plugin_run(number, 5 + number * 3, number == kWorkers ? &Fault : &Wait, &argument);
  KeepAlive(&frame);
}

}  // namespace

int main(int, char** argv) {
  AllocateBallast(48 << 20);
  const std::string program = argv[0];
  const std::string plugin =
      program.substr(0, program.rfind('/') + 1) + "libfidelity_plugin.so";
  void* library = dlopen(plugin.c_str(), RTLD_NOW);
  if (library == nullptr) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  g_plugin_run = reinterpret_cast<decltype(&PluginRun)>(dlsym(library, "PluginRun"));
  for (int i = 0; i < 10; ++i) g_table[i] = "entry " + std::to_string(i) + " of the global table";
  g_bss_counter = 4321;
  tls_name = "the main thread's own name, also a long one";
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i) threads.emplace_back(Work, i);
  while (g_ready != kWorkers) usleep(1000);
  usleep(50000);  // until they wait: only makes their last frames alike from run to run
  threads.emplace_back(Work, kWorkers);
  for (std::thread& thread : threads) thread.join();
}
