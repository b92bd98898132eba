// minicore_install(): what the program asks for, and what its environment does.

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>

#include "alloc/index_view.h"
#include "alloc/state.h"
#include "dump/handler/election.h"
#include "dump/handler/runtime.h"
#include "dump/safe/syscalls.h"
#include "minicore/minicore.h"
#include "tests/support/single_step.h"

namespace minicore {
namespace {

Disposition OfTag(const char* name) {
  char known[kMaxTagName + 1];
  for (unsigned tag = 1; tag <= kMaxTags; ++tag) {
    NameOf(g_tag_state, static_cast<uint8_t>(tag), known);
    if (std::string(known) == name) {
      return DispositionOf(g_tag_state, static_cast<uint8_t>(tag));
    }
  }
  ADD_FAILURE() << "no tag " << name;
  return Disposition::kKeep;
}

TEST(InstallTest, TheEnvironmentsRulesForTagsWinOverTheProgramsOwn) {
  setenv("MINICORE_OPTIONS", "tag.session=elide:tag.session=cut:tag.key=elide", 1);
  minicore_config config = minicore_default_config();
  config.tags = "session=keep:key=label:log=keep";
  ASSERT_EQ(minicore_install(&config), 0);
  EXPECT_EQ(OfTag("session"), Disposition::kCut);
  EXPECT_EQ(OfTag("key"), Disposition::kElide);
  EXPECT_EQ(OfTag("log"), Disposition::kKeepAlways);
}

TEST(InstallTest, ARuleThatIsNotGivenAgainIsTheDefaultAgain) {
  unsetenv("MINICORE_OPTIONS");
  minicore_config config = minicore_default_config();
  config.tags = "secret=label:cache=keep:ticket=elide:order=cut";
  ASSERT_EQ(minicore_install(&config), 0);
  EXPECT_EQ(OfTag("secret"), Disposition::kKeep);
  EXPECT_EQ(OfTag("ticket"), Disposition::kElide);
  config.tags = "order=elide";
  ASSERT_EQ(minicore_install(&config), 0);
  EXPECT_EQ(OfTag("secret"), Disposition::kElide);
  EXPECT_EQ(OfTag("cache"), Disposition::kCut);
  EXPECT_EQ(OfTag("ticket"), Disposition::kKeep);
  EXPECT_EQ(OfTag("order"), Disposition::kElide);
}

TEST(InstallTest, KeepsTheStringsThatTheProgramWasStartedWith) {
  ASSERT_EQ(minicore_install(nullptr), 0);
  const ProcessFacts& facts = g_runtime.facts;
  ASSERT_NE(facts.strings_copy, 0u);
  EXPECT_TRUE(facts.strings.Contains(
      AddressRange{facts.arguments_begin, facts.environment_end}));
  EXPECT_EQ(memcmp(reinterpret_cast<const void*>(facts.strings_copy),
                   reinterpret_cast<const void*>(facts.strings.begin),
                   facts.strings.size()),
            0);
}

// Its signal frames need what libc returns from handlers by, which is learnt from an action.
TEST(InstallTest, AProgramWithHandlersForAllItsSignalsCanBeDumpedAlive) {
  const pid_t child = fork();
  if (child == 0) {
    for (int signal = 1; signal <= 31; ++signal) ::signal(signal, [](int) {});
    unsetenv("MINICORE_OPTIONS");
    const int null = open("/dev/null", O_WRONLY);
    _exit(minicore_install(nullptr) == 0 && minicore_dump_fd(null) == 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Two sets of options in which everything differs that a mixture could mix.
minicore_config ConfigOf(int which) {
  static const std::string paths[] = {"/tmp/" + std::string(900, 'a'),
                                      "/tmp/" + std::string(900, 'b')};
  minicore_config config = minicore_default_config();
  config.path = paths[which].c_str();
  config.max_bytes = which == 0 ? 1 << 20 : 2 << 20;
  config.verbose = which == 0;
  return config;
}

bool IsPolicyOf(const Policy& policy, int which) {
  const minicore_config config = ConfigOf(which);
  return strcmp(policy.path, config.path) == 0 && policy.max_bytes == config.max_bytes &&
         policy.verbose == (which == 0);
}

TEST(InstallTest, ACrashMeetsOneSetOfOptionsOrTheOther) {
  unsetenv("MINICORE_OPTIONS");
  minicore_config first = ConfigOf(0), second = ConfigOf(1);
  ASSERT_EQ(minicore_install(&first), 0);
  int mixed = 0, seen[2] = {};
  SingleStep::Run([&] { minicore_install(&second); },
                  [&](int) {
                    if (!NobodyDumps()) return;  // a crash would wait
                    const Policy& policy = g_runtime.policy;
                    const bool old = policy.path[10] == 'a';
                    mixed += policy.path[900] != policy.path[10] ||
                             policy.max_bytes != (old ? 1u << 20 : 2u << 20) ||
                             (policy.verbose != 0) != old;
                    ++seen[old ? 0 : 1];
                  });
  EXPECT_EQ(mixed, 0);
  EXPECT_GT(seen[0], 0);
  EXPECT_GT(seen[1], 0);
  EXPECT_TRUE(IsPolicyOf(g_runtime.policy, 1));
  EXPECT_TRUE(NobodyDumps());
}

// Another thread installs while this one is still reading its options.
TEST(InstallTest, OfTwoThatInstallAtOnceOneWinsWhole) {
  constexpr int kReading = 4000;  // instructions before the change that are of interest,
  constexpr int kChanging = 800;  // and these, in which the other one would have to wait
  constexpr int kStride = 250;
  unsetenv("MINICORE_OPTIONS");
  const minicore_config first = ConfigOf(0), second = ConfigOf(1);
  // How many instructions it takes to the change.
  const auto install = [&](int when) {
    EXPECT_EQ(minicore_install(&second), 0);
    int change = 0;
    SingleStep::Run([&] { EXPECT_EQ(minicore_install(&first), 0); },
                    [&](int n) {
                      if (n == when) minicore_install(&second);
                      if (change == 0 && g_runtime.policy.path[10] == 'a') change = n;
                    });
    return change;
  };
  const int change = install(-1);
  ASSERT_GT(change, kReading);
  for (int when = change - kReading; when < change - kChanging; when += kStride) {
    install(when);
    EXPECT_TRUE(IsPolicyOf(g_runtime.policy, 0)) << change - when;
  }
}

// As the kernel has it.
void* HandlerOf(int signal) {
  safe::KernelSigaction action = {};
  safe::SigAction(signal, nullptr, &action);
  return action.handler;
}

void Install(const std::string& options) {
  setenv("MINICORE_OPTIONS", options.c_str(), 1);
  ASSERT_EQ(minicore_install(nullptr), 0);
}

TEST(InstallTest, WhatIsNoLongerAskedForIsGivenBack) {
  const auto nobody = reinterpret_cast<void*>(SIG_DFL);
  Install("signals=SEGV:dump_signal=USR2");
  EXPECT_NE(HandlerOf(SIGSEGV), nobody);
  EXPECT_EQ(HandlerOf(SIGBUS), nobody);
  void* const ours = HandlerOf(SIGUSR2);
  EXPECT_NE(ours, nobody);
  Install("signals=BUS:dump_signal=USR1");
  EXPECT_EQ(HandlerOf(SIGSEGV), nobody);
  EXPECT_NE(HandlerOf(SIGBUS), nobody);
  EXPECT_EQ(HandlerOf(SIGUSR2), nobody);
  EXPECT_EQ(HandlerOf(SIGUSR1), ours);
  // But not what the program has put in its place.
  signal(SIGUSR1, SIG_IGN);
  Install("");
  EXPECT_EQ(HandlerOf(SIGUSR1), reinterpret_cast<void*>(SIG_IGN));
  signal(SIGUSR1, SIG_DFL);
}

TEST(InstallTest, WhatIsIgnoredStaysIgnoredBehindIt) {
  const auto ignored = reinterpret_cast<void*>(SIG_IGN);
  Install("signals=ABRT");
  signal(SIGBUS, SIG_IGN);
  EXPECT_EQ(HandlerOf(SIGBUS), ignored);
  Install("signals=BUS,QUIT");
  signal(SIGQUIT, SIG_IGN);
  // A fault cannot be ignored; what is only sent is the kernel's.
  EXPECT_NE(HandlerOf(SIGBUS), ignored);
  EXPECT_EQ(HandlerOf(SIGQUIT), ignored);
  raise(SIGBUS);
  Install("signals=ABRT");
  EXPECT_EQ(HandlerOf(SIGBUS), ignored);
  signal(SIGBUS, SIG_DFL);
  signal(SIGQUIT, SIG_DFL);
}

// What a bad option costs: of a program's own nothing is changed, of the environment it
// alone is not taken. Either says so.
TEST(InstallTest, WhereNoCoreCanGoIsSaidAtOnce) {
  unsetenv("MINICORE_OPTIONS");
  const int reading = open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const std::string reader = std::to_string(reading);
  const struct {
    std::string option;
    std::string reason;
  } kCases[] = {{"path=/dev/null", "it is a device"},
                {"fd=987", "no such descriptor is open"},
                {"fd=" + reader, "it is not open for writing"}};
  for (const auto& item : kCases) {
    const std::string line = "minicore: option " + item.option + ": " + item.reason + "\n";
    minicore_config config = minicore_default_config();
    config.path = "/tmp/mine";
    const size_t equals = item.option.find('=') + 1;
    if (item.option[0] == 'f') config.fd = atoi(&item.option[equals]);
    if (item.option[0] == 'p') config.path = &item.option[equals];
    testing::internal::CaptureStderr();
    EXPECT_EQ(minicore_install(&config), -EINVAL);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), line);

    config = minicore_default_config();
    config.path = "/tmp/mine";
    setenv("MINICORE_OPTIONS", (item.option + ":hops=7").c_str(), 1);
    testing::internal::CaptureStderr();
    EXPECT_EQ(minicore_install(&config), 0);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), line);
    EXPECT_STREQ(g_runtime.policy.path, "/tmp/mine");
    EXPECT_EQ(g_runtime.policy.fd, -1);
    EXPECT_EQ(g_runtime.policy.hops, 7u);
    unsetenv("MINICORE_OPTIONS");
  }
  close(reading);
}

TEST(InstallTest, WhatIsWrongWithAFieldIsSaid) {
  unsetenv("MINICORE_OPTIONS");
  minicore_config config = minicore_default_config();
  config.segments = 3;
  testing::internal::CaptureStderr();
  EXPECT_EQ(minicore_install(&config), -EINVAL);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "minicore: option segments=3: 64 to 65534 are possible\n");
}

