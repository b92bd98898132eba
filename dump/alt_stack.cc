#include "dump/alt_stack.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "alloc/address.h"
#include "dump/safe/syscalls.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

namespace minicore {
namespace {

// The dump runs on a stack of its own: here are only signal frames (AT_MINSIGSTKSZ, 11
// KiB with AMX), ours and those of the program's handlers that ask for SA_ONSTACK.
constexpr ByteCount kAltStackBytes = 64 * 1024;

// Ended threads' stacks, for the next ones: a list without a lock (Treiber's), since a
// fork() in another thread may copy any instant of it. Its head is the number of the
// first stack's page and, above that, how often the list was changed, so that a head that
// has gone and come back is not taken for the same (2^28 changes within one take are not
// thought of). Stacks are never unmapped: whoever looks at one that another thread has just
// taken reads nonsense, and finds the head changed.
struct FreeStack {
  std::atomic<FreeStack*> next;
};
constexpr unsigned kPageNumberBits = 36;  // of an address below 2^48
std::atomic<uint64_t> g_free{0};

FreeStack* FirstOf(uint64_t head) {
  const uint64_t page = head & ((uint64_t{1} << kPageNumberBits) - 1);
  return reinterpret_cast<FreeStack*>(page * kPageSize);
}
uint64_t NextHead(uint64_t head, FreeStack* first) {
  return ((head >> kPageNumberBits) + 1) << kPageNumberBits |
         reinterpret_cast<Address>(first) / kPageSize;
}

ByteCount StackBytes() {
  static const ByteCount bytes =
      AlignUp(kAltStackBytes + getauxval(AT_MINSIGSTKSZ), kPageSize);
  return bytes;
}

void GiveBackStack(void* stack) {
  auto* const free_stack = static_cast<FreeStack*>(stack);
  uint64_t head = g_free.load(std::memory_order_relaxed);
  do {
    free_stack->next.store(FirstOf(head), std::memory_order_relaxed);
    // Release: who takes the stack reads what `next` says.
  } while (!g_free.compare_exchange_weak(head, NextHead(head, free_stack),
                                         std::memory_order_release,
                                         std::memory_order_relaxed));
}

void* TakeStack() {
  uint64_t head = g_free.load(std::memory_order_acquire);
  while (FreeStack* const first = FirstOf(head)) {
    FreeStack* const next = first->next.load(std::memory_order_relaxed);
    // Acquire, for the next look at a `next`: pairs with the release above.
    if (g_free.compare_exchange_weak(head, NextHead(head, next),
                                     std::memory_order_acquire)) {
      return first;
    }
  }
  const ByteCount bytes = StackBytes() + kPageSize;  // a guard page below
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  mprotect(memory, kPageSize, PROT_NONE);
  safe::NameMemory(memory, bytes, "minicore signal stack");
  return static_cast<char*>(memory) + kPageSize;
}

// The calling thread's own of these; null before it has one and after it gave it back. A
// thread that libc does not know has these of another thread, whose number is not its own.
thread_local void* t_stack = nullptr;
thread_local long t_owner = 0;
// What the program has set, while the kernel has ours.
thread_local stack_t t_believed = {};
thread_local int t_rounds = 0;  // of destructors, while the thread ends

pthread_key_t g_key;
pthread_once_t g_key_once = PTHREAD_ONCE_INIT;
bool g_has_key = false;

// libc's is ChangeAltStack(), see interpose.cc. Returns: 0, or -1 and errno.
int SetAltStack(const stack_t* stack, stack_t* old) {
  return static_cast<int>(syscall(SYS_sigaltstack, stack, old));
}

int SetOurs() {
  const stack_t ours = {t_stack, 0, StackBytes()};
  return SetAltStack(&ours, nullptr);
}

bool IsOff(const stack_t& stack) { return (stack.ss_flags & SS_DISABLE) != 0; }

// Handlers are written for stacks of SIGSTKSZ bytes, 8 KiB for twenty years, which hold a
// frame and what the handler takes; besides, two frames of ours. Who wants a stack disarmed
// (SS_AUTODISARM) means to leave it while a handler runs there, for another one perhaps.
bool HasRoom(const stack_t& stack) {
  constexpr ByteCount kForHandlers = 8192;
  constexpr int kAutoDisarm = static_cast<int>(1u << 31);  // SS_AUTODISARM, linux/signal.h
  if (IsOff(stack)) return false;
  return (stack.ss_flags & kAutoDisarm) != 0 ||
         stack.ss_size >= kForHandlers + 2 * getauxval(AT_MINSIGSTKSZ);
}

stack_t AsSet(const stack_t& stack) {
  if (IsOff(stack)) return {nullptr, SS_DISABLE, 0};
  return {stack.ss_sp, 0, stack.ss_size};
}

// Runs when a thread with a stack of ours ends, in each round of its keys' destructors
// (glibc 2.36, nptl/nptl_deallocate_tsd.c): any of them may overflow, so the stack goes in
// the last. Only if it is still the one in use: the program may have put its own in its
// place.
void ReleaseStack(void* stack) {
  if (++t_rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
    pthread_setspecific(g_key, stack);
    return;
  }
  t_stack = nullptr;
  stack_t current;
  if (SetAltStack(nullptr, &current) == 0 && current.ss_sp == stack) {
    if (SetAltStack(&t_believed, nullptr) != 0) return;  // ends on it: leaked, not reused
  }
  GiveBackStack(stack);
}

// Makes sure that the thread has one, if not in use. A thread that has come to its last
// destructors gets none: nobody would take it back.
bool HasStack() {
  if (t_stack == nullptr && t_rounds == 0) {
    t_stack = TakeStack();
    t_owner = gettid();
    if (t_stack != nullptr && g_has_key) pthread_setspecific(g_key, t_stack);
  }
  return t_stack != nullptr;
}

}  // namespace

bool EnsureAltStack() {
  pthread_once(&g_key_once,
               [] { g_has_key = pthread_key_create(&g_key, &ReleaseStack) == 0; });
  stack_t current;
  if (SetAltStack(nullptr, &current) != 0) return false;
  if (t_stack != nullptr || HasRoom(current)) return true;
  if (!HasStack()) return false;
  t_believed = AsSet(current);
  return SetOurs() == 0;
}

int ChangeAltStack(const stack_t* wanted, stack_t* old) {
  stack_t before;
  // The kernel checks what is wanted.
  if (SetAltStack(wanted, &before) != 0) return -1;
  const bool was_ours = t_stack != nullptr && before.ss_sp == t_stack;
  if (old != nullptr) {
    *old = before;
    if (was_ours) *old = t_believed;
    // Whether the thread is on it.
    if (was_ours && !IsOff(*old)) old->ss_flags |= before.ss_flags & SS_ONSTACK;
  }
  // A forked child has the number of another thread, and ours in use.
  if (wanted != nullptr && !HasRoom(*wanted) && HasStack() &&
      (was_ours || t_owner == gettid())) {
    t_believed = AsSet(*wanted);
    SetOurs();
  }
  return 0;
}

}  // namespace minicore
