#include "dump/handler/roots.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstddef>

#include "alloc/index_view.h"
#include "dump/handler/link_maps.h"
#include "dump/handler/stacks.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

// An anonymous mapping up to this size that holds something a debugger needs
// (ld.so's own first allocations: the main thread's control block, the first
// link maps) is kept whole. Of a larger one (the kernel makes one of neighbours
// that are alike: mm/mmap.c, vma_merge()) what is around it: more than a link map
// has, and at least the first two hundred modules of a DTV.
constexpr ByteCount kSmallMapping = 256 * 1024;
constexpr ByteCount kAroundBefore = kPageSize;
constexpr ByteCount kAroundBehind = 2 * kPageSize;
constexpr ByteCount kProgramCounterWindow = 128;  // each way
// Lists of modules with thread-locals, of 62 and more each (glibc 2.36, elf/dl-tls.c,
// DTV_SURPLUS and TLS_SLOTINFO_SURPLUS); the chain may be a circle.
constexpr unsigned kMaxSlotLists = 64;
// Two, as a rule (arch/x86/entry/vdso).
constexpr size_t kVdsoPages = 16;

class Collector {
 public:
  Collector(const CrashContext& crash, const Runtime& runtime,
            const MemoryMap& map, const Images& images, Roots& roots,
            Outcome& outcome)
      : crash_(crash),
        runtime_(runtime),
        map_(map),
        images_(images),
        roots_(roots),
        outcome_(outcome) {}

  void FindModules(safe::Arena& arena);
  void AddStacks(ThreadTable& threads);
  void AddStackMemory(const ThreadTable& threads);
  void AddThreadData(const ThreadTable& threads);
  void AddThreadList(Address at, uint32_t next_offset, unsigned most);
  void AddModules();
  void AddProgramCounters(const ThreadTable& threads);
  void AddLinkMaps();

 private:
  void Add(AddressRange range, SegmentKind kind, FileGroup group,
           Content content = Content::kMemory, int tid = 0);
  void AddZeros(AddressRange run, bool more);
  size_t ReadPageMap(Address begin, size_t pages);
  void AddModuleData(AddressRange data, ByteCount* left);
  bool IsAsMapped(Address page);
  void AddHeaders(const Image& image);
  void AddVdso(AddressRange vdso);
  void AddText(const Mapping& mapping, const Image& image);
  void KeepAround(Address address);
  void KeepInData(AddressRange range, FileGroup group);

  const CrashContext& crash_;
  const Runtime& runtime_;
  const MemoryMap& map_;
  const Images& images_;
  Roots& roots_;
  Outcome& outcome_;
  safe::FixedVector<Address> link_maps_;  // FindLinkMaps()
  ByteCount thread_locals_ = 0;  // right below each thread pointer
  int page_map_fd_ = -1;         // /proc/thread-self/pagemap
};

// What /proc/thread-self/pagemap says of each page: Linux,
// Documentation/admin-guide/mm/pagemap.rst.
constexpr size_t kPagesAtOnce = 4096;
uint64_t g_page_map[kPagesAtOnce];  // one thread dumps at a time

// Never touched: of memory that is no file's, zero.
bool IsUntouched(uint64_t entry) { return entry >> 62 == 0; }  // present, or swapped

// No page of a file any more, though it was.
bool IsModified(uint64_t entry) { return !IsUntouched(entry) && (entry >> 61 & 1) == 0; }

void Collector::Add(AddressRange range, SegmentKind kind, FileGroup group,
                    Content content, int tid) {
  if (range.empty()) return;
  const Piece piece = {range,   kind,  group,
                       content, false, static_cast<uint32_t>(tid)};
  if (!roots_.pieces.Push(piece)) {
    outcome_.AddHole(range.begin, range.end, HoleReason::kOutOfRoom);
  }
}

