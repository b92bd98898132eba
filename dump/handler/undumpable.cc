#include "dump/handler/undumpable.h"

#include "dump/handler/proc_files.h"
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

void Add(void* context, AddressRange range, bool device) {
  Collection& all = *static_cast<Collection*>(context);
  const IndexState& index = *all.runtime->index;
  // Reservation, index and arena are never written; tagged extents are known.
  const AddressRange heap = {index.region, index.region + index.region_bytes};
  if (range.Overlaps(heap) || range.Overlaps(all.runtime->arena_range)) return;
  const bool copies = !device && range.size() <= kMostOfOne &&
                      range.size() <= kMostOfAll - all.searched;
  if (copies) all.searched += range.size();
  all.redactor->AddSecret(range, HoleReason::kSecret, kNoTag, copies,
                          Redactor::Length::kBuffer);
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

std::atomic<bool> g_has_undumpable;

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

void AddUndumpable(const Runtime& runtime, safe::Arena& arena, Redactor& redactor,
                   Outcome& outcome) {
  if (!g_has_undumpable.load(std::memory_order_acquire)) return;
  char* const block = arena.AllocateArray<char>(kBlock);
  const int fd = safe::Open("/proc/self/smaps", O_RDONLY);
  Collection all = {&runtime, &redactor, 0};
  SmapsParser parser(&Add, &all);
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
