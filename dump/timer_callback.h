// Functions that libc runs in a thread of its own making when a timer expires
// (SIGEV_THREAD): it blocks every signal there behind our back, and the thread has no
// signal stack. They stand behind functions of ours that first make the thread one like all
// others.
//
// libc hands on a function and a value, and there is no room for a second function: ours
// are as many as the functions that a program may have, one for each.

#ifndef MINICORE_DUMP_TIMER_CALLBACK_H_
#define MINICORE_DUMP_TIMER_CALLBACK_H_

#include <signal.h>

namespace minicore {

using TimerCallback = void (*)(sigval);

// Returns: the one that stands for `callback`, always the same; `callback` itself for the
//          33rd function of a program, and on.
//
// Context: any; lock-free.
TimerCallback CallbackFor(TimerCallback callback);

}  // namespace minicore

#endif  // MINICORE_DUMP_TIMER_CALLBACK_H_
