#include <signal.h>

#include <algorithm>
#include <set>

#include "tools/text.h"
#include "tools/verify.h"

namespace minicore {
namespace {

// A stack that overflowed leaves its pointer in the guard below it: Linux keeps
// 256 pages free under a growing stack (stack_guard_gap), pthreads a page or
// what the program asked for, and a large frame goes further before it touches
// anything.
constexpr uint64_t kGuardReach = 16u << 20;
constexpr uint64_t kFirstPages = 0x10000;      // vm.mmap_min_addr
constexpr uint64_t kUserEnd = 0x7ffffffff000;  // 47 bits, less the last page

bool StackIsThere(const CoreReader& core, uint64_t stack_pointer) {
  const CoreSegment* load = core.NextLoad(stack_pointer);
  if (load == nullptr || load->file_bytes == 0) return false;
  if (load->address > stack_pointer) {
    return load->address - stack_pointer <= kGuardReach &&
           (load->flags & PF_W) != 0;
  }
  char byte;
  return core.Read(stack_pointer, &byte, 1);
}

// The fault itself says that there is no memory at the crashed thread's stack
// pointer.
bool FaultedAtStackPointer(const ProcessNotes& process,
                           const CoreThread& thread) {
  const SignalInfo& signal = process.signal;
  const uint64_t distance = thread.registers.rsp - signal.address + kFirstPages;
  return signal.present && signal.number == SIGSEGV &&
         signal.code == SEGV_MAPERR && &thread == &process.threads.front() &&
         distance < 2 * kFirstPages;
}

void VerifyStack(const CoreReader& core, const ProcessNotes& process,
                 const CoreThread& thread, Verdict* verdict) {
  const uint64_t pointer = thread.registers.rsp;
  const std::string name = "The stack pointer of thread " +
                           std::to_string(thread.tid) + ", " + Hex(pointer) +
                           ", ";
  if (pointer < kFirstPages || pointer >= kUserEnd) {
    verdict->remarks.push_back(name + "is no address of a program.");
    return;
  }
  if (!StackIsThere(core, pointer)) {
    if (FaultedAtStackPointer(process, thread)) {
      verdict->remarks.push_back(name + "points to no memory.");
      return;
    }
    verdict->faults.push_back(name + "is not in the core.");
    return;
  }
  const CoreSegment* load = core.FindLoad(pointer);
  if (load != nullptr && pointer - (pointer & 4095) < load->address) {
    // Breakpad's core2md reads a stack from the page of its pointer on.
    verdict->faults.push_back(
        name + "is in the core, but not from the start of its page.");
  }
}

void VerifyThreads(const CoreReader& core, const ProcessNotes& process,
                   Verdict* verdict) {
  if (process.threads.empty()) {
    verdict->faults.push_back("The core has no thread.");
    return;
  }
  std::set<uint32_t> seen;
  for (const CoreThread& thread : process.threads) {
    if (!seen.insert(thread.tid).second) {
      verdict->faults.push_back("Thread " + std::to_string(thread.tid) +
                                " is there twice.");
    }
    if (thread.promises_fpregset && !thread.has_fpregset) {
      verdict->faults.push_back("Thread " + std::to_string(thread.tid) +
                                " has no FPREGSET.");
    }
    VerifyStack(core, process, thread, verdict);
  }
  const CoreThread& crashed = process.threads.front();
  if (process.signal.present && crashed.signal != process.signal.number) {
    verdict->faults.push_back("The first thread's PRSTATUS says " +
                              SignalName(crashed.signal) + ", SIGINFO says " +
                              SignalName(process.signal.number) + ".");
  }
}

void VerifyModules(const CoreReader& core, const ProcessNotes& process,
                   const MinicoreNotes& notes, Verdict* verdict) {
  const auto modules = WalkModules(core, process, &verdict->faults);
  // A file that was cut short honestly says so, and has lost module data.
  auto& unusual = notes.ReportValue("truncated") == "1" ? verdict->remarks
                                                        : verdict->faults;
  for (const LinkedModule& module : modules) {
    char byte;
    if (module.dynamic != 0 && !core.Read(module.dynamic, &byte, 1)) {
      unusual.push_back("The dynamic section of module \"" +
                        Printable(module.name) + "\" at " +
                        Hex(module.dynamic) + " is not in the core.");
    }
  }
  const auto vdso = process.auxv.find(AT_SYSINFO_EHDR);
  if (vdso != process.auxv.end() && !core.ReadAs<Elf64_Ehdr>(vdso->second)) {
    verdict->faults.push_back("The vdso at " + Hex(vdso->second) +
                              " is not in the core.");
  }
  for (size_t i = 1; i < process.files.size(); ++i) {
    if (process.files[i].begin < process.files[i - 1].end) {
      verdict->faults.push_back(
          "The list of mapped files (NT_FILE) is not sorted at " +
          Hex(process.files[i].begin) + ".");
      break;
    }
  }
}

}  // namespace

void VerifyProcess(const CoreReader& core, const ProcessNotes& process,
                   const MinicoreNotes& notes, Verdict* verdict) {
  VerifyThreads(core, process, verdict);
  VerifyModules(core, process, notes, verdict);
}

Verdict VerifyCore(const CoreReader& core) {
  Verdict verdict;
  if (OriginOf(core) == Origin::kOther) {
    // None of the promises is another program's.
    verdict.faults = {
        "There are no MINICORE notes: another program wrote this core, and what is verified "
        "is what minicore promises of its own."};
    return verdict;
  }
  verdict.faults = core.faults();
  VerifyLayout(core, &verdict);
  VerifyNoteOrder(core, &verdict);
  const ProcessNotes process = DecodeProcessNotes(core, &verdict.faults);
  const MinicoreNotes notes = DecodeMinicoreNotes(core, &verdict.faults);
  VerifyProcess(core, process, notes, &verdict);
  if (notes.any()) VerifyMinicoreNotes(core, process, notes, &verdict);
  return verdict;
}

}  // namespace minicore
