// Handlers for one time (SA_RESETHAND, and signal() of System V): the kernel puts
// SIG_DFL in their place by itself before they run, and would then dump core without us.
// They stand behind a handler of ours that puts our default action in its own place.

#ifndef MINICORE_DUMP_ONE_SHOT_H_
#define MINICORE_DUMP_ONE_SHOT_H_

#include <signal.h>

namespace minicore {

// Whether `action` asks for a handler for one time.
bool IsOneShot(const struct sigaction& action);

// The action to install for `wanted`, an action for one time. The handler that stood
// behind the former one goes to `previous`.
//
// Context: any; the calls for one signal may race, as those of sigaction() may.
struct sigaction OneShotAction(int signal, const struct sigaction& wanted,
                               void** previous);

// The handler that stands behind ours for `signal`.
void* OneShotHandler(int signal);
void SetOneShotHandler(int signal, void* handler);

// If `action` is one of OneShotAction()'s, makes it what the program had asked for.
void HideOneShot(void* handler, struct sigaction* action);

}  // namespace minicore

#endif  // MINICORE_DUMP_ONE_SHOT_H_
