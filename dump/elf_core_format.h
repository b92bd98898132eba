// The core file's own part: note names, types and layouts, shared by the writer, the
// tools and the tests. docs/FORMAT.md says what is guaranteed about them.
//
// The file: ELF header, program headers, the notes every debugger reads, a second PT_NOTE
// segment with minicore's notes, segments (metadata, stacks and module data first, heap
// last). Part of what minicore's notes say (read errors, copies of secrets that were
// elided) is only known once everything else is written: their size is fixed before the
// first byte, their place is filled at the end, and what they do not need is padding. In
// a pipe, where nobody can go back, they stand last.
//
// All numbers are little endian; rows are packed as declared; a row of zeros ends an
// array early. Readers skip note types, row bytes and keys that they don't know.

#ifndef MINICORE_DUMP_ELF_CORE_FORMAT_H_
#define MINICORE_DUMP_ELF_CORE_FORMAT_H_

#include <cstddef>
#include <cstdint>

namespace minicore {

inline constexpr char kNoteOwner[] = "MINICORE";
inline constexpr uint32_t kFormatVersion = 1;

// Note types. Above every number that a consumer knows: consumers match on the type
// and ignore the owner (gdb 13, lldb, elfutils 0.188, Breakpad's core2md).
enum NoteType : uint32_t {
  kNoteReport = 0x4d430001,    // text: lines "key value\n", padded with "\n"
  kNoteThreads = 0x4d430002,   // NoteRowHeader, ThreadRow[]
  kNoteSegments = 0x4d430003,  // NoteRowHeader, SegmentRow[]
  kNoteHoles = 0x4d430004,     // NoteRowHeader, HoleRow[]
  kNoteTags = 0x4d430005,      // NoteRowHeader, TagRow[]
  kNoteAnchors = 0x4d430006,   // NoteRowHeader, AnchorRow[]
};

// Opens every array note. `row_bytes` lets rows grow at their end.
struct NoteRowHeader {
  uint32_t version;    // kFormatVersion
  uint32_t row_bytes;  // size of one row
  uint32_t rows;       // rows that follow (some may be zero: unused)
  uint32_t dropped;    // rows that there was no room for
};
static_assert(sizeof(NoteRowHeader) == 16);

// How a thread's registers were obtained.
enum class ThreadSource : uint8_t {
  kNone = 0,     // not stopped, registers unknown (the thread has no PRSTATUS)
  kCrashed = 1,  // from the signal frame of the fatal signal
  kSignal = 2,   // from the signal frame of the freeze signal
  kProc = 3,     // /proc/self/task/TID/syscall: stack and instruction pointer only
  kPtrace = 4,   // from the ptrace helper
};

struct ThreadRow {
  uint32_t tid;
  ThreadSource source;
  uint8_t reserved[3];
  uint64_t stack_pointer;
  uint64_t program_counter;
  uint64_t fs_base;
  char name[16];
};
static_assert(sizeof(ThreadRow) == 48);

// What a stretch of the core is.
enum class SegmentKind : uint8_t {
  kNothing = 0,
  kHeaders = 1,     // first page of an ELF image
  kText = 2,        // code and read-only data of a module
  kVdso = 3,
  kModuleData = 4,  // .data, .bss, RELRO of a module
  kThreadData = 5,  // TCB, thread-local storage, link maps: what debuggers list from
  kStack = 6,
  kHeap = 7,        // allocations
  kForeign = 8,     // windows into other writable memory
};

struct SegmentRow {
  uint64_t begin;
  uint64_t end;
  SegmentKind kind;
  uint8_t reserved[3];
  uint32_t tid;  // whose stack; else 0
  uint64_t filler = 0;  // bytes of it that are the marker, between what is of this kind
};
static_assert(sizeof(SegmentRow) == 32);

// Why bytes are not in the file, or stand as the marker.
enum class HoleReason : uint8_t {
  kNone = 0,
  kSecret = 1,       // tagged memory: absent, or the marker where it lies inside a kept stretch
  kSecretCopy = 2,   // the same bytes as in secret memory, found elsewhere: the marker
  kEnvironment = 3,  // value of an environment variable that is not allowed: the marker
  kCut = 4,          // the rest of a "cache" allocation
  kBudget = 5,       // reached, but max_bytes was spent
  kObjectLimit = 6,  // the rest of an allocation above object_bytes
  kStackLimit = 7,   // the middle of a stack above stack_bytes
  kStaticLimit = 8,  // module data above static_bytes
  kUnreadable = 9,   // reading it failed: the marker
  kSegmentLimit = 10,  // no program header left
  kOutOfRoom = 11,     // a table of the dumper was full, or the disk was
  kDeadline = 12,
  kSanitized = 13,   // word-level sanitising: the marker
  kArguments = 14,   // argv=elide: the marker
  kCanary = 15,      // stack canary, pointer guard, AT_RANDOM: the marker
};

struct HoleRow {
  uint64_t begin;
  uint64_t end;
  HoleReason reason;
  uint8_t tag;  // tag id (TagRow), 0 if none
  uint8_t reserved[2];
  uint32_t count;  // how many such holes the row stands for (neighbours are merged)
};
static_assert(sizeof(HoleRow) == 24);

// One per tag name in use. Counts are of allocations that the walk reached (all tagged
// ones for "keep"); bytes_out counts what a disposition left out of them.
struct TagRow {
  uint8_t id;
  uint8_t disposition;  // alloc/index_format.h, Disposition
  uint8_t reserved[2];
  uint32_t kept;
  uint32_t cut;
  uint32_t elided;
  uint64_t bytes_in;
  uint64_t bytes_out;
  char name[32];
};
static_assert(sizeof(TagRow) == 64);

// What a register of the crashed thread, or the fault address, points to.
enum class AnchorSource : uint8_t {
  kNone = 0,
  kFaultAddress = 1,
  kRegister = 2,  // `number`: index in struct user_regs_struct
};

struct AnchorRow {
  AnchorSource source;
  uint8_t number;
  uint8_t state;  // alloc/index_view.h, AllocationState
  uint8_t tag;
  uint32_t reserved;
  uint64_t value;
  uint64_t begin;  // of the allocation that encloses `value`
  uint64_t size;   // usable; 0 if not known
};
static_assert(sizeof(AnchorRow) == 32);

// Stands for bytes that must go from inside something kept, phase locked to 8-byte
// addresses: readable as text, not canonical as a pointer.
inline constexpr char kElidedMarker[] = "<ELIDED>";
inline constexpr uint64_t kElidedMarkerWord = 0x3e444544494c453c;

// Makes to[0, size) the marker, as at `address`. Context: any.
inline void FillMarkers(uint64_t address, uint8_t* to, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    to[i] = static_cast<uint8_t>(kElidedMarker[(address + i) % 8]);
  }
}

}  // namespace minicore

#endif  // MINICORE_DUMP_ELF_CORE_FORMAT_H_
