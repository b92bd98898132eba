#include "dump/safe/syscalls.h"

#include <ucontext.h>

namespace minicore::safe {

bool g_basic_calls_only = false;

namespace {

extern "C" void minicore_return_with(ucontext_t* context);

// rt_sigreturn() takes registers and mask from the frame behind the word below the stack
// pointer (Linux 6.1, arch/x86/kernel/signal.c). 40: of uc_mcontext.gregs in ucontext_t;
// then eight bytes for each register. The frame of ours says: behind this call.
asm(R"(
  .text
  .local minicore_return_with
  .type minicore_return_with, @function
minicore_return_with:
  .cfi_startproc
  mov %r12, 40+8*4(%rdi)
  mov %r13, 40+8*5(%rdi)
  mov %r14, 40+8*6(%rdi)
  mov %r15, 40+8*7(%rdi)
  mov %rbp, 40+8*10(%rdi)
  mov %rbx, 40+8*11(%rdi)
  lea 8(%rsp), %rax
  mov %rax, 40+8*15(%rdi)
  mov (%rsp), %rax
  mov %rax, 40+8*16(%rdi)
  mov %rdi, %rsp
  .cfi_undefined %rip
  mov $15, %eax
  syscall
  hlt
  .cfi_endproc
  .size minicore_return_with, .-minicore_return_with
)");

// arch/x86/include/uapi/asm/ucontext.h and segment.h.
constexpr unsigned long kStackSegmentIsSaved = 0x2 | 0x4;
constexpr greg_t kUserSegments = 0x33 | 0x2bl << 48;
constexpr greg_t kFlags = 0x202;  // interrupts on, and the bit that is always set

}  // namespace

void SetSignalMask(uint64_t mask) {
  if (SigProcMask(SIG_SETMASK, &mask, nullptr) == 0) return;
  ucontext_t context;
  __builtin_memset(&context, 0, sizeof(context));
  context.uc_flags = kStackSegmentIsSaved;
  context.uc_mcontext.gregs[REG_CSGSFS] = kUserSegments;
  context.uc_mcontext.gregs[REG_EFL] = kFlags;
  // Its alternate stack, of no bytes, is none that the kernel takes: that stays (restore_
  // altstack() squashes the error).
  context.uc_sigmask.__val[0] = mask;
  minicore_return_with(&context);
}

}  // namespace minicore::safe
