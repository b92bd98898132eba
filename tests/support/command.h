// A command started by a test, waited for, with what it wrote.

#ifndef MINICORE_TESTS_SUPPORT_COMMAND_H_
#define MINICORE_TESTS_SUPPORT_COMMAND_H_

#include <map>
#include <string>
#include <vector>

namespace minicore {

struct CommandResult {
  int status = 0;  // as waitpid() gives it
  std::string output;
  std::string errors;
};

// Runs `arguments` with standard input from /dev/null and `environment` added
// to ours. Throws std::runtime_error if there is no such program.
CommandResult RunCommand(
    const std::vector<std::string>& arguments,
    const std::map<std::string, std::string>& environment = {});

// The file that Bazel provides for a `data` label: "tools/minicore".
std::string Runfile(const std::string& path);

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_COMMAND_H_
