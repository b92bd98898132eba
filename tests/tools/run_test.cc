// `minicore run` as a shell sees it.

#include "tools/run.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>

#include "tests/support/command.h"
#include "tools/preloadable.h"

namespace minicore {
namespace {

class RunTest : public testing::Test {
 protected:
  RunTest() {
    unsetenv("MINICORE_OPTIONS");
    unsetenv("LD_PRELOAD");
  }

  CommandResult Minicore(
      std::vector<std::string> arguments,
      const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), Runfile("tools/minicore"));
    return RunCommand(arguments, environment);
  }
  // With the fake library.
  CommandResult Run(
      std::vector<std::string> arguments,
      const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), {"run", "--library", library_});
    return Minicore(std::move(arguments), environment);
  }
  CommandResult Shell(const std::string& script) {
    return Run({"--", "/bin/sh", "-c", script});
  }

  const std::string library_ = Runfile("tests/tools/libfake.so");
};

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

size_t Lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

TEST_F(RunTest, PassesTheExitStatusThrough) {
  EXPECT_EQ(WEXITSTATUS(Shell("exit 0").status), 0);
  EXPECT_EQ(WEXITSTATUS(Shell("exit 1").status), 1);
  EXPECT_EQ(WEXITSTATUS(Shell("exit 77").status), 77);
}

TEST_F(RunTest, DiesOfTheSignalThatTheProgramDiesOf) {
  for (int signal : {SIGTERM, SIGKILL, SIGSEGV}) {
    const CommandResult result =
        Shell("ulimit -c 0; kill -" + std::to_string(signal) + " $$");
    EXPECT_TRUE(WIFSIGNALED(result.status));
    EXPECT_EQ(WTERMSIG(result.status), signal);
  }
}

TEST_F(RunTest, PassesStandardStreamsAndArgumentsThrough) {
  const CommandResult result =
      Run({"--", "/bin/echo", "[a,b]", "--", "-o", "x y", ""});
  EXPECT_EQ(result.output, "[a,b] -- -o x y \n");
}

TEST_F(RunTest, SaysThatNothingCanBePreloadedIntoAStaticProgramAndRunsIt) {
  const CommandResult result = Run({"--", "/sbin/ldconfig", "--version"});
  EXPECT_EQ(WEXITSTATUS(result.status), 0);
  EXPECT_TRUE(Has(result.output, "ldconfig")) << result.output;
  EXPECT_EQ(result.errors,
            "minicore: /sbin/ldconfig is statically linked, and nothing can be "
            "preloaded into it. No core will be written when it crashes.\n");
}

TEST_F(RunTest, SaysThatNothingIsPreloadedIntoASetuidProgram) {
  // Debian's is root's; and not every user's.
  EXPECT_TRUE(Has(WhyNotPreloaded("/usr/bin/passwd", 4711, 4711), "user or group"));
  EXPECT_EQ(WhyNotPreloaded("/usr/bin/passwd", 0, 0), "");
}

TEST_F(RunTest, HasNothingToSayOfOrdinaryProgramsScriptsAndWhatIsNotThere) {
  for (const char* path : {"/bin/true", "/usr/bin/ldd", "/nowhere", "", "/"}) {
    EXPECT_EQ(WhyNotPreloaded(path, 4711, 4711), "") << path;
  }
  EXPECT_EQ(FindProgram("./here"), "./here");
  EXPECT_EQ(FindProgram("no-such-program-anywhere"), "");
  EXPECT_TRUE(Has(FindProgram("true"), "/true"));
}

TEST_F(RunTest, PreloadsTheLibraryWithVerboseOn) {
  const CommandResult result = Run({"--", "/bin/true"});
  EXPECT_TRUE(Has(result.errors, "fake library: verbose=1\n")) << result.errors;
  EXPECT_TRUE(Has(result.errors, "libfake.so\n")) << result.errors;
}

TEST_F(RunTest, PassesOptionsBehindThoseOfTheEnvironment) {
  const CommandResult result =
      Run({"-o", "max_bytes=4M", "-o", "tag.cache=keep", "--", "/bin/true"},
          {{"MINICORE_OPTIONS", "hops=3"}});
  EXPECT_TRUE(
      Has(result.errors,
          "fake library: hops=3:max_bytes=4M:tag.cache=keep:verbose=1\n"))
      << result.errors;
}

