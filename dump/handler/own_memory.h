// The dumper's memory: in no core, out of reach but for the time of a dump, and zero at its
// start, and in a child of fork(): secrets are read into it while threads run.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_OWN_MEMORY_H_
#define MINICORE_DUMP_HANDLER_OWN_MEMORY_H_

#include "alloc/address.h"

namespace minicore {

inline constexpr char kOwnMemoryName[] = "minicore";

// Keeps a mapping out of the kernel's core and of gcore's, and names it.
//
// Context: any.
void HideMemory(const void* begin, ByteCount bytes, const char* name);

// Lets a child of fork() find a private mapping zeroed; one of vfork() shares it.
//
// Context: any.
// Returns: whether it will: not before Linux 4.14.
bool WipeOnFork(const void* begin, ByteCount bytes);

void OpenMemory();

// Requires: nobody uses it any more.
void CloseMemory();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_OWN_MEMORY_H_
