// mallctl(), which can make allocations and end them without a malloc or free.

#ifndef MINICORE_ALLOC_MALLCTL_H_
#define MINICORE_ALLOC_MALLCTL_H_

#include <cstddef>

namespace minicore {

struct MallctlArguments {
  void* old_value;
  size_t* old_size;
  void* new_value;
  size_t new_size;
};

// As mallctl(3) and mallctlbymib(3), and the index is told: what an arena of the
// program's own held when it is reset or destroyed, and what
// "experimental.batch_alloc" makes. Everything else costs a comparison; the end
// of an arena, a look at the whole index, and a question for each page in which
// something begins.
//
// Context: ordinary.
// Requires: no thread uses an arena that is being ended, as jemalloc says, nor
//           binds itself to it.
int Mallctl(const char* name, const MallctlArguments& arguments);
int MallctlByMib(const size_t* mib, size_t mib_length,
                 const MallctlArguments& arguments);

}  // namespace minicore

#endif  // MINICORE_ALLOC_MALLCTL_H_
