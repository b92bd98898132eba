// Room in the queue of pending signals, which the freeze, a timer and a live dump's call
// need. The soft limit is for the program; what its owner may raise, we may, for an
// instant.
//
// Context: handler; the dumping thread only.

#ifndef MINICORE_DUMP_HANDLER_SIGNAL_LIMIT_H_
#define MINICORE_DUMP_HANDLER_SIGNAL_LIMIT_H_

namespace minicore {

// Raises the soft RLIMIT_SIGPENDING to the hard one, unless that is done.
void RaiseSignalLimit();

// Puts it back, if it was raised: before the program's threads run, who could hand it down
// to a child.
void RestoreSignalLimit();

// For memory that another process has left.
void ForgetSignalLimit();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SIGNAL_LIMIT_H_
