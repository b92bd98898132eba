// A process that shares our memory, without libc and without fork handlers.
//
// Context: any.

#ifndef MINICORE_DUMP_SAFE_CLONE_H_
#define MINICORE_DUMP_SAFE_CLONE_H_

namespace minicore::safe {

// Runs `function(argument)` in a new task on the stack that ends at `stack_end`; what it
// returns is the task's exit status. `flags` are clone(2)'s. The kernel writes its id to
// `id` before it runs.
// Returns: its id, or -errno.
long Clone(unsigned long flags, void* stack_end, int (*function)(void* argument),
           void* argument, int* id);

}  // namespace minicore::safe

#endif  // MINICORE_DUMP_SAFE_CLONE_H_
