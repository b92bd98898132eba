// Blocking the signals of faults means to a program what it always meant, and
// yet a fault is dumped.

#include <errno.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>

#include "minicore/minicore.h"

namespace {

bool Blocked(int signal) {
  sigset_t mask;
  sigemptyset(&mask);
  pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return sigismember(&mask, signal) == 1;
}

bool Pending(int signal) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

sigset_t Full() {
  sigset_t set;
  sigfillset(&set);
  return set;
}

sigset_t Only(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

void BlockAll() {
  const sigset_t all = Full();
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

void Fault() { *static_cast<volatile int*>(nullptr) = 1; }

// Runs `body` in a child in an empty directory. Its wait status, and whether it
// left a core. `body` exits with 0 if all is as it should be.
struct Ended {
  int status;
  bool core;
};

Ended RunChild(void (*body)()) {
  std::string directory = testing::TempDir() + "/child.XXXXXX";
  EXPECT_NE(mkdtemp(directory.data()), nullptr);
  const pid_t child = fork();
  if (child == 0) {
    if (chdir(directory.c_str()) != 0) _exit(100);
    minicore_config config = MINICORE_CONFIG_INIT;
    config.path = "core.made";
    if (minicore_install(&config) != 0) _exit(101);
    body();
    _exit(0);
  }
  Ended ended{};
  EXPECT_EQ(waitpid(child, &ended.status, 0), child);
  const std::string core = directory + "/core.made";
  ended.core = access(core.c_str(), F_OK) == 0;
  unlink(core.c_str());
  rmdir(directory.c_str());
  return ended;
}

// Returns once the main thread sleeps in the kernel.
void AwaitSleepOfMain() {
  const std::string path =
      "/proc/self/task/" + std::to_string(getpid()) + "/stat";
  for (char state = '?'; state != 'S';) {
    std::ifstream stat(path);
    std::string text;
    getline(stat, text);
    state = text[text.rfind(')') + 2];
  }
}

void Require(bool truth) {
  if (!truth) _exit(1);
}

void ExpectDump(const Ended& ended, int signal) {
  EXPECT_TRUE(WIFSIGNALED(ended.status));
  EXPECT_EQ(WTERMSIG(ended.status), signal);
  EXPECT_TRUE(ended.core);
}

void ExpectNoDump(const Ended& ended) {
  EXPECT_TRUE(WIFEXITED(ended.status));
  EXPECT_EQ(WEXITSTATUS(ended.status), 0);
  EXPECT_FALSE(ended.core);
}

TEST(SignalMask, AnswersWhatTheProgramHasSet) {
  ExpectNoDump(RunChild([] {
    Require(!Blocked(SIGSEGV) && !Blocked(SIGUSR1));
    BlockAll();
    Require(Blocked(SIGSEGV) && Blocked(SIGFPE) && Blocked(SIGUSR1));
    const sigset_t segv = Only(SIGSEGV);
    sigset_t old;
    sigprocmask(SIG_UNBLOCK, &segv, &old);
    Require(sigismember(&old, SIGSEGV) == 1);
    Require(!Blocked(SIGSEGV) && Blocked(SIGFPE) && Blocked(SIGUSR1));
    sigprocmask(SIG_SETMASK, &segv, nullptr);
    Require(Blocked(SIGSEGV) && !Blocked(SIGFPE) && !Blocked(SIGUSR1));
  }));
}

TEST(SignalMask, DumpsAFaultWithEverythingBlocked) {
  ExpectDump(RunChild([] {
               BlockAll();
               Fault();
             }),
             SIGSEGV);
}

TEST(SignalMask, DumpsAFaultInAHandlerWhoseMaskIsFull) {
  ExpectDump(RunChild([] {
               struct sigaction action = {};
               action.sa_handler = [](int) { Fault(); };
               action.sa_mask = Full();
               sigaction(SIGUSR1, &action, nullptr);
               raise(SIGUSR1);
             }),
             SIGSEGV);
}

TEST(SignalMask, DumpsAFaultOfAThreadThatWasStartedWithAFullMask) {
  ExpectDump(RunChild([] {
               pthread_attr_t attributes;
               pthread_attr_init(&attributes);
               const sigset_t all = Full();
               pthread_attr_setsigmask_np(&attributes, &all);
               pthread_t thread;
               pthread_create(
                   &thread, &attributes,
                   [](void*) -> void* {
                     Require(Blocked(SIGSEGV) && Blocked(SIGUSR1));
                     Fault();
                     return nullptr;
                   },
                   nullptr);
               pthread_join(thread, nullptr);
             }),
             SIGSEGV);
}

TEST(SignalMask, IsInheritedByThreads) {
  ExpectNoDump(RunChild([] {
    BlockAll();
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          Require(Blocked(SIGSEGV));
          raise(SIGSEGV);
          Require(Pending(SIGSEGV));
          return nullptr;
        },
        nullptr);
    pthread_join(thread, nullptr);
  }));
}

// Another process sends a signal at about the time when a thread starts, three hundred
// times, a little later each time.
TEST(SignalMask, IsInheritedFromAThreadsFirstInstruction) {
  ExpectNoDump(RunChild([] {
    constexpr int kRounds = 300;
    auto* round = static_cast<std::atomic<int>*>(
        mmap(nullptr, sizeof(std::atomic<int>), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    const pid_t receiver = getpid();
    BlockAll();
    const pid_t sender = fork();
    if (sender == 0) {
      for (int i = 1; i <= kRounds; ++i) {
        while (*round < i && getppid() == receiver) {
        }
        for (volatile int wait = i * 100; wait > 0; wait = wait - 1) {
        }
        kill(receiver, SIGBUS);
      }
      _exit(0);
    }
    const sigset_t bus = Only(SIGBUS);
    for (int i = 1; i <= kRounds; ++i) {
      BlockAll();  // as on the first day: nothing of it is blocked for the kernel
      *round = i;
      pthread_t thread;
      pthread_create(
          &thread, nullptr, [](void*) -> void* { return nullptr; }, nullptr);
      pthread_join(thread, nullptr);
      int number = 0;
      Require(sigwait(&bus, &number) == 0 && number == SIGBUS);
    }
    int status = 0;
    Require(waitpid(sender, &status, 0) == sender && status == 0);
  }));
}

TEST(SignalMask, IsInheritedByThreadsOfC11) {
  ExpectDump(RunChild([] {
               BlockAll();
               thrd_t thread;
               const auto body = [](void*) -> int {
                 Require(Blocked(SIGSEGV));
                 Fault();
                 return 0;
               };
               thrd_create(&thread, body, nullptr);
               thrd_join(thread, nullptr);
             }),
             SIGSEGV);
}

TEST(SignalMask, ThreadsOfC11ReturnTheirResult) {
  ExpectNoDump(RunChild([] {
    thrd_t thread;
    int result = 0;
    const auto body = [](void* argument) -> int {
      if (argument == nullptr) thrd_exit(-7);
      return *static_cast<int*>(argument);
    };
    int number = INT_MIN;
    Require(thrd_create(&thread, body, &number) == thrd_success);
    Require(thrd_join(thread, &result) == thrd_success && result == INT_MIN);
    Require(thrd_create(&thread, body, nullptr) == thrd_success);
    Require(thrd_join(thread, &result) == thrd_success && result == -7);
  }));
}

// It runs in its parent's memory, thread-locals and all, until exec.
TEST(SignalMask, OfAChildOfVforkIsItsOwn) {
  ExpectNoDump(RunChild([] {
    const sigset_t segv = Only(SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &segv, nullptr);
    const pid_t child = vfork();
    if (child == 0) {
      const sigset_t bus = Only(SIGBUS);
      sigset_t old;
      bool right = pthread_sigmask(SIG_SETMASK, &bus, &old) == 0;
      right &= sigismember(&old, SIGSEGV) == 1 && sigismember(&old, SIGBUS) == 0;
      right &= Blocked(SIGBUS) && !Blocked(SIGSEGV);
      _exit(right ? 0 : 1);
    }
    int status = 0;
    Require(waitpid(child, &status, 0) == child && status == 0);
    Require(Blocked(SIGSEGV) && !Blocked(SIGBUS));
    raise(SIGSEGV);
    Require(Pending(SIGSEGV));
  }));
}

TEST(SignalMask, IsInheritedByAChildOfForkAndThenItsOwn) {
  ExpectNoDump(RunChild([] {
    const sigset_t segv = Only(SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &segv, nullptr);
    const pid_t child = fork();
    if (child == 0) {
      bool right = Blocked(SIGSEGV);
      BlockAll();
      right &= Blocked(SIGBUS);
      raise(SIGBUS);
      right &= Pending(SIGBUS);
      const pid_t grandchild = vfork();
      if (grandchild == 0) {
        const sigset_t none = {};
        pthread_sigmask(SIG_SETMASK, &none, nullptr);
        _exit(0);
      }
      int status = 0;
      right &= waitpid(grandchild, &status, 0) == grandchild && status == 0;
      right &= Blocked(SIGBUS) && Blocked(SIGSEGV);
      _exit(right ? 0 : 1);
    }
    int status = 0;
    Require(waitpid(child, &status, 0) == child && status == 0);
    Require(Blocked(SIGSEGV) && !Blocked(SIGBUS));
  }));
}

TEST(SignalMask, OfAThreadThatStartsAChildByVforkIsItsOwn) {
  ExpectNoDump(RunChild([] {
    BlockAll();
    pthread_t thread;
    pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          const pid_t child = vfork();
          if (child == 0) {
            const sigset_t none = {};
            pthread_sigmask(SIG_SETMASK, &none, nullptr);
            _exit(0);
          }
          int status = 0;
          Require(waitpid(child, &status, 0) == child && status == 0);
          Require(Blocked(SIGSEGV) && Blocked(SIGUSR1));
          return nullptr;
        },
        nullptr);
    pthread_join(thread, nullptr);
  }));
}

// One that libc makes by itself may have all signals blocked behind libc's back.
TEST(SignalMask, IsAdoptedByAThreadThatAsksForIt) {
  ExpectDump(RunChild([] {
               const uint64_t all = ~uint64_t{0};
               syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
               Require(minicore_thread_init() == 0);
               Require(Blocked(SIGSEGV));
               Fault();
             }),
             SIGSEGV);
}

TEST(SignalMask, KeepsASentSignalPendingUntilItIsUnblocked) {
  ExpectNoDump(RunChild([] {
    BlockAll();
    raise(SIGSEGV);
    kill(getpid(), SIGFPE);
    Require(Pending(SIGSEGV) && Pending(SIGFPE));
    BlockAll();
    Require(Pending(SIGSEGV) && Pending(SIGFPE));
  }));
  ExpectDump(RunChild([] {
               BlockAll();
               raise(SIGSEGV);
               const sigset_t none = {};
               pthread_sigmask(SIG_SETMASK, &none, nullptr);
             }),
             SIGSEGV);
}

void BlockAllBut(int signal) {
  sigset_t rest = Full();
  sigdelset(&rest, signal);
  pthread_sigmask(SIG_SETMASK, &rest, nullptr);
}

TEST(SignalMask, LetsOneOfManyGoWhenItIsUnblocked) {
  ExpectDump(RunChild([] {
               BlockAll();
               raise(SIGFPE);
               raise(SIGSEGV);
               BlockAllBut(SIGSEGV);
             }),
             SIGSEGV);
  ExpectDump(RunChild([] {
               BlockAll();
               raise(SIGFPE);
               raise(SIGSEGV);
               const sigset_t segv = Only(SIGSEGV);
               pthread_sigmask(SIG_UNBLOCK, &segv, nullptr);
             }),
             SIGSEGV);
}

volatile int g_runs = 0;

void CountRun(int) { g_runs = g_runs + 1; }

TEST(SignalMask, KeepsAHandlerOfTheProgramWaiting) {
  for (const int flags : {0, static_cast<int>(SA_RESETHAND)}) {
    static int g_flags;
    g_flags = flags;
    ExpectNoDump(RunChild([] {
      struct sigaction action = {};
      action.sa_handler = CountRun;
      action.sa_flags = g_flags;
      sigaction(SIGBUS, &action, nullptr);
      const sigset_t bus = Only(SIGBUS);
      pthread_sigmask(SIG_BLOCK, &bus, nullptr);
      raise(SIGBUS);
      Require(g_runs == 0 && Pending(SIGBUS));
      pthread_sigmask(SIG_UNBLOCK, &bus, nullptr);
      Require(g_runs == 1 && !Pending(SIGBUS) && !Blocked(SIGBUS));
    }));
  }
}

void RaiseTrapAndLook(int) {
  Require(Blocked(SIGTRAP));
  raise(SIGTRAP);
  Require(g_runs == 0 && Pending(SIGTRAP) && Blocked(SIGTRAP));
}

void HandleWithFullMask(int number) {
  struct sigaction action = {};
  action.sa_handler = RaiseTrapAndLook;
  action.sa_mask = Full();
  sigaction(number, &action, nullptr);
}

TEST(SignalMask, OfAHandlerKeepsTheProgramsOtherHandlersWaiting) {
  ExpectNoDump(RunChild([] {
    signal(SIGTRAP, CountRun);
    HandleWithFullMask(SIGUSR1);
    raise(SIGUSR1);
    Require(g_runs == 1 && !Blocked(SIGTRAP));
    // One of a fault is no different.
    g_runs = 0;
    HandleWithFullMask(SIGBUS);
    raise(SIGBUS);
    Require(g_runs == 1 && !Blocked(SIGTRAP));
  }));
}

TEST(SignalMask, OfAHandlerKeepsASentSignalPendingUntilItReturns) {
  ExpectDump(RunChild([] {
               HandleWithFullMask(SIGUSR1);
               raise(SIGUSR1);
             }),
             SIGTRAP);
}

TEST(SignalMask, LeavesASentSignalToSigwait) {
  ExpectNoDump(RunChild([] {
    BlockAll();
    kill(getpid(), SIGTRAP);
    const sigset_t trap = Only(SIGTRAP);
    int number = 0;
    Require(sigwait(&trap, &number) == 0 && number == SIGTRAP);
  }));
}

TEST(SignalMask, LeavesAQueuedSignalWithItsValueToSignalfd) {
  ExpectNoDump(RunChild([] {
    BlockAll();
    const sigset_t trap = Only(SIGTRAP);
    const int fd = signalfd(-1, &trap, 0);
    sigval value;
    value.sival_int = 4711;
    sigqueue(getpid(), SIGTRAP, value);
    signalfd_siginfo info;
    Require(read(fd, &info, sizeof(info)) == sizeof(info));
    Require(info.ssi_signo == SIGTRAP && info.ssi_int == 4711);
  }));
}

// Each with a mask that has SIGTRAP.
using Wait = int (*)(const sigset_t*);
constexpr Wait kWaits[] = {
    [](const sigset_t* mask) { return sigsuspend(mask); },
    [](const sigset_t* mask) {
      return pselect(0, nullptr, nullptr, nullptr, nullptr, mask);
    },
    [](const sigset_t* mask) { return ppoll(nullptr, 0, nullptr, mask); },
    [](const sigset_t* mask) {
      epoll_event event;
      return epoll_pwait(epoll_create1(0), &event, 1, -1, mask);
    },
    [](const sigset_t* mask) {
      epoll_event event;
      return epoll_pwait2(epoll_create1(0), &event, 1, nullptr, mask);
    },
};
Wait g_wait;

TEST(SignalMask, OfAWaitKeepsASentSignalPending) {
  for (const Wait wait : kWaits) {
    g_wait = wait;
    ExpectNoDump(RunChild([] {
      // Pending before the wait, which is only possible behind libc's back.
      const uint64_t trap = uint64_t{1} << (SIGTRAP - 1);
      syscall(SYS_rt_sigprocmask, SIG_BLOCK, &trap, nullptr, sizeof(trap));
      raise(SIGTRAP);
      const sigset_t all = Full();
      Require(g_wait(&all) == -1 && errno == EINTR);
      Require(Pending(SIGTRAP));
    }));
  }
}

TEST(SignalMask, OfAWaitIsOverWhenTheWaitIs) {
  for (const Wait wait : kWaits) {
    g_wait = wait;
    ExpectDump(RunChild([] {
                 static const pthread_t waiter = pthread_self();
                 pthread_t sender;
                 pthread_create(
                     &sender, nullptr,
                     [](void*) -> void* {
                       AwaitSleepOfMain();
                       pthread_kill(waiter, SIGTRAP);
                       return nullptr;
                     },
                     nullptr);
                 const sigset_t all = Full();
                 g_wait(&all);
               }),
               SIGTRAP);
  }
}

TEST(SignalMask, OfAWaitLeavesTheWaitACancellationPoint) {
  for (const Wait wait : kWaits) {
    g_wait = wait;
    ExpectNoDump(RunChild([] {
      pthread_t waiter;
      pthread_create(
          &waiter, nullptr,
          [](void*) -> void* {
            const sigset_t all = Full();
            g_wait(&all);
            _exit(1);
          },
          nullptr);
      pthread_cancel(waiter);
      void* result = nullptr;
      pthread_join(waiter, &result);
      Require(result == PTHREAD_CANCELED);
    }));
  }
}

TEST(SignalMask, IsRestoredBySiglongjmp) {
  ExpectDump(RunChild([] {
               sigjmp_buf back;
               if (sigsetjmp(back, 1) == 0) {
                 BlockAll();
                 siglongjmp(back, 1);
               }
               Require(!Blocked(SIGSEGV));
               raise(SIGSEGV);
             }),
             SIGSEGV);
}

TEST(SignalMask, OfTheOldFunctionsIsTheSame) {
  ExpectNoDump(RunChild([] {
    sighold(SIGSEGV);
    Require(Blocked(SIGSEGV));
    sigrelse(SIGSEGV);
    Require(!Blocked(SIGSEGV));
    sigblock(1 << (SIGBUS - 1));
    Require(Blocked(SIGBUS));
    Require(sigsetmask(0) == 1 << (SIGBUS - 1));
    Require(!Blocked(SIGBUS));
  }));
}

TEST(SignalMask, SigsetKnowsTheDefaultActionAndHolds) {
  ExpectDump(RunChild([] {
               Require(sigset(SIGABRT, SIG_IGN) == SIG_DFL);
               Require(sigset(SIGABRT, SIG_HOLD) == SIG_IGN);
               Require(Blocked(SIGABRT));
               Require(sigset(SIGABRT, SIG_DFL) == SIG_HOLD);
               Require(!Blocked(SIGABRT));
               Require(sigset(SIGKILL, SIG_IGN) == SIG_ERR);
               Require(sigset(4711, SIG_IGN) == SIG_ERR);
               Require(sigignore(SIGQUIT) == 0);
               raise(SIGQUIT);
               abort();
             }),
             SIGABRT);
}

}  // namespace
