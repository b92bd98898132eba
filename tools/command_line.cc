#include "tools/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>

#include "dump/version.h"
#include "tools/open_core.h"
#include "tools/options.h"
#include "tools/text.h"

namespace minicore {
namespace {

constexpr char kCommands[] = "run, info, verify, unpack and help";

constexpr char kHelpFooter[] =
    "\"minicore help COMMAND\" explains each, \"minicore help options\" the options of\n"
    "the library.";
constexpr char kRunFooter[] =
    "\"minicore help options\" lists what -o takes. Behind \"--\", PROGRAM may begin with\n"
    "a dash.\n\n"
    "Exit status: that of PROGRAM, which it becomes; 125 if it could not be set up,\n"
    "126 if PROGRAM could not be executed, 127 if it was not found.";
constexpr char kInfoFooter[] =
    "Backtraces need the files of the program and its libraries at their places, or a\n"
    "core that was made with text=all; lines need their debug information.\n\n"
    "docs/CLI.md has the keys of --json.\n\n"
    "Exit status: 0; 1 if the file is no core, or nothing is left of it; 2 for wrong\n"
    "usage or a file that cannot be read.";
constexpr char kVerifyFooter[] =
    "Patterns stand one a line, of 6 bytes at least: text with the blanks at its end,\n"
    "or hex:DIGITS. Of those of 16 bytes and more, any 16 in a row count. As text the\n"
    "first 100 findings are shown, never what was found.\n\n"
    "Exit status: 0 if the core is good, or clean; 1 with a sentence for each fault\n"
    "or finding if not, or if the file is no core; 2 for wrong usage or a file that\n"
    "cannot be read, and with --secrets for one that is no core.";
constexpr char kUnpackFooter[] =
    "Images whose separate debug files are below /usr/lib/debug are made so that these\n"
    "fit them: install debug files before.\n\n"
    "Exit status: 0; 1 if the core holds no whole program or library; 2 for wrong\n"
    "usage or a file or directory that cannot be read, made or written.";
constexpr char kCoreHelp[] = "The file; - is standard input";

// CLI11 does not know that a program follows.
class Formatter : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    if (app->get_name() != "run") return CLI::Formatter::make_usage(app, name);
    return "Usage: minicore run [OPTIONS] [--] PROGRAM [ARGS...]\n";
  }
};

// What is PROGRAM's is none of our parser's business. Returns: where it begins, or "--"
// before it.
int SplitRun(int argc, char** argv) {
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.substr(0, 1) != "-" || word == "--") return i;
    if (word == "-o" || word == "--library") ++i;
  }
  return argc;
}

struct Parser {
  CommandLine line;
  std::string topic;
  CLI::App app{"Small, exact core files of crashed programs.", "minicore"};
  CLI::App* run = nullptr;
  CLI::App* info = nullptr;
  CLI::App* verify = nullptr;
  CLI::App* unpack = nullptr;
  CLI::App* help = nullptr;
  CLI::Option* patterns = nullptr;

  Parser();
  std::string HelpOn(const std::string& command) const;
};

Parser::Parser() {
  app.formatter(std::make_shared<Formatter>());
  app.footer(kHelpFooter);
  app.set_version_flag("--version", std::string("minicore ") + kVersion);
  app.allow_extras();  // which subcommands inherit
  app.require_subcommand(0, 1);  // "help run" is not two

  run = app.add_subcommand("run", "Start a program that leaves a minicore when it crashes");
  run->footer(kRunFooter);
  run->add_option("-o", line.run.options, "An option of the library; may be repeated")
      ->option_text("KEY=VALUE")
      ->allow_extra_args(false);
  run->add_option("--library", line.run.library,
                  "libminicore.so, where it is not beside this program")
      ->option_text("FILE")
      ->take_last();

  const auto add_core = [this](CLI::App* command) {
    command->add_option("CORE", line.core, kCoreHelp)->option_text(" ")->required();
  };
  info = app.add_subcommand("info", "Say what is in a core");
  info->footer(kInfoFooter);
  add_core(info);
  info->add_flag("--json", line.as_json, "For programs");
  info->add_flag("--threads", line.backtraces.all_threads,
                 "Backtraces of all threads, not of the crashed one alone");
  info->add_option("--sysroot", line.backtraces.sysroot,
                   "Where the files of the process are, such as a container's root")
      ->option_text("DIRECTORY")
      ->take_last();

  verify = app.add_subcommand(
      "verify",
      "Check what minicore promises of its own cores: the layout that every\n"
      "debugger can read, and notes that agree with what is in the file");
  verify->footer(kVerifyFooter);
  add_core(verify);
  verify->add_flag("--json", line.as_json, "For programs");
  patterns = verify
                 ->add_option("--secrets", line.patterns,
                              "Instead, look in any core for the secrets in a file of\n"
                              "patterns, or - for standard input: as they are, in\n"
                              "hexadecimal, base64, UTF-16 or swapped words")
                 ->option_text("FILE")
                 ->take_last();

  unpack = app.add_subcommand(
      "unpack",
      "Write the program and libraries that a core made with text=all holds\n"
      "as files below a new directory: gdb's sysroot where the real ones are\n"
      "not at hand");
  unpack->footer(kUnpackFooter);
  add_core(unpack);
  unpack->add_option("DIRECTORY", line.directory, "Where to")->option_text(" ")->required();

  help = app.add_subcommand("help", "Explain a command, or the options");
  help->add_option("TOPIC", topic, "run, info, verify, unpack or options")->option_text(" ");
}

