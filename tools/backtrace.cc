#include "tools/backtrace.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>

#include "tools/text.h"
#include "tools/unwinder.h"

namespace minicore {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

// What the child says: a line for each thread, then one with the remark.

std::string LineOf(const Backtrace& backtrace) {
  json frames = json::array();
  for (const Frame& frame : backtrace.frames) {
    frames.push_back({frame.address, JsonSafe(frame.function), frame.offset,
                      JsonSafe(frame.module), frame.begin, JsonSafe(frame.file), frame.line,
                      frame.inlined, frame.is_signal_handler});
  }
  return json({backtrace.tid, frames, JsonSafe(backtrace.end)}).dump() + "\n";
}

Backtrace BacktraceFrom(const json& line) {
  Backtrace backtrace;
  backtrace.tid = line.at(0);
  backtrace.end = line.at(2);
  for (const json& row : line.at(1)) {
    Frame frame;
    frame.address = row.at(0);
    frame.function = row.at(1);
    frame.offset = row.at(2);
    frame.module = row.at(3);
    frame.begin = row.at(4);
    frame.file = row.at(5);
    frame.line = row.at(6);
    frame.inlined = row.at(7);
    frame.is_signal_handler = row.at(8);
    backtrace.frames.push_back(std::move(frame));
  }
  return backtrace;
}

bool Send(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t written = write(fd, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) done += static_cast<size_t>(written);
  }
  return true;
}

[[noreturn]] void BeChild(int fd, const CoreReader& core, const ProcessNotes& process,
                          const std::vector<ModuleInfo>& modules,
                          const std::string& sysroot, size_t count) {
  // What it says or leaves when it goes wrong is nobody's business.
  const struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (nowhere >= 0 && stream != fd) dup2(nowhere, stream);
  }
  // elfutils asks the servers named there for files (debuginfod(8)); an answer about a core
  // comes from this machine.
  unsetenv("DEBUGINFOD_URLS");
  Unwinder unwinder(core, process, modules, sysroot);
  bool heard = true;
  for (size_t i = 0; i < count && heard; ++i) heard = Send(fd, LineOf(unwinder.Unwind(i)));
  if (heard) Send(fd, json(unwinder.Missing()).dump() + "\n");
  _exit(0);
}

// All that comes until the end or the deadline. Returns: whether it ended by itself.
bool Receive(int fd, Clock::time_point deadline, std::string* text) {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - Clock::now()).count();
    struct pollfd ready = {fd, POLLIN, 0};
    if (left <= 0) return false;
    if (poll(&ready, 1, static_cast<int>(left)) <= 0) continue;
    char piece[1 << 14];
    const ssize_t got = read(fd, piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return true;
    text->append(piece, static_cast<size_t>(got));
  }
}

void TakeLines(const std::string& text, Backtraces* backtraces) {
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const json line = json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                  text.begin() + static_cast<std::ptrdiff_t>(end));
    if (!line.is_string()) {
      backtraces->threads.push_back(BacktraceFrom(line));
    } else if (line != "") {
      backtraces->remarks.push_back(line);
    }
  }
}

}  // namespace

Backtraces CollectBacktraces(const CoreReader& core, const ProcessNotes& process,
                             const std::vector<ModuleInfo>& modules,
                             const BacktraceOptions& options) {
  Backtraces backtraces;
  const size_t count =
      std::min<size_t>(process.threads.size(), options.all_threads ? SIZE_MAX : 1);
  if (count == 0) return backtraces;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return backtraces;
  const pid_t child = fork();
  if (child == 0) BeChild(ends[1], core, process, modules, options.sysroot, count);
  close(ends[1]);
  std::string text;
  bool in_time = true;
  int status = 0;
  if (child > 0) {
    in_time = Receive(ends[0], Clock::now() + std::chrono::seconds(options.seconds), &text);
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  }
  close(ends[0]);
  TakeLines(text, &backtraces);
  const size_t missing = count - std::min(count, backtraces.threads.size());
  if (missing > 0) {
    backtraces.remarks.push_back(
        "There is no backtrace of " + Count(missing, "thread") + ": " +
        (in_time ? "the unwinder failed."
                 : "the unwinder took longer than " + Count(options.seconds, "second") + "."));
  }
  return backtraces;
}

std::string FrameSentence(const Frame& frame, size_t number) {
  std::string text = "#" + std::to_string(number) + (number < 10 ? "  " : " ");
  if (frame.is_signal_handler) return text + "<signal handler called>";
  const std::string module = frame.module.substr(frame.module.rfind('/') + 1);
  if (!frame.function.empty()) {
    text += Printable(frame.function);
    if (!frame.inlined) text += "+" + Hex(frame.offset);
    if (!module.empty()) text += " in " + Printable(module);
  } else {
    text += Hex(frame.address);
    if (!module.empty()) {
      text += " in " + Printable(module) + "+" + Hex(frame.address - frame.begin);
    }
  }
  if (!frame.file.empty()) {
    text += " at " + Printable(frame.file) + ":" + std::to_string(frame.line);
  }
  return text + (frame.inlined ? " (inlined)" : "");
}

}  // namespace minicore