// And how much of static TLS they use: what is below it may be a frame.
void Collector::FindModules(safe::Arena& arena) {
  link_maps_.Reserve(arena, 1 + 2 * kMaxLinkMaps);
  FindLinkMaps(runtime_.facts.auxv, runtime_.facts.auxv_words, link_maps_);
  const uint32_t field = runtime_.facts.threads.tls_offset_offset;
  for (size_t i = 1; field != 0 && i < link_maps_.size(); i += 2) {
    // 0 and -1: has none there (glibc 2.36, elf/dl-tls.c, NO_TLS_OFFSET).
    uint64_t offset;
    if (safe::GuardedRead(link_maps_[i] + field, &offset) && offset < kSmallMapping &&
        offset > thread_locals_) {
      thread_locals_ = offset;
    }
  }
  if (thread_locals_ != 0) return;
  for (const Image& image : images_) thread_locals_ += image.tls_bytes;
}

void Collector::AddStacks(ThreadTable& threads) {
  const StackFinder find = {&map_, runtime_.index,
                            runtime_.facts.threads.pthread_bytes};
  for (Thread& thread : threads) {
    const bool crashed = thread.source == ThreadSource::kCrashed;
    AddressRange stacks[kMaxStacks];
    const unsigned count =
        FindStacks(find, thread, thread.tid == crash_.pid, stacks);
    for (unsigned i = 0; i < count; ++i) {
      AddressRange parts[2];
      const unsigned part_count =
          SplitStack(stacks[i], runtime_.policy.stack_bytes, parts);
      for (unsigned j = 0; j < part_count; ++j) {
        Add(parts[j], SegmentKind::kStack,
            crashed ? FileGroup::kCrashedStack : FileGroup::kStacks,
            Content::kMemory, thread.tid);
        AddressRange live = parts[j];
        // Below the red zone there is nothing alive.
        if (live.Contains(thread.stack_pointer())) {
          live.begin = AlignDown(thread.stack_pointer() - 128, 8);
          live = live.Clip(parts[j]);
        }
        // glibc puts thread-locals at the end of the stack: they are no frame's.
        const Address pointer = thread.registers.fs_base;
        if (live.Contains(pointer)) {
          live.end = std::max(live.begin, AlignDown(pointer - thread_locals_, 8));
        }
        if (!live.empty()) (void)roots_.stacks.Push(live);
      }
      if (part_count == 2) {
        roots_.left_out_stacks.Add({parts[0].end, parts[1].begin});
        outcome_.AddHole(parts[0].end, parts[1].begin, HoleReason::kStackLimit);
      }
    }
    if (count != 0) thread.stack = stacks[0];
    if (!thread.alternate_stack.empty() &&
        !thread.alternate_stack.Contains(thread.stack_pointer())) {
      roots_.unused_stacks.Add(thread.alternate_stack);
    }
  }
  roots_.left_out_stacks.Sort();
  roots_.unused_stacks.Sort();
}

void Collector::AddStackMemory(const ThreadTable& threads) {
  const StackFinder find = {&map_, runtime_.index,
                            runtime_.facts.threads.pthread_bytes};
  for (const Thread& thread : threads) {
    AddressRange memory[kMaxStackMemory];
    const unsigned count =
        FindStackMemory(find, thread, thread.tid == crash_.pid, memory);
    for (unsigned i = 0; i < count; ++i) roots_.stack_memory.Add(memory[i]);
  }
  roots_.stack_memory.Sort();
}

void Collector::KeepAround(Address address) {
  const Mapping* mapping = map_.Find(address);
  if (mapping == nullptr || !mapping->readable || !mapping->writable ||
      mapping->inode != 0 || InHeap(*runtime_.index, address)) {
    return;
  }
  AddressRange range = mapping->range;
  if (range.size() > kSmallMapping) {
    const Address page = AlignDown(address, kPageSize);
    range = AddressRange{page - kAroundBefore, page + kAroundBehind}.Clip(range);
  }
  Add(range, SegmentKind::kThreadData, FileGroup::kMetadata);
}

