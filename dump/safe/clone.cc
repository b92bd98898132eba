#include "dump/safe/clone.h"

#include <sched.h>

namespace minicore::safe {
namespace {

extern "C" long minicore_clone(unsigned long flags, void* stack_end,
                               int (*function)(void*), void* argument, int* id);

// clone(flags, stack, parent_tid, child_tid, tls): rdi, rsi, rdx, r10, r8. The child
// starts behind the system call with the parent's registers but rax and rsp: function
// and argument wait for it in r9 and on its stack. It has no caller (rip undefined).
asm(R"(
  .text
  .local minicore_clone
  .type minicore_clone, @function
minicore_clone:
  .cfi_startproc
  and $-16, %rsi
  sub $16, %rsi
  mov %rcx, (%rsi)
  mov %rdx, %r9
  mov %r8, %rdx
  xor %r10d, %r10d
  xor %r8d, %r8d
  mov $56, %eax
  syscall
  test %rax, %rax
  jz 1f
  ret
1:
  .cfi_undefined %rip
  xor %ebp, %ebp
  mov (%rsp), %rdi
  call *%r9
  mov %eax, %edi
  mov $60, %eax
  syscall
  hlt
  .cfi_endproc
  .size minicore_clone, .-minicore_clone
)");

}  // namespace

long Clone(unsigned long flags, void* stack_end, int (*function)(void*),
           void* argument, int* id) {
  return minicore_clone(flags | CLONE_PARENT_SETTID, stack_end, function, argument, id);
}

}  // namespace minicore::safe
