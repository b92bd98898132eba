// The command line: minicore run, info, verify, unpack, help.

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tools/command_line.h"
#include "tools/info.h"
#include "tools/open_core.h"
#include "tools/run.h"
#include "tools/text.h"
#include "tools/unpack.h"
#include "tools/verify.h"
#include "tools/verify_secrets.h"

namespace {

using minicore::Command;
using minicore::kFailed;
using minicore::kNotAsAsked;

constexpr size_t kMaxFaults = 100;

int Info(const std::string& path, bool as_json, const minicore::BacktraceOptions& options) {
  int status = 0;
  const auto core = minicore::OpenCore(path, &status);
  if (core == nullptr) return status;
  minicore::CoreInfo info = minicore::CollectInfo(*core, path);
  if (!minicore::HasProcess(info)) {
    minicore::Complain(minicore::Named(path) +
                       " is damaged or cut short: nothing of a process is in it.");
    return kNotAsAsked;
  }
  minicore::AddBacktraces(*core, options, &info);
  if (as_json) {
    std::cout << minicore::InfoJson(info).dump(2) << "\n";
  } else {
    std::cout << minicore::InfoText(info);
  }
  return 0;
}

nlohmann::json JsonList(const std::vector<std::string>& sentences) {
  auto list = nlohmann::json::array();
  for (const std::string& sentence : sentences) {
    list.push_back(minicore::JsonSafe(sentence));
  }
  return list;
}

int Verify(const std::string& path, bool as_json) {
  int status = 0;
  const auto core = minicore::OpenCore(path, &status);
  if (core == nullptr) return status;
  const minicore::Verdict verdict = minicore::VerifyCore(*core);
  const bool good = verdict.faults.empty();
  if (as_json) {
    const nlohmann::json json = {{"core", minicore::JsonSafe(path)},
                                 {"good", good},
                                 {"faults", JsonList(verdict.faults)},
                                 {"remarks", JsonList(verdict.remarks)}};
    std::cout << json.dump(2) << "\n";
    return good ? 0 : kNotAsAsked;
  }
  for (size_t i = 0; i < verdict.faults.size() && i < kMaxFaults; ++i) {
    std::cout << minicore::Printable(verdict.faults[i]) << "\n";
  }
  if (verdict.faults.size() > kMaxFaults) {
    std::cout << "And " << verdict.faults.size() - kMaxFaults << " more.\n";
  }
  for (const std::string& remark : verdict.remarks) {
    std::cout << "Remark: " << minicore::Printable(remark) << "\n";
  }
  if (good) std::cout << minicore::Named(path) << " is good.\n";
  return good ? 0 : kNotAsAsked;
}

int Answer(const minicore::CommandLine& line) {
  switch (line.command) {
    case Command::kRun:
      return minicore::Run(line.run);
    case Command::kInfo:
      return Info(line.core, line.as_json, line.backtraces);
    case Command::kVerify:
      return Verify(line.core, line.as_json);
    case Command::kVerifySecrets:
      return minicore::VerifySecrets(line.core, line.patterns, line.as_json);
    case Command::kUnpack:
      return minicore::Unpack(line.core, line.directory);
    case Command::kHelp:
      std::cout << line.help;
      return 0;
  }
  return kFailed;
}

// Returns: 0 or an error number.
int Print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int status = 0;
  const auto line = minicore::ParseCommandLine(argc, argv, &status);
  if (!line) return status;
  // An answer that did not arrive is none, and says why.
  std::ostringstream answer;
  std::streambuf* const output = std::cout.rdbuf(answer.rdbuf());
  status = Answer(*line);
  std::cout.rdbuf(output);
  const int error = Print(answer.str());
  if (error == 0) return status;
  minicore::Complain(std::string("Standard output cannot be written: ") +
                     std::strerror(error) + ".");
  return kFailed;
}
