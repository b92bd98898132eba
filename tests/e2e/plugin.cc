// The library that the service opens with dlopen: functions, a global and
// thread-local data that exist only since then.

#include "tests/e2e/plugin.h"

#include <stdint.h>

#include <string>

thread_local int64_t plugin_tls = 0;
int64_t plugin_global = 0;

namespace {

__attribute__((noinline)) int64_t PluginInner(int64_t seed, void (*wait)()) {
  const int64_t inner_value = seed * 3;
  std::string inner_text = "inside the library";
  asm volatile("" : : "r"(&inner_value), "r"(&inner_text) : "memory");
  wait();
  asm volatile("" : : "r"(&inner_value), "r"(&inner_text) : "memory");
  return inner_value;
}

}  // namespace

int64_t PluginRun(int64_t seed, void (*wait)()) {
  plugin_tls = seed;
  plugin_global = seed + 1;
  int64_t outer_value = seed * 2;
  asm volatile("" : : "r"(&outer_value) : "memory");
  const int64_t result = PluginInner(seed, wait);
  asm volatile("" : : "r"(&outer_value) : "memory");
  return outer_value + result;
}
