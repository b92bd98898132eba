#include "dump/handler/notes.h"

#include <elf.h>
#include <sys/procfs.h>

#include <algorithm>
#include <atomic>

#include "dump/handler/core_file.h"
#include "dump/handler/proc_files.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr size_t kFpregsetBytes = 512;  // FXSAVE image
constexpr size_t kAvxStateBytes = 832;  // legacy area, header, upper halves of ymm
constexpr size_t kMostStateBytes = 2696;
constexpr size_t kXcr0Offset = 464;     // in the legacy area, where gdb looks for it
constexpr size_t kXfeaturesOffset = 472;  // of a signal frame: the same
constexpr size_t kHeaderOffset = 512;   // XSTATE_BV
constexpr size_t kExtendedOffset = 576;  // the upper halves of ymm, and what follows

static_assert(sizeof(elf_prstatus) == 336 && sizeof(elf_prpsinfo) == 136,
              "consumers match these by size");

class Builder {
 public:
  Builder(const CrashContext& crash, const Runtime& runtime, const MemoryMap& map,
          const Images& images, const Redactor& redactor, NoteBuffer& notes, Outcome& outcome)
      : crash_(crash), runtime_(runtime), map_(map), images_(images),
        redactor_(redactor),
        notes_(notes), outcome_(outcome) {}

  // Where names are redacted.
  void ReserveScratch(safe::Arena& arena, size_t bytes) {
    scratch_ = arena.AllocateArray<uint8_t>(bytes);
    scratch_bytes_ = scratch_ == nullptr ? 0 : bytes;
  }

  // Returns: the PRSTATUS; null if there is no room. It says that there is no FPREGSET.
  uint8_t* AddStatus(const Thread& thread);
  void AddProcess();
  void AddSignal();
  void AddAuxv();
  void AddFiles();
  bool Listed(const Mapping& mapping) const;
  void AddFloatingPoint(const Thread& thread, uint8_t* status);
  void AddExtendedState(const Thread& thread);

 private:
  void Redact(uint8_t* bytes, size_t size) {
    redactor_.RedactBytes(bytes, size, Place::kNotes, outcome_);
  }
  void RedactVectors(uint8_t* bytes, size_t size, bool legacy);

  const CrashContext& crash_;
  const Runtime& runtime_;
  const MemoryMap& map_;
  const Images& images_;
  const Redactor& redactor_;
  NoteBuffer& notes_;
  Outcome& outcome_;
  uint8_t* scratch_ = nullptr;
  size_t scratch_bytes_ = 0;
};

int Process(long number, int which) {
  return static_cast<int>(safe::Syscall(number, which));
}

// Extended state: copies of windows first, then the halves of each register. Of its first
// four words the two outer ones are control words (Intel SDM volume 1, table 10-2): they
// say nothing of the program, and without them the rest can't be read.
void Builder::RedactVectors(uint8_t* bytes, size_t size, bool legacy) {
  uint64_t control[4];
  __builtin_memcpy(control, bytes, sizeof(control));
  redactor_.RedactBytes(bytes, size, Place::kRegisters, outcome_);
  for (size_t at = 0; at + 8 <= size; at += 8) {
    uint64_t word;
    __builtin_memcpy(&word, bytes + at, sizeof(word));
    if (word == 0 || word == kElidedMarkerWord) continue;
    redactor_.RedactWords(&word, 1, outcome_);
    __builtin_memcpy(bytes + at, &word, sizeof(word));
  }
  if (!legacy) return;
  __builtin_memcpy(bytes, &control[0], sizeof(control[0]));
  __builtin_memcpy(bytes + 24, &control[3], sizeof(control[3]));
}

