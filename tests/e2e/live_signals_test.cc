// Signals that come while a dump is made: each reaches whom it belongs to, and no core is
// lost by them.

#include <errno.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "minicore/minicore.h"
#include "tests/support/filter_call.h"

namespace minicore {
namespace {

class LiveSignals : public testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/live_signals.XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    crash_path_ = directory_ + "/crash";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void Install() const {
    minicore_config config = minicore_default_config();
    config.path = crash_path_.c_str();
    if (minicore_install(&config) != 0) abort();
  }
  // The child that runs `body` with minicore installed.
  pid_t Child(const std::function<void()>& body) const {
    const pid_t child = fork();
    if (child == 0) {
      Install();
      body();
      _exit(0);
    }
    return child;
  }
  bool HasCore() const {
    struct stat status;
    return stat(crash_path_.c_str(), &status) == 0 && status.st_size > 4096;
  }

  std::string directory_;
  std::string crash_path_;
};

int DeathOf(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child) return -1;
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_F(LiveSignals, AFatalSignalDuringALiveDumpHasACoreOfItsOwn) {
  for (int signal : {SIGABRT, SIGQUIT, SIGSEGV}) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = Child([&ends] {
      close(ends[0]);
      minicore_dump_fd(ends[1]);
      for (;;) pause();
    });
    close(ends[1]);
    char buffer[4096];
    // The dump is under way: it has written something, and cannot write all.
    ASSERT_GT(read(ends[0], buffer, sizeof(buffer)), 0);
    kill(child, signal);
    while (read(ends[0], buffer, sizeof(buffer)) > 0) {
    }
    close(ends[0]);
    EXPECT_EQ(DeathOf(child), signal);
    EXPECT_TRUE(HasCore()) << signal;
    unlink(crash_path_.c_str());
  }
}

TEST_F(LiveSignals, MoreFaultsThatAreSentDoNotEndTheDumpOfTheFirst) {
  for (int round = 0; round < 5; ++round) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = Child([&ends] {
      for (int i = 0; i < 200; ++i) memset(malloc(100000), i, 100000);
      if (write(ends[1], "", 1) != 1) _exit(1);
      for (;;) pause();
    });
    char ready;
    ASSERT_EQ(read(ends[0], &ready, 1), 1);
    siginfo_t info;
    do {
      kill(child, SIGSEGV);
      // Faster than that, the kernel puts frame on frame before ours can run.
      usleep(200);
      info.si_pid = 0;
      ASSERT_EQ(waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT), 0);
    } while (info.si_pid != child);
    EXPECT_EQ(DeathOf(child), SIGSEGV);
    EXPECT_TRUE(HasCore());
    unlink(crash_path_.c_str());
    close(ends[0]);
    close(ends[1]);
  }
}

std::atomic<uint64_t> handled{0};
void Count(int) { handled.fetch_add(1); }

thread_local sigjmp_buf t_back;
void Back(int) { siglongjmp(t_back, 1); }

// Makes live dumps while a thread does `step` over and over.
// Returns: how often it did.
uint64_t UnderDumps(int dumps, const std::string& path, const std::function<void()>& step) {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> steps{0};
  std::thread thread([&] {
    while (!stop.load()) {
      step();
      steps.fetch_add(1);
    }
  });
  for (int i = 0; i < dumps; ++i) {
    EXPECT_EQ(minicore_dump(path.c_str()), 0);
    unlink(path.c_str());
  }
  stop.store(true);
  thread.join();
  return steps.load();
}

TEST_F(LiveSignals, EveryBreakpointReachesTheProgramsHandler) {
  Install();
  handled.store(0);
  const sighandler_t old = signal(SIGTRAP, &Count);
  const uint64_t steps = UnderDumps(40, directory_ + "/live", [] { asm volatile("int3"); });
  signal(SIGTRAP, old);
  EXPECT_GT(steps, 0u);
  EXPECT_EQ(handled.load(), steps);
}

