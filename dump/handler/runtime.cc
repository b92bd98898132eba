#include "dump/handler/runtime.h"

#include "dump/safe/syscalls.h"

namespace minicore {

// Constant-initialised: a constructor would run after the preloaded library has installed
// itself, and undo part of it. C++17 has no word for it that both compilers know.
#ifdef __clang__
[[clang::require_constant_initialization]] Runtime g_runtime = {};
#else
__constinit Runtime g_runtime = {};
#endif

int OwnPid() {
  const int pid = safe::GetPid();
  return pid > 0 ? pid : g_runtime.facts.pid;
}
int NotedTid() {
  const uint64_t offset = g_runtime.facts.threads.tid_offset;
  int tid = 0;
  // glibc's struct pthread begins at the thread pointer.
  if (offset != 0) asm volatile("movl %%fs:(%1), %0" : "=r"(tid) : "r"(offset));
  return tid;
}
int OwnTid() {
  const int tid = safe::GetTid();
  if (tid > 0) return tid;
  const int noted = NotedTid();
  return noted > 0 ? noted : g_runtime.facts.pid;
}

CrashContext MakeContext(int signal, const siginfo_t* info, const void* context) {
  CrashContext crash;
  crash.signal = signal;
  crash.pid = OwnPid();
  crash.tid = OwnTid();
  crash.info = info;
  crash.context = static_cast<const ucontext_t*>(context);
  return crash;
}

}  // namespace minicore
