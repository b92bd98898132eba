// A library for dlopen, with data and thread-locals of its own (general dynamic model:
// their blocks are allocated on first use by each thread).

#include "tests/fidelity/victims/plugin.h"

#include <map>
#include <string>
#include <vector>

namespace {

thread_local int tls_plugin_number = 11;
thread_local std::vector<std::string> tls_plugin_names;
thread_local char tls_plugin_array[300];
std::map<int, std::string> g_plugin_map;
int g_plugin_counter = 7;
int g_plugin_zero[600];

__attribute__((noinline)) int Descend(int depth, PluginCallback callback, void* argument) {
  std::string here = "depth " + std::to_string(depth) + " of the plugin's recursion";
  int result;
  if (depth == 0) {
    result = callback(argument);
  } else {
    result = Descend(depth - 1, callback, argument) + 1;
  }
  asm volatile("" : : "r"(&here) : "memory");
  return result;
}

}  // namespace

extern "C" int PluginRun(int number, int depth, PluginCallback callback, void* argument) {
  tls_plugin_number = number * 1000 + 1;
  for (int i = 0; i <= number; ++i) {
    tls_plugin_names.push_back("plugin name " + std::to_string(i) + " of a thread");
  }
  tls_plugin_array[number] = static_cast<char>('a' + number);
  if (number == 0) {
    g_plugin_map[3] = "three, in a map of the plugin";
    g_plugin_zero[599] = ++g_plugin_counter;
  }
  return Descend(depth, callback, argument);
}
