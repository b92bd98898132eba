// Where glibc keeps what a debugger lists threads and thread-locals from,
// learned from the descriptors that glibc carries for libthread_db
// (nptl_db/structs.def), and never from offsets of ours alone.

#ifndef MINICORE_DUMP_THREAD_LAYOUT_H_
#define MINICORE_DUMP_THREAD_LAYOUT_H_

#include "dump/handler/crash_context.h"

namespace minicore {

// Learns it for this process. Without the descriptors (a static program,
// another libc) what is returned says so, and the handler keeps more.
//
// Context: ordinary.
ThreadLayout LearnThreadLayout();

}  // namespace minicore

#endif  // MINICORE_DUMP_THREAD_LAYOUT_H_
