#include "tests/support/handler_child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>

#include "dump/config.h"
#include "dump/handler/entry.h"
#include "dump/handler/freeze.h"
#include "dump/safe/arena.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr size_t kArenaBytes = 256 * 1024 * 1024;
constexpr size_t kSignalStackBytes = 128 * 1024;
constexpr uint64_t kPaint = 0x5ca1ab1e0ddba11d;

// Shared with the child: what it leaves behind.
struct Left {
  std::atomic<size_t> allocations;
  alignas(4096) uint64_t stack[kDumpStackBytes / sizeof(uint64_t)];
  // Not the stack that overflows, if that is the test.
  alignas(4096) uint64_t signal_stack[kSignalStackBytes / sizeof(uint64_t)];
};

// Where the dumper runs; set in the child only.
std::atomic<Left*> g_left{nullptr};
std::atomic<int> g_crashing_thread{0};

void OnSignal(int signal, siginfo_t* info, void* context) {
  // Other threads end up here to be frozen, and may have been in malloc.
  g_crashing_thread.store(safe::GetTid());
  OnFatalSignal(signal, info, context);
}

void Check(bool ok, const char* what) {
  if (ok) return;
  perror(what);
  _exit(100);
}

// As dump/install.cc does it: guard page, stack, arena.
void ReserveMemory(Left* left) {
  const size_t bytes = kPageSize + kDumpStackBytes + kArenaBytes;
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  Check(mapped != MAP_FAILED, "mmap");
  auto* const memory = static_cast<char*>(mapped);
  Check(mprotect(memory, kPageSize, PROT_NONE) == 0, "mprotect");
  char* const stack = memory + kPageSize;
  Check(mremap(left->stack, 0, kDumpStackBytes, MREMAP_MAYMOVE | MREMAP_FIXED,
               stack) == stack,
        "mremap");
  char* const stack_end = stack + kDumpStackBytes;
  safe::Arena arena;
  arena.Reset(stack_end, kArenaBytes);
  ReserveFreezeSlots(arena);
  const size_t used = AlignUp(arena.used(), kPageSize);
  g_runtime.dump_stack_end = stack_end;
  g_runtime.arena = stack_end + used;
  g_runtime.arena_bytes = kArenaBytes - used;
  g_runtime.arena_range = {reinterpret_cast<Address>(memory),
                           reinterpret_cast<Address>(memory + bytes)};
}

void Install(const std::string& path, Left* left, TestHeap& heap,
             const std::function<void(Policy&, TestHeap&)>& prepare) {
  minicore_config config = minicore_default_config();
  config.path = path.c_str();
  TagRules rules{};
  OptionError error;
  Check(MakePolicy(config, &g_runtime.policy, &rules, &error), "policy");
  prepare(g_runtime.policy, heap);
  const int fd = open("/proc/self/auxv", O_RDONLY);
  const ssize_t bytes =
      read(fd, g_runtime.facts.auxv, sizeof(g_runtime.facts.auxv));
  Check(bytes > 0, "auxv");
  g_runtime.facts.auxv_words = static_cast<uint32_t>(bytes) / 8;
  g_runtime.facts.threads.pthread_bytes = kDefaultPthreadBytes;
  g_runtime.facts.threads.dtv_offset = kDefaultDtvOffset;
  close(fd);
  g_runtime.index = &heap.index();
  g_runtime.tags = &heap.tags();

  const stack_t stack = {left->signal_stack, 0, kSignalStackBytes};
  Check(sigaltstack(&stack, nullptr) == 0, "sigaltstack");
  struct sigaction action {};
  action.sa_sigaction = &OnSignal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int signal : {SIGSEGV, SIGABRT, SIGBUS}) {
    Check(sigaction(signal, &action, nullptr) == 0, "sigaction");
    safe::KernelSigaction installed;
    safe::SigAction(signal, nullptr, &installed);
    g_runtime.restorer = installed.restorer;
  }
}

template <size_t kWords>
size_t DeepestByte(const uint64_t (&stack)[kWords]) {
  size_t untouched = 0;
  while (untouched < kWords && stack[untouched] == kPaint) ++untouched;
  return (kWords - untouched) * sizeof(uint64_t);
}

}  // namespace

void CountAllocation() {
  Left* const left = g_left.load(std::memory_order_relaxed);
  if (left == nullptr || g_crashing_thread.load() != safe::GetTid()) return;
  left->allocations.fetch_add(1);
}

HandlerChild CrashInChild(
    const std::string& directory,
    const std::function<void(Policy&, TestHeap&)>& prepare,
    const std::function<void(TestHeap&)>& crash) {
  HandlerChild child;
  child.core = directory + "/core";
  auto* const left =
      static_cast<Left*>(mmap(nullptr, sizeof(Left), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  EXPECT_NE(left, MAP_FAILED);
  for (uint64_t& word : left->stack) word = kPaint;
  for (uint64_t& word : left->signal_stack) word = kPaint;
  const pid_t pid = fork();
  if (pid == 0) {
    const auto heap = std::make_unique<TestHeap>();
    ReserveMemory(left);
    Install(child.core, left, *heap, prepare);
    g_left.store(left);
    crash(*heap);
    _exit(101);
  }
  EXPECT_GT(pid, 0);
  EXPECT_EQ(waitpid(pid, &child.status, 0), pid);
  child.stack_bytes = DeepestByte(left->stack);
  child.signal_stack_bytes = DeepestByte(left->signal_stack);
  child.allocations = left->allocations.load();
  munmap(left, sizeof(Left));
  return child;
}

}  // namespace minicore