// Static TLS lies right below the thread pointer, the word at which is its own address
// (System V ABI for x86-64, TLS variant II); glibc's struct pthread is at it.
void Collector::AddThreadData(const ThreadTable& threads) {
  const ThreadLayout& layout = runtime_.facts.threads;
  ByteCount static_tls = kPageSize;  // ld.so's surplus for dlopen'ed libraries
  for (const Image& image : images_) static_tls += image.tls_bytes;
  if (static_tls > kSmallMapping) static_tls = kSmallMapping;
  for (const Thread& thread : threads) {
    const Address pointer = thread.registers.fs_base;
    const Mapping* mapping = map_.Find(pointer);
    if (mapping == nullptr || !mapping->readable) continue;
    AddressRange window = AddressRange{AlignDown(pointer - static_tls, 16),
                                       AlignUp(pointer + layout.pthread_bytes, 16)}
                              .Clip(mapping->range);
    if (thread.stack.Contains(pointer)) {
      // On its stack, where glibc puts it: below the live part there is
      // nothing.
      window = window.Clip(thread.stack);
      Add(window, SegmentKind::kStack, FileGroup::kStacks, Content::kMemory,
          thread.tid);
    } else {
      Add(window, SegmentKind::kThreadData, FileGroup::kMetadata,
          Content::kMemory, thread.tid);
    }
    (void)roots_.thread_data.Push(window);
    // The first thread's control block is ld.so's; the others' are at the ends of their
    // stacks. What isn't in the form that we know is kept with all that is around it.
    Address self;
    const bool as_expected = safe::GuardedRead(pointer, &self) && self == pointer &&
                             (layout.known || thread.stack.Contains(pointer));
    if (thread.tid == crash_.pid || !as_expected) KeepAround(pointer);
    AddThreadList(pointer + layout.dtv_offset, 0, 1);
  }
  AddThreadList(layout.slot_list, layout.slot_next_offset, kMaxSlotLists);
}

// What the word at `at` points to, and the `most` - 1 that follow it by the addresses at
// `next_offset` in each.
void Collector::AddThreadList(Address at, uint32_t next_offset, unsigned most) {
  Address node;
  for (unsigned i = 0; i < most && at != 0 && safe::GuardedRead(at, &node) && node != 0;
       ++i, at = node + next_offset) {
    if (!roots_.metadata.Push(node)) return;
    KeepAround(node);
  }
}

// Pages that are zero and stand in the file as a program header's p_memsz, but
// for their rims. lldb reads zeros behind the bytes that a segment has, and
// nothing from a segment that has none
// (ProcessElfCore::AddAddressRangeFromLoadSegment); and what it reads at once,
// to print up to 1,024 bytes of an array, it takes from one segment.
void Collector::AddZeros(AddressRange run, bool more) {
  constexpr ByteCount kRim = 2048;
  AddressRange absent = {run.begin + kRim, more ? run.end - kRim : run.end};
  if (absent.size() < kPageSize) absent = {run.end, run.end};
  Add({run.begin, absent.begin}, SegmentKind::kModuleData,
      FileGroup::kModuleData);
  Add(absent, SegmentKind::kModuleData, FileGroup::kModuleData,
      Content::kAbsent);
  Add({absent.end, run.end}, SegmentKind::kModuleData, FileGroup::kModuleData);
}

// Reads the entries of at most kPagesAtOnce of `pages`.
// Returns: of how many: 0 if nothing is known.
size_t Collector::ReadPageMap(Address begin, size_t pages) {
  if (page_map_fd_ < 0) return 0;
  const long bytes =
      safe::PRead(page_map_fd_, g_page_map, std::min(pages, kPagesAtOnce) * 8,
                  begin / kPageSize * 8);
  return bytes < 0 ? 0 : static_cast<size_t>(bytes) / 8;
}

// Whether a page of a file, or of the kernel's, is known to be that still.
bool Collector::IsAsMapped(Address page) {
  return ReadPageMap(page, 1) == 1 && !IsModified(g_page_map[0]);
}

void Collector::AddHeaders(const Image& image) {
  Add({image.base, image.base + kPageSize}, SegmentKind::kHeaders, FileGroup::kMetadata);
  if (!IsAsMapped(image.base)) return;
  for (unsigned i = 0; i < image.format_ranges; ++i) {
    (void)roots_.formats.Push(image.format[i]);
  }
}

void Collector::AddVdso(AddressRange vdso) {
  Add(vdso, SegmentKind::kVdso, FileGroup::kMetadata);
  for (Address page = vdso.begin; page < vdso.end; page += kPageSize) {
    if (IsAsMapped(page)) (void)roots_.formats.Push({page, page + kPageSize});
  }
}

