#include "tools/process_notes.h"

#include <sys/procfs.h>

#include <cstring>

#include "tools/text.h"

namespace minicore {
namespace {

static_assert(sizeof(elf_prstatus) == 336 && sizeof(elf_prpsinfo) == 136);
static_assert(sizeof(user_regs_struct) == kRegisters * sizeof(uint64_t));

// The kernel's siginfo on x86-64: three ints, padding, then the union.
struct RawSiginfo {
  int32_t number;
  int32_t error;
  int32_t code;
  int32_t padding;
  union {
    uint64_t address;  // faults
    int32_t sender;    // kill, tgkill, sigqueue
  };
};

std::string BoundedString(const char* text, size_t size) {
  return std::string(text, strnlen(text, size));
}

void DecodeStatus(const CoreNote& note, ProcessNotes* process) {
  const auto status = DescAs<elf_prstatus>(note.desc);
  if (!status) return;  // verify says which size is wrong
  CoreThread thread;
  thread.tid = static_cast<uint32_t>(status->pr_pid);
  thread.signal = status->pr_cursig;
  thread.promises_fpregset = status->pr_fpvalid != 0;
  static_assert(sizeof(status->pr_reg) == sizeof(thread.registers));
  std::memcpy(&thread.registers, &status->pr_reg, sizeof(thread.registers));
  process->threads.push_back(thread);
}

void DecodeSiginfo(const CoreNote& note, ProcessNotes* process) {
  const auto raw = DescAs<RawSiginfo>(note.desc);
  if (!raw || process->signal.present) return;
  process->signal = {true, raw->number, raw->code, raw->address, raw->sender};
}

void DecodeAuxv(const CoreNote& note, ProcessNotes* process, Faults* faults) {
  for (size_t at = 0; at + sizeof(Elf64_auxv_t) <= note.desc.size();
       at += sizeof(Elf64_auxv_t)) {
    const auto entry = DescAs<Elf64_auxv_t>(note.desc, at);
    if (!entry) break;
    if (entry->a_type == AT_NULL) return;
    process->auxv[entry->a_type] = entry->a_un.a_val;
  }
  faults->push_back("The auxiliary vector does not end with AT_NULL.");
}

// NT_FILE: count, page size, count times (begin, end, offset in pages), then
// the names.
void DecodeFiles(const CoreNote& note, ProcessNotes* process, Faults* faults) {
  const auto count = DescAs<uint64_t>(note.desc);
  const auto page = DescAs<uint64_t>(note.desc, 8);
  const size_t rows_at = 16;
  const size_t row = 24;
  if (!count || !page || *count > (note.desc.size() - rows_at) / row) {
    faults->push_back("The list of mapped files (NT_FILE) is cut off.");
    return;
  }
  size_t name_at = rows_at + *count * row;
  for (uint64_t i = 0; i < *count; ++i) {
    FileMapping mapping;
    const size_t at = rows_at + i * row;
    mapping.begin = *DescAs<uint64_t>(note.desc, at);
    mapping.end = *DescAs<uint64_t>(note.desc, at + 8);
    mapping.file_offset = *DescAs<uint64_t>(note.desc, at + 16) * *page;
    const size_t name_end = note.desc.find('\0', name_at);
    if (name_end == std::string_view::npos) {
      faults->push_back("The list of mapped files (NT_FILE) has " +
                        Count(*count, "row") + " but only " + Count(i, "name") +
                        ".");
      return;
    }
    mapping.path = std::string(note.desc.substr(name_at, name_end - name_at));
    name_at = name_end + 1;
    if (mapping.begin >= mapping.end) {
      faults->push_back(
          "The list of mapped files (NT_FILE) has an empty row: " +
          HexRange(mapping.begin, mapping.end) + ".");
    }
    process->files.push_back(std::move(mapping));
  }
}

}  // namespace

ProcessNotes DecodeProcessNotes(const CoreReader& core, Faults* faults) {
  ProcessNotes process;
  for (const CoreNote& note : core.notes()) {
    // Consumers go by the type alone; ours are far above every type they know.
    switch (note.type) {
      case NT_PRSTATUS:
        DecodeStatus(note, &process);
        break;
      case NT_FPREGSET:
        if (!process.threads.empty())
          process.threads.back().has_fpregset = true;
        break;
      case NT_X86_XSTATE:
        if (!process.threads.empty()) {
          process.threads.back().has_xstate = true;
          process.threads.back().xstate = note.desc;
        }
        break;
      case NT_PRPSINFO:
        if (const auto info = DescAs<elf_prpsinfo>(note.desc)) {
          process.pid = info->pr_pid;
          process.program =
              BoundedString(info->pr_fname, sizeof(info->pr_fname));
          process.arguments =
              BoundedString(info->pr_psargs, sizeof(info->pr_psargs));
        }
        break;
      case NT_SIGINFO:
        DecodeSiginfo(note, &process);
        break;
      case NT_AUXV:
        DecodeAuxv(note, &process, faults);
        break;
      case NT_FILE:
        DecodeFiles(note, &process, faults);
        break;
      default:
        break;
    }
  }
  return process;
}

const char* RegisterName(unsigned index) {
  static constexpr const char* kNames[kRegisters] = {
      "r15",     "r14",      "r13", "r12", "rbp",    "rbx", "r11",
      "r10",     "r9",       "r8",  "rax", "rcx",    "rdx", "rsi",
      "rdi",     "orig_rax", "rip", "cs",  "eflags", "rsp", "ss",
      "fs_base", "gs_base",  "ds",  "es",  "fs",     "gs"};
  return index < kRegisters ? kNames[index] : "";
}

}  // namespace minicore
