// The command line: minicore run, info, verify, unpack, help.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "dump/version.h"
#include "tools/core_reader.h"
#include "tools/info.h"
#include "tools/options.h"
#include "tools/run.h"
#include "tools/text.h"
#include "tools/unpack.h"
#include "tools/verify.h"
#include "tools/verify_secrets.h"

namespace {

using minicore::CoreReader;

constexpr int kFaulty = 1;
constexpr int kUsage = 2;
constexpr size_t kMaxFaults = 100;

constexpr char kExitCodes[] =
    "Exit status. run: that of PROGRAM, which it becomes; 125 if it could not "
    "be\n"
    "set up, 126 if PROGRAM could not be executed, 127 if it was not found.\n"
    "info: 0, or 1 if there is no core in the file. verify: 0 if the core is "
    "good,\n"
    "1 with a sentence for each fault (or secret that was found) if not. unpack: 0,\n"
    "or 1 if the core holds no whole program or library. All three: 2 for\n"
    "wrong usage or a file that cannot be opened.";

// Null after a sentence, with `status` set.
std::unique_ptr<CoreReader> Open(const std::string& path, int* status) {
  std::string error;
  auto core = CoreReader::Open(path, &error);
  if (core == nullptr) {
    std::cerr << minicore::Printable(path) << " " << error << ".\n";
    const bool unreadable = error.rfind("cannot be opened", 0) == 0;
    *status = unreadable ? kUsage : kFaulty;
  }
  return core;
}

int Info(const std::string& path, bool as_json) {
  int status = 0;
  const auto core = Open(path, &status);
  if (core == nullptr) return status;
  const minicore::CoreInfo info = minicore::CollectInfo(*core, path);
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
  const auto core = Open(path, &status);
  if (core == nullptr) return status;
  const minicore::Verdict verdict = minicore::VerifyCore(*core);
  const bool good = verdict.faults.empty();
  if (as_json) {
    const nlohmann::json json = {{"core", minicore::JsonSafe(path)},
                                 {"good", good},
                                 {"faults", JsonList(verdict.faults)},
                                 {"remarks", JsonList(verdict.remarks)}};
    std::cout << json.dump(2) << "\n";
    return good ? 0 : kFaulty;
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
  if (good) std::cout << minicore::Printable(path) << " is good.\n";
  return good ? 0 : kFaulty;
}

}  // namespace

int main(int argc, char** argv) {
  // What follows "--" is the program's and none of our parser's business.
  std::vector<std::string> arguments;
  minicore::RunRequest run;
  int own = argc;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--") {
      own = i;
      run.command.assign(argv + i + 1, argv + argc);
      break;
    }
  }

  CLI::App app("Small, exact core files of crashed programs.", "minicore");
  app.footer(kExitCodes);
  app.set_version_flag("--version",
                       std::string("minicore ") + minicore::kVersion);
  app.require_subcommand(1);

  auto* run_command = app.add_subcommand(
      "run",
      "minicore run [OPTIONS] -- PROGRAM [ARGUMENTS...]\n"
      "Start a program that leaves a minicore when it crashes");
  run_command
      ->add_option("-o", run.options, "An option of the library, as key=value")
      ->allow_extra_args(false);
  run_command->add_option(
      "--library", run.library,
      "libminicore.so, where it is not beside this program");

  std::string path;
  bool as_json = false;
  auto* info_command = app.add_subcommand("info", "Say what is in a core");
  info_command->add_option("CORE", path, "The file")->required();
  info_command->add_flag("--json", as_json, "For programs");
  auto* verify_command = app.add_subcommand(
      "verify", "Check that every debugger can read a core; 0 if so");
  verify_command->add_option("CORE", path, "The file")->required();
  verify_command->add_flag("--json", as_json, "For programs");
  std::string patterns;
  verify_command->add_option(
      "--secrets", patterns,
      "Instead, look for secrets: a file of patterns, or - for standard\n"
      "input; one a line, text or hex:DIGITS. 1 if one occurs: as it is, in\n"
      "hexadecimal, base64, UTF-16 or swapped words");

  std::string directory;
  auto* unpack_command = app.add_subcommand(
      "unpack",
      "Write the program and libraries that a core made with text=all holds\n"
      "as files below a new directory: gdb's sysroot where the real ones are\n"
      "not at hand");
  unpack_command->add_option("CORE", path, "The file")->required();
  unpack_command->add_option("DIRECTORY", directory, "Where to")->required();

  std::string topic;
  auto* help_command = app.add_subcommand("help", "Explain the options");
  help_command->add_option("TOPIC", topic, "options")
      ->check(CLI::IsMember({"options"}));

  try {
    app.parse(own, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = error.get_exit_code() == 0;
    app.exit(error);
    const bool is_run = argc > 1 && std::string_view(argv[1]) == "run";
    return is_help ? 0 : is_run ? minicore::kRunFailed : kUsage;
  }

  if (*run_command) {
    if (run.command.empty()) {
      std::cerr << "minicore run: Say which program to run, after \"--\".\n";
      return minicore::kRunFailed;
    }
    return minicore::Run(run);
  }
  if (own != argc) {
    std::cerr
        << "minicore: Only \"minicore run\" takes a program after \"--\".\n";
    return kUsage;
  }
  if (*info_command) return Info(path, as_json);
  if (*verify_command) {
    return patterns.empty() ? Verify(path, as_json)
                            : minicore::VerifySecrets(path, patterns, as_json);
  }
  if (*unpack_command) return minicore::Unpack(path, directory);
  std::cout << (topic == "options" ? minicore::OptionsHelp() : app.help());
  return 0;
}
