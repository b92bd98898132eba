// Memory from extents that hold allocations of one tag only.
//
// Each tag that is asked for gets a jemalloc arena of its own with real extent
// hooks. Its extents are whole chunks of the region, marked with the tag in
// `chunks` before any address of them leaves malloc, and they never meet a
// thread cache: no allocation of another tag ever lies in them. For tags that
// are elided the extents stay out of every core file (MADV_DONTDUMP), read as
// zeros in a forked child (MADV_WIPEONFORK), lie between guards, can be locked in
// memory (hidden_extents.h), and what is freed is wiped, as is the rest at exit.

#ifndef MINICORE_ALLOC_TAGGED_EXTENTS_H_
#define MINICORE_ALLOC_TAGGED_EXTENTS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace minicore {

inline constexpr unsigned kMaxTaggedArenas = 16;

// The rule that a tag has when it is first used here decides how its extents are
// made; a later rule does not change them.
//
// Context: ordinary.
// Requires: `tag` is interned.
// Returns: memory aligned to 16 and recorded; null if there is none, or if
// `tag` would be
//          the 17th with extents of its own.
void* AllocateInTaggedExtents(size_t size, uint8_t tag);

// What a tag has instead of an arena: none, or one that a thread is making.
inline constexpr uint32_t kNoArena = 0;
inline constexpr uint32_t kArenaBeingMade = UINT32_MAX;

// Enters the arena that somebody has made, or kNoArena if that failed. Two may
// have been at it, if patience ran out: the first arena that is entered stays,
// whatever the other one brings.
//
// Context: any.
// Returns: what the entry is then.
uint32_t PublishArena(std::atomic<uint32_t>& entry, uint32_t made);

// mallocx flags to stay within the extents of `tag`; 0 if it has none.
int TaggedExtentFlags(uint8_t tag);

}  // namespace minicore

#endif  // MINICORE_ALLOC_TAGGED_EXTENTS_H_