// Writable data of a module, RELRO too: all but the pages that were never
// touched, which are zero.
void Collector::AddModuleData(AddressRange data, ByteCount* left) {
  AddressRange run;  // of pages alike
  Content run_content = Content::kMemory;
  // `more`: pages of the same permissions follow.
  const auto flush = [&](bool more) {
    if (run.empty()) return;
    if (run_content == Content::kMemory) {
      Add(run, SegmentKind::kModuleData, FileGroup::kModuleData);
      (void)roots_.static_data.Push(run);
    } else {
      AddZeros(run, more);
    }
    run = {};
  };
  for (Address at = data.begin; at < data.end;) {
    const Mapping* mapping = map_.FindAtOrAbove(at);
    if (mapping == nullptr || mapping->range.begin >= data.end) break;
    if (mapping->range.begin > at) at = mapping->range.begin;
    const AddressRange part = AddressRange{at, data.end}.Clip(mapping->range);
    if (!mapping->readable) {
      at = part.end;
      continue;
    }
    flush(false);
    for (at = part.begin; at < part.end;) {
      if (outcome_.Late()) {
        outcome_.AddHole(at, data.end, HoleReason::kDeadline);
        at = data.end;
        break;
      }
      const size_t pages = std::min<size_t>((part.end - at) / kPageSize, kPagesAtOnce);
      const size_t known = ReadPageMap(at, pages);
      for (size_t i = 0; i < pages; ++i, at += kPageSize) {
        const bool zero = i < known && mapping->inode == 0 && IsUntouched(g_page_map[i]);
        if (!zero && *left == 0) {
          outcome_.AddHole(at, at + kPageSize, HoleReason::kStaticLimit);
          continue;
        }
        if (!zero) *left -= kPageSize;
        const Content content = zero ? Content::kAbsent : Content::kMemory;
        if (run.end != at || run_content != content) {
          flush(run.end == at);
          run = {at, at};
          run_content = content;
        }
        run.end = at + kPageSize;
      }
    }
  }
  flush(false);
}

// Code and data of a module that can't be written, not now: debuggers read them from the
// file, but for the pages that are not the file's any more.
void Collector::AddText(const Mapping& mapping, const Image& image) {
  const auto is_data = [&image](Address address) {
    for (unsigned i = 0; i < image.data_ranges; ++i) {
      if (image.data[i].Contains(address)) return true;
    }
    return false;
  };
  ByteCount left = AlignUp(runtime_.policy.static_bytes, kPageSize);
  AddressRange same = {mapping.range.begin, mapping.range.begin};
  while (same.end < mapping.range.end) {
    const size_t pages =
        std::min<size_t>((mapping.range.end - same.end) / kPageSize, kPagesAtOnce);
    const size_t known = outcome_.Late() ? 0 : ReadPageMap(same.end, pages);
    for (size_t i = 0; i < pages; ++i) {
      const AddressRange page = {same.end, same.end + kPageSize};
      same.end = page.end;
      if (i >= known || !IsModified(g_page_map[i])) continue;
      Add({same.begin, page.begin}, SegmentKind::kText, FileGroup::kForeign,
          Content::kAbsent);
      same.begin = page.end;
      if (is_data(page.begin)) continue;  // kept, or left out, as such
      if (left == 0) {
        outcome_.AddHole(page.begin, page.end, HoleReason::kStaticLimit);
        continue;
      }
      left -= kPageSize;
      Add(page, SegmentKind::kModuleData, FileGroup::kModuleData);
    }
  }
  Add(same, SegmentKind::kText, FileGroup::kForeign, Content::kAbsent);
}

void Collector::AddModules() {
  page_map_fd_ = safe::Open("/proc/thread-self/pagemap", O_RDONLY);
  for (const Image& image : images_) {
    AddHeaders(image);
    ByteCount left = AlignUp(runtime_.policy.static_bytes, kPageSize);
    KeepInData(image.dynamic, FileGroup::kModuleData);
    for (unsigned i = 0; i < image.data_ranges; ++i) {
      AddModuleData(image.data[i], &left);
    }
  }
  for (const Mapping& mapping : map_.mappings()) {
    const char* name = map_.NameOf(mapping);
    if (safe::Equal(name, "[vdso]")) {
      AddVdso(mapping.range);
      continue;
    }
    if (mapping.inode == 0 || mapping.writable || mapping.shared) continue;
    const Image* image = FindImage(images_, mapping.range.begin);
    if (image == nullptr) continue;
    if (runtime_.policy.text == TextPolicy::kAll && mapping.readable) {
      Add(mapping.range, SegmentKind::kText, FileGroup::kForeign);
    } else {
      AddText(mapping, *image);
    }
  }
  if (page_map_fd_ >= 0) safe::Close(page_map_fd_);
}

