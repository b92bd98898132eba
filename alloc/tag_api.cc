// The C functions of minicore.h that tag memory. Contracts: there.

#include <cerrno>

#include "alloc/index_view.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/state.h"
#include "alloc/tag_table.h"
#include "alloc/tagged_extents.h"
#include "alloc/wipe.h"
#include "minicore/minicore.h"

namespace minicore {
namespace {

struct Interned {
  uint8_t tag;  // the secret tag when the table is full: a lost tag elides
  int error;    // 0, -EINVAL, -ENOSPC
};

Interned Intern(const char* name) {
  const int id = InternTag(g_tag_state, name);
  if (id > 0) return {static_cast<uint8_t>(id), 0};
  return {id == -ENOSPC ? kTagSecret : kNoTag, id};
}

bool MakeRange(const void* begin, size_t size, AddressRange* range) {
  range->begin = reinterpret_cast<Address>(begin);
  return size != 0 && !__builtin_add_overflow(range->begin, size, &range->end);
}

}  // namespace
}  // namespace minicore

extern "C" {

int minicore_tag(const void* ptr, const char* tag) {
  const auto [id, error] = minicore::Intern(tag);
  if (error == -EINVAL) return error;
  const int result = minicore::TagAllocation(
      minicore::g_index_state, reinterpret_cast<minicore::Address>(ptr), id);
  return result != 0 ? result : error;
}

int minicore_untag(const void* ptr) {
  return minicore::UntagAllocation(minicore::g_index_state,
                                   reinterpret_cast<minicore::Address>(ptr));
}

int minicore_find_allocation(const void* ptr, minicore_allocation* found) {
  using namespace minicore;
  static_assert(sizeof(found->tag) == kMaxTagName + 1);
  const Allocation allocation =
      Resolve(g_index_state, reinterpret_cast<Address>(ptr));
  if (allocation.state != AllocationState::kLive) return -ENOENT;
  found->begin = reinterpret_cast<const void*>(allocation.begin);
  found->size = allocation.size;
  NameOf(g_tag_state, TagOf(g_tag_state, allocation), found->tag);
  return 0;
}

int minicore_tag_range(const void* begin, size_t size, const char* tag) {
  minicore::AddressRange range;
  const auto [id, error] = minicore::Intern(tag);
  if (error == -EINVAL || !minicore::MakeRange(begin, size, &range)) {
    return -EINVAL;
  }
  minicore::TagRangeOf(minicore::g_tag_state, range, id);
  return error;
}

int minicore_untag_range(const void* begin, size_t size, const char* tag) {
  using namespace minicore;
  AddressRange range;
  int id = FindTag(g_tag_state, tag);
  // What found no place in the table was tagged as a secret.
  if (id == -ENOENT && g_tag_state.lost_tags != 0) id = kTagSecret;
  if (id < 0 || !MakeRange(begin, size, &range)) return -ENOENT;
  return UntagRangeOf(g_tag_state, range, static_cast<uint8_t>(id));
}

int minicore_tag_elides(const char* tag) {
  const auto [id, error] = minicore::Intern(tag);
  if (error == -EINVAL) return error;
  return minicore::MustWipe(id);
}

void* minicore_malloc(size_t size, const char* tag) {
  const auto [id, error] = minicore::Intern(tag);
  void* pointer =
      error != 0 ? nullptr : minicore::AllocateInTaggedExtents(size, id);
  if (pointer == nullptr) errno = ENOMEM;
  return pointer;
}

}  // extern "C"
