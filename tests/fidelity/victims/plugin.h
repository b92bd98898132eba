#ifndef MINICORE_TESTS_FIDELITY_VICTIMS_PLUGIN_H_
#define MINICORE_TESTS_FIDELITY_VICTIMS_PLUGIN_H_

extern "C" {

typedef int (*PluginCallback)(void* argument);

// Calls `callback(argument)` below `depth` frames of its own.
int PluginRun(int number, int depth, PluginCallback callback, void* argument);
}

#endif  // MINICORE_TESTS_FIDELITY_VICTIMS_PLUGIN_H_
