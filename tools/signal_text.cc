#include <signal.h>
#include <string.h>

#include "tools/process_notes.h"

namespace minicore {
namespace {

struct Cause {
  int signal;
  int code;
  const char* text;
};

constexpr Cause kCauses[] = {
    {SIGSEGV, SEGV_MAPERR, "the address is not mapped"},
    {SIGSEGV, SEGV_ACCERR, "the mapping does not permit the access"},
    {SIGSEGV, SEGV_BNDERR, "a bound check failed"},
    {SIGSEGV, SEGV_PKUERR, "a protection key does not permit the access"},
    {SIGBUS, BUS_ADRALN, "the address is not aligned"},
    {SIGBUS, BUS_ADRERR, "there is no memory behind the address"},
    {SIGBUS, BUS_OBJERR, "the hardware reported an error"},
    {SIGBUS, BUS_MCEERR_AR, "the memory is broken"},
    {SIGFPE, FPE_INTDIV, "integer division by zero"},
    {SIGFPE, FPE_INTOVF, "integer overflow"},
    {SIGFPE, FPE_FLTDIV, "floating point division by zero"},
    {SIGFPE, FPE_FLTINV, "invalid floating point operation"},
    {SIGILL, ILL_ILLOPN, "illegal operand"},
    {SIGILL, ILL_ILLOPC, "illegal instruction"},
    {SIGTRAP, TRAP_BRKPT, "breakpoint"},
    {SIGTRAP, TRAP_TRACE, "single step"},
};

}  // namespace

std::string SignalName(int number) {
  const char* name = sigabbrev_np(number);
  return name != nullptr ? std::string("SIG") + name
                         : "signal " + std::to_string(number);
}

std::string SignalCause(const SignalInfo& signal) {
  for (const Cause& cause : kCauses) {
    if (cause.signal == signal.number && cause.code == signal.code) {
      return cause.text;
    }
  }
  switch (signal.code) {
    case SI_USER:
      return "sent by process " + std::to_string(signal.sender) + " with kill";
    case SI_TKILL:
      return "sent by process " + std::to_string(signal.sender) +
             " with tgkill, as abort() and raise() do";
    case SI_QUEUE:
      return "sent by process " + std::to_string(signal.sender) +
             " with sigqueue";
    case SI_KERNEL:
      // Linux 6.1, arch/x86/kernel/traps.c: exc_int3() forces a signal without a code;
      // exc_general_protection() and exc_stack_segment() do for an address that is not
      // canonical, which the processor does not tell.
      if (signal.number == SIGTRAP) return "a breakpoint instruction (int3)";
      if (signal.number == SIGSEGV || signal.number == SIGBUS) {
        return "raised by the kernel, such as for an address that is not canonical";
      }
      return "raised by the kernel";
    default:
      return "code " + std::to_string(signal.code);
  }
}

}  // namespace minicore
