// jemalloc's own interface, which minicore re-exports; absent from a victim
// that runs without minicore.

#ifndef MINICORE_TESTS_E2E_JEMALLOC_API_H_
#define MINICORE_TESTS_E2E_JEMALLOC_API_H_

#include <stddef.h>

namespace victim {

bool HasJemalloc();

// mallctl(); ends the process with a sentence on failure.
void JemallocControl(const char* name, void* old_value, size_t* old_size,
                     void* new_value, size_t new_size);

// mallocx().
void* JemallocAllocate(size_t size, int flags);

}  // namespace victim

#endif  // MINICORE_TESTS_E2E_JEMALLOC_API_H_
