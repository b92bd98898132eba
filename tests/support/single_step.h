// Runs code instruction by instruction, so that a test can look at what it leaves
// at every instant, as a crash would.
//
// By the trap flag of the processor: after each instruction comes SIGTRAP, whose
// handler runs without the flag (Linux 6.1, arch/x86/kernel/signal.c,
// handle_signal()) and may step through something else in turn. One instruction
// with a repeat prefix counts once for each turn; system calls are one.

#ifndef MINICORE_TESTS_SUPPORT_SINGLE_STEP_H_
#define MINICORE_TESTS_SUPPORT_SINGLE_STEP_H_

#include <signal.h>

#include <cstring>

namespace minicore {

class SingleStep {
 public:
  // Calls work(), and look(n) after its n-th instruction, for n from 0 on. What
  // `work` calls must be there: no symbol that is still to be bound.
  //
  // Returns: how many instructions there were.
  template <typename Work, typename Look>
  static int Run(Work work, Look look) {
    struct sigaction action = {}, before;
    action.sa_sigaction = &OnTrap;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGTRAP, &action, &before);
    SingleStep step;
    step.look_ = [](void* to, int n) { (*static_cast<Look*>(to))(n); };
    step.context_ = &look;
    SingleStep* const outer = g_current;
    g_current = &step;
    SetTrapFlag();
    work();
    ClearTrapFlag();
    g_current = outer;
    sigaction(SIGTRAP, &before, nullptr);
    return step.count_;
  }

 private:
  // 128 bytes below the stack pointer belong to the function (System V ABI).
  static void SetTrapFlag() {
    __asm__ volatile(
        "lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; "
        "lea 128(%%rsp), %%rsp" ::
            : "cc", "memory");
  }
  static void ClearTrapFlag() {
    __asm__ volatile(
        "lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; "
        "lea 128(%%rsp), %%rsp" ::
            : "cc", "memory");
  }
  static void OnTrap(int, siginfo_t*, void*) {
    SingleStep* const step = g_current;
    step->look_(step->context_, step->count_++);
  }

  static inline SingleStep* g_current = nullptr;

  void (*look_)(void*, int) = nullptr;
  void* context_ = nullptr;
  int count_ = 0;
};

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_SINGLE_STEP_H_