uint8_t* Builder::AddStatus(const Thread& thread) {
  elf_prstatus status{};
  status.pr_info.si_signo = crash_.signal;
  if (thread.source == ThreadSource::kCrashed) {
    status.pr_info.si_code = crash_.info->si_code;
    status.pr_info.si_errno = crash_.info->si_errno;
  }
  // The kernel gives every thread the fatal signal (fill_prstatus()).
  status.pr_cursig = static_cast<short>(crash_.signal);
  status.pr_pid = thread.tid;
  status.pr_ppid = Process(SYS_getppid, 0);
  status.pr_pgrp = Process(SYS_getpgid, 0);
  status.pr_sid = Process(SYS_getsid, 0);
  user_regs_struct registers = thread.registers;
  redactor_.RedactRegisters(map_, &registers, outcome_);
  __builtin_memcpy(&status.pr_reg, &registers, sizeof(status.pr_reg));
  return notes_.Add("CORE", NT_PRSTATUS, &status, sizeof(status));
}

void Builder::AddProcess() {
  elf_prpsinfo info{};
  info.pr_sname = 'R';
  info.pr_uid = static_cast<unsigned>(Process(SYS_getuid, 0));
  info.pr_gid = static_cast<unsigned>(Process(SYS_getgid, 0));
  info.pr_pid = crash_.pid;
  info.pr_ppid = Process(SYS_getppid, 0);
  info.pr_pgrp = Process(SYS_getpgid, 0);
  info.pr_sid = Process(SYS_getsid, 0);
  if (TaskFile(crash_.pid, "comm", info.pr_fname, sizeof(info.pr_fname)) < 0) {
    // No /proc.
    safe::Text(info.pr_fname, sizeof(info.pr_fname)).String(NameAtStart(runtime_.facts).text);
  }
  redactor_.RedactName(info.pr_fname, sizeof(info.pr_fname), outcome_);
  if (runtime_.policy.elide_argv || redactor_.uncertain()) {
    safe::Text(info.pr_psargs, sizeof(info.pr_psargs)).String(kElidedMarker);
  } else {
    long length =
        ReadFile("/proc/thread-self/cmdline", info.pr_psargs, sizeof(info.pr_psargs));
    if (length < 0) {
      const ProcessFacts& facts = runtime_.facts;
      const ByteCount size = std::min<ByteCount>(facts.arguments_end - facts.arguments_begin,
                                                 sizeof(info.pr_psargs) - 1);
      length = static_cast<long>(
          safe::GuardedCopy(info.pr_psargs, facts.arguments_begin, size));
    }
    for (long i = 0; i + 1 < length; ++i) {
      if (info.pr_psargs[i] == '\0') info.pr_psargs[i] = ' ';
    }
    Redact(reinterpret_cast<uint8_t*>(info.pr_psargs), sizeof(info.pr_psargs));
  }
  notes_.Add("CORE", NT_PRPSINFO, &info, sizeof(info));
}

void Builder::AddSignal() {
  // The fault address, or the value that came with the signal, may be anything; so may be
  // the padding behind si_code.
  uint64_t words[sizeof(siginfo_t) / 8];
  __builtin_memcpy(words, crash_.info, sizeof(words));
  words[1] &= UINT32_MAX;
  redactor_.RedactWords(words + 2, sizeof(words) / 8 - 2, outcome_);
  notes_.Add("CORE", NT_SIGINFO, words, sizeof(words));
}

void Builder::AddAuxv() {
  const size_t size = runtime_.facts.auxv_words * sizeof(uint64_t);
  if (size != 0) notes_.Add("CORE", NT_AUXV, runtime_.facts.auxv, size);
}

// Names of other files than modules are text of the program's own choice.
bool Builder::Listed(const Mapping& mapping) const {
  if (mapping.inode == 0) return false;
  return !redactor_.uncertain() || FindImage(images_, mapping.range.begin) != nullptr;
}

