// The extent layer: all heap comes out of one reserved region of address space.
//
// jemalloc asks for memory by extents (megabytes at a time). Here every extent
// is cut from one reservation, in which the planes of the shadow index lie too:
//
//   heap (4 TiB)            | shadow | tags   | large | chunks |
//   RW up to `next`, then   |  1/16  |  1/16  | 1/512 | ...    |
//   PROT_NONE               |  RW up to `committed`, then PROT_NONE
//
// so that "is this word a heap pointer" is one subtraction and one comparison.
// Nothing is ever unmapped: jemalloc keeps freed extents (`retain`) and gives
// back their pages.
//
// The reservation is MADV_DONTDUMP, or gcore would write terabytes of zeros and
// the kernel would walk them; extents become MADV_DODUMP when they are handed
// out. The planes become readable step by step, before the heap that they
// describe, since mlockall(MCL_CURRENT) would fault in whatever is mapped
// read-write.
//
// Writers: any thread that needs an extent, without a lock: a thread may be
// frozen or killed in here, and a fork() in another thread may copy any
// instant. Address space is taken by one compare-and-swap of `next`; mapping
// the planes twice is harmless; `committed` only grows.

#ifndef MINICORE_ALLOC_REGION_H_
#define MINICORE_ALLOC_REGION_H_

#include "alloc/address.h"

namespace minicore {

enum class ExtentKind {
  kOrdinary,  // in core files of the kernel and of gcore, as any heap
  kApart,     // whole chunks of its own; MADV_DONTDUMP stays
};

// Memory for an extent: zeroed, readable and writable, `alignment` (a power of
// two, at least a page) and at least chunk alignment from 2 MiB on. The index
// below its end is mapped before this returns.
//
// Context: ordinary or inside malloc; before any constructor. Lock-free.
// Returns: an address of the region; 0 if it is used up, could not be reserved
//          (RLIMIT_AS), or the kernel has no memory.
Address AllocateExtent(ByteCount size, ByteCount alignment, ExtentKind kind);

// Takes back an extent of kind kApart that was never used: it is as it was, and if
// no other was allocated since, the next one begins there.
//
// Context: as AllocateExtent().
void ReturnExtent(AddressRange extent);

// True if the whole range lies in the region.
//
// Context: any.
bool InRegion(AddressRange range);

// To be told when jemalloc has given back the memory of `range`, of its region:
// so are the pages of the index that describe nothing else. What was freed there
// is forgotten then, small allocations only, and only where much is given back
// at once.
//
// Context: ordinary or inside malloc.
void ForgetFreed(AddressRange range);

// Gives the memory of a whole extent back for good, not its address space.
//
// Context: ordinary or inside malloc.
// Returns: false if the kernel refused.
bool RetireExtent(AddressRange range);

}  // namespace minicore

#endif  // MINICORE_ALLOC_REGION_H_
