// More than one process: children of fork and vfork, and programs without a
// terminal.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/threads.h"
#include "tests/support/filter_call.h"
#include "tests/torture/crash.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {

#define NOINLINE __attribute__((noinline))

NOINLINE void CrashAsChild() {
  NameTheCrasher();
  CrashHere();
}

NOINLINE void CrashAsParent() {
  NameTheCrasher();
  CrashHere();
}

namespace {

// Parent and child crash at the same time, each in a process of its own.
void ForkBoth(const Arguments&) {
  StartBystanders(2);
  static auto* go =
      static_cast<std::atomic<int>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = fork();
  if (child == 0) {
    go->fetch_add(1);
    while (*go < 2) {
    }
    CrashAsChild();
  }
  victim::Fact("child", child);
  go->fetch_add(1);
  while (*go < 2) {
  }
  CrashAsParent();
}

// The child of vfork shares our memory, and we sleep until it is gone.
void VforkChild(const Arguments&) {
  StartBystanders(2);
  const pid_t child = vfork();
  if (child == 0) CrashHere();
  int status = 0;
  if (waitpid(child, &status, 0) != child) Fail("waitpid");
  victim::Fact("child", child);
  victim::Fact("child.status", status);
  _exit(0);
}

void VforkChildThenParent(const Arguments&) {
  StartBystanders(2);
  const pid_t child = vfork();
  if (child == 0) CrashHere();
  int status = 0;
  if (waitpid(child, &status, 0) != child) Fail("waitpid");
  victim::Fact("child", child);
  victim::Fact("child.status", status);
  CrashAsParent();
}

// The child and another thread of the parent crash at the same time.
void VforkChildAndParent(const Arguments&) {
  static std::atomic<int> child_pid{0};
  static std::atomic<bool> go{false};
  victim::StartThread("crasher", [] {
    while (child_pid == 0) {
    }
    victim::Fact("child", static_cast<int>(child_pid));
    go = true;
    CrashHere();
  });
  if (vfork() == 0) {
    child_pid = getpid();
    while (!go) {
    }
    CrashHere();
  }
  pause();
}

void Daemon(const Arguments&) {
  StartBystanders(2);
  NameTheCrasher();
  close(0);
  close(1);
  close(2);
  CrashHere();
}

// The third descriptor is a file of the program's own: nothing of ours belongs
// there.
void DaemonWithFileAsStandardError(const Arguments&) {
  NameTheCrasher();
  close(0);
  close(1);
  close(2);
  for (int fd = 0; fd < 3; ++fd) open("precious", O_RDWR | O_CREAT, 0600);
  if (write(2, "precious", 8) != 8) _exit(2);
  CrashHere();
}

void Plain(const Arguments& arguments) { CrashIn(arguments, CrashHere); }

void CallAbort(const Arguments& arguments) {
  CrashIn(arguments, [] { abort(); });
}

// Faults that do not happen again by themselves: what made them is over.
void Breakpoint(const Arguments&) {
  StartBystanders(2);
  NameTheCrasher();
  asm volatile("int3");
  _exit(7);
}

void RefusedCall(const Arguments&) {
  StartBystanders(2);
  NameTheCrasher();
  if (!minicore::FilterCall(SYS_getppid, SECCOMP_RET_TRAP)) Fail("prctl");
  syscall(SYS_getppid);
  _exit(7);
}

// Waits for whatever is sent.
void Wait(const Arguments&) {
  NameTheCrasher();
  StartBystanders(2);
  victim::AnnounceReady();
  victim::Park();
}

// SIGQUIT is blocked, but for the time of a call that waits for it: the kernel
// gives the handler's frame the mask from before the call. wait_in CALL
void WaitInCall(const Arguments& arguments) {
  const std::string& name = arguments.at(0);
  NameTheCrasher();
  sigset_t quit;
  sigset_t none;
  sigemptyset(&none);
  sigemptyset(&quit);
  sigaddset(&quit, SIGQUIT);
  pthread_sigmask(SIG_BLOCK, &quit, nullptr);
  StartBystanders(2);
  victim::AnnounceReady();
  epoll_event event;
  if (name == "ppoll") ppoll(nullptr, 0, nullptr, &none);
  if (name == "pselect") pselect(0, nullptr, nullptr, nullptr, nullptr, &none);
  if (name == "sigsuspend") sigsuspend(&none);
  if (name == "epoll_pwait") {
    epoll_pwait(epoll_create1(EPOLL_CLOEXEC), &event, 1, -1, &none);
  }
  _exit(7);
}

// Goes on, and so do its threads, if the signal is ignored.
void SurviveQuit(const Arguments&) {
  static std::atomic<int> asked{0};
  static std::atomic<int> answered{0};
  victim::StartThread("answerer", [] {
    while (asked == 0) {
    }
    answered = 1;
  });
  raise(SIGQUIT);
  asked = 1;
  while (answered == 0) {
  }
  _exit(7);
}

constexpr Scenario kScenarios[] = {
    {"plain", Plain},
    {"abort", CallAbort},
    {"breakpoint", Breakpoint},
    {"refused_call", RefusedCall},
    {"wait", Wait},
    {"wait_in", WaitInCall},
    {"survive_quit", SurviveQuit},
    {"fork_both", ForkBoth},
    {"vfork_child", VforkChild},
    {"vfork_child_then_parent", VforkChildThenParent},
    {"vfork_child_and_parent", VforkChildAndParent},
    {"daemon", Daemon},
    {"daemon_with_file", DaemonWithFileAsStandardError},
};

}  // namespace

const Theme kProcessesTheme = MakeTheme(kScenarios);

}  // namespace torture