TEST_F(RunTest, EscapesTheSeparatorInsideAValue) {
  const CommandResult result =
      Run({"-o", "path=/a:b\\c=d", "-o", "verbose=0", "--", "/bin/true"});
  EXPECT_TRUE(
      Has(result.errors, "fake library: path=/a\\:b\\\\c=d:verbose=0\n"))
      << result.errors;
}

TEST_F(RunTest, LeavesVerboseAloneWhenTheEnvironmentSetsIt) {
  const CommandResult result =
      Run({"--", "/bin/true"}, {{"MINICORE_OPTIONS", "verbose=0"}});
  EXPECT_TRUE(Has(result.errors, "fake library: verbose=0\n")) << result.errors;
}

TEST_F(RunTest, KeepsWhatIsPreloadedAlready) {
  EXPECT_EQ(JoinPreload("/x/libminicore.so", "/y/liby.so"),
            "/x/libminicore.so:/y/liby.so");
  EXPECT_EQ(JoinPreload("/x/libminicore.so", ""), "/x/libminicore.so");
  EXPECT_EQ(JoinPreload("/x/libminicore.so", nullptr), "/x/libminicore.so");
}

struct BadOption {
  const char* option;
  const char* sentence;
};

TEST_F(RunTest, RejectsABadOptionInOneSentenceAndStartsNothing) {
  for (const BadOption& bad : {
           BadOption{"nonsense=1", "minicore: There is no option 'nonsense'"},
           BadOption{"max_bytes", "has no value: key=value is wanted.\n"},
           BadOption{"=1", "There is no option ''"},
           BadOption{"", "has no value"},
           BadOption{"max_bytes=8MB", "a size is wanted"},
           BadOption{"max_bytes=", "a size is wanted"},
           BadOption{"max_bytes=-1", "a size is wanted"},
           BadOption{"deadline=5m", "a time is wanted"},
           BadOption{"hops=1K", "a number is wanted"},
           BadOption{"preopen=yes", "0 or 1 is wanted"},
           BadOption{"fd=-2", "a file descriptor is wanted"},
           BadOption{"segments=5", "64 to 65534 are possible"},
           BadOption{"text=some", "none, pc or all is wanted"},
           BadOption{"env=PATH", "allow:NAME,NAME is wanted"},
           BadOption{"signals=FOO", "names of signals"},
           BadOption{"tag.=keep", "a tag has 1 to 31 bytes"},
           BadOption{"tag.x=burn", "keep, label, cut or elide is wanted"},
       }) {
    const CommandResult result =
        Run({"-o", bad.option, "--", "/bin/echo", "started"});
    EXPECT_EQ(WEXITSTATUS(result.status), kRunFailed) << bad.option;
    EXPECT_TRUE(Has(result.errors, bad.sentence)) << result.errors;
    EXPECT_EQ(Lines(result.errors), 1u) << result.errors;
    EXPECT_EQ(result.output, "");
  }
}

TEST_F(RunTest, TellsItsOwnFailuresFromTheProgramsByTheirStatus) {
  EXPECT_EQ(WEXITSTATUS(Run({"--", "/no/such/program"}).status), kNotFound);
  EXPECT_EQ(WEXITSTATUS(Run({"--", "/etc/passwd"}).status), kCannotExecute);
  EXPECT_EQ(WEXITSTATUS(Run({"--"}).status), kRunFailed);
  EXPECT_EQ(WEXITSTATUS(Run({}).status), kRunFailed);
  const CommandResult result =
      Minicore({"run", "--library", "/no/such.so", "--", "/bin/true"});
  EXPECT_EQ(WEXITSTATUS(result.status), kRunFailed);
  EXPECT_EQ(result.errors,
            "minicore: The library /no/such.so cannot be read: No such "
            "file or directory.\n");
}

TEST_F(RunTest, OtherCommandsAnswerWrongUsageWith2) {
  EXPECT_EQ(WEXITSTATUS(Minicore({}).status), 2);
  EXPECT_EQ(WEXITSTATUS(Minicore({"verify"}).status), 2);
  EXPECT_EQ(WEXITSTATUS(Minicore({"info", "--nonsense", "x"}).status), 2);
  EXPECT_EQ(WEXITSTATUS(Minicore({"verify", "/no/such/core"}).status), 2);
  EXPECT_EQ(WEXITSTATUS(Minicore({"verify", "/etc/passwd"}).status), 1);
  EXPECT_EQ(WEXITSTATUS(Minicore({"info", "/etc/passwd"}).status), 1);
  for (const char* command : {"info", "verify"}) {
    EXPECT_EQ(WEXITSTATUS(Minicore({command, "/"}).status), 2);
  }
}

