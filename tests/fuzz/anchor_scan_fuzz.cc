// Arbitrary shadow bytes over arbitrary memory, arbitrary tags and rules: the
// scan ends, keeps no more than its budget, nothing outside the heap and the
// map, and not a byte that the index says is to be elided.

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "alloc/index_view.h"
#include "dump/handler/anchor_scan.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/fault_handler.h"
#include "tests/support/test_arena.h"

namespace minicore {
namespace {

// Where no sanitizer has its shadow.
constexpr Address kRegion = 0x2000'0000'0000;
constexpr size_t kChunks = 2;
constexpr ByteCount kRegionBytes = kChunks * kChunkSize;
// What an input reaches of the region: its beginning, and the seam of its two
// chunks.
constexpr ByteCount kReach = 64 * 1024;
constexpr Address kSeam = kChunkSize - kReach / 2;
constexpr Address kForeign = 0x3000'0000'0000;
constexpr ByteCount kForeignBytes = 2 * kPageSize;

void MapAt(Address address, ByteCount bytes) {
  if (mmap(reinterpret_cast<void*>(address), bytes, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
           -1, 0) == MAP_FAILED) {
    abort();
  }
}

struct World {
  World()
      : shadow(new std::atomic<uint8_t>[kRegionBytes >> kGranuleShift]),
        tag_bytes(new std::atomic<uint8_t>[kRegionBytes >> kGranuleShift]),
        large(new std::atomic<uint64_t>[kRegionBytes >> kPageShift]),
        chunks(new ChunkEntry[kChunks]),
        tags(new TagState) {
    InstallFaultHandler();
    MapAt(kRegion, kRegionBytes);
    MapAt(kForeign, kForeignBytes);
  }

  template <typename T>
  static void Zero(T* from, size_t count) {
    memset(static_cast<void*>(from), 0, count * sizeof(T));
  }

  // Everything that an earlier input may have touched.
  void Clear() {
    Zero(shadow.get(), kRegionBytes >> kGranuleShift);
    Zero(tag_bytes.get(), kRegionBytes >> kGranuleShift);
    Zero(large.get(), kRegionBytes >> kPageShift);
    Zero(chunks.get(), kChunks);
    Zero(tags.get(), 1);
    memset(reinterpret_cast<void*>(kRegion), 0, kReach);
    memset(reinterpret_cast<void*>(kRegion + kSeam), 0, kReach);
    memset(reinterpret_cast<void*>(kForeign), 0, kForeignBytes);
    index.magic = kIndexMagic;
    index.region = kRegion;
    index.region_bytes = kRegionBytes;
    index.shadow = shadow.get();
    index.tags = tag_bytes.get();
    index.large = large.get();
    index.chunks = chunks.get();
    index.committed = kRegionBytes;
  }

