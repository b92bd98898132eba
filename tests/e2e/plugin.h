// What the victim looks up in the library.

#ifndef MINICORE_TESTS_E2E_PLUGIN_H_
#define MINICORE_TESTS_E2E_PLUGIN_H_

#include <stdint.h>

// Sets plugin_tls = seed and plugin_global = seed + 1, and calls `wait` two
// frames down.
extern "C" __attribute__((visibility("default"))) int64_t PluginRun(
    int64_t seed, void (*wait)());

#endif  // MINICORE_TESTS_E2E_PLUGIN_H_
