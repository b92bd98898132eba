// The freeze signal is somebody else's too: glibc's setuid() tells all threads by it, and
// waits for each.

#include <errno.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "dump/handler/dumper.h"
#include "dump/handler/freeze.h"
#include "dump/handler/runtime.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr long kLetThrough = 4711;  // as a sixth argument, which no such call has
volatile int g_passed_on = 0;

void FormerOwner(int, siginfo_t*, void*) { g_passed_on = g_passed_on + 1; }

// Makes the call that was trapped, and sends the signal before anything else can happen.
void CallThenSend(int, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_RAX] =
      safe::Syscall(SYS_rt_sigaction, registers[REG_RDI], registers[REG_RSI],
                    registers[REG_RDX], registers[REG_R10], 0, kLetThrough);
  safe::TgKill(safe::GetPid(), safe::GetTid(), kFreezeSignal);
}

#define ARGUMENT(i) (offsetof(seccomp_data, args) + 8 * (i))

// Each change of the freeze signal's action.
bool TrapChanges() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigaction, 0, 7),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(0)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kFreezeSignal, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(1)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARGUMENT(5)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLetThrough, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// How often the former owner has had the signal; negative: the test failed.
int TakeUnderFire() {
  struct sigaction trap {};
  trap.sa_sigaction = &CallThenSend;
  trap.sa_flags = SA_SIGINFO;
  sigaction(SIGSYS, &trap, nullptr);
  safe::KernelSigaction ours;
  safe::SigAction(SIGSYS, nullptr, &ours);
  g_runtime.restorer = ours.restorer;
  ours.handler = reinterpret_cast<void*>(&FormerOwner);
  if (safe::SigAction(kFreezeSignal, &ours, nullptr) != 0 || !TrapChanges()) return -1;
  TakeFreezeSignal(0);
  TakeFreezeSignal(SA_RESTART);
  return g_passed_on;
}

TEST(FreezeSignalTest, ReachesItsFormerOwnerFromTheFirstInstantOn) {
  const pid_t child = fork();
  if (child == 0) _exit(TakeUnderFire());
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 2);
}

}  // namespace
}  // namespace minicore
