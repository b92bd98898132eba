// Writes what the plan says, in its order. No policy: of the contents it only replaces
// what the redactor marks, and what can't be read.
//
// When the sink fails on the way, a file is made valid at what was written so far: the
// program headers lose what is missing.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ELF_CORE_WRITER_H_
#define MINICORE_DUMP_HANDLER_ELF_CORE_WRITER_H_

#include "dump/handler/core_file.h"
#include "dump/handler/dump_plan.h"
#include "dump/handler/memory_copy.h"
#include "dump/handler/notes.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"
#include "dump/safe/arena.h"

namespace minicore {

class ElfCoreWriter {
 public:
  // Blocks overlap by this, so that no copy of a secret hides at a seam.
  static constexpr size_t kOverlap = kWindowBytes;

  // Takes memory from `copy`, if it is not null.
  ElfCoreWriter(DumpPlan& plan, const Redactor& redactor, CoreFile& file,
                const MemoryCopy* copy, Outcome& outcome)
      : plan_(plan), redactor_(redactor), file_(file), copy_(copy),
        outcome_(outcome) {}

  // Everything but the report.
  // Returns: 0 or -errno.
  int WriteContents(const NoteBuffer& notes, safe::Arena& arena);

  // After WriteContents() failed: decides how much of the file stays.
  // Returns: false if that is not worth a file, or the file system has no room to
  //          overwrite either, since it copies on write (btrfs).
  [[nodiscard]] bool Shorten();

  // Then: plans for another file, with less than what fitted, and WriteContents() again.
  // Returns: false if that is not worth a file.
  [[nodiscard]] bool ShortenForAnotherFile();

  // The report, and the header again if the file was shortened.
  int WriteReport(const NoteBuffer& report);

 private:
  int WriteHeaders();
  int WriteSegment(const Segment& segment);
  int WriteRun(const Piece* first, const Piece* end);
  int WritePart(AddressRange range, AddressRange run, Place place);
  void ReadBlock(AddressRange range, AddressRange report, uint8_t* to, uint64_t offset);
  int WriteMarkers(AddressRange range);
  bool MayShorten() const;
  int TryToOverwrite();
  void CutPlan(uint64_t end);
  void DropEmptySegments();
  int PadTo(uint64_t offset);
  // Buffered: pieces are small, and a write() each would cost more than they do.
  int Put(const uint8_t* data, size_t size);
  int Flush();

  DumpPlan& plan_;
  const Redactor& redactor_;
  CoreFile& file_;
  const MemoryCopy* const copy_;
  Outcome& outcome_;
  uint8_t* headers_ = nullptr;
  size_t header_bytes_ = 0;
  uint8_t* buffer_ = nullptr;
  uint8_t* block_ = nullptr;  // a block of memory with the overlap before and behind it
  uint8_t tail_[kOverlap] = {};  // the last bytes that were put
  size_t buffered_ = 0;
  uint64_t offset_ = 0;  // of the next byte, buffered ones included
  bool shortened_ = false;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ELF_CORE_WRITER_H_