struct Wrong {
  std::vector<std::string> arguments;
  const char* sentence;
};

TEST_F(RunTest, SaysWhatIsWrongInOneSentenceOfOneForm) {
  for (const Wrong& wrong : std::vector<Wrong>{
           {{}, "Which command is not said; there are run, info, verify, unpack and help "
                "(minicore help)."},
           {{"bogus"},
            "There is no command \"bogus\"; there are run, info, verify, unpack and help "
            "(minicore help)."},
           {{"--bogus"}, "There is no option --bogus (minicore help)."},
           {{"info"}, "CORE is missing (minicore help info)."},
           {{"info", "--nonsense", "x"}, "There is no option --nonsense (minicore help info)."},
           {{"info", "a", "b"}, "There is an argument too many: b (minicore help info)."},
           {{"info", ""}, "\"\" cannot be opened: No such file or directory."},
           {{"info", "/no/such/core"}, "/no/such/core cannot be opened: No such file or directory."},
           {{"info", "/"}, "/ is not a regular file."},
           {{"info", "-"}, "Standard input is empty."},
           {{"info", "/etc/passwd"}, "/etc/passwd is not an ELF file."},
           {{"verify", "--json=maybe", "x"},
            "There is no sense in --json = maybe (minicore help verify)."},
           {{"verify", "--secrets"}, "The option --secrets needs a value (minicore help verify)."},
           {{"verify", "--secrets", "-", "-"},
            "Standard input cannot have both the patterns and the core."},
           {{"unpack", "x"}, "DIRECTORY is missing (minicore help unpack)."},
           {{"help", "bogus"}, "There is no help on \"bogus\" (minicore help)."},
           {{"run"}, "PROGRAM is missing (minicore help run)."},
           {{"run", "-o"}, "The option -o needs a value (minicore help run)."},
           {{"run", "--bogus", "x"}, "There is no option --bogus (minicore help run)."},
           {{"run", "--library", "/lib/x86_64-linux-gnu/libm.so.6", "x"},
            "The library /lib/x86_64-linux-gnu/libm.so.6 is not minicore's."},
           {{"run", "/no/such/program"},
            "/no/such/program cannot be started: No such file or directory."}}) {
    const CommandResult result = Minicore(wrong.arguments);
    EXPECT_EQ(result.errors, "minicore: " + std::string(wrong.sentence) + "\n");
    EXPECT_EQ(result.output, "");
    EXPECT_NE(result.status, 0);
  }
}

TEST_F(RunTest, BehindTwoDashesANameMayBeginWithADash) {
  for (const char* command : {"info", "verify"}) {
    EXPECT_EQ(Minicore({command, "--", "-foo"}).errors,
              "minicore: -foo cannot be opened: No such file or directory.\n");
  }
  EXPECT_EQ(Minicore({"unpack", "--", "-foo", "-bar"}).errors,
            "minicore: -foo cannot be opened: No such file or directory.\n");
}

TEST_F(RunTest, ExplainsEachCommand) {
  for (const char* command : {"run", "info", "verify", "unpack"}) {
    const CommandResult help = Minicore({"help", command});
    EXPECT_EQ(WEXITSTATUS(help.status), 0) << command;
    EXPECT_TRUE(Has(help.output, std::string("Usage: minicore ") + command)) << help.output;
    EXPECT_EQ(help.output, Minicore({command, "--help"}).output);
    EXPECT_TRUE(Has(help.output, "Exit status: ")) << help.output;
  }
  EXPECT_TRUE(Has(Minicore({"help", "run"}).output, "[OPTIONS] [--] PROGRAM [ARGS...]\n"));
  EXPECT_TRUE(Has(Minicore({"help", "run"}).output, "minicore help options"));
  EXPECT_EQ(Minicore({"help"}).output, Minicore({"--help"}).output);
  EXPECT_FALSE(Has(Minicore({"--help"}).output, "Exit status"));
  EXPECT_EQ(WEXITSTATUS(Minicore({"help", "bogus"}).status), 2);
}

