// The two states that a crash reads: where the heap is and what is tagged.
//
// Constant-initialised to zero, which is valid (no region, no tags), so that
// malloc works before any constructor has run. Writers: region.cc,
// shadow_index.h, tag_table.cc. Readers go through index_view.h and pass these
// by reference.

#ifndef MINICORE_ALLOC_STATE_H_
#define MINICORE_ALLOC_STATE_H_

#include "alloc/index_format.h"

namespace minicore {

// Hidden, said here as well as by -fvisibility: whoever includes this reads them
// directly, not by way of the global offset table.
extern IndexState g_index_state __attribute__((visibility("hidden")));
extern TagState g_tag_state __attribute__((visibility("hidden")));

}  // namespace minicore

#endif  // MINICORE_ALLOC_STATE_H_