// fs/binfmt_elf.c, fill_files_note(): count, page size, (begin, end, offset in pages)
// each, then the names.
void Builder::AddFiles() {
  size_t count = 0;
  size_t name_bytes = 0;
  for (const Mapping& mapping : map_.mappings()) {
    if (!Listed(mapping)) continue;
    ++count;
    name_bytes += safe::Length(map_.NameOf(mapping)) + 1;
  }
  const size_t size = (2 + 3 * count) * sizeof(uint64_t) + name_bytes;
  if (size > scratch_bytes_) return;
  uint8_t* to = scratch_;
  uint8_t* names = to + (2 + 3 * count) * sizeof(uint64_t);
  const auto put = [&to](uint64_t word) {
    __builtin_memcpy(to, &word, sizeof(word));
    to += sizeof(word);
  };
  put(count);
  put(kPageSize);
  uint8_t* const first_name = names;
  for (const Mapping& mapping : map_.mappings()) {
    if (!Listed(mapping)) continue;
    put(mapping.range.begin);
    put(mapping.range.end);
    put(mapping.file_offset / kPageSize);
    const char* name = map_.NameOf(mapping);
    const size_t length = safe::Length(name) + 1;
    __builtin_memcpy(names, name, length);
    names += length;
  }
  Redact(first_name, name_bytes);
  notes_.Add("CORE", NT_FILE, scratch_, size);
}

void Builder::AddFloatingPoint(const Thread& thread, uint8_t* status) {
  uint8_t state[kFpregsetBytes];
  if (thread.xstate == nullptr ||
      safe::GuardedCopy(state, reinterpret_cast<Address>(thread.xstate),
                        kFpregsetBytes) != kFpregsetBytes) {
    // What a thread starts with: FCW and MXCSR (Intel SDM volume 1, table 13-1).
    __builtin_memset(state, 0, sizeof(state));
    state[0] = 0x7f;
    state[1] = 0x03;
    state[24] = 0x80;
    state[25] = 0x1f;
  }
  RedactVectors(state, kXcr0Offset, true);
  // What is behind it is the kernel's, and in its own cores zero.
  __builtin_memset(state + kXcr0Offset, 0, sizeof(state) - kXcr0Offset);
  if (notes_.Add("CORE", NT_FPREGSET, state, sizeof(state)) == nullptr) return;
  const int yes = 1;
  __builtin_memcpy(status + offsetof(elf_prstatus, pr_fpvalid), &yes, sizeof(yes));
}

// gdb 13 rejects a state whose size is not the one it derives from XCR0, and then shows
// no upper half of ymm at all; gdb 14 and later know these five sizes. Of any other
// layout (AMD's AVX-512 without PKRU has 2,432 bytes) the first 832 bytes are kept, with
// XCR0 saying that there is no more.
bool KnownToDebuggers(size_t size) {
  return size == 832 || size == 1088 || size == 2440 || size == 2688 || size == 2696;
}

void Builder::AddExtendedState(const Thread& thread) {
  if (thread.xstate == nullptr || thread.xstate_bytes < kAvxStateBytes) return;
  const size_t size =
      KnownToDebuggers(thread.xstate_bytes) ? thread.xstate_bytes : kAvxStateBytes;
  static_assert(kMostStateBytes == 2696);
  uint8_t state[kMostStateBytes];
  if (safe::GuardedCopy(state, reinterpret_cast<Address>(thread.xstate), size) != size) {
    return;
  }
  // Linux 6.1: struct _fpx_sw_bytes (arch/x86/include/uapi/asm/sigcontext.h) begins with a
  // magic number and a size; what ptrace() hands out with the word itself
  // (arch/x86/kernel/fpu/xstate.c, __copy_xstate_to_uabi_buf(), xstate_fx_sw_bytes).
  const size_t xcr0_offset =
      thread.source == ThreadSource::kPtrace ? kXcr0Offset : kXfeaturesOffset;
  uint64_t xcr0;
  uint64_t present;  // XSTATE_BV
  __builtin_memcpy(&xcr0, state + xcr0_offset, sizeof(xcr0));
  __builtin_memcpy(&present, state + kHeaderOffset, sizeof(present));
  if (size == kAvxStateBytes) {
    xcr0 = 7;
    present &= 7;
  }
  // The kernel's signal frame always holds x87 and SSE state (arch/x86/kernel/fpu/
  // signal.c, save_xstate_epilog()); of a component in its initial state it writes
  // nothing, and what lies there is older.
  if ((present & 4) == 0) __builtin_memset(state + 576, 0, 256);
  __builtin_memset(state + kXcr0Offset, 0, 48);
  __builtin_memcpy(state + kXcr0Offset, &xcr0, sizeof(xcr0));
  __builtin_memcpy(state + kHeaderOffset, &present, sizeof(present));
  RedactVectors(state, kXcr0Offset, true);
  RedactVectors(state + kExtendedOffset, size - kExtendedOffset, false);
  notes_.Add("LINUX", NT_X86_XSTATE, state, size);
}

}  // namespace

