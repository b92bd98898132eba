// Reading memory that may be gone, and surviving a fault of our own.
//
// A copy that faults does not crash: the dumper's SIGSEGV and SIGBUS handler finds the
// program counter at the one instruction that may fault and lets it return what is left.
// Rejected: write() to a pipe costs two calls; /proc/self/mem is not there in a chroot;
// msync() and mincore() only tell what was true before the read; process_vm_readv costs
// 0.5 us a call, ten times the copy of an ordinary allocation, and seccomp filters forbid
// it: it only serves where no handler can be ours, see CopyByCalls().
//
// Context: any, on a thread whose SIGSEGV and SIGBUS reach FixupFault().

#ifndef MINICORE_DUMP_SAFE_GUARDED_H_
#define MINICORE_DUMP_SAFE_GUARDED_H_

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "alloc/address.h"

namespace minicore::safe {

// Copies `size` bytes from `from`, ascending.
// Returns: bytes copied; fewer than `size` if reading failed there.
size_t GuardedCopy(void* to, Address from, size_t size);

// From here on, reads by process_vm_readv() of process `pid`, the caller's own: for the
// time in which the program's threads run, with the program's handlers for faults. 0 ends
// it.
// Returns: false if that call is refused: then nothing can be read so.
bool CopyByCalls(int pid);

// For a child of fork(), whose parent may have been reading at that instant: by calls, of
// memory that is not the child's, and in a stage whose stack is nobody's here.
void ForgetReading();

template <typename T>
[[nodiscard]] bool GuardedRead(Address from, T* value) {
  return GuardedCopy(value, from, sizeof(T)) == sizeof(T);
}

// Runs `stage(argument)`. If it faults outside GuardedCopy, it is abandoned where it is
// and false is returned: its results are what it had stored. Stages don't nest.
[[nodiscard]] bool RunGuarded(void (*stage)(void* argument), void* argument);

// For the signal handler: if `context` is a fault in GuardedCopy or in a guarded stage,
// makes it continue behind it.
// Returns: whether it was one.
bool FixupFault(ucontext_t* context);

// For a signal handler: makes the guarded stage that `context` interrupted end as if it
// had faulted.
// Returns: false if none runs.
bool AbandonStage(ucontext_t* context);

// Runs `function(argument)` on the stack that ends at `stack_end`.
void RunOnStack(void* stack_end, void (*function)(void* argument),
                void* argument);

}  // namespace minicore::safe

#endif  // MINICORE_DUMP_SAFE_GUARDED_H_
