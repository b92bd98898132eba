#include "dump/handler/signal_frame.h"

#include <signal.h>

#include "dump/safe/guarded.h"

namespace minicore {
namespace {

// Segment registers as the signal frame packs them: arch/x86/include/uapi/asm/
// sigcontext.h, struct sigcontext_64: cs, gs, fs, ss, 16 bits each.
void CopyRegisters(const ucontext_t& context, uint64_t fs_base,
                   uint64_t gs_base, user_regs_struct* to) {
  const greg_t* from = context.uc_mcontext.gregs;
  const auto get = [&](int number) { return static_cast<uint64_t>(from[number]); };
  to->r15 = get(REG_R15);
  to->r14 = get(REG_R14);
  to->r13 = get(REG_R13);
  to->r12 = get(REG_R12);
  to->rbp = get(REG_RBP);
  to->rbx = get(REG_RBX);
  to->r11 = get(REG_R11);
  to->r10 = get(REG_R10);
  to->r9 = get(REG_R9);
  to->r8 = get(REG_R8);
  to->rax = get(REG_RAX);
  to->rcx = get(REG_RCX);
  to->rdx = get(REG_RDX);
  to->rsi = get(REG_RSI);
  to->rdi = get(REG_RDI);
  to->orig_rax = UINT64_MAX;  // not in a system call that is to be restarted
  to->rip = get(REG_RIP);
  to->cs = get(REG_CSGSFS) & 0xffff;
  to->eflags = get(REG_EFL);
  to->rsp = get(REG_RSP);
  to->ss = get(REG_CSGSFS) >> 48;
  to->fs_base = fs_base;
  to->gs_base = gs_base;
}

// The XSAVE image behind the legacy area: arch/x86/include/uapi/asm/sigcontext.h, struct
// _fpx_sw_bytes at byte 464, valid if its first word is FP_XSTATE_MAGIC1.
void FindExtendedState(const ucontext_t& context, Thread* thread) {
  constexpr uint32_t kMagic = 0x46505853;
  const auto* image =
      reinterpret_cast<const uint8_t*>(context.uc_mcontext.fpregs);
  if (image == nullptr) return;
  uint32_t software[5];  // magic1, extended_size, xfeatures (8 bytes), xstate_size
  if (!safe::GuardedRead(reinterpret_cast<Address>(image) + 464, &software)) {
    return;
  }
  thread->xstate = image;
  thread->xstate_bytes =
      software[0] == kMagic && software[4] < 16384
          ? static_cast<uint16_t>(software[4])
          : static_cast<uint16_t>(512);
}

}  // namespace

void FillThread(int tid, ThreadSource source, const ucontext_t& context,
                uint64_t fs_base, uint64_t gs_base, const char* name,
                Thread* thread) {
  thread->tid = tid;
  thread->source = source;
  CopyRegisters(context, fs_base, gs_base, &thread->registers);
  FindExtendedState(context, thread);
  if ((context.uc_stack.ss_flags & SS_DISABLE) == 0) {
    const auto begin = reinterpret_cast<Address>(context.uc_stack.ss_sp);
    thread->alternate_stack = {begin, begin + context.uc_stack.ss_size};
  }
  for (unsigned i = 0; i + 1 < sizeof(thread->name) && name[i] != '\0'; ++i) {
    thread->name[i] = name[i];
  }
}

}  // namespace minicore
