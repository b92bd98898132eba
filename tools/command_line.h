// What `minicore` was asked for.

#ifndef MINICORE_TOOLS_COMMAND_LINE_H_
#define MINICORE_TOOLS_COMMAND_LINE_H_

#include <optional>
#include <string>

#include "tools/backtrace.h"
#include "tools/run.h"

namespace minicore {

enum class Command { kRun, kInfo, kVerify, kVerifySecrets, kUnpack, kHelp };

struct CommandLine {
  Command command = Command::kHelp;
  RunRequest run;
  std::string core;       // a path, or "-"
  std::string patterns;   // the same
  std::string directory;  // of unpack
  bool as_json = false;
  BacktraceOptions backtraces;
  std::string help;       // what is to be printed
};

// Returns: nothing after a sentence on standard error, and then `status` is what to exit
//          with.
std::optional<CommandLine> ParseCommandLine(int argc, char** argv, int* status);

}  // namespace minicore

#endif  // MINICORE_TOOLS_COMMAND_LINE_H_
