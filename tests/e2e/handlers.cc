// Programs with signal handlers of their own.

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/threads.h"

namespace victim {
namespace {

sigjmp_buf g_recovery;

struct sigaction Action(void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGUSR2);
  return action;
}

void Install(void (*handler)(int, siginfo_t*, void*), int flags = 0) {
  const struct sigaction action = Action(handler, flags);
  if (sigaction(SIGSEGV, &action, nullptr) != 0) {
    perror("sigaction");
    exit(2);
  }
}

void Fault(bool in_worker) {
  if (in_worker) {
    pthread_join(StartThread("crasher", WriteToNull), nullptr);
  } else {
    NameThisThread("crasher");
    WriteToNull();
  }
}

}  // namespace

__attribute__((noinline)) void Recover(int, siginfo_t*, void*) {
  siglongjmp(g_recovery, 1);
}

__attribute__((noinline)) void Exit(int, siginfo_t* info, void*) {
  _exit(info->si_addr == nullptr ? 42 : 43);
}

// What well-behaved handlers do at their end.
__attribute__((noinline)) void RestoreAndRaise(int number, siginfo_t*, void*) {
  signal(number, SIG_DFL);
  raise(number);
}

__attribute__((noinline)) void RestoreAndReturn(int number, siginfo_t*, void*) {
  signal(number, SIG_DFL);
}

__attribute__((noinline)) void JustReturn(int, siginfo_t*, void*) {}

// Faults a hundred times and goes on.
void HandlerRecovers(bool) {
  Install(Recover);
  volatile int recovered = 0;
  while (recovered < 100) {
    if (sigsetjmp(g_recovery, 1) == 0) {
      WriteToNull();
    }
    recovered = recovered + 1;
  }
  Fact("recovered", static_cast<int>(recovered));
  exit(0);
}

void HandlerExits(bool in_worker) {
  Install(Exit);
  Fault(in_worker);
}

void HandlerRaises(bool in_worker) {
  Install(RestoreAndRaise);
  Fault(in_worker);
}

void HandlerRaisesInside(bool in_worker) {
  Install(RestoreAndRaise, SA_NODEFER);
  Fault(in_worker);
}

void HandlerReturnsToTheFault(bool in_worker) {
  Install(RestoreAndReturn);
  Fault(in_worker);
}

void HandlerIsForOneTime(bool in_worker) {
  Install(JustReturn, static_cast<int>(SA_RESETHAND));
  Fault(in_worker);
}

