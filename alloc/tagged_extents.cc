#include "alloc/tagged_extents.h"

#include <jemalloc/jemalloc.h>

#include "alloc/hidden_extents.h"
#include "alloc/kernel.h"
#include "alloc/malloc_wrapper.h"
#include "alloc/region.h"
#include "alloc/wipe.h"

namespace minicore {
namespace {

// One tag with extents of its own. The hooks come first: jemalloc hands back
// their address, and from it the hooks know their tag.
struct TaggedArena {
  extent_hooks_t hooks;
  uint8_t tag;
  bool hidden;
};

// A slot belongs to whoever took its number; it is written before its arena
// exists, and never again.
TaggedArena g_arenas[kMaxTaggedArenas];
std::atomic<uint32_t> g_arenas_taken;

// By tag: jemalloc's arena index plus one, or one of the two above.
std::atomic<uint32_t> g_arena_of_tag[kMaxTags + 1];

bool IsArena(uint32_t arena) {
  return arena != kNoArena && arena != kArenaBeingMade;
}

// How often to let another thread run that is making an arena. It takes
// microseconds; only in a child that was forked meanwhile nobody ever finishes,
// and it makes its own.
constexpr int kPatience = 10'000;

// What follows runs inside jemalloc with its locks held: no allocation, no
// lock, no mallctl. Contracts: jemalloc(3), arena.<i>.extent_hooks.

Address AllocateShown(ByteCount size, ByteCount alignment, uint8_t tag) {
  const Address begin = AllocateExtent(size, alignment, ExtentKind::kApart);
  if (begin == 0) return 0;
  const AddressRange extent{begin, begin + AlignUp(size, kChunkSize)};
  kernel::Advise(extent, MADV_DODUMP);
  for (Address chunk = begin; chunk < extent.end; chunk += kChunkSize) {
    ExpectTagsOfExtent(g_index_state, chunk - g_index_state.region, tag);
  }
  return begin;
}

void* AllocateHook(extent_hooks_t* hooks, void* new_addr, size_t size,
                   size_t alignment, bool* zero, bool* commit, unsigned) {
  if (new_addr != nullptr) return nullptr;
  const auto* arena = reinterpret_cast<const TaggedArena*>(hooks);
  // Whole chunks in any case: a chunk has one tag.
  if (alignment < kChunkSize) alignment = kChunkSize;
  // Its chunks have their tag before the address is out: whatever starts in
  // there is tagged from the first instant.
  const Address begin = arena->hidden
                            ? AllocateHidden(size, alignment, arena->tag)
                            : AllocateShown(size, alignment, arena->tag);
  if (begin == 0) return nullptr;
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
  return !kernel::Advise(range, MADV_DONTNEED) && !kernel::DiscardLocked(range);
}

// Extents are metadata to us: any cut and any join is fine. Null would forbid
// them and cripple the arena.
bool SplitHook(extent_hooks_t*, void*, size_t, size_t, size_t, bool, unsigned) {
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

// Returns jemalloc's arena index plus one; kNoArena if no arena can be made.
uint32_t MakeArena(uint8_t tag) {
  TaggedArena* arena = TakeSlot();
  if (arena == nullptr) return kNoArena;
  arena->hooks.alloc = AllocateHook;
  arena->hooks.commit = CommitHook;
  arena->hooks.purge_forced = PurgeHook;
  arena->hooks.split = SplitHook;
  arena->hooks.merge = MergeHook;
  // dalloc, destroy, decommit and purge_lazy stay null: "cannot".
  arena->tag = tag;
  arena->hidden = MustWipe(tag);

  // arena_config_t of jemalloc 5.3.0. Its own metadata must not use the hooks:
  // a forked child reads zeros there, and would fall over them.
  struct {
    extent_hooks_t* hooks;
    bool metadata_use_hooks;
  } config = {&arena->hooks, false};
  unsigned index = 0;
  size_t size = sizeof(index);
  if (je_mallctl("experimental.arenas_create_ext", &index, &size, &config,
                 sizeof(config)) != 0) {
    return kNoArena;
  }
  return index + 1;
}

// The arena of a tag; one thread makes it, the others wait.
uint32_t ArenaOf(uint8_t tag) {
  std::atomic<uint32_t>& entry = g_arena_of_tag[tag];
  uint32_t arena = entry.load(std::memory_order_acquire);
  for (int i = 0; !IsArena(arena) && i < kPatience; ++i) {
    if (arena == kNoArena &&
        entry.compare_exchange_strong(arena, kArenaBeingMade,
                                      std::memory_order_acquire)) {
      break;
    }
    if (arena == kArenaBeingMade) kernel::Yield();
    arena = entry.load(std::memory_order_acquire);
  }
  return IsArena(arena) ? arena : PublishArena(entry, MakeArena(tag));
}

int FlagsOf(uint32_t arena) {
  return static_cast<int>(MALLOCX_ARENA(arena - 1)) | MALLOCX_TCACHE_NONE;
}

}  // namespace

uint32_t PublishArena(std::atomic<uint32_t>& entry, uint32_t made) {
  uint32_t before = entry.load(std::memory_order_acquire);
  // Release: whoever sees the arena sees its slot.
  while (!IsArena(before) && !entry.compare_exchange_weak(
                                 before, made, std::memory_order_acq_rel)) {
  }
  return IsArena(before) ? before : made;
}

int TaggedExtentFlags(uint8_t tag) {
  if (tag > kMaxTags) return 0;
  const uint32_t arena = g_arena_of_tag[tag].load(std::memory_order_acquire);
  return IsArena(arena) ? FlagsOf(arena) : 0;
}

void* AllocateInTaggedExtents(size_t size, uint8_t tag) {
  size = AtLeastGranule(size);
  const uint32_t arena = ArenaOf(tag);
  if (arena == kNoArena) return nullptr;
  void* pointer = je_mallocx(size, FlagsOf(arena));
  if (pointer == nullptr) return nullptr;
  return RecordUsable(pointer, je_nallocx(size, FlagsOf(arena)));
}

}  // namespace minicore