std::string Parser::HelpOn(const std::string& command) const {
  if (command == "options") return OptionsHelp();
  // Not app.help(): that explains the command "help" itself.
  if (command.empty() || command == "help") {
    return app.get_formatter()->make_help(&app, "minicore", CLI::AppFormatMode::Normal);
  }
  // The name in the usage line is that of the whole command.
  return app.get_subcommand(command)->help("minicore");
}

// CLI11's sentence in the form of ours.
std::string Translated(const CLI::ParseError& error) {
  const std::string what = error.what();
  const std::string name = what.substr(0, what.find_first_of(": "));
  if (error.get_name() == "RequiredError") return name + " is missing";
  if (error.get_name() == "ArgumentMismatch") return "The option " + name + " needs a value";
  if (error.get_name() == "ConversionError") {  // "Could not convert: --json = x"
    return "There is no sense in " + what.substr(what.find(": ") + 2);
  }
  return what;
}

}  // namespace

std::optional<CommandLine> ParseCommandLine(int argc, char** argv, int* status) {
  const std::string first = argc > 1 ? argv[1] : "";
  const bool is_run = first == "run";
  *status = is_run ? kRunFailed : kFailed;
  const auto refuse = [&](const std::string& sentence, const std::string& command) {
    Complain(Printable(sentence) + " (minicore help" +
             (command.empty() ? "" : " " + command) + ").");
    return std::nullopt;
  };
  Parser parser;
  CommandLine& line = parser.line;
  const int own = is_run ? SplitRun(argc, argv) : argc;
  if (own < argc) {
    const bool has_dashes = std::string_view(argv[own]) == "--";
    line.run.command.assign(argv + own + (has_dashes ? 1 : 0), argv + argc);
  }
  try {
    parser.app.parse(own, argv);
  } catch (const CLI::CallForVersion& version) {
    line.help = std::string(version.what()) + "\n";
    return line;
  } catch (const CLI::Success&) {  // --help
    const auto chosen = parser.app.get_subcommands();
    line.help = parser.HelpOn(chosen.empty() ? "" : chosen[0]->get_name());
    return line;
  } catch (const CLI::ParseError& error) {
    return refuse(Translated(error), first);
  }
  const auto chosen = parser.app.get_subcommands();
  const std::string command = chosen.empty() ? "" : chosen[0]->get_name();
  for (const std::string& extra : parser.app.remaining(true)) {
    if (extra == "--") continue;
    if (command.empty() && extra[0] != '-') {
      return refuse("There is no command \"" + extra + "\"; there are " + kCommands, "");
    }
    if (extra[0] == '-') return refuse("There is no option " + extra, command);
    return refuse("There is an argument too many: " + extra, command);
  }
  if (command.empty()) {
    return refuse(std::string("Which command is not said; there are ") + kCommands, "");
  }
  if (parser.run->parsed()) {
    line.command = Command::kRun;
    if (line.run.command.empty()) return refuse("PROGRAM is missing", "run");
  } else if (parser.info->parsed()) {
    line.command = Command::kInfo;
  } else if (parser.verify->parsed()) {
    line.command = parser.patterns->count() == 0 ? Command::kVerify : Command::kVerifySecrets;
  } else if (parser.unpack->parsed()) {
    line.command = Command::kUnpack;
  } else {
    constexpr const char* kTopics[] = {"", "run", "info", "verify", "unpack", "help",
                                       "options"};
    if (std::find(std::begin(kTopics), std::end(kTopics), parser.topic) ==
        std::end(kTopics)) {
      return refuse("There is no help on \"" + parser.topic + "\"", "");
    }
    line.help = parser.HelpOn(parser.topic);
  }
  return line;
}

}  // namespace minicore