// The child that shares the parent's memory takes its own handler, not the parent's.
void HandlerIsForOneTimeInVforkChild(bool) {
  static volatile int runs = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { runs = runs + 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGQUIT, &action, nullptr);
  const pid_t child = vfork();
  if (child == 0) {
    raise(SIGQUIT);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  Fact("runs_in_child", static_cast<int>(runs));
  raise(SIGQUIT);
  Fact("runs_in_both", static_cast<int>(runs));
  exit(0);
}

// Sent ones are ignored, a fault cannot be.
void HandlerIgnores(bool in_worker) {
  constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  int shown = 0;
  for (const int number : kFaults) {
    sigaction(number, &ignore, nullptr);
    raise(number);
    kill(getpid(), number);
    struct sigaction now {};
    sigaction(number, nullptr, &now);
    shown += now.sa_handler == SIG_IGN && (now.sa_flags & SA_SIGINFO) == 0;
  }
  Fact("shown", shown);
  Fault(in_worker);
}

// The program's own alternate stack is the one its handler runs on.
void HandlerOnAlternateStack(bool) {
  static char* stack =
      static_cast<char*>(mmap(nullptr, 65536, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  stack_t mine{};
  mine.ss_sp = stack;
  mine.ss_size = 65536;
  sigaltstack(&mine, nullptr);
  stack_t now{};
  sigaltstack(nullptr, &now);
  Fact("alternate_stack_is_mine", now.ss_sp == stack);
  Install(
      [](int, siginfo_t*, void*) {
        char here;
        _exit(&here >= stack && &here < stack + 65536 ? 42 : 43);
      },
      SA_ONSTACK);
  WriteToNull();
}

uint64_t KernelMask(const sigset_t& set) {
  uint64_t mask;
  memcpy(&mask, &set, sizeof(mask));
  return mask;
}

// States what sigaltstack() answers when it sets `wanted`.
void AlternateStackFact(const std::string& name, const stack_t* wanted) {
  stack_t old;
  memset(&old, 0xff, sizeof(old));
  Fact(name + "_is_set", sigaltstack(wanted, &old));
  Fact(name + "_is_somewhere", old.ss_sp != nullptr);
  Fact(name + "_flags", old.ss_flags);
  Fact(name + "_bytes", old.ss_size);
}

// What a program is told about the handlers that are installed.
void Dispositions(bool) {
  constexpr int kSignals[] = {SIGQUIT, SIGILL, SIGABRT, SIGFPE,  SIGSEGV,
                              SIGBUS,  SIGSYS, SIGTRAP, SIGXCPU, SIGXFSZ};
  int defaults = 0;
  int empty_masks = 0;
  int no_flags = 0;
  for (const int number : kSignals) {
    struct sigaction old {};
    memset(&old, 0xff, sizeof(old));
    sigaction(number, nullptr, &old);
    sigset_t empty;
    sigemptyset(&empty);
    defaults += old.sa_handler == SIG_DFL;
    no_flags += (old.sa_flags & ~0x04000000) == 0;  // less SA_RESTORER
    empty_masks += memcmp(&old.sa_mask, &empty, 8) == 0;
  }
  Fact("defaults", defaults);
  Fact("no_flags", no_flags);
  Fact("empty_masks", empty_masks);

  const struct sigaction mine = Action(Exit, SA_RESTART);
  struct sigaction old {};
  sigaction(SIGSEGV, &mine, &old);
  Fact("replaced_default", old.sa_handler == SIG_DFL);
  sigaction(SIGSEGV, nullptr, &old);
  Fact("mine_is_shown", old.sa_sigaction == Exit &&
                            (old.sa_flags & SA_RESTART) != 0 &&
                            sigismember(&old.sa_mask, SIGUSR2) == 1);
  Fact("signal_returns_mine",
       reinterpret_cast<uintptr_t>(signal(SIGSEGV, SIG_DFL)) ==
           reinterpret_cast<uintptr_t>(Exit));
  Fact("signal_returns_default", signal(SIGSEGV, SIG_IGN) == SIG_DFL);
  Fact("signal_returns_ignore", signal(SIGSEGV, SIG_DFL) == SIG_IGN);

  const struct sigaction once =
      Action(JustReturn, static_cast<int>(SA_RESETHAND));
  sigaction(SIGBUS, &once, nullptr);
  sigaction(SIGBUS, nullptr, &old);
  Fact("once_is_shown",
       old.sa_sigaction == JustReturn &&
           (old.sa_flags & static_cast<int>(SA_RESETHAND)) != 0);
  raise(SIGBUS);
  sigaction(SIGBUS, nullptr, &old);
  Fact("once_is_gone_after_it_ran", old.sa_handler == SIG_DFL);
  struct sigaction plain {};
  plain.sa_handler = [](int) {};
  plain.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGBUS, &plain, nullptr);
  sigaction(SIGBUS, &mine, &old);
  Fact("plain_once_is_shown",
       old.sa_handler == plain.sa_handler && (old.sa_flags & SA_SIGINFO) == 0);
  sigaction(SIGBUS, nullptr, &old);
  Fact("once_can_be_replaced", old.sa_sigaction == Exit);

  struct sigaction full {};
  full.sa_handler = plain.sa_handler;
  sigfillset(&full.sa_mask);
  sigaction(SIGUSR1, &full, nullptr);
  sigaction(SIGUSR1, nullptr, &old);
  Fact("full_mask", KernelMask(old.sa_mask));
  sigaction(SIGFPE, &full, nullptr);
  full.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGFPE, &full, &old);
  Fact("full_mask_of_fault", KernelMask(old.sa_mask));
  sigaction(SIGFPE, nullptr, &old);
  Fact("full_mask_of_once", KernelMask(old.sa_mask));

  // What signal() asks for, and what siginterrupt() makes of it.
  for (const int number : {SIGSEGV, SIGUSR2}) {
    const std::string name = std::to_string(number);
    signal(number, plain.sa_handler);
    sigaction(number, nullptr, &old);
    Fact("restarts_" + name, (old.sa_flags & SA_RESTART) != 0);
    siginterrupt(number, 1);
    sigaction(number, nullptr, &old);
    Fact("interrupted_restarts_" + name, (old.sa_flags & SA_RESTART) != 0);
    signal(number, SIG_DFL);
    signal(number, plain.sa_handler);
    sigaction(number, nullptr, &old);
    Fact("still_interrupted_restarts_" + name, (old.sa_flags & SA_RESTART) != 0);
    Fact("interrupted_mask_" + name, KernelMask(old.sa_mask));
    siginterrupt(number, 0);
    signal(number, plain.sa_handler);
    sigaction(number, nullptr, &old);
    Fact("again_restarts_" + name, (old.sa_flags & SA_RESTART) != 0);
  }
  Fact("siginterrupt_of_none", siginterrupt(4711, 1));

  const stack_t off = {nullptr, SS_DISABLE, 0};
  static char own_stack[64 * 1024];
  const stack_t own = {own_stack, 0, sizeof(own_stack)};
  AlternateStackFact("first_stack", nullptr);
  AlternateStackFact("stack_before_own", &own);
  AlternateStackFact("own_stack", nullptr);
  AlternateStackFact("stack_before_off", &off);
  AlternateStackFact("stack_off", nullptr);
  AlternateStackFact("stack_before_own_again", &own);

  signal(SIGQUIT, SIG_IGN);
  raise(SIGQUIT);
  Fact("ignored_quit_is_ignored", true);
  exit(0);
}

}  // namespace victim
