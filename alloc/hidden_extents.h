// The extents of tags that are elided: hidden from core files, and what else
// they are given. See tagged_extents.h.
//
// On both sides of each lies a chunk without access, so that what runs over the
// end of other memory does not run into secrets, nor out of them.

#ifndef MINICORE_ALLOC_HIDDEN_EXTENTS_H_
#define MINICORE_ALLOC_HIDDEN_EXTENTS_H_

#include "alloc/address.h"

namespace minicore {

// Memory between two guards, which a forked child reads as zeros. `alignment`:
// a power of two, at least kChunkSize.
//
// Context: inside jemalloc, see tagged_extents.cc. Lock-free.
// Returns: 0 if there is none.
Address AllocateHidden(ByteCount size, ByteCount alignment);

// Locks an extent in memory if LockHiddenExtents() was ever called; to be
// called when its chunks have their tag.
//
// Context: as above.
// Returns: false if it must be locked and cannot be.
bool LockIfWanted(AddressRange extent);

// Keeps all of them, now and later, out of swap: pages are locked when they are
// touched first.
//
// Context: ordinary.
// Returns: 0, or -ENOMEM if the kernel refuses (RLIMIT_MEMLOCK); what is locked
//          already stays so.
int LockHiddenExtents();

// Zeroes all allocations that live in them. Runs at exit by itself, after every
// destructor; threads that still run then find zeros.
//
// Context: ordinary.
void WipeHiddenExtents();

}  // namespace minicore

#endif  // MINICORE_ALLOC_HIDDEN_EXTENTS_H_