TEST_F(RunTest, TheProgramMayStandWithoutTwoDashes) {
  EXPECT_EQ(Run({"/bin/echo", "-o", "--", "x"}).output, "-o -- x\n");
  EXPECT_EQ(Run({"-o", "hops=1", "/bin/echo", "x"}).output, "x\n");
}

TEST_F(RunTest, FailsWhenItsAnswerCannotBeWritten) {
  const CommandResult result =
      RunCommand({"/bin/sh", "-c", Runfile("tools/minicore") + " help options > /dev/full"});
  EXPECT_EQ(WEXITSTATUS(result.status), 2);
  EXPECT_TRUE(Has(result.errors, "cannot be written: No space left on device.")) << result.errors;
}

TEST_F(RunTest, OfAFileThatIsNotExecutableSaysThatAlone) {
  const std::string file = testing::TempDir() + "not_executable";
  std::ofstream(file) << std::ifstream("/sbin/ldconfig", std::ios::binary).rdbuf();
  const CommandResult result = Run({"--", file});
  EXPECT_EQ(WEXITSTATUS(result.status), kCannotExecute);
  EXPECT_EQ(result.errors, "minicore: " + file + " cannot be started: Permission denied.\n");
}

TEST_F(RunTest, RefusesALibraryThatIsNone) {
  const CommandResult result =
      Minicore({"run", "--library=/etc/passwd", "--", "/bin/echo", "started"});
  EXPECT_EQ(WEXITSTATUS(result.status), kRunFailed);
  EXPECT_EQ(result.output, "");
  EXPECT_EQ(result.errors,
            "minicore: The library /etc/passwd is no shared library for x86-64.\n");
}

TEST_F(RunTest, SaysThatAScriptsInterpreterIsStatic) {
  const std::string script = testing::TempDir() + "static_script";
  std::ofstream(script) << "#! /sbin/ldconfig -p\n";
  EXPECT_EQ(WhyNotPreloaded(script, 4711, 4711),
            script + " is a script for /sbin/ldconfig, which is statically linked, and "
                     "nothing can be preloaded into it. No core will be written when it "
                     "crashes.");
}

TEST_F(RunTest, SaysThatAProgramIsBuiltWithASanitizer) {
  EXPECT_TRUE(Has(WhyNotPreloaded(Runfile("tests/tools/like_asan"), 4711, 4711),
                  "is built with AddressSanitizer"));
  EXPECT_TRUE(Has(WhyNotPreloaded(Runfile("tests/tools/like_tsan"), 4711, 4711),
                  "is built with ThreadSanitizer"));
}

std::string WithoutLineEnds(const std::string& text) {
  return std::regex_replace(text, std::regex("\n +"), " ");
}

TEST_F(RunTest, HelpOptionsListsEveryOptionWithItsDefault) {
  const CommandResult result = Minicore({"help", "options"});
  EXPECT_EQ(WEXITSTATUS(result.status), 0);
  size_t options = 0;
#define MINICORE_OPTION(name, type, value, help)                        \
  EXPECT_TRUE(Has(result.output, std::string("  " #name "=") + value)); \
  EXPECT_TRUE(Has(WithoutLineEnds(result.output), help));               \
  ++options;
#include "minicore/options.def"
#undef MINICORE_OPTION
  EXPECT_GT(options, 10u);
  std::istringstream lines(result.output);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST_F(RunTest, FindsTheLibraryBesideTheToolAndInItsRunfiles) {
  const std::string folder = testing::TempDir() + "find_library";
  for (const std::string place :
       {"/tools/minicore.runfiles/minicore/", "/tools/", "/", "/dump/"}) {
    ASSERT_EQ(std::system(("rm -rf '" + folder + "' && mkdir -p '" + folder +
                           place + "' '" + folder + "/tools' && touch '" +
                           folder + place + "libminicore.so'")
                              .c_str()),
              0);
    unsetenv("RUNFILES_DIR");
    EXPECT_NE(FindLibrary(folder + "/tools/minicore"), "") << place;
  }
  ASSERT_EQ(std::system(("rm -rf '" + folder + "'").c_str()), 0);
  EXPECT_EQ(FindLibrary(folder + "/tools/minicore"), "");
}

}  // namespace
}  // namespace minicore
