#include "alloc/shadow_index.h"

#include <cstring>

namespace minicore {
namespace {

constexpr uint64_t kGroupPages = 1u << (kGroupShift - kPageShift);

uint64_t WayBack(uint64_t offset) {
  return (offset >> kGranuleShift) << kLargeBackShift | kLargeBack;
}

// The page behind the allocation's last one.
uint64_t EndPage(uint64_t offset, ByteCount size) {
  return ((offset + size - 1) >> kPageShift) + 1;
}

// Where the group ends in which the allocation starts.
uint64_t GroupEnd(uint64_t offset) {
  return AlignUp((offset >> kPageShift) + 1, kGroupPages);
}

// Leaves the ways back to where the allocation starts, as index_format.h says.
// A stale one needs no cleaning: the reader asks the start byte and the size.
// These are all of one that ends in the group in which it starts.
void LeaveNearWaysBack(const IndexState& index, uint64_t offset, uint64_t end) {
  const uint64_t back = WayBack(offset);
  std::atomic<uint64_t>* large = index.large;
  for (uint64_t page = (offset >> kPageShift) + 1; page < end; ++page) {
    large[page].store(back, std::memory_order_relaxed);
  }
}

void LeaveWaysBack(const IndexState& index, uint64_t offset, ByteCount size) {
  constexpr uint64_t kChunk = 1u << (kChunkShift - kPageShift);
  const uint64_t end = EndPage(offset, size);
  uint64_t page = GroupEnd(offset);
  LeaveNearWaysBack(index, offset, end < page ? end : page);
  if (end <= page) return;
  const uint64_t chunk_end = AlignUp((offset >> kPageShift) + 1, kChunk);
  for (; page < end && page < chunk_end; page += kGroupPages) {
    index.large[page].store(WayBack(offset), std::memory_order_relaxed);
  }
  for (uint64_t chunk = chunk_end / kChunk; chunk * kChunk < end; ++chunk) {
    index.chunks[chunk].large_before.store(index.region + offset,
                                           std::memory_order_relaxed);
  }
}

uint64_t SizeWord(uint64_t offset, ByteCount size) {
  return size | (offset & (kPageSize - 1)) >> kGranuleShift;
}

// Zeroes whole words in [begin, end), a KiB of them at most. Blindly: to look for
// what is not zero takes longer, although nearly all of it is. No need for one
// atomic store after the other, since nobody else writes where nothing is
// published, and a reader takes any part of it; but that is beyond
// ThreadSanitizer.
void Erase(std::atomic<uint64_t>* begin, std::atomic<uint64_t>* end) {
  if (begin >= end) return;
#ifdef __SANITIZE_THREAD__
  for (std::atomic<uint64_t>* word = begin; word < end; ++word) {
    word->store(0, std::memory_order_relaxed);
  }
#else
  const auto bytes = static_cast<size_t>(end - begin) * sizeof(uint64_t);
  std::memset(static_cast<void*>(begin), 0, bytes);
#endif
}

// Erases what earlier allocations left inside of this one, as far as
// index_format.h says.
void EraseStale(const IndexState& index, uint64_t offset, ByteCount size) {
  const ByteCount granules =
      (size < kShadowErased ? size : kShadowErased) >> kGranuleShift;
  // Whole words of eight shadow bytes, between the first two bytes, which are
  // written anyway, and the last few, which stay.
  const uint64_t first = AlignUp((offset >> kGranuleShift) + 2, 8);
  const uint64_t last = AlignDown((offset >> kGranuleShift) + granules, 8);
  auto* words = reinterpret_cast<std::atomic<uint64_t>*>(index.shadow);
  Erase(words + first / 8, words + last / 8);
  const ByteCount pages =
      (size < kLargeErased ? size : kLargeErased) >> kPageShift;
  std::atomic<uint64_t>* large = index.large + (offset >> kPageShift);
  Erase(large + 1, large + pages);
}

// Whether the last that is known of some place in the group is that a large
// allocation started there.
bool TellsOfLarge(const IndexState& index, ByteCount group) {
  for (ByteCount page = group; page < group + kGroupSize; page += kPageSize) {
    const uint64_t word =
        index.large[page >> kPageShift].load(std::memory_order_relaxed);
    if (word == 0 || (word & kLargeBack) != 0) continue;
    const std::atomic<uint8_t>* start =
        index.shadow + (page >> kGranuleShift) + (word & kLargeGranuleMask);
    if (start[0].load(std::memory_order_relaxed) == kShadowFreed &&
        start[1].load(std::memory_order_relaxed) ==
            (kShadowNotLive | kShadowLarge)) {
      return true;
    }
  }
  return false;
}

void LookForTags(IndexState& index) {
  if ((index.flags.load() & kIndexHasTags) == 0) {
    index.flags.fetch_or(kIndexHasTags);
  }
  StopBlindFrees(index);
}

// Of an allocation that was freed while it was tagged. What others have put
// there since stays.
void TakeTagBack(const IndexState& index, uint64_t offset, uint8_t byte,
                 uint8_t tag) {
  std::atomic<uint8_t>* tags = index.tags + (offset >> kGranuleShift);
  uint8_t check = TagCheck(tag);
  if ((byte & kShadowClassMask) > 1) {
    tags[1].compare_exchange_strong(check, TagCheck(kNoTag));
  }
  tags[0].compare_exchange_strong(tag, kNoTag);
}

void StoreSize(const IndexState& index, uint64_t offset, ByteCount size) {
  index.large[offset >> kPageShift].store(SizeWord(offset, size),
                                          std::memory_order_release);
}

// What RecordLarge() does behind its first store.
[[gnu::noinline]] void RecordAfresh(const IndexState& index, uint64_t offset,
                                    ByteCount size, uint8_t mark) {
  if (index.large[offset >> kPageShift].load(std::memory_order_relaxed) !=
      SizeWord(offset, size)) {
    EraseStale(index, offset, size);
  }
  StoreSize(index, offset, size);
  LeaveWaysBack(index, offset, size);
  index.shadow[offset >> kGranuleShift].store(
      static_cast<uint8_t>(kShadowLarge | mark), std::memory_order_release);
}

}  // namespace

void RecordLarge(const IndexState& index, uint64_t offset, ByteCount size,
                 uint8_t mark) {
  std::atomic<uint8_t>* start = index.shadow + (offset >> kGranuleShift);
  start[1].store(kShadowNotLive | kShadowLarge, std::memory_order_relaxed);
  const uint64_t end = EndPage(offset, size);
  // Memory that comes back from a thread's cache has its old word. That way is
  // short, and calls nothing for which registers would have to be saved.
  if (index.large[offset >> kPageShift].load(std::memory_order_relaxed) !=
          SizeWord(offset, size) ||
      end > GroupEnd(offset)) {
    RecordAfresh(index, offset, size, mark);
    return;
  }
  LeaveNearWaysBack(index, offset, end);
  start->store(static_cast<uint8_t>(kShadowLarge | mark),
               std::memory_order_release);
}

void ResizeLarge(const IndexState& index, uint64_t offset, ByteCount size) {
  // Ways back first: a reader that comes by one checks the size, and one that
  // finds the new size may come by any.
  LeaveWaysBack(index, offset, size);
  StoreSize(index, offset, size);
}

void ExpectTags(IndexState& index, uint64_t offset) {
  std::atomic<uint64_t>& tags = ChunkOf(index, offset).tags;
  uint64_t seen = tags.load();
  while ((seen & GroupBit(offset)) == 0 &&
         !tags.compare_exchange_weak(
             seen, ChunkTags(TaggedGroups(seen) | GroupBit(offset),
                             ExtentTag(seen)))) {
  }
  LookForTags(index);
}

void ExpectTagsOfExtent(IndexState& index, uint64_t offset, uint8_t tag) {
  ChunkOf(index, offset).tags.store(ChunkTags(kAllGroups, tag));
  LookForTags(index);
}

bool PutTag(const IndexState& index, uint64_t offset, uint8_t tag) {
  // Two would have to meet at every turn to get this far. What they leave then
  // is elided.
  constexpr int kPatience = 1000;
  const uint64_t granule = offset >> kGranuleShift;
  std::atomic<uint8_t>& start = index.shadow[granule];
  const uint8_t mark = tag != kNoTag ? kShadowTagged : 0;
  uint8_t byte = start.load();
  if (!IsLiveStart(byte)) return false;
  const uint8_t plain = byte & ~kShadowTagged;
  for (int turn = 0; turn < kPatience; ++turn) {
    SetTagBytes(index, offset, plain, tag);
    while (!start.compare_exchange_weak(byte, plain | mark)) {
      if ((byte & ~kShadowTagged) != plain) {
        TakeTagBack(index, offset, plain, tag);
        return turn != 0;  // freed since, and free() has seen the first
      }
    }
    byte = start.load();
    // Freed by now, with its tag; or everything agrees.
    if ((byte & ~kShadowTagged) != plain) break;
    if (OwnTag(index, granule, byte) != kUnknownTag) break;
  }
  return true;
}

AddressRange NextForgettable(const IndexState& index, ByteCount begin,
                             ByteCount end) {
  static_assert(kGroupSize >> kGranuleShift == kPageSize);
  begin = AlignUp(begin, kGroupSize);
  while (begin + kGroupSize <= end && TellsOfLarge(index, begin)) {
    begin += kGroupSize;
  }
  if (begin + kGroupSize > end) return {end, end};
  ByteCount last = begin + kGroupSize;
  while (last + kGroupSize <= end && !TellsOfLarge(index, last)) {
    last += kGroupSize;
  }
  return {begin, last};
}

}  // namespace minicore
