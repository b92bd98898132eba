// What the notes that every debugger reads say of the process: threads, signal,
// auxiliary vector, mapped files, and the list of loaded modules behind them in
// memory.
//
// Each decoder takes what is there and appends a sentence to `faults` for what
// is not as it must be; a caller that does not care passes a vector and drops
// it.

#ifndef MINICORE_TOOLS_PROCESS_NOTES_H_
#define MINICORE_TOOLS_PROCESS_NOTES_H_

#include <sys/user.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/core_reader.h"

namespace minicore {

using Faults = std::vector<std::string>;

struct CoreThread {
  uint32_t tid = 0;
  int signal = 0;
  user_regs_struct registers = {};
  bool promises_fpregset = false;  // pr_fpvalid
  bool has_fpregset = false;
  bool has_xstate = false;
  std::string xstate;  // the note's bytes
};

struct SignalInfo {
  bool present = false;
  int number = 0;
  int code = 0;
  uint64_t address = 0;  // si_addr, where the signal has one
  int sender = 0;        // si_pid, where it was sent
};

// One row of NT_FILE.
struct FileMapping {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t file_offset = 0;  // bytes
  std::string path;
};

// An ELF file that is mapped from its start.
struct ModuleInfo {
  std::string path;
  uint64_t begin = 0;  // where the file's first byte is mapped
  uint64_t end = 0;
  std::string build_id;
};

// One node of the dynamic linker's list.
struct LinkedModule {
  uint64_t node = 0;
  uint64_t base = 0;
  uint64_t dynamic = 0;
  std::string name;
};

struct ProcessNotes {
  std::vector<CoreThread>
      threads;  // in the order of the notes: crashed one first
  SignalInfo signal;
  int pid = 0;
  std::string program;    // at most 15 bytes
  std::string arguments;  // at most 79
  std::map<uint64_t, uint64_t> auxv;
  std::vector<FileMapping> files;
};

ProcessNotes DecodeProcessNotes(const CoreReader& core, Faults* faults);

// The rows that are the images of files.
std::vector<ModuleInfo> FindModules(const CoreReader& core,
                                    const std::vector<FileMapping>& files);

// Walks AT_PHDR, PT_DYNAMIC, DT_DEBUG and r_debug to the list of link_maps.
// Empty, and no fault, for a program without a dynamic linker or one that it
// has not set up yet.
std::vector<LinkedModule> WalkModules(const CoreReader& core,
                                      const ProcessNotes& process,
                                      Faults* faults);

// The GNU build id in hexadecimal of the ELF image whose first page is at
// `header`; "" if it has none that can be read.
std::string BuildIdAt(const CoreReader& core, uint64_t header);

// "SIGSEGV", "signal 40".
std::string SignalName(int number);

// Name of the word `index` of a user_regs_struct: "rdi"; "" beyond its end.
const char* RegisterName(unsigned index);
inline constexpr unsigned kRegisters = 27;

// "segv", "an address that is not mapped", "sent by process 12": what si_code
// means.
std::string SignalCause(const SignalInfo& signal);

}  // namespace minicore

#endif  // MINICORE_TOOLS_PROCESS_NOTES_H_
