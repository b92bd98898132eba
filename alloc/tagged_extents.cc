#include "alloc/tagged_extents.h"

#include <jemalloc/jemalloc.h>

#include "alloc/kernel.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/region.h"
#include "alloc/wipe.h"

namespace minicore {
namespace {

// One tag with extents of its own. The hooks come first: jemalloc hands back their
// address, and from it the hooks know their tag.
struct TaggedArena {
  extent_hooks_t hooks;
  uint8_t tag;
  bool hidden;
};

// A slot belongs to whoever took its number; it is written before its arena exists, and
// never again.
TaggedArena g_arenas[kMaxTaggedArenas];
std::atomic<uint32_t> g_arenas_taken;

// By tag: jemalloc's arena index plus one; 0 as long as there is none. Written once, with
// release, when the arena is complete.
std::atomic<uint32_t> g_arena_of_tag[kMaxTags + 1];

// What follows runs inside jemalloc with its locks held: no allocation, no lock, no
// mallctl. Contracts: jemalloc(3), arena.<i>.extent_hooks.

void* AllocateHook(extent_hooks_t* hooks, void* new_addr, size_t size,
                   size_t alignment, bool* zero, bool* commit, unsigned) {
  if (new_addr != nullptr) return nullptr;
  const auto* arena = reinterpret_cast<const TaggedArena*>(hooks);
  // Whole chunks in any case: a chunk has one tag.
  const Address begin = AllocateExtent(
      size, alignment < kChunkSize ? kChunkSize : alignment,
      ExtentKind::kApart);
  if (begin == 0) return nullptr;
  const AddressRange extent{begin, begin + AlignUp(size, kChunkSize)};
  if (!arena->hidden) {
    kernel::Advise(extent, MADV_DODUMP);
  } else if (!kernel::Advise(extent, MADV_WIPEONFORK)) {
    return nullptr;  // its address space is lost; kernels before 4.14 only
  }
  for (Address chunk = begin; chunk < extent.end; chunk += kChunkSize) {
    const uint64_t offset = chunk - g_index_state.region;
    ExpectTags(g_index_state, offset);
    // Release and before the address is out: whatever starts in here is tagged from the
    // first instant.
    ChunkOf(g_index_state, offset)
        .extent_tag.store(arena->tag, std::memory_order_release);
  }
  *zero = true;
  *commit = true;
  return reinterpret_cast<void*>(begin);
}

bool CommitHook(extent_hooks_t*, void*, size_t, size_t, size_t, unsigned) {
  return false;  // always committed
}

bool PurgeHook(extent_hooks_t*, void* address, size_t, size_t offset,
               size_t length, unsigned) {
  const Address begin = reinterpret_cast<Address>(address) + offset;
  const AddressRange range{begin, begin + length};
  // Locked pages refuse MADV_DONTNEED; they would stay, and not be zeros.
  return !kernel::Advise(range, MADV_DONTNEED) &&
         !kernel::DiscardLocked(range);
}

// Extents are metadata to us: any cut and any join is fine. Null would forbid them and
// cripple the arena.
bool SplitHook(extent_hooks_t*, void*, size_t, size_t, size_t, bool,
               unsigned) {
  return false;
}

bool MergeHook(extent_hooks_t*, void*, size_t, void*, size_t, bool, unsigned) {
  return false;
}

TaggedArena* TakeSlot() {
  uint32_t taken = g_arenas_taken.load(std::memory_order_relaxed);
  do {
    if (taken == kMaxTaggedArenas) return nullptr;
  } while (!g_arenas_taken.compare_exchange_weak(taken, taken + 1,
                                                 std::memory_order_relaxed));
  return &g_arenas[taken];
}

// Returns jemalloc's arena index plus one, 0 if no arena can be made. Two threads that
// ask for the same new tag at once each make one, and the second stays unused.
uint32_t MakeArena(uint8_t tag) {
  TaggedArena* arena = TakeSlot();
  if (arena == nullptr) return 0;
  arena->hooks.alloc = AllocateHook;
  arena->hooks.commit = CommitHook;
  arena->hooks.purge_forced = PurgeHook;
  arena->hooks.split = SplitHook;
  arena->hooks.merge = MergeHook;
  // dalloc, destroy, decommit and purge_lazy stay null: "cannot".
  arena->tag = tag;
  arena->hidden = MustWipe(tag);

  // arena_config_t of jemalloc 5.3.0. Its own metadata must not use the hooks: a forked
  // child reads zeros there, and would fall over them.
  struct {
    extent_hooks_t* hooks;
    bool metadata_use_hooks;
  } config = {&arena->hooks, false};
  unsigned index = 0;
  size_t size = sizeof(index);
  if (je_mallctl("experimental.arenas_create_ext", &index, &size, &config,
                 sizeof(config)) != 0) {
    return 0;
  }
  uint32_t made = 0;
  // Release: whoever sees the arena sees its slot.
  if (g_arena_of_tag[tag].compare_exchange_strong(made, index + 1,
                                                  std::memory_order_acq_rel)) {
    made = index + 1;
  }
  return made;
}

}  // namespace

int TaggedExtentFlags(uint8_t tag) {
  if (tag > kMaxTags) return 0;
  const uint32_t arena =
      g_arena_of_tag[tag].load(std::memory_order_acquire);
  if (arena == 0) return 0;
  return static_cast<int>(MALLOCX_ARENA(arena - 1)) | MALLOCX_TCACHE_NONE;
}

void* AllocateInTaggedExtents(size_t size, uint8_t tag) {
  size = AtLeastGranule(size);
  if (TaggedExtentFlags(tag) == 0 && MakeArena(tag) == 0) return nullptr;
  const int flags = TaggedExtentFlags(tag);
  void* pointer = je_mallocx(size, flags);
  if (pointer == nullptr) return nullptr;
  return RecordUsable(pointer, je_nallocx(size, flags));
}

}  // namespace minicore
