// Threads that did not answer the freeze signal: every signal blocked by a raw
// rt_sigprocmask(), in uninterruptible sleep, the parent of a vfork().
//
// A helper stops them with ptrace and reads all their registers. It is a process that
// shares our memory (CLONE_VM): a thread can't trace its own process (kernel/ptrace.c,
// ptrace_attach(), same_thread_group()), and fork() would run jemalloc's atfork handlers,
// which take locks that a frozen thread may hold. Where the kernel, Yama or seccomp say
// no, /proc/self/task/TID/syscall still shows stack and instruction pointer of a thread
// that is in a system call; if nothing stops it when that is over, it counts as running on.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_SILENT_THREADS_H_
#define MINICORE_DUMP_HANDLER_SILENT_THREADS_H_

#include "dump/handler/crash_context.h"
#include "dump/handler/outcome.h"
#include "dump/handler/thread_table.h"
#include "dump/safe/arena.h"

namespace minicore {

// Appends the threads `tids`, with what could be learned of each.
void AddSilentThreads(const CrashContext& crash, const safe::FixedVector<int>& tids,
                      safe::Arena& arena, ThreadTable& threads, Outcome& outcome);

// Lets those go that the helper stopped, and ends it. Nothing if there is none.
void ReleaseSilentThreads();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SILENT_THREADS_H_
