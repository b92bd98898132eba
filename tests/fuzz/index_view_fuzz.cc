// The reader of the shadow index over planes that hold anything: it must come
// to an end, stay inside of the planes, and give no impossible answer.
//
// An input is a list of 12-byte edits of an empty index of two chunks: what to
// change, where, and a value. The address that is asked for is an edit, too.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "alloc/index_view.h"
#include "tests/alloc/made_up_index.h"
#include "tests/fuzz/fuzz_target.h"

namespace minicore {
namespace {

constexpr unsigned kChunks = 2;

enum Kind : uint8_t {
  kShadowByte,
  kShadowRun,  // 4096 granules
  kTagByte,
  kLargeWord,
  kLargeBefore,
  kChunkTagsWord,
  kCommitted,
  kAsk,
  kKinds,
};

struct Edit {
  uint8_t kind;
  uint8_t byte;
  uint16_t unused;
  uint64_t where_and_value;  // low 22 bits: offset in the heap
} __attribute__((packed));
static_assert(sizeof(Edit) == 12);

[[noreturn]] void Impossible(const char* what, const Allocation& found) {
  std::fprintf(stderr, "%s: begin %#llx size %#llx\n", what,
               static_cast<unsigned long long>(found.begin),
               static_cast<unsigned long long>(found.size));
  std::abort();
}

void Check(const MadeUpIndex& index, const Allocation& found) {
  const uint64_t offset = found.begin - MadeUpIndex::kRegion;
  if (offset >= index.bytes() || offset % kGranuleSize != 0) {
    Impossible("no start", found);
  }
  if (found.state == AllocationState::kLive &&
      (found.size == 0 || found.size > index.bytes() - offset)) {
    Impossible("no size", found);
  }
}

void Ask(MadeUpIndex& index, Address address) {
  const Allocation found = Resolve(index.state(), address);
  if (found.state == AllocationState::kUnknown) return;
  Check(index, found);
  if (!found.range().Contains(address)) Impossible("elsewhere", found);
}

void Apply(MadeUpIndex& index, const Edit& edit) {
  const uint64_t offset = edit.where_and_value % index.bytes();
  const uint64_t value = edit.where_and_value >> 22;
  switch (edit.kind % kKinds) {
    case kShadowByte:
      index.SetShadow(offset, edit.byte);
      return;
    case kShadowRun:
      for (uint64_t i = 0; i < 4096 && offset + 16 * i < index.bytes(); ++i) {
        index.SetShadow(offset + 16 * i, edit.byte);
      }
      return;
    case kTagByte:
      index.SetTag(offset, edit.byte);
      return;
    case kLargeWord:
      index.SetLarge(offset, value);
      return;
    case kLargeBefore:
      index.chunk(static_cast<unsigned>(offset >> kChunkShift)).large_before =
          edit.byte != 0 ? index.at(value) : value;
      return;
    case kChunkTagsWord:
      index.chunk(static_cast<unsigned>(offset >> kChunkShift)).tags =
          ChunkTags(static_cast<uint32_t>(value), edit.byte);
      return;
    case kCommitted:
      index.state().committed = edit.byte % 2 != 0 ? index.bytes() : offset;
      return;
    default:
      Ask(index, index.at(edit.where_and_value % (index.bytes() + 100)));
  }
}

void Append(std::string* input, Kind kind, unsigned byte, uint64_t offset,
            uint64_t value = 0) {
  const Edit edit = {kind, static_cast<uint8_t>(byte), 0, offset | value << 22};
  input->append(reinterpret_cast<const char*>(&edit), sizeof(edit));
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  std::string small, large, freed;
  Append(&small, kShadowByte, 35, 0x1000);
  Append(&small, kShadowByte, kShadowTagged | 3, 0x8000);
  Append(&small, kTagByte, 1, 0x8000);
  Append(&small, kTagByte, 0xfe, 0x8010);
  Append(&small, kChunkTagsWord, 0, 0, 1);
  Append(&small, kAsk, 0, 0x1000 + 14335);
  Append(&small, kAsk, 0, 0x8010);

  const uint64_t begin = 0x1ff040;
  Append(&large, kLargeWord, 0, begin, 0x100000 | 4);
  Append(&large, kLargeBefore, 1, kChunkSize, begin);
  Append(&large, kLargeWord, 0, 0x31000, uint64_t{0x3004} << 12 | kLargeBack);
  Append(&large, kLargeWord, 0, 0x30000, 0x80000 | 4);
  Append(&large, kShadowByte, kShadowLarge, 0x30040);
  Append(&large, kAsk, 0, 0x31234);
  Append(&large, kShadowByte, kShadowLarge, begin);
  Append(&large, kAsk, 0, begin + 0x5000);
  Append(&large, kAsk, 0, begin + 0xfffff);

  Append(&freed, kShadowRun, kShadowFreed, 0x10000);
  for (unsigned i = 0; i < 20; ++i) {
    Append(&freed, kShadowByte, kShadowNotLive | (i + 2), 0x10010 + i * 0x440);
    Append(&freed, kAsk, 0, 0x10000 + i * 0x333);
  }
  return {small, large, freed};
}

}  // namespace minicore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicore;
  static MadeUpIndex index(kChunks);
  index.Fill(0);
  index.state().committed = index.bytes();
  std::vector<Address> asked = {index.at(0), index.at(index.bytes() - 1)};
  for (size_t at = 0; at + sizeof(Edit) <= size; at += sizeof(Edit)) {
    Edit edit;
    std::memcpy(&edit, data + at, sizeof(edit));
    Apply(index, edit);
    // Around everything that was changed.
    asked.push_back(index.at(edit.where_and_value % index.bytes()));
    if (asked.size() > 64) break;
  }
  static TagState tags;
  for (ByteCount at = 0; at <= index.bytes(); at += kChunkSize) {
    (void)Contradicts(index.state(), at);
    for (Disposition wanted : {Disposition::kElide, Disposition::kKeepAlways}) {
      ForEachOf(
          index.state(), tags, at, wanted,
          [](void* context, const Allocation& found) {
            Check(*static_cast<const MadeUpIndex*>(context), found);
            return true;
          },
          &index);
    }
  }
  for (Address address : asked) {
    for (int64_t away : {-14337, -16, -1, 0, 15, 16, 4095, 14336, 1 << 20}) {
      Ask(index, address + static_cast<uint64_t>(away));
    }
  }
  Address end = 0;
  struct Seen {
    const MadeUpIndex* index;
    Address* end;
  } seen = {&index, &end};
  ForEachLive(
      index.state(), {0, ~Address{0}},
      [](void* context, const Allocation& live) {
        const auto* to = static_cast<Seen*>(context);
        Check(*to->index, live);
        if (live.begin < *to->end) Impossible("overlap", live);
        *to->end = live.begin + live.size;
        return true;
      },
      &seen);
  return 0;
}
