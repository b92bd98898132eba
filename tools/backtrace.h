// The calls that a core's threads were in, as far as it and the files of the program and
// its libraries tell.
//
// Built on elfutils' libdwfl, which reads those files, and asks us for the core's registers
// and memory. It runs in a child process: files can be damaged, and debug information can
// have gigabytes.

#ifndef MINICORE_TOOLS_BACKTRACE_H_
#define MINICORE_TOOLS_BACKTRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tools/core_reader.h"
#include "tools/process_notes.h"

namespace minicore {

// One call, or one that was inlined into the next. What is not known is empty.
struct Frame {
  uint64_t address = 0;  // the program counter
  std::string function;  // demangled
  uint64_t offset = 0;   // from its beginning; not of an inlined one
  std::string module;    // the file's path; "" where none is mapped
  uint64_t begin = 0;    // of the module
  std::string file;      // as the debug information has it
  int line = 0;
  bool inlined = false;
  bool is_signal_handler = false;  // what the kernel put there to call one
};

struct Backtrace {
  uint32_t tid = 0;
  std::vector<Frame> frames;  // innermost first
  std::string end;            // why there are no more, "" if the last is the outermost
};

struct Backtraces {
  std::vector<Backtrace> threads;
  // What is missing, and why: a sentence each.
  std::vector<std::string> remarks;
};

inline constexpr size_t kMaxFrames = 128;

struct BacktraceOptions {
  bool all_threads = false;  // not the crashed one alone
  std::string sysroot;       // where the process's "/" is now; "" for the same
  int seconds = 60;          // for all together
};

// Files of modules are taken from their own places if their build ids are those of the
// core; frames in what the core holds whole (option text=all) need none.
//
// Bounds: kMaxFrames for each thread; options.seconds.
Backtraces CollectBacktraces(const CoreReader& core, const ProcessNotes& process,
                             const std::vector<ModuleInfo>& modules,
                             const BacktraceOptions& options);

// "#0  PriceOf(shop::Order const*)+0x8b in service at service.cc:96".
std::string FrameSentence(const Frame& frame, size_t number);

}  // namespace minicore

#endif  // MINICORE_TOOLS_BACKTRACE_H_
