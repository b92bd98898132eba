// One dumper at a time.
//
// Writers. Any thread of any process that shares this memory, by compare-and-swap.
// Publication. Acquire and release on every change: what one dump leaves behind, the
// next one finds.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ELECTION_H_
#define MINICORE_DUMP_HANDLER_ELECTION_H_

namespace minicore {

// Makes the calling thread the dumper, unless another one of its process is. What
// another process left unfinished in this memory is waited for, then cleared away.
bool WinElection(int pid, int tid);

// Whether the calling thread is the dumper, or nobody is.
bool IsDumper(int pid, int tid);
bool NobodyDumps();

// Waits until the dumper is done, a millisecond at most.
void WaitForDumper();

// The calling thread, which won, is the dumper no more.
void EndDump();

// The calling thread, which won, stays the dumper of its process, which is about to die;
// but another process that waits for this memory may have it.
void LeaveToOtherProcesses();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ELECTION_H_
