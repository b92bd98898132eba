#include "dump/handler/elf_core_writer.h"

#include <elf.h>
#include <errno.h>

#include <algorithm>

#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;
constexpr size_t kBlockBytes = 64 * 1024;

void FillHeaders(const DumpPlan& plan, uint8_t* to) {
  Elf64_Ehdr header{};
  __builtin_memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(header);
  header.e_ehsize = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<uint16_t>(plan.segments.size() + 2);
  const auto put = [&to](const auto& value) {
    __builtin_memcpy(to, &value, sizeof(value));
    to += sizeof(value);
  };
  put(header);
  Elf64_Phdr notes{};
  notes.p_type = PT_NOTE;
  notes.p_align = 4;
  notes.p_offset = plan.notes_offset;
  notes.p_filesz = plan.notes_bytes;
  put(notes);
  for (const Segment& segment : plan.segments) {
    Elf64_Phdr load{};
    load.p_type = PT_LOAD;
    load.p_flags = segment.flags;
    load.p_offset = segment.file_offset;
    load.p_vaddr = segment.range.begin;
    load.p_filesz = segment.file_bytes;
    load.p_memsz = segment.range.size();
    // elfutils rounds addresses to it, and 0 or 1 to whole pages
    // (libdwfl/dwfl_segment_report_module.c, segment_align).
    load.p_align = 16;
    put(load);
  }
  notes.p_offset = plan.report_offset;
  notes.p_filesz = plan.report_bytes;
  put(notes);
}

Place PlaceOf(const Piece& piece) {
  if (piece.stack) return Place::kStack;
  switch (piece.kind) {
    case SegmentKind::kHeaders:
    case SegmentKind::kText:
    case SegmentKind::kVdso:
      return Place::kCode;
    case SegmentKind::kModuleData:
      return Place::kStatic;
    case SegmentKind::kThreadData:
      return Place::kThreadData;
    case SegmentKind::kStack:
      return Place::kStack;
    case SegmentKind::kHeap:
      return Place::kHeap;
    default:
      return Place::kForeign;
  }
}

}  // namespace

int ElfCoreWriter::Flush() {
  const size_t size = buffered_;
  buffered_ = 0;
  return size == 0 ? 0 : file_.Append(buffer_, size);
}

int ElfCoreWriter::Put(const uint8_t* data, size_t size) {
  offset_ += size;
  const size_t fresh = std::min(size, kOverlap);
  __builtin_memmove(tail_, tail_ + fresh, kOverlap - fresh);
  __builtin_memcpy(tail_ + kOverlap - fresh, data + size - fresh, fresh);
  while (size != 0) {
    const size_t part = std::min(size, kBufferBytes - buffered_);
    __builtin_memcpy(buffer_ + buffered_, data, part);
    buffered_ += part;
    data += part;
    size -= part;
    if (buffered_ == kBufferBytes) {
      const int error = Flush();
      if (error != 0) return error;
    }
  }
  return 0;
}

int ElfCoreWriter::PadTo(uint64_t offset) {
  const uint8_t zeros[64] = {};
  while (offset_ < offset) {
    const int error = Put(zeros, std::min<uint64_t>(offset - offset_, sizeof(zeros)));
    if (error != 0) return error;
  }
  return 0;
}

int ElfCoreWriter::WriteHeaders() {
  FillHeaders(plan_, headers_);
  return Put(headers_, header_bytes_);
}

int ElfCoreWriter::WriteMarkers(AddressRange range) {
  uint8_t markers[64];
  while (!range.empty()) {
    const size_t size = std::min<ByteCount>(range.size(), sizeof(markers));
    FillMarkers(range.begin, markers, size);
    const int error = Put(markers, size);
    if (error != 0) return error;
    range.begin += size;
  }
  return 0;
}

// Memory, or its copy at `offset` of the file.
void ElfCoreWriter::ReadBlock(AddressRange range, AddressRange report, uint8_t* to,
                              uint64_t offset) {
  if (copy_ != nullptr) {
    __builtin_memcpy(to, copy_->At(offset), range.size());
    return;
  }
  ReadOrMark(range, report, to, outcome_);
}

// Block by block: read, redact, write. Past the deadline only markers are written, so
// that the file ends where the headers say. `run`: all that touches `range` and is read.
int ElfCoreWriter::WritePart(AddressRange range, AddressRange run, Place place) {
  for (Address at = range.begin; at < range.end;) {
    const size_t size = std::min<ByteCount>(range.end - at, kBlockBytes);
    if (outcome_.Late()) {
      outcome_.AddHole(at, range.end, HoleReason::kDeadline);
      return WriteMarkers({at, range.end});
    }
    const size_t before = kOverlap;
    const size_t behind = std::min<ByteCount>(run.end - at - size, kOverlap);
    const Address begin = at - before;
    const size_t total = before + size + behind;
    // Of the bytes before the run only those matter that stand before it in the file.
    const size_t known = std::max(begin, run.begin) - begin;
    __builtin_memcpy(block_, tail_, known);
    const AddressRange report = {at, at + size};
    ReadBlock({begin + known, begin + total}, report, block_ + known,
              offset_ - before + known);
    redactor_.Redact(begin, block_, total, report, place, outcome_);
    const int error = Put(block_ + before, size);
    if (error != 0) return error;
    at += size;
  }
  return 0;
}

// Pieces that touch: written by their places, but searched for copies as one.
int ElfCoreWriter::WriteRun(const Piece* first, const Piece* end) {
  const AddressRange run = {first->range.begin, (end - 1)->range.end};
  while (first != end) {
    const Place place = PlaceOf(*first);
    AddressRange part = first->range;
    while (++first != end && PlaceOf(*first) == place) part.end = first->range.end;
    const int error = WritePart(part, run, place);
    if (error != 0) return error;
  }
  return 0;
}

