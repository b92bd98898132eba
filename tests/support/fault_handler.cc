#include "tests/support/fault_handler.h"

#include <signal.h>
#include <ucontext.h>

#include "dump/safe/guarded.h"

namespace minicore {
namespace {

void OnFault(int signal, siginfo_t*, void* context) {
  if (safe::FixupFault(static_cast<ucontext_t*>(context))) return;
  ::signal(signal, SIG_DFL);
}

}  // namespace

void InstallFaultHandler() {
  struct sigaction action {};
  action.sa_sigaction = &OnFault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace minicore
