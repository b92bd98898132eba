// Stacks that are not a thread's: coroutines (their frames are heap blocks), ucontexts on
// the heap and in a mapping, and a fault below three of them.

#include <sys/mman.h>
#include <ucontext.h>

#include <coroutine>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/fidelity/victims/crash.h"

namespace {

struct Task {
  struct promise_type {
    std::string name = "the promise of a coroutine, on the heap";
    int value = 0;
    Task get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    std::suspend_always yield_value(int v) {
      value = v;
      return {};
    }
    void return_void() {}
    void unhandled_exception() {}
  };
  std::coroutine_handle<promise_type> handle;
};

Task Count(int from, std::string label) {
  std::vector<std::string> seen;
  for (int i = from;; ++i) {
    seen.push_back(label + " saw number " + std::to_string(i));
    co_yield i;
  }
}

struct Fiber {
  ucontext_t context;
  const char* name;
  char* stack;
};

ucontext_t g_main;
Fiber g_fibers[3];
std::vector<Task> g_tasks;

constexpr size_t kStackBytes = 64 * 1024;

__attribute__((noinline)) int Deeper(int depth, const std::string& text) {
  std::string longer = text + " and deeper";
  std::vector<int> numbers(static_cast<size_t>(depth), depth);
  int result = 0;
  if (depth == 0) {
    Crash();
  } else {
    result = Deeper(depth - 1, longer) + 1;
  }
  KeepAlive(&longer), KeepAlive(&numbers);
  return result;
}

void Suspended(int index) {
  std::string local = "a local of a suspended fiber, number " + std::to_string(index);
  std::map<int, std::string> map = {{1, "one"}, {2, "two, in a node of a suspended map"}};
  swapcontext(&g_fibers[index].context, &g_main);
  KeepAlive(&local), KeepAlive(&map);
}

void Faulting(int index) {
  std::string local = "a local of the fiber that faults, number " + std::to_string(index);
  Deeper(6, local);
  KeepAlive(&local);
}

void Start(int index, char* stack, void (*function)(int)) {
  Fiber& fiber = g_fibers[index];
  fiber.name = "fiber";
  fiber.stack = stack;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = stack;
  fiber.context.uc_stack.ss_size = kStackBytes;
  fiber.context.uc_link = &g_main;
  makecontext(&fiber.context, reinterpret_cast<void (*)()>(function), 1, index);
  swapcontext(&g_main, &fiber.context);
}

}  // namespace

int main() {
  AllocateBallast(48 << 20);
  for (int i = 0; i < 5; ++i) {
    g_tasks.push_back(Count(i * 10, "coroutine " + std::to_string(i)));
    for (int j = 0; j < 3; ++j) g_tasks.back().handle.resume();
  }
  std::string in_main = "a local of main, below the fibers";
  auto mapped = static_cast<char*>(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  Start(0, static_cast<char*>(malloc(kStackBytes)), &Suspended);
  Start(1, mapped, &Suspended);
  Start(2, static_cast<char*>(malloc(kStackBytes)), &Faulting);
  KeepAlive(&in_main);
}
