// The command line: minicore run, info, verify, unpack, help.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
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

constexpr const char* kCommands[] = {"run", "info", "verify", "unpack", "help"};

constexpr char kHelpFooter[] =
    "\"minicore help COMMAND\" explains each, \"minicore help options\" the options "
    "of the\nlibrary.";
constexpr char kRunFooter[] =
    "\"minicore help options\" lists what -o takes.\n\n"
    "Exit status: that of PROGRAM, which it becomes; 125 if it could not be set up,\n"
    "126 if PROGRAM could not be executed, 127 if it was not found.";
constexpr char kInfoFooter[] =
    "docs/CLI.md has the keys of --json.\n\n"
    "Exit status: 0; 1 if there is no core in the file, or nothing left of it; 2 for\n"
    "wrong usage or a file that cannot be opened.";
constexpr char kVerifyFooter[] =
    "Exit status: 0 if the core is good, or clean; 1 with a sentence for each fault\n"
    "or secret if not; 2 for wrong usage or a file that cannot be opened, and with\n"
    "--secrets for one that is no core.";
constexpr char kUnpackFooter[] =
    "Exit status: 0; 1 if the core holds no whole program or library; 2 for wrong\n"
    "usage or a file or directory that cannot be opened, made or written.";

// CLI11 knows nothing of what stands behind "--".
class Formatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    if (app->get_name() != "run") return CLI::Formatter::make_usage(app, name);
    return "Usage: minicore run [OPTIONS] -- PROGRAM [ARGS...]\n";
  }
};

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
  if (!minicore::HasProcess(info)) {
    std::cerr << minicore::Printable(path)
              << " is damaged or cut short: nothing of a process is in it.\n";
    return kFaulty;
  }
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

// An answer that did not arrive is none.
int Finish(int status) {
  errno = 0;
  std::cout.flush();
  if (std::cout) return status;
  const char* why = errno != 0 ? std::strerror(errno) : "it failed";
  std::cerr << "minicore: Standard output cannot be written: " << why << ".\n";
  return kUsage;
}

int NoSuchCommand(const std::string& name) {
  std::cerr << "minicore: There is no command \"" << minicore::Printable(name)
            << "\"; there are run, info, verify, unpack and help.\n";
  return kUsage;
}

// What `run` did not understand: most likely a program without "--".
int SayWhatRunLacks(const std::vector<std::string>& extras) {
  const std::string first = minicore::Printable(extras[0]);
  if (first[0] == '-') {
    std::cerr << "minicore run: There is no option " << first
              << " (minicore help run).\n";
  } else {
    std::cerr << "minicore run: The program stands behind \"--\": minicore run "
                 "[OPTIONS] -- "
              << first << "\n";
  }
  return minicore::kRunFailed;
}

}  // namespace

int main(int argc, char** argv) {
  // What follows "--" is the program's and none of our parser's business.
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
  app.formatter(std::make_shared<Formatter>());
  app.footer(kHelpFooter);
  app.set_version_flag("--version",
                       std::string("minicore ") + minicore::kVersion);
  app.require_subcommand(1);

  auto* run_command = app.add_subcommand(
      "run", "Start a program that leaves a minicore when it crashes");
  run_command->footer(kRunFooter);
  run_command->allow_extras();
  run_command
      ->add_option("-o", run.options, "An option of the library, as key=value")
      ->allow_extra_args(false);
  run_command->add_option(
      "--library", run.library,
      "libminicore.so, where it is not beside this program");

  std::string path;
  bool as_json = false;
  auto* info_command = app.add_subcommand("info", "Say what is in a core");
  info_command->footer(kInfoFooter);
  info_command->add_option("CORE", path, "The file")->required();
  info_command->add_flag("--json", as_json, "For programs");
  auto* verify_command = app.add_subcommand(
      "verify",
      "Check what minicore promises of its own cores: the layout that every\n"
      "debugger can read, and notes that agree with what is in the file");
  verify_command->footer(kVerifyFooter);
  verify_command->add_option("CORE", path, "The file")->required();
  verify_command->add_flag("--json", as_json, "For programs");
  std::string patterns;
  const auto* secrets_option = verify_command->add_option(
      "--secrets", patterns,
      "Instead, look for secrets in any core: a file of patterns, or - for\n"
      "standard input; one a line, text or hex:DIGITS. 1 if one occurs: as it\n"
      "is, in hexadecimal, base64, UTF-16 or swapped words");

  std::string directory;
  auto* unpack_command = app.add_subcommand(
      "unpack",
      "Write the program and libraries that a core made with text=all holds\n"
      "as files below a new directory: gdb's sysroot where the real ones are\n"
      "not at hand");
  unpack_command->footer(kUnpackFooter);
  unpack_command->add_option("CORE", path, "The file")->required();
  unpack_command->add_option("DIRECTORY", directory, "Where to")->required();

  std::string topic;
  auto* help_command =
      app.add_subcommand("help", "Explain a command, or the options");
  help_command
      ->add_option("TOPIC", topic, "run, info, verify, unpack or options")
      ->check(CLI::IsMember({"run", "info", "verify", "unpack", "options"}));

  if (own > 1 && argv[1][0] != '-' &&
      std::find(std::begin(kCommands), std::end(kCommands),
                std::string_view(argv[1])) == std::end(kCommands)) {
    return NoSuchCommand(argv[1]);
  }
  try {
    app.parse(own, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_help = error.get_exit_code() == 0;
    app.exit(error);
    const bool is_run = argc > 1 && std::string_view(argv[1]) == "run";
    return Finish(is_help ? 0 : is_run ? minicore::kRunFailed : kUsage);
  }

  if (*run_command) {
    const std::vector<std::string> extras = run_command->remaining();
    if (!extras.empty()) return SayWhatRunLacks(extras);
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
  if (*info_command) return Finish(Info(path, as_json));
  if (*verify_command) {
    return Finish(secrets_option->count() == 0
                      ? Verify(path, as_json)
                      : minicore::VerifySecrets(path, patterns, as_json));
  }
  if (*unpack_command) return Finish(minicore::Unpack(path, directory));
  if (topic == "options") {
    std::cout << minicore::OptionsHelp();
  } else if (topic.empty()) {
    // Not app.help(): that explains the command "help" itself.
    std::cout << app.get_formatter()->make_help(&app, "minicore",
                                                CLI::AppFormatMode::Normal);
  } else {
    // The name in the usage line is that of the whole command.
    std::cout << app.get_subcommand(topic)->help("minicore");
  }
  return Finish(0);
}
