#include "dump/handler/secrets.h"

#include "alloc/index_view.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

struct Search {
  const Runtime* runtime;
  Redactor* redactor;
  Outcome* outcome;
};

// The usable size of an allocation is more than what was asked for: of a short string in
// a block of 16 or 32 bytes, the string is the secret, and copies of it are copies.
void AddShortString(const Allocation& allocation, Redactor& redactor) {
  uint8_t bytes[32];
  if (allocation.size > sizeof(bytes)) return;
  const size_t read = safe::GuardedCopy(bytes, allocation.begin, allocation.size);
  size_t length = 0;
  while (length < read && bytes[length] != 0) ++length;
  if (length < kShortestSecret || length >= kWindowBytes) return;
  redactor.AddSecret({allocation.begin, allocation.begin + length},
                     HoleReason::kSecret, allocation.tag, true);
}

bool AddAllocation(void* context, const Allocation& allocation) {
  Search& search = *static_cast<Search*>(context);
  if (DispositionOf(*search.runtime->tags, allocation.tag) != Disposition::kElide) {
    return true;
  }
  search.redactor->AddSecret(allocation.range(), HoleReason::kSecret, allocation.tag,
                             true);
  AddShortString(allocation, *search.redactor);
  return !search.outcome->Late();
}

}  // namespace

void FindSecrets(const Runtime& runtime, safe::Arena& arena, Redactor& redactor,
                 Outcome& outcome) {
  redactor.Reserve(arena);
  const IndexState& index = *runtime.index;
  Search search = {&runtime, &redactor, &outcome};
  const ByteCount committed = index.committed.load(std::memory_order_acquire);
  for (ByteCount at = 0; at < committed && index.chunks != nullptr; at += kChunkSize) {
    const ChunkEntry& chunk = index.chunks[at >> kChunkShift];
    if (chunk.has_tags.load(std::memory_order_relaxed) == 0) continue;
    ForEachLive(index, {index.region + at, index.region + at + kChunkSize},
                &AddAllocation, &search);
  }
  for (const TagRange& range : runtime.tags->ranges) {
    // A range that is being written has not been promised yet; one that is being merged
    // has: both are taken, since nobody can tell them apart.
    if (range.state.load(std::memory_order_acquire) == kRangeFree) continue;
    const uint8_t tag = range.tag.load(std::memory_order_relaxed);
    if (DispositionOf(*runtime.tags, tag) != Disposition::kElide) continue;
    redactor.AddSecret({range.begin.load(std::memory_order_relaxed),
                        range.end.load(std::memory_order_relaxed)},
                       HoleReason::kSecret, tag, true);
  }
  redactor.Build(arena);
}

}  // namespace minicore
