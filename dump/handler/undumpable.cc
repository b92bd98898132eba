#include "dump/handler/undumpable.h"

#include <algorithm>

#include "alloc/index_view.h"
#include "dump/handler/proc_files.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr size_t kBlock = 64 * 1024;
// Copies are looked for of mappings up to this, as long as all of them together are no
// more than that: somebody's whole heap is no key, and would use up secret_bytes.
constexpr ByteCount kMostOfOne = 64 * 1024;
constexpr ByteCount kMostOfAll = 256 * 1024;

struct Collection {
  const Runtime* runtime;
  Redactor* redactor;
  ByteCount searched;
};

void Add(Collection& all, AddressRange range, bool copies) {
  copies = copies && range.size() <= kMostOfOne && range.size() <= kMostOfAll - all.searched;
  if (copies) all.searched += range.size();
  all.redactor->AddSecret(range, HoleReason::kSecret, kNoTag, copies,
                          Redactor::Length::kBuffer);
}

// The dumper's memory and the index are nobody's secret: full of what the program has
// pointers to. Of the heap, what is not used is left out in any case, and tagged extents
// are known.
void AddFound(void* context, AddressRange range, bool device) {
  Collection& all = *static_cast<Collection*>(context);
  if (range.Overlaps(all.runtime->arena_range)) return;
  if (InIndexPlanes(*all.runtime->index, range.begin)) return;
  Add(all, range, !device);
}

// memfd_secret() (mm/secretmem.c): the kernel's core leaves it out, with MADV_DONTDUMP
// or without.
bool IsSecretMemory(const char* name) {
  return safe::Equal(name, "/secretmem") || safe::Equal(name, "/secretmem (deleted)");
}

// Sorts `ranges` and makes one of those that touch.
void Join(safe::FixedVector<AddressRange>& ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](AddressRange a, AddressRange b) { return a.begin < b.begin; });
  size_t joined = 0;
  for (size_t i = 0; i < ranges.size(); ++i) {
    const AddressRange range = ranges[i];
    if (joined != 0 && range.begin <= ranges[joined - 1].end) {
      ranges[joined - 1].end = std::max(ranges[joined - 1].end, range.end);
    } else {
      ranges[joined++] = range;
    }
  }
  ranges.Truncate(joined);
}

// Calls visit(mapping) for the mappings that `range` meets, until it returns false.
// Returns: false if it did.
template <typename Visit>
bool ForEachMapping(const MemoryMap& map, AddressRange range, Visit visit) {
  const Mapping* mapping = map.FindAtOrAbove(range.begin);
  if (mapping == nullptr) return true;
  for (; mapping != map.mappings().end() && mapping->range.begin < range.end; ++mapping) {
    if (!visit(*mapping)) return false;
  }
  return true;
}

// Returns: false if what was advised is not what there is.
bool AddAdvised(const MemoryMap& map, const AdvisedRanges& advised, safe::Arena& arena,
                Collection& all) {
  safe::FixedVector<AddressRange> ranges;
  safe::FixedVector<AddressRange> joined;
  ranges.Reserve(arena, AdvisedRanges::kMost);
  joined.Reserve(arena, AdvisedRanges::kMost);
  advised.ForEach([&](AddressRange range) {
    (void)ranges.Push(range);
    (void)joined.Push(range);
  });
  // Asked last: none was lost before.
  if (advised.lost() || ranges.overflowed() || joined.overflowed()) return false;
  // As the kernel does with mappings.
  Join(joined);
  for (const AddressRange range : joined) {
    // In the heap mappings say nothing: extents that were given back are advised by us.
    if (InHeap(*all.runtime->index, range.begin)) continue;
    // One that reaches beyond was made since, where the advised memory is gone.
    if (!ForEachMapping(map, range, [&](const Mapping& mapping) {
          return range.Contains(mapping.range);
        })) {
      return false;
    }
  }
  for (const AddressRange range : ranges) {
    bool mapped = false;
    const bool memory = ForEachMapping(map, range, [&](const Mapping& mapping) {
      mapped = true;
      return !map.IsDevice(mapping);
    });
    // Long gone; or the list of mappings is a guess.
    uint8_t byte;
    if (!mapped && !safe::GuardedRead(range.begin, &byte)) continue;
    Add(all, range, memory);
  }
  return true;
}

// Whether the two letters are among the blank-separated flags.
bool HasFlag(const char* flags, char first, char second) {
  for (const char* at = flags; *at != '\0'; ++at) {
    if (at[0] == ' ' && at[1] == first && at[2] == second &&
        (at[3] == ' ' || at[3] == '\0')) {
      return true;
    }
  }
  return false;
}

}  // namespace

AdvisedRanges g_advised;

void SmapsParser::Parse(const char* text, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (text[i] == '\n') {
      line_[length_] = '\0';
      ParseLine();
      length_ = 0;
    } else if (length_ + 1 < sizeof(line_)) {
      line_[length_++] = text[i];
    }
  }
}

// fs/proc/task_mmu.c, show_smap(): the line of maps, then "Key: value" lines, the last of
// them "VmFlags: rd wr mr mw me dd".
void SmapsParser::ParseLine() {
  constexpr char kFlags[] = "VmFlags:";
  constexpr size_t kLength = sizeof(kFlags) - 1;
  const char* at = line_;
  AddressRange range;
  if (TakeNumber(at, 16, '-', &range.begin) && TakeNumber(at, 16, ' ', &range.end)) {
    range_ = range;
    return;
  }
  if (!safe::StartsWith(line_, kFlags)) return;
  if (range_.begin < range_.end && HasFlag(line_ + kLength, 'd', 'd')) {
    found_(context_, range_, HasFlag(line_ + kLength, 'i', 'o'));
  }
  range_ = {0, 0};
}

void AddUndumpable(const Runtime& runtime, const MemoryMap& map,
                   const AdvisedRanges& advised, safe::Arena& arena, Redactor& redactor,
                   Outcome& outcome) {
  Collection all = {&runtime, &redactor, 0};
  for (const Mapping& mapping : map.mappings()) {
    if (mapping.shared && IsSecretMemory(map.NameOf(mapping))) {
      Add(all, mapping.range, true);
    }
  }
  if (AddAdvised(map, advised, arena, all)) return;
  char* const block = arena.AllocateArray<char>(kBlock);
  const int fd = safe::Open("/proc/thread-self/smaps", O_RDONLY);
  SmapsParser parser(&AddFound, &all);
  long bytes = -1;
  // As long as there are mappings; each reading brings some.
  while (fd >= 0 && block != nullptr && !outcome.LateByNow()) {
    bytes = safe::Read(fd, block, kBlock);
    if (bytes <= 0) break;
    parser.Parse(block, static_cast<size_t>(bytes));
  }
  CloseProc(fd, -1);
  if (bytes != 0) redactor.GiveUp();
}

}  // namespace minicore