class PreopenTest : public testing::Test {
 protected:
  PreopenTest() {
    char name[] = "/tmp/preopen_test.XXXXXX";
    directory_ = mkdtemp(name);
    path_ = directory_ + "/core";
  }
  ~PreopenTest() override { std::filesystem::remove_all(directory_); }

  // A child that has its file open, and ends by `end` when it is told to.
  struct Child {
    pid_t pid;
    int go;
  };
  Child Start(void (*end)()) const {
    int ready[2];
    int go[2];
    EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(go, O_CLOEXEC), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      close(go[1]);
      minicore_config config = minicore_default_config();
      config.preopen = 1;
      config.path = path_.c_str();
      char byte = 0;
      if (minicore_install(&config) != 0 || write(ready[1], "", 1) != 1) _exit(100);
      (void)!read(go[0], &byte, 1);
      end();
      _exit(0);
    }
    close(ready[1]);
    close(go[0]);
    char byte;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return {pid, go[1]};
  }
  static void End(const Child& child) {
    close(child.go);
    EXPECT_EQ(waitpid(child.pid, nullptr, 0), child.pid);
  }
  std::set<std::string> Files() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      names.insert(entry.path().filename());
    }
    return names;
  }
  using Names = std::set<std::string>;

  std::string directory_;
  std::string path_;
};

