#include <algorithm>
#include <cstring>
#include <set>

#include "tools/text.h"
#include "tools/verify.h"

namespace minicore {
namespace {

// One hole is compared with the file byte by byte up to this much.
constexpr uint64_t kMaxHoleBytes = 64u << 20;

void VerifyReport(const MinicoreNotes& notes, Verdict* verdict) {
  if (!notes.has_report) {
    verdict->faults.push_back("There is no MINICORE note REPORT.");
  }
}

void VerifyThreadRows(const ProcessNotes& process, const MinicoreNotes& notes,
                      Verdict* verdict) {
  if (!notes.threads.present) return;
  std::set<uint32_t> in_core;
  for (const CoreThread& thread : process.threads) in_core.insert(thread.tid);
  std::set<uint32_t> in_rows;
  for (const ThreadRow& row : notes.threads.rows) {
    in_rows.insert(row.tid);
    const bool has_registers = row.source != ThreadSource::kNone;
    if (has_registers && in_core.count(row.tid) == 0) {
      verdict->faults.push_back("The note THREADS has thread " +
                                std::to_string(row.tid) +
                                ", for which there is no PRSTATUS.");
    } else if (!has_registers) {
      verdict->remarks.push_back(
          "Thread " + std::to_string(row.tid) +
          " did not stop in time: its registers are not known.");
    }
  }
  if (notes.threads.dropped > 0) return;
  for (const CoreThread& thread : process.threads) {
    if (in_rows.count(thread.tid) > 0) continue;
    verdict->faults.push_back("Thread " + std::to_string(thread.tid) +
                              " is not in the note THREADS.");
  }
}

void VerifySegmentRows(const CoreReader& core, const MinicoreNotes& notes,
                       Verdict* verdict) {
  for (const SegmentRow& row : notes.segments.rows) {
    const std::string name = "The note SEGMENTS says that " +
                             HexRange(row.begin, row.end) + " is " +
                             KindName(row.kind);
    const uint64_t covered = core.CoveredUpTo(row.begin);
    if (row.begin >= row.end) {
      verdict->faults.push_back(name + ": that is an empty range.");
    } else if (covered == row.begin) {
      verdict->faults.push_back(name + ", but it is not in the core.");
    } else if (covered < row.end) {
      verdict->faults.push_back(name + ", but it is in the core only up to " +
                                Hex(covered) + ".");
    }
  }
}

// The first byte of the range that is in the file and not the marker;
// UINT64_MAX if there is none.
uint64_t FirstLeak(const CoreReader& core, uint64_t begin, uint64_t end) {
  uint64_t at = begin;
  while (at < end) {
    const CoreSegment* load = core.NextLoad(at);
    if (load == nullptr || load->address >= end) return UINT64_MAX;
    at = std::max(at, load->address);
    char bytes[4096];
    const uint64_t stop = std::min(end, load->end());
    if (stop <= at) return UINT64_MAX;  // a program header that wraps
    const size_t want = std::min<uint64_t>(sizeof(bytes), stop - at);
    const size_t got = core.ReadUpTo(at, bytes, want);
    for (size_t i = 0; i < got; ++i) {
      if (bytes[i] != kElidedMarker[(at + i) % 8]) return at + i;
    }
    at = got < want ? stop : at + got;
  }
  return UINT64_MAX;
}

bool MustNotBeThere(HoleReason reason) {
  switch (reason) {
    case HoleReason::kSecret:
    case HoleReason::kSecretCopy:
    case HoleReason::kEnvironment:
    case HoleReason::kUnreadable:
    case HoleReason::kSanitized:
    case HoleReason::kArguments:
    case HoleReason::kCanary:
      return true;
    default:
      return false;
  }
}

void VerifyHoles(const CoreReader& core, const MinicoreNotes& notes,
                 Verdict* verdict) {
  uint64_t looked_at = 0;
  uint64_t filled = 0;
  std::string first_filled;
  for (const HoleRow& row : notes.holes.rows) {
    const std::string name =
        HexRange(row.begin, row.end) + " (" + ReasonName(row.reason) + ")";
    if (row.begin >= row.end || row.count == 0) {
      verdict->faults.push_back("The hole " + name + " is empty.");
      continue;
    }
    // A row that stands for several holes covers what was kept between them as
    // well.
    if (row.count != 1) continue;
    looked_at += std::min(row.end - row.begin, kMaxHoleBytes);
    if (looked_at > 4 * kMaxHoleBytes) break;
    const uint64_t leak = FirstLeak(
        core, row.begin, std::min(row.end, row.begin + kMaxHoleBytes));
    if (leak == UINT64_MAX) continue;
    if (MustNotBeThere(row.reason)) {
      verdict->faults.push_back("The hole " + name +
                                " is not one: the core has the byte at " +
                                Hex(leak) + ".");
    } else if (filled++ == 0) {
      first_filled = name;
    }
  }
  if (filled > 0) {
    // Left out for want of room, then reached again from another root.
    verdict->remarks.push_back(
        Count(filled, "hole") +
        " can be read all the same, at least in part; the "
        "first is " +
        first_filled + ".");
  }
}

void VerifyTagRows(const MinicoreNotes& notes, Verdict* verdict) {
  std::set<uint8_t> seen;
  for (const TagRow& row : notes.tags.rows) {
    const std::string name =
        "The note TAGS has the tag id " + std::to_string(row.id);
    if (!seen.insert(row.id).second) {
      verdict->faults.push_back(name + " twice.");
    }
    const size_t length = strnlen(row.name, sizeof(row.name));
    if (row.id == 0 && length == 0) continue;  // what has no tag
    if (length == 0 || length == sizeof(row.name)) {
      verdict->faults.push_back(name + " with no proper name.");
    }
  }
}

}  // namespace

void VerifyMinicoreNotes(const CoreReader& core, const ProcessNotes& process,
                         const MinicoreNotes& notes, Verdict* verdict) {
  VerifyReport(notes, verdict);
  VerifyThreadRows(process, notes, verdict);
  VerifySegmentRows(core, notes, verdict);
  VerifyHoles(core, notes, verdict);
  VerifyTagRows(notes, verdict);
}

}  // namespace minicore
