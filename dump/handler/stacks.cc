#include "dump/handler/stacks.h"

#include "alloc/index_view.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

// The System V ABI's red zone: a leaf function uses it without moving rsp.
constexpr ByteCount kRedZone = 128;
// A stack pointer in the guard area below a stack belongs to the stack above it, if that
// begins within this much: one frame that jumped over the guard page.
constexpr ByteCount kOverflowReach = 16 * 1024 * 1024;
// Of a stack above the limit, what lies at its oldest end: main()'s or the thread's
// first frames, and under glibc static TLS and the thread control block.
constexpr ByteCount kOldestBytes = 64 * 1024;

// A stack is one mapping, but for pages that the program has given other attributes:
// mlock()ed keys, MADV_DONTFORK, a read-only page. So many mappings of one at most.
constexpr unsigned kMostParts = 4096;

bool Usable(const Mapping* mapping) {
  return mapping != nullptr && mapping->readable && mapping->writable;
}

bool IsPart(const Mapping& mapping) { return mapping.readable && mapping.inode == 0; }

// The end of the stack of which `mapping` is a part: its own, or that of the mapping that
// holds `oldest`, where the thread's first frames are, if nothing lies between them that is
// no part of a stack. (A guard page does: what lies above it is another stack.)
Address EndOfParts(const MemoryMap& map, const Mapping* mapping, Address oldest) {
  const Mapping* part = mapping;
  for (unsigned i = 0; i < kMostParts && oldest >= part->range.end; ++i) {
    const Mapping* const next = part + 1;
    if (next == map.mappings().end() || next->range.begin != part->range.end ||
        !IsPart(*next)) {
      return mapping->range.end;
    }
    part = next;
  }
  return part->range.Contains(oldest) ? part->range.end : mapping->range.end;
}

// The beginning of the lowest part of the stack whose oldest is `mapping`.
Address BeginOfParts(const MemoryMap& map, const Mapping* mapping) {
  for (unsigned i = 0; i < kMostParts && mapping != map.mappings().begin(); ++i) {
    const Mapping* const before = mapping - 1;
    if (before->range.end != mapping->range.begin || !IsPart(*before)) break;
    mapping = before;
  }
  return mapping->range.begin;
}

// The mapping of the stack that `stack_pointer` is on; null if there is none.
const Mapping* StackMapping(const MemoryMap& map, Address stack_pointer) {
  const Mapping* mapping = map.FindAtOrAbove(stack_pointer);
  while (mapping != nullptr && !Usable(mapping) && mapping + 1 < map.mappings().end()) {
    ++mapping;  // the PROT_NONE guard itself
    if (mapping->range.begin - stack_pointer > kOverflowReach) return nullptr;
  }
  if (!Usable(mapping)) return nullptr;
  const bool near = mapping->range.Contains(stack_pointer) ||
                    mapping->range.begin - stack_pointer <= kOverflowReach;
  return near ? mapping : nullptr;
}

// The live part of the stack that `stack_pointer` is on: from its page on, since there
// Breakpad's core2md starts reading. `home`: where the thread lives.
AddressRange LiveStack(const StackFinder& find, Address stack_pointer,
                       Address thread_pointer, AddressRange home) {
  const Address lowest = AlignDown(stack_pointer - kRedZone, kPageSize);
  if (InHeap(*find.index, stack_pointer)) {
    // A coroutine's stack from the heap ends with its allocation.
    const AddressRange whole = Resolve(*find.index, stack_pointer).range();
    return AddressRange{lowest, whole.end}.Clip(whole);
  }
  const Mapping* mapping = StackMapping(*find.map, stack_pointer);
  if (mapping == nullptr) return {};
  const Address oldest = home.empty() ? 0 : home.end - 1;
  const AddressRange parts = {mapping->range.begin,
                              EndOfParts(*find.map, mapping, oldest)};
  AddressRange stack = AddressRange{lowest, parts.end}.Clip(parts);
  // The kernel merges neighbouring anonymous mappings: the thread control block, which
  // glibc puts at the end of the stack, ends it for certain.
  const Address control_block_end =
      AlignUp(thread_pointer + find.pthread_bytes, kPageSize);
  if (stack.Contains(thread_pointer) && control_block_end < stack.end) {
    stack.end = control_block_end;
  }
  return stack;
}

