#include "dump/handler/anchor_scan.h"

#include "dump/handler/walk.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

// Of every stack this much in turn, so that no thread's budget is another's.
constexpr ByteCount kTurn = 1024;

void ScanRegisters(const Thread& thread, Walk& walk) {
  const auto* words = reinterpret_cast<const uint64_t*>(&thread.registers);
  for (size_t i = 0; i < sizeof(thread.registers) / 8; ++i)
    walk.KeepDirect(words[i]);
  if (thread.xstate == nullptr) return;
  // xmm0-15 at byte 160 of the legacy area, the upper halves of ymm0-15 at byte
  // 576 (Intel SDM volume 1, 13.4 and 13.5.6).
  uint64_t vectors[32];
  const auto image = reinterpret_cast<Address>(thread.xstate);
  if (safe::GuardedRead(image + 160, &vectors)) {
    for (uint64_t word : vectors) walk.KeepDirect(word);
  }
  if (thread.xstate_bytes >= 832 && safe::GuardedRead(image + 576, &vectors)) {
    for (uint64_t word : vectors) walk.KeepDirect(word);
  }
}

using Visit = void (Walk::*)(uint64_t word);

void ScanRange(AddressRange range, Visit visit, const Redactor& redactor,
               Walk& walk) {
  uint64_t block[kTurn / 8];
  for (Address at = AlignUp(range.begin, 8); at + 8 <= range.end;) {
    ByteCount size = range.end - at;
    if (size > sizeof(block)) size = sizeof(block);
    const size_t read = safe::GuardedCopy(block, at, size);
    redactor.Blank(at, block, read / 8);
    for (size_t i = 0; i < read / 8; ++i) (walk.*visit)(block[i]);
    if (walk.Exhausted()) return;
    // Behind a page that can't be read the next one may be readable.
    at = read == size ? at + size : AlignDown(at + read, kPageSize) + kPageSize;
  }
}

// The crashed thread's registers and stack first and whole, then the others'
// registers, then their stacks round robin.
void KeepDirects(const Roots& roots, const ThreadTable& threads,
                 const Redactor& redactor, Walk& walk) {
  ScanRegisters(threads[0], walk);
  size_t first = 0;
  // The crashed thread's parts stand first: its current stack and, if any,
  // more.
  while (first < roots.stacks.size() &&
         threads[0].stack.Overlaps(roots.stacks[first])) {
    ScanRange(roots.stacks[first++], &Walk::KeepDirect, redactor, walk);
  }
  for (size_t i = 1; i < threads.size(); ++i) ScanRegisters(threads[i], walk);
  bool more = true;
  for (ByteCount offset = 0; more && !walk.Exhausted(); offset += kTurn) {
    more = false;
    for (size_t i = first; i < roots.stacks.size(); ++i) {
      AddressRange turn = roots.stacks[i];
      turn.begin = AlignUp(turn.begin, 8) + offset;
      if (turn.empty()) continue;
      more = true;
      if (turn.size() > kTurn) turn.end = turn.begin + kTurn;
      ScanRange(turn, &Walk::KeepDirect, redactor, walk);
    }
  }
}

bool KeepTagged(void* context, const Allocation& allocation) {
  Walk& walk = *static_cast<Walk*>(context);
  walk.KeepAlways(allocation);
  return !walk.Exhausted();
}

// Allocations tagged "keep": found by their tags.
void ScanKept(const IndexState& index, const TagState& tags, Walk& walk) {
  const ByteCount committed = index.committed.load(std::memory_order_acquire);
  for (ByteCount at = 0; at < committed && index.chunks != nullptr;
       at += kChunkSize) {
    if (index.chunks[at >> kChunkShift].tags.load(std::memory_order_relaxed) ==
        0) {
      continue;
    }
    ForEachOf(index, tags, at, Disposition::kKeepAlways, &KeepTagged, &walk);
    if (walk.Exhausted()) return;
  }
}

