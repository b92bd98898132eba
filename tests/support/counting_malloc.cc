// glibc's malloc, counted: see CountAllocation(). Linked into a test by being
// there.

#include <cerrno>
#include <cstddef>

#include "tests/support/handler_child.h"

// glibc 2.36, malloc/malloc.c: its own functions under names that nobody
// interposes.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);

void* malloc(size_t size) {
  minicore::CountAllocation();
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  minicore::CountAllocation();
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  minicore::CountAllocation();
  return __libc_realloc(memory, size);
}
void* memalign(size_t alignment, size_t size) {
  minicore::CountAllocation();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  return memalign(alignment, size);
}
int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  if (memory != nullptr) minicore::CountAllocation();
  __libc_free(memory);
}
}
