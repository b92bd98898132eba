// Dumps of a process that goes on.
//
// Context: handler; DumpLive() any.

#ifndef MINICORE_DUMP_HANDLER_LIVE_DUMP_H_
#define MINICORE_DUMP_HANDLER_LIVE_DUMP_H_

#include <signal.h>

namespace minicore {

// Writes a core of the running process to `path`, or to `fd` if `path` is null, or where
// the policy says if `fd` is negative too. The calling thread counts as the crashed one.
// Returns: 0; -EBUSY while another thread dumps, for longer than the deadline;
//          -EAGAIN if the calling thread could not be signalled; else what failed.
int DumpLive(const char* path, int fd);

// The handler of Policy::dump_signal: a live dump to the policy's path.
void OnDumpSignal(int signal, siginfo_t* info, void* context);

// For the handler of kFreezeSignal: makes the dump that DumpLive() asks its own thread
// for by that signal.
// Returns: whether it was such a signal.
bool DumpIfAsked(const siginfo_t* info, const void* context);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_LIVE_DUMP_H_