// All that may be a stack around `stack_pointer`: its allocation, even a freed one, or its
// mapping. Of heap that nobody has allocated, as much as anybody keeps for one pointer.
AddressRange MemoryAround(const StackFinder& find, Address stack_pointer) {
  if (InHeap(*find.index, stack_pointer)) {
    const Allocation allocation = Resolve(*find.index, stack_pointer);
    if (allocation.size != 0) return allocation.range();
    return {AlignDown(stack_pointer - kRedZone, 16),
            AlignDown(stack_pointer, 16) + kPageSize};
  }
  const Mapping* mapping = StackMapping(*find.map, stack_pointer);
  return mapping == nullptr ? AddressRange{} : mapping->range;
}

// Where a thread lives when it isn't on an alternate or a coroutine's stack.
AddressRange HomeStack(const StackFinder& find, const Thread& thread, bool main) {
  const Mapping* mapping = nullptr;
  if (main) {
    for (const Mapping& candidate : find.map->mappings()) {
      const char* name = find.map->NameOf(candidate);
      if (name[0] == '[' && name[1] == 's' && name[2] == 't') mapping = &candidate;
    }
    if (!Usable(mapping)) return {};
    return {BeginOfParts(*find.map, mapping), mapping->range.end};
  }
  mapping = find.map->Find(thread.registers.fs_base);
  if (!Usable(mapping)) return {};
  return {BeginOfParts(*find.map, mapping), thread.registers.fs_base};
}

// Whether the stack pointer is where no thread should be, even if there is memory.
bool IsWild(const StackFinder& find, Address stack_pointer) {
  return InHeap(*find.index, stack_pointer) &&
         Resolve(*find.index, stack_pointer).state != AllocationState::kLive;
}

// A signal frame on the current stack holds the interrupted stack pointer, and no word
// on it points lower into the home stack but by chance: the lowest is taken.
Address InterruptedStackPointer(AddressRange current, AddressRange home) {
  Address lowest = 0;
  uint64_t block[64];
  constexpr ByteCount kMost = 256 * 1024;
  if (current.size() > kMost) current.end = current.begin + kMost;
  for (Address at = AlignUp(current.begin, 8); at + sizeof(block) <= current.end;
       at += sizeof(block)) {
    if (!safe::GuardedRead(at, &block)) break;
    for (uint64_t word : block) {
      if (home.Contains(word) && (lowest == 0 || word < lowest)) lowest = word;
    }
  }
  return lowest;
}

}  // namespace

unsigned FindStacks(const StackFinder& find, const Thread& thread, bool main,
                    AddressRange stacks[kMaxStacks]) {
  unsigned count = 0;
  const AddressRange home = HomeStack(find, thread, main);
  const AddressRange current =
      LiveStack(find, thread.stack_pointer(), thread.registers.fs_base, home);
  if (!current.empty()) stacks[count++] = current;
  if (current.empty() || IsWild(find, thread.stack_pointer())) {
    // The frames are still there to be read by hand, the newest of them within reach of
    // the oldest more often than not.
    constexpr ByteCount kMost = 256 * 1024;
    AddressRange tail = home;
    if (tail.size() > kMost) tail.begin = AlignDown(tail.end - kMost, kPageSize);
    if (!tail.empty()) stacks[count++] = tail;
    return count;
  }
  if (!home.empty() && !current.Overlaps(home)) {
    const Address stack_pointer = InterruptedStackPointer(current, home);
    if (stack_pointer != 0) {
      const AddressRange rest =
          LiveStack(find, stack_pointer, thread.registers.fs_base, home);
      if (!rest.empty()) stacks[count++] = rest;
    }
  }
  return count;
}

unsigned FindStackMemory(const StackFinder& find, const Thread& thread, bool main,
                         AddressRange memory[kMaxStackMemory]) {
  unsigned count = 0;
  const auto add = [&](AddressRange range) {
    if (!range.empty()) memory[count++] = range;
  };
  add(MemoryAround(find, thread.stack_pointer()));
  add(HomeStack(find, thread, main));
  add(thread.alternate_stack);
  return count;
}

unsigned SplitStack(AddressRange stack, ByteCount limit, AddressRange parts[2]) {
  parts[0] = stack;
  if (stack.size() <= kOldestBytes || stack.size() - kOldestBytes <= limit) return 1;
  parts[0].end = stack.begin + AlignUp(limit, kPageSize);
  parts[1] = {stack.end - kOldestBytes, stack.end};
  if (parts[0].Overlaps(parts[1])) {
    parts[0] = stack;
    return 1;
  }
  return 2;
}

}  // namespace minicore