// As crash handlers do that hand a fault on (Breakpad's, client/linux/handler/
// exception_handler.cc).
TEST_F(LiveSignals, EveryFaultThatTheProgramSendsToItselfReachesItsHandler) {
  Install();
  handled.store(0);
  const sighandler_t old = signal(SIGSEGV, &Count);
  const uint64_t steps = UnderDumps(100, directory_ + "/live", [] {
    siginfo_t info = {};
    info.si_signo = SIGSEGV;
    info.si_code = SEGV_MAPERR;
    ASSERT_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGSEGV, &info), 0);
  });
  signal(SIGSEGV, old);
  EXPECT_GT(steps, 0u);
  EXPECT_EQ(handled.load(), steps);
}

// With this slack of timers, a call that waits for no time at all waits for long.
TEST_F(LiveSignals, AFaultsSignalThatIsSentAndBlockedWaits) {
  const pid_t child = Child([this] {
    UnderDumps(100, directory_ + "/live", [] {
      prctl(PR_SET_TIMERSLACK, 100'000'000ul);
      sigset_t trap;
      sigemptyset(&trap);
      sigaddset(&trap, SIGTRAP);
      pthread_sigmask(SIG_BLOCK, &trap, nullptr);
      pthread_kill(pthread_self(), SIGTRAP);
      const timespec none = {};
      if (sigtimedwait(&trap, nullptr, &none) != SIGTRAP) _exit(1);
      pthread_sigmask(SIG_UNBLOCK, &trap, nullptr);
    });
  });
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(LiveSignals, AProgramThatHandlesItsOwnFaultsGoesOn) {
  Install();
  const sighandler_t old = signal(SIGSEGV, &Back);
  static int* volatile nowhere = nullptr;
  const uint64_t steps = UnderDumps(40, directory_ + "/live", [] {
    if (sigsetjmp(t_back, 1) == 0) *nowhere = 1;
  });
  signal(SIGSEGV, old);
  EXPECT_GT(steps, 0u);
  EXPECT_FALSE(HasCore());
}

// As the kernel has it, without a look at it by sigaction().
struct Action {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};
Action ActionOf(int signal) {
  Action action = {};
  syscall(SYS_rt_sigaction, signal, nullptr, &action, sizeof(action.mask));
  return action;
}
void* HandlerOf(int signal) { return ActionOf(signal).handler; }

TEST_F(LiveSignals, AChildForkedMeanwhileHasTheProgramsHandlers) {
  Install();
  const sighandler_t old = signal(SIGSEGV, &Count);
  void* const mine = HandlerOf(SIGSEGV);
  std::atomic<int> others{0};
  const uint64_t steps = UnderDumps(100, directory_ + "/live", [&] {
    const pid_t child = fork();
    if (child == 0) _exit(HandlerOf(SIGSEGV) == mine ? 0 : 1);
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) others.fetch_add(1);
  });
  signal(SIGSEGV, old);
  EXPECT_GT(steps, 0u);
  EXPECT_EQ(others.load(), 0);
}

// A thread that takes no freeze signal runs on for a while.
TEST_F(LiveSignals, AChildForkedAtACrashHasTheProgramsActions) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = Child([&ends] {
    signal(SIGUSR1, &Count);
    signal(SIGFPE, &Count);
    Action before[32];
    for (int number = 1; number < 32; ++number) before[number] = ActionOf(number);
    std::atomic<bool> ready{false};
    std::thread forker([&] {
      const uint64_t freeze_signal = uint64_t{1} << 32;
      syscall(SYS_rt_sigprocmask, SIG_BLOCK, &freeze_signal, nullptr, sizeof(freeze_signal));
      ready.store(true);
      while (HandlerOf(SIGTERM) == before[SIGTERM].handler ||
             HandlerOf(SIGFPE) == before[SIGFPE].handler) {
      }
      if (fork() != 0) pause();
      char others = 0;
      for (int number = 1; number < 32; ++number) {
        const Action now = ActionOf(number);
        if (memcmp(&now, &before[number], sizeof(now)) != 0) ++others;
      }
      if (write(ends[1], &others, 1) != 1) _exit(1);
      _exit(0);
    });
    while (!ready.load()) sched_yield();
    abort();
  });
  close(ends[1]);
  char others = -1;
  EXPECT_EQ(read(ends[0], &others, 1), 1);
  EXPECT_EQ(others, 0);
  close(ends[0]);
  EXPECT_EQ(DeathOf(child), SIGABRT);
  EXPECT_TRUE(HasCore());
}

