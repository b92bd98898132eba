#include "dump/alt_stack.h"

#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>

#include "alloc/address.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

namespace minicore {
namespace {

// The dump runs on a stack of its own: here are only signal frames (AT_MINSIGSTKSZ, 11
// KiB with AMX), ours and those of the program's handlers that ask for SA_ONSTACK.
constexpr ByteCount kAltStackBytes = 64 * 1024;

// Ended threads' stacks, for the next ones. `next` is the first word of a free stack. A
// stack is taken by exchanging the whole list for an empty one, which has no ABA problem,
// and giving the rest back.
struct FreeStack {
  FreeStack* next;
};
std::atomic<FreeStack*> g_free{nullptr};

ByteCount StackBytes() {
  static const ByteCount bytes =
      AlignUp(kAltStackBytes + getauxval(AT_MINSIGSTKSZ), kPageSize);
  return bytes;
}

void PushList(FreeStack* first, FreeStack* last) {
  FreeStack* head = g_free.load(std::memory_order_relaxed);
  do {
    last->next = head;
    // Release: who takes the list reads what `next` says.
  } while (!g_free.compare_exchange_weak(head, first, std::memory_order_release,
                                         std::memory_order_relaxed));
}

void* TakeStack() {
  FreeStack* taken = g_free.exchange(nullptr, std::memory_order_acquire);
  if (taken != nullptr) {
    if (taken->next != nullptr) {
      FreeStack* last = taken->next;
      while (last->next != nullptr) last = last->next;
      PushList(taken->next, last);
    }
    return taken;
  }
  const ByteCount bytes = StackBytes() + kPageSize;  // a guard page below
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  mprotect(memory, kPageSize, PROT_NONE);
  prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, memory, bytes, "minicore signal stack");
  return static_cast<char*>(memory) + kPageSize;
}

pthread_key_t g_key;
pthread_once_t g_key_once = PTHREAD_ONCE_INIT;
bool g_has_key = false;

// Runs when a thread with a stack of ours ends. Only if that is still the one in use:
// the program may have put its own in its place.
void ReleaseStack(void* stack) {
  stack_t current;
  if (sigaltstack(nullptr, &current) == 0 && current.ss_sp == stack) {
    const stack_t none = {nullptr, SS_DISABLE, 0};
    if (sigaltstack(&none, nullptr) != 0) return;  // ends on it: leaked, not reused
  }
  auto* free_stack = static_cast<FreeStack*>(stack);
  PushList(free_stack, free_stack);
}

}  // namespace

void EnsureAltStack() {
  pthread_once(&g_key_once,
               [] { g_has_key = pthread_key_create(&g_key, &ReleaseStack) == 0; });
  stack_t current;
  if (sigaltstack(nullptr, &current) != 0 || (current.ss_flags & SS_DISABLE) == 0) {
    return;
  }
  void* stack = TakeStack();
  if (stack == nullptr) return;
  const stack_t ours = {stack, 0, StackBytes()};
  if (sigaltstack(&ours, nullptr) != 0) return;
  if (g_has_key) pthread_setspecific(g_key, stack);
}

}  // namespace minicore
