// The notes that every debugger reads, as the kernel orders them: of the crashed thread
// PRSTATUS, then PRPSINFO, SIGINFO, AUXV, FILE, FPREGSET, X86_XSTATE; then PRSTATUS,
// FPREGSET, X86_XSTATE of each other thread (fs/binfmt_elf.c, write_note_info()). Other
// orders make gdb and lldb give the signal, or the vector registers, to the wrong thread.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_NOTES_H_
#define MINICORE_DUMP_HANDLER_NOTES_H_

#include <cstddef>
#include <cstdint>

#include "dump/handler/crash_context.h"
#include "dump/handler/images.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"
#include "dump/handler/thread_table.h"

namespace minicore {

// A growing note segment in the arena. It is written as it stands, and the phase that fills
// it may be abandoned between any two instructions: what is in it is redacted and whole.
class NoteBuffer {
 public:
  // At most half of what is left.
  void Reserve(safe::Arena& arena, size_t capacity) {
    if (capacity > arena.left() / 2) capacity = AlignDown(arena.left() / 2, 64);
    bytes_ = arena.AllocateArray<uint8_t>(capacity);
    capacity_ = bytes_ == nullptr ? 0 : capacity;
  }

  // Appends a note that says `description`, which must be redacted. Returns: the copy; null
  // when the buffer is full.
  uint8_t* Add(const char* owner, uint32_t type, const void* description, size_t size);

  // Likewise of `size` zeros, aligned to 4, for the caller to fill with what is redacted.
  uint8_t* AddZeros(const char* owner, uint32_t type, size_t size);

  uint8_t* bytes() const { return bytes_; }
  size_t size() const { return size_; }

 private:
  // Writes the header of the next note. Returns: where its description goes, for Publish();
  // null if there is no room.
  uint8_t* Begin(const char* owner, uint32_t type, size_t size);
  void Publish(const uint8_t* description, size_t size);

  uint8_t* bytes_ = nullptr;
  size_t capacity_ = 0;
  size_t size_ = 0;
};

// Past the deadline, other threads than the crashed one have no FPREGSET and X86_XSTATE;
// pr_fpvalid says so.
void BuildNotes(const CrashContext& crash, const Runtime& runtime,
                const MemoryMap& map, const Images& images, const ThreadTable& threads,
                const Redactor& redactor, safe::Arena& arena, NoteBuffer& notes,
                Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_NOTES_H_