void ScanKeptRanges(const TagState& tags, Walk& walk) {
  for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
    AddressRange range;
    uint8_t tag;
    if (RangeAt(tags, slot, &range, &tag) &&
        walk.DispositionOfTag(tag) == Disposition::kKeepAlways) {
      walk.KeepRange(range);
    }
  }
}

void DescribeAnchor(const Runtime& runtime, AnchorSource source,
                    unsigned number, uint64_t value, ScanResult& result) {
  if (!InHeap(*runtime.index, value)) return;
  const Allocation allocation = Resolve(*runtime.index, value);
  if (allocation.state == AllocationState::kUnknown) return;
  AnchorRow row{};
  row.source = source;
  row.number = static_cast<uint8_t>(number);
  row.state = static_cast<uint8_t>(allocation.state);
  row.tag = TagOf(*runtime.tags, allocation);
  row.value = value;
  row.begin = allocation.begin;
  row.size = allocation.size;
  (void)result.anchors.Push(row);
}

void DescribeAnchors(const CrashContext& crash, const Runtime& runtime,
                     const Thread& crashed, ScanResult& result) {
  if (crash.info->si_code > 0 &&
      (crash.signal == SIGSEGV || crash.signal == SIGBUS)) {
    DescribeAnchor(runtime, AnchorSource::kFaultAddress, 0,
                   reinterpret_cast<uint64_t>(crash.info->si_addr), result);
  }
  const auto* words = reinterpret_cast<const uint64_t*>(&crashed.registers);
  for (unsigned i = 0; i < sizeof(crashed.registers) / 8; ++i) {
    DescribeAnchor(runtime, AnchorSource::kRegister, i, words[i],
                   result);
  }
}

}  // namespace

void ScanResult::Drop(size_t index, Outcome& outcome) {
  Reached& dropped = reached[index];
  const ByteCount bytes = dropped.range.size();
  dropped.range = {};
  if (dropped.kind == SegmentKind::kHeap || dropped.counted) outcome.heap_bytes -= bytes;
  if (!dropped.counted) return;
  --outcome.allocations;
  TagCount& count = tags[dropped.tag <= kMaxTags ? dropped.tag : 0];
  count.bytes_in -= bytes;
  count.bytes_out += bytes;
}

void ScanAnchors(const CrashContext& crash, const Runtime& runtime,
                 const MemoryMap& map, const ThreadTable& threads,
                 const Roots& roots, const Redactor& redactor,
                 safe::Arena& arena, ScanResult& result, Outcome& outcome,
                 const ScanResult* before) {
  result.anchors.Reserve(arena, 64);
  result.reached.Reserve(arena, kMaxReached);
  DescribeAnchors(crash, runtime, threads[0], result);
  Walk walk(runtime, map, roots, redactor, arena, result, outcome);
  for (size_t i = 0; i < roots.metadata.size(); ++i) {
    walk.KeepMetadata(roots.metadata[i]);
  }
  ScanKept(*runtime.index, *runtime.tags, walk);
  ScanKeptRanges(*runtime.tags, walk);
  KeepDirects(roots, threads, redactor, walk);
  walk.WidenDirect();
  if (before != nullptr) {
    walk.GoOnFrom(*before, arena);
    walk.WidenAll();
    walk.ListMissing();
    return;
  }
  walk.FollowDirect();
  // What frames lead to comes before what static data leads to, but for this
  // part.
  walk.Drain(runtime.policy.max_bytes / 4);
  for (AddressRange range : roots.thread_data) {
    ScanRange(range, &Walk::AddRoot, redactor, walk);
  }
  for (AddressRange range : roots.static_data) {
    ScanRange(range, &Walk::AddRoot, redactor, walk);
  }
  walk.Drain(0);
  walk.WidenAll();
  walk.Drain(0);
  walk.ListMissing();
}

}  // namespace minicore
