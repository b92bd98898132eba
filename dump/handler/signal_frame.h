// What a signal frame says of the thread that it interrupted.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_SIGNAL_FRAME_H_
#define MINICORE_DUMP_HANDLER_SIGNAL_FRAME_H_

#include <ucontext.h>

#include <cstdint>

#include "dump/handler/thread_table.h"

namespace minicore {

// Fills `thread`: general registers, where its XSAVE image is, its alternate stack. The
// image stays in the frame.
void FillThread(int tid, ThreadSource source, const ucontext_t& context,
                uint64_t fs_base, uint64_t gs_base, const char* name,
                Thread* thread);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SIGNAL_FRAME_H_
