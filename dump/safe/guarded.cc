#include "dump/safe/guarded.h"

#include <sys/uio.h>

#include "dump/safe/syscalls.h"

namespace minicore::safe {
namespace {

// Whose memory CopyByCall() reads; 0: it is not used. One thread dumps at a time.
int g_copied_pid = 0;

// Stack pointer inside minicore_run_guarded while a stage runs, else 0. One thread dumps
// at a time, so one is enough.
uint64_t g_stage_stack = 0;

extern "C" {
// Returns how many bytes were not copied.
size_t minicore_guarded_copy(void* to, Address from, size_t size);
extern const char minicore_guarded_copy_fault[];
extern const char minicore_guarded_copy_resume[];

// Returns 0, or 1 when FixupFault() resumed it.
int minicore_run_guarded(void (*stage)(void*), void* argument,
                         uint64_t* stack_slot);
extern const char minicore_run_guarded_resume[];

void minicore_run_on_stack(void* stack_end, void (*function)(void*),
                           void* argument);
}

// rep movsb leaves rcx, the bytes still to do, exact at a fault: Intel SDM volume 2,
// "REP": the registers are updated after each iteration, and a fault restarts there.
asm(R"(
  .text
  .local minicore_guarded_copy
  .type minicore_guarded_copy, @function
minicore_guarded_copy:
  .cfi_startproc
  cld
  mov %rdx, %rcx
minicore_guarded_copy_fault:
  rep movsb
minicore_guarded_copy_resume:
  mov %rcx, %rax
  ret
  .cfi_endproc
  .size minicore_guarded_copy, .-minicore_guarded_copy

  .local minicore_run_guarded
  .type minicore_run_guarded, @function
minicore_run_guarded:
  .cfi_startproc
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  push %rdx
  mov %rsp, (%rdx)
  mov %rdi, %rax
  mov %rsi, %rdi
  call *%rax
  xor %eax, %eax
minicore_run_guarded_resume:
  pop %rdx
  movq $0, (%rdx)
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
  .cfi_endproc
  .size minicore_run_guarded, .-minicore_run_guarded

  .local minicore_run_on_stack
  .type minicore_run_on_stack, @function
minicore_run_on_stack:
  .cfi_startproc
  push %rbp
  mov %rsp, %rbp
  .cfi_def_cfa %rbp, 16
  .cfi_offset %rbp, -16
  mov %rdi, %rsp
  and $-16, %rsp
  mov %rdx, %rdi
  call *%rsi
  mov %rbp, %rsp
  pop %rbp
  .cfi_def_cfa %rsp, 8
  ret
  .cfi_endproc
  .size minicore_run_on_stack, .-minicore_run_on_stack
)");

}  // namespace

// Partial copies end at a page (Linux 6.1, mm/process_vm_access.c,
// process_vm_rw_single_vec()), as those of the loop do.
static size_t CopyByCall(void* to, Address from, size_t size) {
  const iovec local = {to, size};
  const iovec remote = {reinterpret_cast<void*>(from), size};
  const long copied = Syscall(SYS_process_vm_readv, g_copied_pid, Word(&local), 1,
                              Word(&remote), 1, 0);
  return copied < 0 ? 0 : static_cast<size_t>(copied);
}

bool CopyByCalls(int pid) {
  g_copied_pid = pid;
  uint64_t word = 1;
  uint64_t copy = 0;
  return pid == 0 || (CopyByCall(&copy, reinterpret_cast<Address>(&word), sizeof(word)) ==
                          sizeof(word) &&
                      copy == word);
}

void ForgetReading() {
  g_copied_pid = 0;
  g_stage_stack = 0;
}

size_t GuardedCopy(void* to, Address from, size_t size) {
  if (__builtin_expect(g_copied_pid != 0, false)) return CopyByCall(to, from, size);
  return size - minicore_guarded_copy(to, from, size);
}

bool RunGuarded(void (*stage)(void*), void* argument) {
  return minicore_run_guarded(stage, argument, &g_stage_stack) == 0;
}

bool FixupFault(ucontext_t* context) {
  greg_t* registers = context->uc_mcontext.gregs;
  const auto at = [&](const char* label) {
    return registers[REG_RIP] == reinterpret_cast<greg_t>(label);
  };
  if (at(minicore_guarded_copy_fault)) {
    registers[REG_RIP] = reinterpret_cast<greg_t>(minicore_guarded_copy_resume);
    return true;
  }
  return AbandonStage(context);
}

bool AbandonStage(ucontext_t* context) {
  if (g_stage_stack == 0) return false;
  greg_t* registers = context->uc_mcontext.gregs;
  registers[REG_RSP] = static_cast<greg_t>(g_stage_stack);
  registers[REG_RIP] = reinterpret_cast<greg_t>(minicore_run_guarded_resume);
  registers[REG_RAX] = 1;
  return true;
}

void RunOnStack(void* stack_end, void (*function)(void*), void* argument) {
  minicore_run_on_stack(stack_end, function, argument);
}

}  // namespace minicore::safe
