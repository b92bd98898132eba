// preopen=1: opens at start what a program will no longer be allowed to open when it
// crashes, because it enters a chroot or a seccomp filter.
//
// Context: ordinary.

#ifndef MINICORE_DUMP_PREOPEN_H_
#define MINICORE_DUMP_PREOPEN_H_

namespace minicore {

// Opens the core's file under its .part name, its directory and two files of /proc, if
// g_runtime.policy asks for it and has a path. What can't be opened is left to the crash.
// exit() takes the file away again. A process that is ended without it, by SIGTERM say, or
// may not remove it any more, leaves it there, empty; the next one of that name takes it
// over.
void Preopen();

}  // namespace minicore

#endif  // MINICORE_DUMP_PREOPEN_H_
