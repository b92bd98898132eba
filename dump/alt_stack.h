// An alternate signal stack for threads, so that a stack overflow can be handled
// where it happens, and so that our signals find room for their frames wherever a thread
// stands: where there is none the kernel ends the process (arch/x86/kernel/signal.c,
// get_sigframe(): "we will die with SIGSEGV").
//
// A stack that the program sets is used if it has room for our frames beside those that it
// was made for. In the place of a smaller one, or of none, ours stays, and sigaltstack()
// answers what the program had set. (Not seen: sigaltstack behind libc's back. Not borne: a
// program that makes stacks for coroutines out of signal stacks of less than 16 KiB.)
//
// Context: ordinary.

#ifndef MINICORE_DUMP_ALT_STACK_H_
#define MINICORE_DUMP_ALT_STACK_H_

#include <signal.h>

namespace minicore {

// Gives the calling thread one, unless it has a large one of its own. Ours is taken back
// when the thread ends.
// Returns: whether it has one now.
bool EnsureAltStack();

// sigaltstack(), with ours in the place of a small stack or of none.
//
// Context: any; a thread that has never had one of ours gets it from mmap().
// Requires: EnsureAltStack() was called in this process.
int ChangeAltStack(const stack_t* stack, stack_t* old);

}  // namespace minicore

#endif  // MINICORE_DUMP_ALT_STACK_H_