void CountToo(int) {}

TEST_F(LiveSignals, AnActionThatIsSetMeanwhileStays) {
  Install();
  const sighandler_t old = signal(SIGBUS, &Count);
  bool first = true;
  std::atomic<int> lost{0};
  UnderDumps(100, directory_ + "/live", [&] {
    const sighandler_t was = signal(SIGBUS, first ? &CountToo : &Count);
    if (was != (first ? &Count : &CountToo)) lost.fetch_add(1);
    first = !first;
  });
  signal(SIGBUS, old);
  EXPECT_EQ(lost.load(), 0);
}

// Its handler may not return, and would take the dumper with it.
uintptr_t main_stack;
std::atomic<int> elsewhere{0};
void Where(int) {
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  if (here > main_stack || main_stack - here > 1 << 20) elsewhere.fetch_add(1);
  handled.fetch_add(1);
}

TEST_F(LiveSignals, TheProgramsHandlersDoNotRunInTheDumper) {
  Install();
  main_stack = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  handled.store(0);
  const sighandler_t old = signal(SIGSEGV, &Where);
  const pid_t parent = getpid();
  const pid_t sender = fork();
  if (sender == 0) {
    while (getppid() == parent) {
      kill(parent, SIGSEGV);
      usleep(50);
    }
    _exit(0);
  }
  const std::string path = directory_ + "/live";
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(minicore_dump(path.c_str()), 0);
    unlink(path.c_str());
  }
  kill(sender, SIGKILL);
  while (waitpid(sender, nullptr, 0) != sender) {
  }
  signal(SIGSEGV, old);
  EXPECT_GT(handled.load(), 0u);
  EXPECT_EQ(elsewhere.load(), 0);
}

// By a filter, after which the signal that a live dump begins with would find nobody.
TEST_F(LiveSignals, AProgramThatMaySetNoActionGoesOnWithoutADump) {
  for (const bool by_signal : {false, true}) {
    const pid_t child = Child([by_signal] {
      if (by_signal) {
        minicore_config config = minicore_default_config();
        config.dump_signal = "USR2";
        if (minicore_install(&config) != 0) _exit(1);
      }
      if (!FilterCall(SYS_rt_sigaction, SECCOMP_RET_ERRNO | EPERM)) _exit(1);
      if (by_signal) raise(SIGUSR2);
      // The second time, too: what the first began is over.
      for (int i = 0; i < 2; ++i) {
        if (minicore_dump_fd(STDOUT_FILENO) != -EPERM) _exit(2);
      }
    });
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << by_signal;
  }
}

// Not even one signal can be queued.
TEST_F(LiveSignals, AFullQueueOfSignalsIsNoHindrance) {
  for (const rlim_t hard : {RLIM_INFINITY, rlim_t{0}}) {
    const pid_t child = Child([&] {
      std::thread([] {
        for (;;) pause();
      }).detach();
      rlimit limit;
      getrlimit(RLIMIT_SIGPENDING, &limit);
      limit = {0, hard == 0 ? 0 : limit.rlim_max};
      setrlimit(RLIMIT_SIGPENDING, &limit);
      if (minicore_dump(crash_path_.c_str()) != 0) _exit(1);
      rlimit after;
      getrlimit(RLIMIT_SIGPENDING, &after);
      if (after.rlim_cur != 0 || after.rlim_max != limit.rlim_max) _exit(2);
    });
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << hard;
    EXPECT_TRUE(HasCore());
    unlink(crash_path_.c_str());
  }
}

}  // namespace
}  // namespace minicore
