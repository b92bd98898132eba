// An alternate signal stack for every thread, so that a stack overflow can be handled
// where it happens.
//
// Context: ordinary.

#ifndef MINICORE_DUMP_ALT_STACK_H_
#define MINICORE_DUMP_ALT_STACK_H_

namespace minicore {

// Gives the calling thread one, unless it has one of its own. Ours is taken back when
// the thread ends.
void EnsureAltStack();

}  // namespace minicore

#endif  // MINICORE_DUMP_ALT_STACK_H_
