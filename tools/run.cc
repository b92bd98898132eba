#include "tools/run.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tools/options.h"
#include "tools/preloadable.h"
#include "tools/text.h"

namespace minicore {
namespace {

constexpr char kLibraryName[] = "libminicore.so";

int Fail(int code, const std::string& sentence) {
  Complain(sentence);
  return code;
}

bool IsReadable(const std::string& path) {
  return access(path.c_str(), R_OK) == 0;
}

// Absolute and without links: the program may change its directory before it
// starts another one.
std::string Absolute(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) != nullptr ? resolved : "";
}

std::string OwnPath() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof(path));
  if (size > 0) return std::string(path, static_cast<size_t>(size));
  // No /proc: as execve() was told.
  const auto* const told = reinterpret_cast<const char*>(getauxval(AT_EXECFN));
  return told != nullptr ? Absolute(told) : "";
}

}  // namespace

std::string FindLibrary(const std::string& executable) {
  const size_t slash = executable.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : executable.substr(0, slash);
  std::vector<std::string> roots = {executable + ".runfiles/minicore", folder,
                                    folder + "/..", folder + "/../lib"};
  if (const char* runfiles = getenv("RUNFILES_DIR")) {
    roots.insert(roots.begin(), std::string(runfiles) + "/minicore");
  }
  for (const std::string& root : roots) {
    for (const char* package : {"/", "/dump/"}) {
      const std::string path = root + package + kLibraryName;
      if (IsReadable(path)) return Absolute(path);
    }
  }
  return "";
}

std::string JoinPreload(const std::string& library, const char* existing) {
  if (existing == nullptr || existing[0] == '\0') return library;
  return library + ":" + existing;
}

int Run(const RunRequest& request) {
  for (const std::string& option : request.options) {
    const std::string wrong = CheckOption(option);
    if (!wrong.empty()) return Fail(kRunFailed, Printable(wrong));
  }
  std::string library = request.library;
  if (library.empty()) {
    library = FindLibrary(OwnPath());
    if (library.empty()) {
      return Fail(kRunFailed, std::string(kLibraryName) +
                                  " is not beside this program; name it "
                                  "with --library.");
    }
  } else {
    const std::string why = WhyNoLibrary(library);
    if (!why.empty()) {
      return Fail(kRunFailed, "The library " + Named(library) + " " + why + ".");
    }
    library = Absolute(library);
  }
  // Linux, ld.so(8): the names in LD_PRELOAD are separated by spaces or colons,
  // and there is no escape.
  if (library.find_first_of(" :") != std::string::npos) {
    return Fail(kRunFailed, "The library's path, " + Printable(library) +
                                ", has a space or a colon, which LD_PRELOAD "
                                "cannot express.");
  }

  const char* set = getenv("MINICORE_OPTIONS");
  std::string options = JoinOptions(set != nullptr ? set : "", request.options);
  if (!SetsKey(options, "verbose"))
    options = JoinOptions(options, {"verbose=1"});
  setenv("MINICORE_OPTIONS", options.c_str(), 1);
  setenv("LD_PRELOAD", JoinPreload(library, getenv("LD_PRELOAD")).c_str(), 1);

  // A warning only: what it starts may be another program.
  const std::string program = FindProgram(request.command[0]);
  if (access(program.c_str(), X_OK) == 0) {
    const std::string why = WhyNotPreloaded(program, geteuid(), getegid());
    if (!why.empty()) Complain(Printable(why));
  }

  std::vector<char*> arguments;
  for (const std::string& argument : request.command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int error = errno;
  return Fail(
      error == ENOENT ? kNotFound : kCannotExecute,
      Named(request.command[0]) + " cannot be started: " + std::strerror(error) + ".");
}

}  // namespace minicore
