#include "dump/handler/secrets.h"

#include <elf.h>

#include "alloc/index_view.h"
#include "dump/handler/program_data.h"
#include "dump/handler/undumpable.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

struct Search {
  const TagState* tags;
  Redactor* redactor;
  Outcome* outcome;
};

bool AddAllocation(void* context, const Allocation& allocation) {
  Search& search = *static_cast<Search*>(context);
  search.redactor->AddSecret(allocation.range(), HoleReason::kSecret,
                             TagOf(*search.tags, allocation), true,
                             Redactor::Length::kAllocation);
  return !search.outcome->Late() && !search.redactor->uncertain();
}

// Allocations: by looking for tags in the chunks that have any.
void AddAllocations(const Runtime& runtime, Redactor& redactor, Outcome& outcome) {
  const IndexState& index = *runtime.index;
  Search search = {runtime.tags, &redactor, &outcome};
  const ByteCount committed = index.committed.load(std::memory_order_acquire);
  bool has_tags = (index.flags.load(std::memory_order_relaxed) & kIndexHasTags) == 0;
  for (ByteCount at = 0; at < committed && index.chunks != nullptr; at += kChunkSize) {
    if (index.chunks[at >> kChunkShift].tags.load(std::memory_order_relaxed) == 0) {
      continue;
    }
    has_tags = true;
    // Of an index that was overwritten nobody knows what it has lost.
    if (Contradicts(index, at)) return redactor.GiveUp();
    ForEachOf(index, *runtime.tags, at, Disposition::kElide, &AddAllocation, &search);
    if (redactor.uncertain()) return;
    // What was not looked at may be secret.
    if (outcome.Late()) return redactor.GiveUp();
  }
  // Something was tagged once, and no chunk knows of it.
  if (!has_tags) redactor.GiveUp();
}

// Of a range, what is known of an allocation if it is all of one, as of scoped_tag.
Redactor::Length LengthOf(const IndexState& index, AddressRange range) {
  const Allocation allocation = Resolve(index, range.begin);
  return allocation.state == AllocationState::kLive && allocation.range() == range
             ? Redactor::Length::kAllocation
             : Redactor::Length::kBuffer;
}

void AddRanges(const Runtime& runtime, Redactor& redactor) {
  const TagState& tags = *runtime.tags;
  for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
    AddressRange range;
    uint8_t tag;
    if (!RangeAt(tags, slot, &range, &tag)) continue;
    if (DispositionOf(tags, tag) != Disposition::kElide) continue;
    redactor.AddSecret(range, HoleReason::kSecret, tag, true,
                       LengthOf(*runtime.index, range));
    // Of a short secret in it nobody knows the length.
    if (RangeWasMerged(tags, slot)) redactor.GiveUp();
  }
}

// What stands at `text`, if that is a name: public; and left alone by sanitising if it
// stands at `place`, too.
void AddFileName(Address text, Address place, Redactor& redactor) {
  char name[1024];
  const size_t read = safe::GuardedCopy(name, text, sizeof(name));
  size_t length = 0;
  while (length < read && name[length] >= ' ' && name[length] <= '~') ++length;
  if (length < 4 || length == read || name[length] != '\0') return;
  redactor.AddPublic(name);
  char there[sizeof(name)];
  if (safe::GuardedCopy(there, place, length + 1) == length + 1 &&
      __builtin_memcmp(there, name, length + 1) == 0) {
    redactor.sanitizer().Exempt({place, place + length + 1});
  }
}

// What the program was called by, as it was at the start: by now a secret may stand there.
void AddNameAtStart(const ProcessFacts& facts, Address place, Redactor& redactor) {
  const Address copy = CopyAtStart(facts, place);
  if (copy != 0) AddFileName(copy, place, redactor);
}

// The names of files, which every debugger needs: in the notes, in the list of modules,
// and as the program was called.
void AddFileNames(const Runtime& runtime, const MemoryMap& map, const Roots& roots,
                  Redactor& redactor) {
  const char* last = "";
  for (const Mapping& mapping : map.mappings()) {
    const char* name = map.NameOf(mapping);
    if (mapping.inode == 0 || safe::Equal(name, last)) continue;
    redactor.AddPublic(name);
    last = name;
  }
  AddNameAtStart(runtime.facts, runtime.facts.arguments_begin, redactor);
  AddNameAtStart(runtime.facts, AuxvValue(runtime.facts, AT_EXECFN), redactor);
  // A list of modules begins with pointers: those of the addresses are no names.
  for (const Address address : roots.metadata) {
    AddFileName(address, address, redactor);
  }
  for (const AddressRange& format : roots.formats) redactor.sanitizer().Exempt(format);
}

// What libthread_db tells threads by, and whether one ends, in fields of half a word (glibc
// 2.36, nptl_db/td_thr_get_info.c): those that hold nothing else.
void ExemptThreads(const ThreadLayout& layout, const ThreadTable& threads,
                   Sanitizer& sanitizer) {
  for (const Thread& thread : threads) {
    for (const uint32_t offset : {layout.tid_offset, layout.cancel_offset}) {
      const Address field = thread.registers.fs_base + offset;
      uint32_t value;
      if (offset == 0 || !safe::GuardedRead(field, &value)) continue;
      if (value == static_cast<uint32_t>(thread.tid) || sanitizer.Harmless(value)) {
        sanitizer.Exempt({field, field + sizeof(value)});
      }
    }
  }
}

}  // namespace

void FindSecrets(const Runtime& runtime, const MemoryMap& map, const ThreadTable& threads,
                 const Roots& roots, safe::Arena& arena, Redactor& redactor,
                 Outcome& outcome) {
  redactor.sanitizer().Reserve(arena, map, runtime.policy.sanitize_words);
  redactor.Reserve(arena, runtime.policy.secret_bytes);
  // Ranges and the process's own first: an overflow loses allocations, and these are
  // only kept if they are no secrets.
  AddRanges(runtime, redactor);
  AddCanaries(runtime, threads, redactor);
  AddArguments(runtime, redactor, outcome);
  AddFileNames(runtime, map, roots, redactor);
  AddEnvironment(runtime, arena, redactor, outcome);
  AddUndumpable(runtime, map, g_advised, arena, redactor, outcome);
  AddAllocations(runtime, redactor, outcome);
  // What a thread that runs on makes of a secret, after that was read here, nobody knows.
  if (outcome.threads_running != 0 && redactor.has_tagged()) redactor.GiveUp();
  redactor.Build(arena);
  if (redactor.Sanitizes(Place::kThreadData)) {
    ExemptThreads(runtime.facts.threads, threads, redactor.sanitizer());
  }
  redactor.sanitizer().Sort();
}

}  // namespace minicore
