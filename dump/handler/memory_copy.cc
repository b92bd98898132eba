#include "dump/handler/memory_copy.h"

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>

#include "dump/elf_core_format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {

void ReadOrMark(AddressRange range, AddressRange report, uint8_t* to, Outcome& outcome) {
  for (Address at = range.begin; at < range.end;) {
    at += safe::GuardedCopy(to + (at - range.begin), at, range.end - at);
    if (at >= range.end) break;
    const Address next = std::min(AlignDown(at, kPageSize) + kPageSize, range.end);
    FillMarkers(at, to + (at - range.begin), next - at);
    const AddressRange hole = AddressRange{at, next}.Clip(report);
    outcome.AddHole(hole.begin, hole.end, HoleReason::kUnreadable);
    at = next;
  }
}

void MemoryCopy::Map(ByteCount bytes, bool touch) {
  const long memory = safe::Syscall(SYS_mmap, 0, static_cast<long>(bytes),
                                    PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory < 0 && memory > -4096) return;
  data_ = reinterpret_cast<uint8_t*>(memory);
  capacity_ = bytes;
  // What is not redacted yet belongs into nobody's core, and into no child.
  safe::Syscall(SYS_madvise, memory, static_cast<long>(bytes), MADV_DONTDUMP);
  safe::Syscall(SYS_madvise, memory, static_cast<long>(bytes), MADV_DONTFORK);
  if (!touch) return;
  // Large pages take a fifth off the copy's time, where the system has them on demand.
  safe::Syscall(SYS_madvise, memory, static_cast<long>(bytes), MADV_HUGEPAGE);
  constexpr long kPopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14
  if (safe::Syscall(SYS_madvise, memory, static_cast<long>(bytes), kPopulateWrite) != 0) {
    for (ByteCount at = 0; at < bytes; at += kPageSize) data_[at] = 0;
  }
}

void MemoryCopy::Prepare(ByteCount budget) {
  constexpr ByteCount kMost = 64 * 1024 * 1024;
  Map(budget < kMost / 2 ? 2 * budget : kMost, true);
}

int MemoryCopy::Reserve(ByteCount bytes) {
  if (bytes > capacity_) {
    Release();
    Map(bytes, false);
  }
  return bytes > capacity_ ? -ENOMEM : 0;
}

void MemoryCopy::Fill(const DumpPlan& plan, Outcome& outcome) {
  for (const Segment& segment : plan.segments) {
    const Address end = segment.range.begin + segment.file_bytes;
    if (segment.file_offset + segment.file_bytes > capacity_) continue;
    for (uint32_t i = 0; i < segment.piece_count; ++i) {
      const Piece& piece = plan.pieces[segment.first_piece + i];
      if (piece.content == Content::kAbsent) continue;
      const AddressRange range = piece.range.Clip({segment.range.begin, end});
      if (range.empty()) continue;
      uint8_t* const to = data_ + segment.file_offset + (range.begin - segment.range.begin);
      if (outcome.Late()) {
        outcome.AddHole(range.begin, range.end, HoleReason::kDeadline);
        FillMarkers(range.begin, to, range.size());
      } else {
        ReadOrMark(range, range, to, outcome);
      }
    }
  }
}

void MemoryCopy::Release() {
  if (data_ != nullptr) {
    safe::Syscall(SYS_munmap, safe::Word(data_), static_cast<long>(capacity_));
  }
  data_ = nullptr;
  capacity_ = 0;
}

}  // namespace minicore
