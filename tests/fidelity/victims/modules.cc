// Seventy-two libraries opened with dlopen, each with thread-locals of its own:
// more than ld.so has room for in its first list of modules and in the threads'
// first DTVs (glibc 2.36, elf/dl-tls.c, TLS_SLOTINFO_SURPLUS and DTV_SURPLUS),
// so that both grow on the heap.

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/fidelity/victims/crash.h"
#include "tests/fidelity/victims/plugin.h"

namespace {

constexpr int kModules = 72;
constexpr int kWorkers = 4;

std::vector<decltype(&PluginRun)> g_modules;
std::atomic<int> g_ready{0};
thread_local std::string tls_worker;

struct Position {
  int worker;
  int module;
};

// Runs each fourth module on top of the one before it; in the last, waits or
// crashes.
int Next(void* argument) {
  const Position at = *static_cast<Position*>(argument);
  std::string here = "worker " + std::to_string(at.worker) + " above module " +
                     std::to_string(at.module);
  int result = 0;
  if (at.module + kWorkers < kModules) {
    Position next = {at.worker, at.module + kWorkers};
    result = g_modules[static_cast<size_t>(next.module)](next.module % 20, 0,
                                                         &Next, &next);
  } else {
    ++g_ready;
    if (at.worker != kWorkers - 1) {
      for (;;) pause();
    }
    while (g_ready != kWorkers) usleep(1000);
    Crash();
  }
  KeepAlive(&here);
  return result;
}

void Work(int worker) {
  tls_worker = "the name of worker " + std::to_string(worker) + ", of its own";
  Position start = {worker, worker - kWorkers};
  Next(&start);
}

}  // namespace

int main(int, char** argv) {
  AllocateBallast(48 << 20);
  const auto plugin =
      std::filesystem::path(argv[0]).replace_filename("libfidelity_plugin.so");
  for (int i = 0; i < kModules; ++i) {
    const auto copy = std::filesystem::current_path() /
                      ("module_" + std::to_string(i) + ".so");
    std::filesystem::copy_file(plugin, copy);
    void* library = dlopen(copy.c_str(), RTLD_NOW);
    if (library == nullptr) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
    g_modules.push_back(
        reinterpret_cast<decltype(&PluginRun)>(dlsym(library, "PluginRun")));
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i) threads.emplace_back(Work, i);
  for (std::thread& thread : threads) thread.join();
}