uint8_t* NoteBuffer::Begin(const char* owner, uint32_t type, size_t size) {
  const size_t name_size = safe::Length(owner) + 1;
  const size_t name_padded = AlignUp(name_size, 4);
  const size_t total = sizeof(Elf64_Nhdr) + name_padded + AlignUp(size, 4);
  if (capacity_ - size_ < total) return nullptr;
  Elf64_Nhdr header;
  header.n_namesz = static_cast<uint32_t>(name_size);
  header.n_descsz = static_cast<uint32_t>(size);
  header.n_type = type;
  // The arena may hold what an earlier dump left: paddings, too, are written.
  uint8_t* const at = bytes_ + size_;
  __builtin_memset(at, 0, total);
  __builtin_memcpy(at, &header, sizeof(header));
  __builtin_memcpy(at + sizeof(header), owner, name_size);
  return at + sizeof(header) + name_padded;
}

void NoteBuffer::Publish(const uint8_t* description, size_t size) {
  // Of what the compiler may do, it must not do this before the note is whole.
  std::atomic_signal_fence(std::memory_order_release);
  size_ = static_cast<size_t>(description - bytes_) + AlignUp(size, 4);
}

uint8_t* NoteBuffer::Add(const char* owner, uint32_t type, const void* description,
                         size_t size) {
  uint8_t* const to = Begin(owner, type, size);
  if (to == nullptr) return nullptr;
  __builtin_memcpy(to, description, size);
  Publish(to, size);
  return to;
}

uint8_t* NoteBuffer::AddZeros(const char* owner, uint32_t type, size_t size) {
  uint8_t* const to = Begin(owner, type, size);
  if (to != nullptr) Publish(to, size);
  return to;
}

void BuildNotes(const CrashContext& crash, const Runtime& runtime,
                const MemoryMap& map, const Images& images, const ThreadTable& threads,
                const Redactor& redactor, safe::Arena& arena, NoteBuffer& notes,
                Outcome& outcome) {
  constexpr size_t kProcessNotes = 16 * 1024;
  size_t file_bytes = 64;
  for (const Mapping& mapping : map.mappings()) {
    if (mapping.inode != 0) {
      file_bytes += 3 * sizeof(uint64_t) + safe::Length(map.NameOf(mapping)) + 1;
    }
  }
  notes.Reserve(arena, kProcessNotes + file_bytes +
                           threads.size() * (336 + 512 + kMostStateBytes + 3 * 24));
  Builder builder(crash, runtime, map, images, redactor, notes, outcome);
  builder.ReserveScratch(arena, file_bytes);
  for (const Thread& thread : threads) {
    const bool crashed = thread.source == ThreadSource::kCrashed;
    // A thread of which nothing is known has no registers to show.
    if (thread.source == ThreadSource::kNone) continue;
    uint8_t* const status = builder.AddStatus(thread);
    if (status == nullptr) break;
    if (crashed) {
      builder.AddProcess();
      builder.AddSignal();
      builder.AddAuxv();
      builder.AddFiles();
    }
    // Searching them takes most of the time.
    if (!crashed && outcome.Late()) continue;
    builder.AddFloatingPoint(thread, status);
    builder.AddExtendedState(thread);
  }
}

}  // namespace minicore
