#include "tests/support/command.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

namespace minicore {
namespace {

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, FileCloser>;

// Files and not pipes: nothing can block, whoever keeps them open.
std::string Contents(FILE* file) {
  std::string text;
  char piece[4096];
  std::rewind(file);
  for (size_t got; (got = std::fread(piece, 1, sizeof(piece), file)) > 0;) {
    text.append(piece, got);
  }
  return text;
}

}  // namespace

CommandResult RunCommand(
    const std::vector<std::string>& arguments,
    const std::map<std::string, std::string>& environment) {
  const File output(std::tmpfile());
  const File errors(std::tmpfile());
  if (output == nullptr || errors == nullptr) {
    throw std::runtime_error("no temporary file");
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    for (const auto& [name, value] : environment) {
      setenv(name.c_str(), value.c_str(), 1);
    }
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(fileno(output.get()), 1);
    dup2(fileno(errors.get()), 2);
    execvp(argv[0], argv.data());
    _exit(213);  // a number that no program under test answers
  }
  CommandResult result;
  while (waitpid(child, &result.status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(result.status) && WEXITSTATUS(result.status) == 213) {
    throw std::runtime_error(arguments[0] + " cannot be started");
  }
  result.output = Contents(output.get());
  result.errors = Contents(errors.get());
  return result;
}

std::string Runfile(const std::string& path) {
  const char* root = std::getenv("TEST_SRCDIR");
  const char* workspace = std::getenv("TEST_WORKSPACE");
  if (root == nullptr || workspace == nullptr) {
    throw std::runtime_error("not started by bazel test");
  }
  return std::string(root) + "/" + workspace + "/" + path;
}

}  // namespace minicore
