// Arenas that the program resets or destroys: their allocations end without a
// free().

#ifndef MINICORE_ALLOC_ARENA_END_H_
#define MINICORE_ALLOC_ARENA_END_H_

#include <cstddef>

namespace minicore {

// To be called before the mallctl of the same arguments. If that would reset or
// destroy an arena of the program's own, retires all its allocations, and wipes
// those that must be. Costs a look at the whole index then, else a comparison.
//
// Context: ordinary.
void BeforeMallctl(const char* name);
void BeforeMallctl(const size_t* mib, size_t mib_length);

}  // namespace minicore

#endif  // MINICORE_ALLOC_ARENA_END_H_
