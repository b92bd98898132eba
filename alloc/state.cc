#include "alloc/state.h"

namespace minicore {

// A line of its own: every malloc and free reads the first members.
alignas(64) IndexState g_index_state;
TagState g_tag_state;

}  // namespace minicore