TEST_F(PreopenTest, LeavesNothingBehindAProcessThatExits) {
  for (const auto end : {+[] { exit(0); }, +[] { quick_exit(0); }}) {
    const Child child = Start(end);
    EXPECT_EQ(Files(), Names{"core.part"});
    End(child);
    EXPECT_EQ(Files(), Names{});
  }
}

TEST_F(PreopenTest, TakesOverWhatAProcessThatWasEndedHasLeft) {
  End(Start([] { raise(SIGTERM); }));
  EXPECT_EQ(Files(), Names{"core.part"});
  const Child child = Start([] { raise(SIGSEGV); });
  EXPECT_EQ(Files(), Names{"core.part"});
  End(child);
  EXPECT_EQ(Files(), Names{"core"});
}

TEST_F(PreopenTest, GivesEachOfSeveralProcessesItsOwn) {
  const Child one = Start([] { raise(SIGSEGV); });
  const Child two = Start([] { raise(SIGSEGV); });
  EXPECT_EQ(Files(), (Names{"core.part", "core.1.part"}));
  End(two);
  End(one);
  EXPECT_EQ(Files(), (Names{"core", "core.1"}));
}

TEST_F(PreopenTest, GivesADirectoryTheNameOfAnyCore) {
  path_ = directory_;
  prctl(PR_SET_NAME, "worker");
  const Child child = Start([] { exit(0); });
  EXPECT_EQ(Files(), Names{"core.worker." + std::to_string(child.pid) + ".part"});
  End(child);
}

}  // namespace
}  // namespace minicore