int ElfCoreWriter::WriteSegment(const Segment& segment) {
  int error = PadTo(segment.file_offset);
  Address at = segment.range.begin;
  const Piece* piece = plan_.pieces.begin() + segment.first_piece;
  const Piece* const end = piece + segment.piece_count;
  while (error == 0 && piece != end && piece->content != Content::kAbsent) {
    const Piece* const first = piece;
    do {
      ++piece;
    } while (piece != end && piece->content != Content::kAbsent &&
             piece->range.begin == (piece - 1)->range.end);
    if (first->range.begin > at) error = WriteMarkers({at, first->range.begin});
    if (error == 0) error = WriteRun(first, piece);
    at = (piece - 1)->range.end;
  }
  return error;
}

int ElfCoreWriter::WriteContents(const NoteBuffer& notes, safe::Arena& arena) {
  if (block_ == nullptr) {
    header_bytes_ =
        sizeof(Elf64_Ehdr) + (plan_.segments.size() + 2) * sizeof(Elf64_Phdr);
    headers_ = arena.AllocateArray<uint8_t>(header_bytes_);
    buffer_ = arena.AllocateArray<uint8_t>(kBufferBytes);
    block_ = arena.AllocateArray<uint8_t>(kBlockBytes + 2 * kOverlap);
  }
  if (headers_ == nullptr || buffer_ == nullptr || block_ == nullptr) return -ENOMEM;
  int error = WriteHeaders();
  if (error == 0) error = PadTo(plan_.notes_offset);
  if (error == 0) error = Put(notes.bytes(), notes.size());
  if (error == 0 && !plan_.report_last) {
    error = PadTo(plan_.report_offset + plan_.report_bytes);
  }
  for (const uint32_t index : plan_.file_order) {
    if (error != 0) return error;
    error = WriteSegment(plan_.segments[index]);
  }
  if (error == 0 && plan_.report_last) error = PadTo(plan_.report_offset);
  if (error == 0) error = Flush();
  if (error == 0 && shortened_) DropEmptySegments();
  return error;
}

// Of a live dump there will be another chance.
bool ElfCoreWriter::MayShorten() const {
  return copy_ == nullptr && !plan_.report_last && !shortened_;
}

// What WriteReport() will overwrite, with what is there now.
int ElfCoreWriter::TryToOverwrite() {
  __builtin_memset(buffer_, 0, kBufferBytes);
  for (uint64_t at = 0; at < plan_.report_bytes; at += kBufferBytes) {
    const auto size = std::min<uint64_t>(plan_.report_bytes - at, kBufferBytes);
    const int error = file_.WriteAt(plan_.report_offset + at, buffer_, size);
    if (error != 0) return error;
  }
  return file_.WriteAt(0, headers_, header_bytes_);
}

bool ElfCoreWriter::Shorten() {
  const uint64_t end = AlignDown(file_.written(), 16);
  if (!MayShorten() || file_.written() < plan_.least_bytes || file_.Truncate(end) != 0 ||
      TryToOverwrite() != 0) {
    return false;
  }
  CutPlan(end);
  DropEmptySegments();
  return true;
}

// A quarter less than what fitted leaves room to overwrite.
bool ElfCoreWriter::ShortenForAnotherFile() {
  const uint64_t end = AlignDown(file_.written() / 4 * 3, 16);
  if (!MayShorten() || end < plan_.least_bytes) return false;
  CutPlan(end);
  buffered_ = 0;
  offset_ = 0;
  return true;
}

// Leaves what lies before `end` in the file.
void ElfCoreWriter::CutPlan(uint64_t end) {
  for (Segment& segment : plan_.segments) {
    if (segment.file_offset + segment.file_bytes <= end) continue;
    const uint64_t left = end > segment.file_offset ? end - segment.file_offset : 0;
    segment.file_offset = std::min(segment.file_offset, end);
    if (segment.file_bytes == 0) continue;  // absent, not missing
    outcome_.AddHole(segment.range.begin + left, segment.range.end,
                     HoleReason::kOutOfRoom);
    segment.file_bytes = left;
    // Memory that is missing is a hole, not zeros.
    segment.range.end = segment.range.begin + left;
    uint32_t pieces = 0;
    for (; pieces < segment.piece_count; ++pieces) {
      AddressRange& piece = plan_.pieces[segment.first_piece + pieces].range;
      if (piece.begin >= segment.range.end) break;
      piece.end = std::min(piece.end, segment.range.end);
    }
    segment.piece_count = pieces;
  }
  outcome_.truncated = shortened_ = true;
  plan_.file_bytes = end;
}

// What has nothing left leaves the plan: a PT_LOAD of no memory is a fault to some.
void ElfCoreWriter::DropEmptySegments() {
  Segment* const first = plan_.segments.begin();
  Segment* const last = std::remove_if(first, plan_.segments.end(), [](const Segment& s) {
    return s.range.empty();
  });
  plan_.segments.Truncate(static_cast<size_t>(last - first));
}

int ElfCoreWriter::WriteReport(const NoteBuffer& report) {
  if (plan_.report_last) {
    const int error = Put(report.bytes(), report.size());
    return error != 0 ? error : Flush();
  }
  int error = file_.WriteAt(plan_.report_offset, report.bytes(), report.size());
  if (!shortened_ || error != 0) return error;
  __builtin_memset(headers_, 0, header_bytes_);
  FillHeaders(plan_, headers_);
  error = file_.WriteAt(0, headers_, header_bytes_);
  return error != 0 ? error : file_.Truncate(plan_.file_bytes);
}

}  // namespace minicore
