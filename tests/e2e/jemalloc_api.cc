#include "tests/e2e/jemalloc_api.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

using MallctlFunction = int(const char*, void*, size_t*, void*, size_t);
using MallocxFunction = void*(size_t, int);

#ifndef VICTIM_WITHOUT_MINICORE
extern "C" MallctlFunction mallctl;
extern "C" MallocxFunction mallocx;
#endif

namespace {

#ifdef VICTIM_WITHOUT_MINICORE
MallctlFunction* g_mallctl =
    reinterpret_cast<MallctlFunction*>(dlsym(RTLD_DEFAULT, "mallctl"));
MallocxFunction* g_mallocx =
    reinterpret_cast<MallocxFunction*>(dlsym(RTLD_DEFAULT, "mallocx"));
#else
MallctlFunction* g_mallctl = mallctl;
MallocxFunction* g_mallocx = mallocx;
#endif

}  // namespace

namespace victim {

bool HasJemalloc() { return g_mallctl != nullptr; }

void JemallocControl(const char* name, void* old_value, size_t* old_size,
                     void* new_value, size_t new_size) {
  const int error = g_mallctl(name, old_value, old_size, new_value, new_size);
  if (error != 0) {
    fprintf(stderr, "mallctl %s: %d\n", name, error);
    exit(2);
  }
}

void* JemallocAllocate(size_t size, int flags) {
  return g_mallocx(size, flags);
}

}  // namespace victim
