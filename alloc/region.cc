#include "alloc/region.h"

#include <atomic>

#include "alloc/index_format.h"
#include "alloc/kernel.h"
#include "alloc/shadow_index.h"
#include "alloc/state.h"

namespace minicore {
namespace {

// 4 TiB is an eighth of the address space on x86-64, with the planes, and more
// than the memory of the machines we know; address space is all that it costs.
constexpr ByteCount kLargestRegion = ByteCount{4} << 40;

// The planes are mapped for so much heap at a time: three system calls per 64
// MiB.
constexpr ByteCount kCommitStep = ByteCount{64} << 20;

// Below this, half of the address space that the limit leaves is worth more to
// the program than an index is to us.
constexpr ByteCount kSmallestRegion = kCommitStep;

enum : uint32_t { kUntried, kReserving, kReady, kNone };
std::atomic<uint32_t> g_region_status;

// Offset in the region of the first byte that no extent has. Only grows.
std::atomic<ByteCount> g_next;

constexpr ByteCount ShadowBytes(ByteCount heap) {
  return heap >> kGranuleShift;
}
constexpr ByteCount LargeBytes(ByteCount heap) {
  return (heap >> kPageShift) * sizeof(uint64_t);
}
constexpr ByteCount ChunkBytes(ByteCount heap) {
  return (heap >> kChunkShift) * sizeof(ChunkEntry);
}
constexpr ByteCount PlaneBytes(ByteCount heap) {
  return 2 * ShadowBytes(heap) + LargeBytes(heap) +
         AlignUp(ChunkBytes(heap), kPageSize);
}

// With slack to align the heap.
constexpr ByteCount Reservation(ByteCount heap) {
  return heap + PlaneBytes(heap) + kChunkSize;
}

bool Reserve(ByteCount heap) {
  const ByteCount planes = PlaneBytes(heap);
  const ByteCount size = Reservation(heap);
  const Address base = kernel::Map(size, PROT_NONE);
  if (base == 0) return false;
  const Address region = AlignUp(base, kChunkSize);
  const AddressRange whole{base, base + size};
  const AddressRange heap_range{region, region + heap};
  const AddressRange plane_range{region + heap, region + heap + planes};
  if (!kernel::Advise(whole, MADV_DONTDUMP)) {
    kernel::Unmap(whole);  // a reservation that dumpers walk is worse than none
    return false;
  }
  kernel::Unmap({whole.begin, region});
  kernel::Unmap({plane_range.end, whole.end});
  // Huge pages would make each first touch of the index 2 MiB of resident
  // memory.
  kernel::Advise(plane_range, MADV_NOHUGEPAGE);
  kernel::Name(heap_range, "minicore heap");
  kernel::Name(plane_range, "minicore index");

  Address plane = plane_range.begin;
  IndexState& index = g_index_state;
  index.magic = kIndexMagic;
  index.version = kIndexVersion;
  index.shadow = reinterpret_cast<std::atomic<uint8_t>*>(plane);
  plane += ShadowBytes(heap);
  index.tags = reinterpret_cast<std::atomic<uint8_t>*>(plane);
  plane += ShadowBytes(heap);
  index.large = reinterpret_cast<std::atomic<uint64_t>*>(plane);
  plane += LargeBytes(heap);
  index.chunks = reinterpret_cast<ChunkEntry*>(plane);
  index.region = region;
  index.region_bytes = heap;
  // CheckFrees() may have come before the first allocation, or come now: it sets the flag
  // and then looks here, so that one of the two sees the other (sequentially consistent).
  index.blind_bytes.store(heap);
  if ((index.flags.load() & kIndexCheckFrees) != 0) index.blind_bytes.store(0);
  return true;
}

void ReserveLargest() {
  ByteCount heap = kLargestRegion;
  // The limit counts the reservation although nothing of it is used: half of it
  // at most, planes included, so that the program's own mappings still find room.
  const ByteCount limit = kernel::AddressSpaceLimit() / 2;
  const ByteCount most = AlignDown(limit / 8 * 7, kCommitStep);
  if (heap > most) heap = most;
  while (heap >= kSmallestRegion) {
    if (Reservation(heap) <= limit && Reserve(heap)) {
      // Release: whoever sees kReady sees the members that Reserve() has set.
      g_region_status.store(kReady, std::memory_order_release);
      return;
    }
    heap = AlignDown(heap / 2, kCommitStep);
  }
  g_region_status.store(kNone, std::memory_order_release);
}

bool RegionIsReady() {
  uint32_t status = g_region_status.load(std::memory_order_acquire);
  if (status == kUntried &&
      g_region_status.compare_exchange_strong(status, kReserving,
                                              std::memory_order_acquire)) {
    ReserveLargest();
    status = g_region_status.load(std::memory_order_relaxed);
  }
  // jemalloc makes its first extent under its own initialisation lock, so
  // nobody else can be here then; and if somebody were, plain memory would
  // serve him as well.
  return status == kReady;
}

// Maps the planes for the heap below `end` (an offset), in whole steps.
bool CommitPlanes(ByteCount end) {
  IndexState& index = g_index_state;
  // Acquire is not needed: the planes are our own mapping, and what another
  // thread has mapped is visible to all once its mprotect() has returned.
  ByteCount old = index.committed.load(std::memory_order_relaxed);
  if (end <= old) return true;
  ByteCount target = 0;
  const auto commit = [old, &target](const void* plane, auto bytes) {
    const Address base = reinterpret_cast<Address>(plane);
    return kernel::MakeReadWrite({AlignDown(base + bytes(old), kPageSize),
                                  AlignUp(base + bytes(target), kPageSize)});
  };
  const auto commit_all = [&](ByteCount step) {
    target = AlignUp(end, step);
    if (target > index.region_bytes) target = index.region_bytes;
    return commit(index.shadow, ShadowBytes) &&
           commit(index.tags, ShadowBytes) && commit(index.large, LargeBytes) &&
           commit(index.chunks, ChunkBytes);
  };
  // Close to RLIMIT_DATA, which counts what is untouched as well, only what is
  // needed.
  if (!commit_all(kCommitStep) && !commit_all(kChunkSize)) return false;
  // Release: a reader that sees the new value may touch the planes up to it.
  // Two threads may get here with different targets, each having mapped from
  // its own `old` on, which was committed; the larger target wins.
  while (old < target && !index.committed.compare_exchange_weak(
                             old, target, std::memory_order_release,
                             std::memory_order_relaxed)) {
  }
  return true;
}

// Address space from `from` to `end` belongs to the caller; the extent is the part
// from `begin` on.
struct Taken {
  ByteCount from = 0;
  ByteCount begin = 0;
  ByteCount end = 0;
};

bool TakeAddressSpace(ByteCount size, ByteCount alignment, Taken* taken) {
  const ByteCount limit = g_index_state.region_bytes;
  ByteCount next = g_next.load(std::memory_order_relaxed);
  do {
    const ByteCount begin = AlignUp(next, alignment);
    if (begin > limit || size > limit - begin) return false;
    *taken = {next, begin, begin + size};
    // Relaxed: the offset itself is all that is shared.
  } while (!g_next.compare_exchange_weak(next, taken->end,
                                         std::memory_order_relaxed));
  return true;
}

}  // namespace

Address AllocateExtent(ByteCount size, ByteCount alignment, ExtentKind kind) {
  if (!RegionIsReady()) return 0;
  if (kind == ExtentKind::kApart) size = AlignUp(size, kChunkSize);
  if (size >= kChunkSize && alignment < kChunkSize) alignment = kChunkSize;
  Taken taken;
  if (!TakeAddressSpace(size, alignment, &taken)) return 0;
  const Address region = g_index_state.region;
  // What alignment skipped is made accessible with ordinary extents, so that
  // the heap stays one mapping instead of two more for each gap.
  const AddressRange extent{
      region + (kind == ExtentKind::kApart ? taken.begin : taken.from),
      region + taken.end};
  if (!CommitPlanes(taken.end) || !kernel::MakeReadWrite(extent)) {
    // Give the address space back if nobody took more meanwhile: a program that
    // tries again and again under strict overcommit would use it up.
    ByteCount end = taken.end;
    g_next.compare_exchange_strong(end, taken.from, std::memory_order_relaxed);
    return 0;
  }
  if (kind == ExtentKind::kOrdinary) kernel::Advise(extent, MADV_DODUMP);
  return region + taken.begin;
}

void ReturnExtent(AddressRange extent) {
  kernel::Forbid(extent);
  ByteCount end = extent.end - g_index_state.region;
  g_next.compare_exchange_strong(end, extent.begin - g_index_state.region,
                                 std::memory_order_relaxed);
}

bool InRegion(AddressRange range) {
  const IndexState& index = g_index_state;
  return AddressRange{index.region, index.region + index.region_bytes}.Contains(
      range);
}

void ForgetFreed(AddressRange range) {
  // What a program frees bit by bit stays known, to tell of it in a crash; what
  // it frees by the megabyte would leave an index behind of a heap long gone.
  constexpr ByteCount kMuch = ByteCount{1} << 20;
  const IndexState& index = g_index_state;
  if (range.size() < kMuch || !InRegion(range)) return;
  const ByteCount end = range.end - index.region;
  ByteCount from = range.begin - index.region;
  while (from < end) {
    const AddressRange stretch = NextForgettable(index, from, end);
    from = stretch.end;
    const auto give_back = [stretch](const void* plane) {
      const auto base = reinterpret_cast<Address>(plane);
      const AddressRange pages{base + ShadowBytes(stretch.begin),
                               base + ShadowBytes(stretch.end)};
      if (!kernel::Advise(pages, MADV_DONTNEED)) kernel::DiscardLocked(pages);
    };
    give_back(index.shadow);
    if ((index.flags.load(std::memory_order_relaxed) & kIndexHasTags) != 0) {
      give_back(index.tags);
    }
  }
}

bool RetireExtent(AddressRange range) {
  kernel::Advise(range, MADV_DONTDUMP);
  ForgetFreed(range);
  return kernel::Advise(range, MADV_DONTNEED) || kernel::DiscardLocked(range);
}

}  // namespace minicore