void Collector::AddProgramCounters(const ThreadTable& threads) {
  if (runtime_.policy.text == TextPolicy::kNone) return;
  for (const Thread& thread : threads) {
    const Address pc = thread.program_counter();
    const Mapping* mapping = map_.Find(pc);
    if (mapping == nullptr || !mapping->readable || !mapping->executable)
      continue;
    if (InHeap(*runtime_.index, pc)) continue;
    Add(AddressRange{AlignDown(pc - kProgramCounterWindow, 16),
                     AlignUp(pc + kProgramCounterWindow, 16)}
            .Clip(mapping->range),
        SegmentKind::kText, FileGroup::kMetadata);
  }
}

void Collector::AddLinkMaps() {
  // What debuggers list the modules from comes first in the file: without it, a file that
  // is cut short has no backtrace.
  for (Address address : link_maps_) {
    (void)roots_.metadata.Push(address);
    KeepAround(address);
    KeepInData({address, address + 1}, FileGroup::kMetadata);
  }
  for (size_t i = 1; i < link_maps_.size(); i += 2) {
    Address dynamic;
    if (!safe::GuardedRead(link_maps_[i] + offsetof(link_map, l_ld), &dynamic)) continue;
    const Image* image = FindImage(images_, dynamic);
    if (image != nullptr && image->dynamic.begin == dynamic) {
      (void)roots_.formats.Push(image->dynamic);
    }
  }
  const Address slot_list = runtime_.facts.threads.slot_list;
  KeepInData({slot_list, slot_list + sizeof(Address)}, FileGroup::kMetadata);
  // The list begins at the program's PT_DYNAMIC.
  const Image* program = FindImage(images_, AuxvValue(runtime_.facts, AT_PHDR));
  if (program != nullptr) KeepInData(program->dynamic, FileGroup::kMetadata);
}

// The pages of module data that hold `range`, whatever static_bytes says.
void Collector::KeepInData(AddressRange range, FileGroup group) {
  const Image* image = FindImage(images_, range.begin);
  for (unsigned i = 0; image != nullptr && i < image->data_ranges; ++i) {
    if (!image->data[i].Contains(range.begin)) continue;
    range.begin = AlignDown(range.begin, kPageSize);
    range.end = AlignUp(range.end, kPageSize);
    Add(range.Clip(image->data[i]), SegmentKind::kModuleData, group);
  }
}

}  // namespace

void CollectRoots(const CrashContext& crash, const Runtime& runtime,
                  const MemoryMap& map, const Images& images,
                  ThreadTable& threads, safe::Arena& arena, Roots& roots,
                  Outcome& outcome) {
  roots.pieces.Reserve(arena, kMaxRootPieces);
  roots.stack_memory.Reserve(arena, kMaxStackMemory * threads.size());
  roots.stacks.Reserve(arena, 4 * kMaxThreads);
  roots.thread_data.Reserve(arena, kMaxThreads);
  roots.static_data.Reserve(arena, kMaxMappings);
  roots.formats.Reserve(arena, (kMaxFormatRanges + 1) * images.size() + kVdsoPages);
  roots.left_out_stacks.Reserve(arena, kMaxStacks * threads.size());
  roots.unused_stacks.Reserve(arena, threads.size());
  roots.metadata.Reserve(arena, kMaxThreads + kMaxSlotLists + 2 * kMaxLinkMaps);
  Collector collector(crash, runtime, map, images, roots, outcome);
  collector.FindModules(arena);
  collector.AddStacks(threads);
  collector.AddStackMemory(threads);
  collector.AddThreadData(threads);
  collector.AddLinkMaps();
  collector.AddModules();
  collector.AddProgramCounters(threads);
}

}  // namespace minicore
