// `minicore run`: starts a program with the library preloaded.
//
// It replaces itself by the program (exec), so that exit status, death by a
// signal, signals from outside, the terminal, the process id and the parent are
// the program's own without any help; the line about a written core comes from
// the crashed process itself (verbose=1), and from every other process of the
// program that crashes.

#ifndef MINICORE_TOOLS_RUN_H_
#define MINICORE_TOOLS_RUN_H_

#include <string>
#include <vector>

namespace minicore {

struct RunRequest {
  std::vector<std::string> options;  // key=value
  std::string library;               // "": look for it
  std::vector<std::string> command;  // program and its arguments
};

// As env(1), nohup(1) and timeout(1) answer, so that a caller can tell our
// failure from the program's.
inline constexpr int kRunFailed = 125;
inline constexpr int kCannotExecute = 126;
inline constexpr int kNotFound = 127;

// Does not return if the program was started; else one of the codes above,
// after a sentence on standard error.
int Run(const RunRequest& request);

// Where libminicore.so is, for a tool at `executable`: in its runfiles or
// beside it. "" if nowhere.
std::string FindLibrary(const std::string& executable);

// The value for LD_PRELOAD.
std::string JoinPreload(const std::string& library, const char* existing);

}  // namespace minicore

#endif  // MINICORE_TOOLS_RUN_H_
