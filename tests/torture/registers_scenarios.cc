// Crashes whose registers are of no use to anybody, the handler included.

#include <asm/prctl.h>
#include <fenv.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/torture/crash.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {

#define NOINLINE __attribute__((noinline))

// The crash without a call: there may be no stack to push a return address to.
#define CRASH "movl $1, 0\n"

NOINLINE void StackPointerIsNull() {
  asm volatile("xorl %%esp, %%esp\n" CRASH : : : "memory");
}

NOINLINE void StackPointerIsWild() {
  asm volatile("movq %0, %%rsp\n" CRASH : : "r"(0x4141414141414140) : "memory");
}

NOINLINE void StackPointerIsUnmapped() {
  asm volatile("movq %0, %%rsp\n" CRASH : : "r"(0x10000ul) : "memory");
}

NOINLINE void StackPointerIsInAGuardPage() {
  void* guard =
      mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  asm volatile("leaq 2048(%0), %%rsp\n" CRASH : : "r"(guard) : "memory");
}

NOINLINE void StackPointerIsReadOnly() {
  void* page =
      mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  asm volatile("leaq 2048(%0), %%rsp\n" CRASH : : "r"(page) : "memory");
}

NOINLINE void CallNull() {
  asm volatile("xorl %%eax, %%eax\n call *%%rax" : : : "rax");
}

NOINLINE void CallUnmapped() {
  asm volatile("call *%0" : : "r"(0x123456789000ul) : "memory");
}

NOINLINE void CallNonCanonical() {
  asm volatile("call *%0" : : "r"(0x4141414141414141ul) : "memory");
}

NOINLINE void ReturnToNonCanonical() {
  asm volatile("pushq %0\n ret" : : "r"(0x4141414141414141ul) : "memory");
}

NOINLINE void DirectionFlagIsSet() {
  asm volatile("std\n" CRASH : : : "memory");
}

NOINLINE void AlignmentCheckIsOn() {
  asm volatile(
      "pushfq\n"
      "orl $0x40000, (%%rsp)\n"
      "popfq\n" CRASH
      :
      :
      : "memory", "cc");
}

NOINLINE void FailAlignmentCheck() {
  asm volatile(
      "pushfq\n"
      "orl $0x40000, (%%rsp)\n"
      "popfq\n"
      "movl 1(%%rsp), %%eax\n"
      :
      :
      : "rax", "memory", "cc");
}

NOINLINE void TrapFlagIsSet() {
  asm volatile(
      "pushfq\n"
      "orl $0x100, (%%rsp)\n"
      "popfq\n"
      "nop\n"
      "nop\n"
      :
      :
      : "memory", "cc");
}

NOINLINE void DivideInUnmaskedSse() {
  feenableexcept(FE_DIVBYZERO | FE_INVALID);
  volatile double zero = 0.0;
  volatile double infinite = 1.0 / zero;
  (void)infinite;
}

// The exception of fdivp is pending when the process crashes of something else.
NOINLINE void UnmaskedX87ExceptionIsPending() {
  const unsigned short control = 0x0340;
  asm volatile(
      "fninit\n"
      "fldcw %0\n"
      "fld1\n"
      "fldz\n"
      "fdivrp\n" CRASH
      :
      : "m"(control)
      : "memory");
}

NOINLINE void ThreadPointerIsNull() {
  syscall(SYS_arch_prctl, ARCH_SET_FS, 0ul);
  asm volatile(CRASH : : : "memory");
}

NOINLINE void ThreadPointerIsWild() {
  syscall(SYS_arch_prctl, ARCH_SET_FS, 0x7fff12345000ul);
  asm volatile(CRASH : : : "memory");
}

// Not a fault: a signal that somebody sends, and whose mask is asked for.
NOINLINE void SendQuitWithThreadPointer(unsigned long pointer) {
  const long pid = getpid();
  const long tid = gettid();
  syscall(SYS_arch_prctl, ARCH_SET_FS, pointer);
  long result = SYS_tgkill;
  asm volatile("syscall"
               : "+a"(result)
               : "D"(pid), "S"(tid), "d"(SIGQUIT)
               : "rcx", "r11", "memory");
}

NOINLINE void QuitWithThreadPointerNull() { SendQuitWithThreadPointer(0); }
NOINLINE void QuitWithThreadPointerWild() {
  SendQuitWithThreadPointer(0x7fff12345000ul);
}
// Somewhere in memory, but at no control block.
NOINLINE void QuitWithThreadPointerAstray() {
  alignas(64) static char memory[65536];
  SendQuitWithThreadPointer(reinterpret_cast<unsigned long>(memory) + 32768);
}

namespace {

template <void (*kCrash)()>
void Run(const Arguments& arguments) {
  CrashIn(arguments, kCrash);
}

constexpr Scenario kScenarios[] = {
    {"rsp_null", Run<StackPointerIsNull>},
    {"rsp_wild", Run<StackPointerIsWild>},
    {"rsp_unmapped", Run<StackPointerIsUnmapped>},
    {"rsp_guard", Run<StackPointerIsInAGuardPage>},
    {"rsp_read_only", Run<StackPointerIsReadOnly>},
    {"rip_null", Run<CallNull>},
    {"rip_unmapped", Run<CallUnmapped>},
    {"rip_non_canonical", Run<CallNonCanonical>},
    {"return_non_canonical", Run<ReturnToNonCanonical>},
    {"direction_flag", Run<DirectionFlagIsSet>},
    {"alignment_check", Run<AlignmentCheckIsOn>},
    {"alignment_fault", Run<FailAlignmentCheck>},
    {"trap_flag", Run<TrapFlagIsSet>},
    {"sse_exception", Run<DivideInUnmaskedSse>},
    {"x87_pending", Run<UnmaskedX87ExceptionIsPending>},
    {"fs_null", Run<ThreadPointerIsNull>},
    {"fs_wild", Run<ThreadPointerIsWild>},
    {"quit_fs_null", Run<QuitWithThreadPointerNull>},
    {"quit_fs_wild", Run<QuitWithThreadPointerWild>},
    {"quit_fs_astray", Run<QuitWithThreadPointerAstray>},
};

}  // namespace

const Theme kRegistersTheme = MakeTheme(kScenarios);

}  // namespace torture
