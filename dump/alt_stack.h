// An alternate signal stack for every thread, so that a stack overflow can be handled
// where it happens.
//
// Context: ordinary.

#ifndef MINICORE_DUMP_ALT_STACK_H_
#define MINICORE_DUMP_ALT_STACK_H_

#include <signal.h>

namespace minicore {

// Gives the calling thread one, unless it has one of its own. Ours is taken back when
// the thread ends.
void EnsureAltStack();

// sigaltstack(), but a thread that switches its own off has ours from then on, and ours is
// told as none.
//
// Context: any; a thread that has never had one of ours gets it from mmap().
// Requires: EnsureAltStack() was called in this process.
int ChangeAltStack(const stack_t* stack, stack_t* old);

}  // namespace minicore

#endif  // MINICORE_DUMP_ALT_STACK_H_
