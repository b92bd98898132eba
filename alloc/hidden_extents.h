// The extents of tags that are elided: hidden from core files, and what else
// they are given. See tagged_extents.h.
//
// On both sides of each lies a chunk without access, so that what runs over the
// end of other memory does not run into secrets, nor out of them.

#ifndef MINICORE_ALLOC_HIDDEN_EXTENTS_H_
#define MINICORE_ALLOC_HIDDEN_EXTENTS_H_

#include "alloc/address.h"

namespace minicore {

// Whole chunks between two guards, which belong to `tag`, are read as zeros by a
// forked child, and are locked in memory if LockHiddenExtents() said so last.
// `alignment`: a power of two, at least kChunkSize.
//
// Context: inside jemalloc, see tagged_extents.cc. Lock-free.
// Returns: 0 if there is none, or none that can be locked.
Address AllocateHidden(ByteCount size, ByteCount alignment, uint8_t tag);

// `wanted`: keeps all of them, now and later, out of swap; pages are locked when
// they are touched first. Else: later ones no more; what is locked stays so.
//
// Context: ordinary.
// Returns: 0, or -ENOMEM if the kernel refuses (RLIMIT_MEMLOCK): what is locked
//          by then stays so, and there will be no memory that is not.
int LockHiddenExtents(bool wanted);

// Zeroes all allocations that live in them. Runs at exit by itself, after every
// destructor; threads that still run then find zeros.
//
// Context: ordinary.
void WipeHiddenExtents();

}  // namespace minicore

#endif  // MINICORE_ALLOC_HIDDEN_EXTENTS_H_
