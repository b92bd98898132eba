// The dynamic linker's list of modules, as debuggers read it.
//
// Context: handler. The list lies in the program's memory: it is read through guarded
// copies, and its length is bounded, since it may run in a circle.

#ifndef MINICORE_DUMP_HANDLER_LINK_MAPS_H_
#define MINICORE_DUMP_HANDLER_LINK_MAPS_H_

#include <cstdint>

#include "alloc/address.h"
#include "dump/safe/arena.h"

namespace minicore {

inline constexpr size_t kMaxLinkMaps = 16384;

// Appends the addresses of r_debug, and then of every link_map node and the name in it.
// `auxv` gives the program's headers (AT_PHDR), whose PT_DYNAMIC has DT_DEBUG.
void FindLinkMaps(const uint64_t* auxv, unsigned auxv_words,
                  safe::FixedVector<Address>& addresses);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_LINK_MAPS_H_
