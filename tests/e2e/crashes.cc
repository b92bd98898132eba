// The ways in which programs die. Each runs in main or in a worker, with three
// more threads standing by, from a function of its own that the backtrace must
// show.

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/threads.h"
#include "tests/support/filter_call.h"

namespace victim {
namespace {

constexpr int kBystanders = 3;

[[noreturn]] void Fail(const char* what) {
  perror(what);
  _exit(2);
}

void StartBystanders(void (*body)()) {
  for (int i = 0; i < kBystanders; ++i) {
    StartThread(("bystander" + std::to_string(i)).c_str(), body);
  }
  AwaitParked(kBystanders);
}

// The bystanders stand, then `crash` runs where it should.
void CrashIn(bool in_worker, void (*crash)(), void (*bystander)() = Park) {
  StartBystanders(bystander);
  if (in_worker) {
    pthread_join(StartThread("crasher", crash), nullptr);
  } else {
    NameThisThread("crasher");
    crash();
  }
  Fail("the crash did not happen");
}

void BlockEverything() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

void ParkWithSignalsBlocked() {
  BlockEverything();
  Park();
}

}  // namespace

// The functions that the backtraces must show: outside the unnamed namespace,
// so that their names are the same in every build.

__attribute__((noinline)) void WriteToNull() {
  *static_cast<volatile int*>(nullptr) = 1;
}

__attribute__((noinline)) void CallAbort() { abort(); }

__attribute__((noinline)) void ThrowUncaught() {
  throw std::runtime_error("nobody catches this");
}

__attribute__((noinline)) void FailAssertion() {
  const bool the_sky_is_green = false;
  assert(the_sky_is_green);
}

__attribute__((noinline)) void DivideByZero() {
  asm volatile("xorl %%ecx, %%ecx\n idivl %%ecx" : : "a"(1), "d"(0) : "ecx");
}

__attribute__((noinline)) void RunIllegalInstruction() { asm volatile("ud2"); }

__attribute__((noinline)) void RunBreakpoint() { asm volatile("int3\n nop"); }

__attribute__((noinline)) void JumpToNull() {
  void (*volatile nowhere)() = nullptr;
  nowhere();
}

__attribute__((noinline)) void ReadBehindTheEndOfAFile() {
  const int fd = memfd_create("empty", MFD_CLOEXEC);
  void* page = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (fd < 0 || page == MAP_FAILED) Fail("mmap");
  (void)*static_cast<volatile char*>(page);
}

__attribute__((noinline)) void MakeForbiddenSystemCall() {
  if (!minicore::FilterCall(SYS_getpgrp, SECCOMP_RET_TRAP)) Fail("seccomp");
  syscall(SYS_getpgrp);
}

__attribute__((noinline)) void RaiseQuit() { raise(SIGQUIT); }

// Every frame is written to from its top down, so that the guard page is hit
// and not jumped over.
__attribute__((noinline)) int OverflowTheStack(int depth) {
  volatile char frame[16384];
  for (size_t i = sizeof(frame); i > 0; --i) {
    frame[i - 1] = static_cast<char>(depth);
  }
  if (depth < 0) return 0;
  return OverflowTheStack(depth + 1) + frame[depth % sizeof(frame)];
}

__attribute__((noinline)) void OverflowStack() { OverflowTheStack(0); }

__attribute__((noinline)) void WaitForASignal() {
  AnnounceReady();
  Park();
}

__attribute__((noinline)) void CrashInForkedChild() {
  const pid_t child = fork();
  if (child == 0) {
    NameThisThread("forked");
    WriteToNull();
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) Fail("waitpid");
  Fact("forked.status", status);
  exit(0);
}

void NullWrite(bool in_worker) { CrashIn(in_worker, WriteToNull); }
void NullCall(bool in_worker) { CrashIn(in_worker, JumpToNull); }
void Abort(bool in_worker) { CrashIn(in_worker, CallAbort); }
void Terminate(bool in_worker) { CrashIn(in_worker, ThrowUncaught); }
void Assert(bool in_worker) { CrashIn(in_worker, FailAssertion); }
void Divide(bool in_worker) { CrashIn(in_worker, DivideByZero); }
void Illegal(bool in_worker) { CrashIn(in_worker, RunIllegalInstruction); }
void Trap(bool in_worker) { CrashIn(in_worker, RunBreakpoint); }
void Bus(bool in_worker) { CrashIn(in_worker, ReadBehindTheEndOfAFile); }
void Seccomp(bool in_worker) { CrashIn(in_worker, MakeForbiddenSystemCall); }
void Quit(bool in_worker) { CrashIn(in_worker, RaiseQuit); }
void Overflow(bool in_worker) { CrashIn(in_worker, OverflowStack); }
void Fork(bool in_worker) { CrashIn(in_worker, CrashInForkedChild); }

// The signal comes from outside and finds one thread that does not block it.
void Signalled(bool in_worker) {
  if (in_worker) BlockEverything();
  StartBystanders(in_worker ? ParkWithSignalsBlocked : Park);
  const auto wait = [] {
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, nullptr);
    WaitForASignal();
  };
  if (in_worker) {
    pthread_join(StartThread("crasher", wait), nullptr);
  } else {
    NameThisThread("crasher");
    wait();
  }
}

void SignalsBlocked(bool in_worker) {
  CrashIn(in_worker, WriteToNull, ParkWithSignalsBlocked);
}

// Eight threads reach the same instruction and fault.
void EightAtOnce(bool) {
  static pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, 8);
  pthread_t last{};
  for (int i = 0; i < 8; ++i) {
    last = StartThread(("crasher" + std::to_string(i)).c_str(), [] {
      pthread_barrier_wait(&barrier);
      WriteToNull();
    });
  }
  pthread_join(last, nullptr);
}

}  // namespace victim