  TestArena arena;
  std::unique_ptr<std::atomic<uint8_t>[]> shadow;
  std::unique_ptr<std::atomic<uint8_t>[]> tag_bytes;
  std::unique_ptr<std::atomic<uint64_t>[]> large;
  std::unique_ptr<ChunkEntry[]> chunks;
  std::unique_ptr<TagState> tags;
  IndexState index{};
};

// A stretch of the input: where it goes, how long it is, and its bytes.
void FillPlanes(FuzzInput& input, World& world) {
  for (unsigned pieces = input.Take<uint8_t>() % 16; pieces != 0; --pieces) {
    const ByteCount base = input.Take<uint8_t>() % 2 == 0 ? 0 : kSeam;
    const ByteCount at = base + input.Take<uint16_t>();
    const auto plane = input.Take<uint8_t>();
    const auto length = input.Take<uint8_t>();
    switch (plane % 5) {
      case 0:
        for (unsigned i = 0; i < length; ++i) {
          world.shadow[(at >> kGranuleShift) + i].store(input.Take<uint8_t>());
        }
        break;
      case 1:
        for (unsigned i = 0; i < length % 32; ++i) {
          world.tag_bytes[(at >> kGranuleShift) + i].store(
              input.Take<uint8_t>());
        }
        break;
      case 2:
        world.large[at >> kPageShift].store(input.Take<uint64_t>());
        break;
      case 3: {
        ChunkEntry& chunk = world.chunks[length % kChunks];
        chunk.large_before.store(input.Take<uint64_t>());
        chunk.tags.store(
            ChunkTags(input.Take<uint32_t>(), input.Take<uint8_t>()));
        break;
      }
      default:
        input.TakeBytes(reinterpret_cast<void*>(kRegion + at),
                        std::min<size_t>(length * 8, kReach / 4));
        break;
    }
  }
}

void FillTags(FuzzInput& input, World& world) {
  for (unsigned count = input.Take<uint8_t>() % 4; count != 0; --count) {
    TagEntry& entry = world.tags->entries[1 + input.Take<uint8_t>() % kMaxTags];
    entry.rule.store(input.Take<uint8_t>());
    entry.ready.store(input.Take<uint8_t>() % 2);
  }
  for (unsigned slot = 0, count = input.Take<uint8_t>() % 3; slot < count;
       ++slot) {
    TagRange& range = world.tags->ranges[slot];
    range.begin.store(input.Take<uint64_t>());
    range.end.store(input.Take<uint64_t>());
    range.state.store(input.Take<uint16_t>());
  }
}

// Kept since it is tagged so, wherever it is.
bool IsTaggedRange(const TagState& tags, AddressRange kept) {
  for (unsigned slot = 0; slot < 3; ++slot) {
    AddressRange range;
    uint8_t tag;
    if (RangeAt(tags, slot, &range, &tag) &&
        kept.begin == AlignDown(range.begin, 16)) {
      return true;
    }
  }
  return false;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  FuzzSeed seed;
  seed.Put<uint32_t>(64 * 1024).Put<uint16_t>(256).Put<uint16_t>(20000);
  seed.Put<uint8_t>(0);  // hops
  seed.Put<uint8_t>(4);  // pieces
  // Allocations of 48 bytes from the region on; the third is tagged.
  seed.Put<uint8_t>(0).Put<uint16_t>(0).Put<uint8_t>(0).Put<uint8_t>(12);
  const uint8_t shadow[12] = {3,    0x43, 0, 3,    0x43, 0,
                              0x83, 0x43, 0, 0x40, 0x43, 0};
  seed.PutBytes(shadow, sizeof(shadow));
  seed.Put<uint8_t>(0).Put<uint16_t>(6 * 16).Put<uint8_t>(1).Put<uint8_t>(1);
  seed.Put<uint8_t>(kTagSecret);
  // A large one across the seam.
  seed.Put<uint8_t>(1).Put<uint16_t>(0).Put<uint8_t>(2).Put<uint8_t>(0);
  seed.Put<uint64_t>(64 * 1024);
  // The first points to the others.
  seed.Put<uint8_t>(0).Put<uint16_t>(0).Put<uint8_t>(4).Put<uint8_t>(6);
  for (uint64_t offset : {48, 96, 144, 8}) seed.Put<uint64_t>(kRegion + offset);
  seed.Put<uint64_t>(kForeign + 100).Put<uint64_t>(kRegion + kSeam);
  seed.Put<uint8_t>(1).Put<uint8_t>(3).Put<uint8_t>(2).Put<uint8_t>(1);
  seed.Put<uint8_t>(0);
  for (uint64_t word : {kRegion, kRegion + 50, kForeign + 8})
    seed.Put<uint64_t>(word);
  return {seed.bytes()};
}

}  // namespace minicore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicore;
  static World& world = *new World;
  static Runtime& runtime = *new Runtime{};
  world.arena.Renew();
  world.Clear();
  FuzzInput input(data, size);
  runtime.policy.max_bytes = input.Take<uint32_t>() % (4 << 20);
  runtime.policy.root_bytes = input.Take<uint16_t>();
  runtime.policy.object_bytes = input.Take<uint16_t>();
  runtime.policy.window_bytes = 1024;
  runtime.policy.hops = input.Take<uint8_t>();
  runtime.index = &world.index;
  runtime.tags = world.tags.get();
  FillPlanes(input, world);
  FillTags(input, world);

  siginfo_t info{};
  CrashContext crash;
  crash.info = &info;
  Outcome outcome;
  outcome.started_us = safe::NowMicroseconds();
  outcome.deadline_us = 60'000'000;
  outcome.holes.Reserve(world.arena, 1024);
  MemoryMap map;
  map.Reserve(world.arena);
  const std::string maps = "300000000000-300000002000 rw-p 00000000 00:00 0 \n";
  map.Parse(maps.data(), maps.size());
  ThreadTable threads;
  threads.Reserve(world.arena, 1);
  Thread thread;
  input.TakeBytes(&thread.registers, 8 * 8);
  Promise(threads.Push(thread));
  Roots roots;
  uint64_t stack[64] = {};
  input.TakeBytes(stack, sizeof(stack));
  roots.stacks.Reserve(world.arena, 8);
  const auto begin = reinterpret_cast<Address>(stack);
  Promise(roots.stacks.Push({begin, begin + sizeof(stack)}));

  const auto result = std::make_unique<ScanResult>();
  Redactor redactor;
  redactor.Reserve(world.arena, 1 << 16);
  ScanAnchors(crash, runtime, map, threads, roots, redactor, world.arena,
              *result, outcome);

  ByteCount kept = 0;
  for (const Reached& reached : result->reached) {
    kept += reached.range.size();
    if (reached.kind != SegmentKind::kHeap) {
      Promise((AddressRange{kForeign, kForeign + kForeignBytes})
                  .Contains(reached.range) ||
              (AddressRange{kRegion, kRegion + kRegionBytes})
                  .Contains(reached.range) ||
              IsTaggedRange(*world.tags, reached.range));
      continue;
    }
    Promise((AddressRange{kRegion, kRegion + kRegionBytes})
                .Contains(reached.range));
    // What was freed, or is not known, an anchor may keep a little of.
    const Allocation allocation = Resolve(world.index, reached.pointer);
    Promise(DispositionOf(*world.tags, TagOf(*world.tags, allocation)) !=
            Disposition::kElide);
  }
  Promise(kept <= runtime.policy.max_bytes);
  return 0;
}
