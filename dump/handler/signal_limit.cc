#include "dump/handler/signal_limit.h"

#include <sys/resource.h>

#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

rlimit g_limit;  // as it was; meaningful if raised
bool g_raised = false;

}  // namespace

void RaiseSignalLimit() {
  if (g_raised) return;
  if (safe::Syscall(SYS_prlimit64, 0, RLIMIT_SIGPENDING, 0, safe::Word(&g_limit)) != 0 ||
      g_limit.rlim_cur >= g_limit.rlim_max) {
    return;
  }
  const rlimit raised = {g_limit.rlim_max, g_limit.rlim_max};
  g_raised =
      safe::Syscall(SYS_prlimit64, 0, RLIMIT_SIGPENDING, safe::Word(&raised), 0) == 0;
}

void RestoreSignalLimit() {
  if (!g_raised) return;
  g_raised = false;
  safe::Syscall(SYS_prlimit64, 0, RLIMIT_SIGPENDING, safe::Word(&g_limit), 0);
}

void ForgetSignalLimit() { g_raised = false; }

}  // namespace minicore
