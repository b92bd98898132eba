// Crashes in the middle of the allocator: with each of jemalloc's locks held,
// in its extent hooks, and after any one instruction of malloc, free, realloc
// and minicore_tag.

#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>

#include "tests/e2e/facts.h"
#include "tests/e2e/jemalloc_api.h"
#include "tests/e2e/tags.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

// glibc's own, under the old name that nobody interposes. dlsym() would not do:
// the first lock is taken before it works.
extern "C" int RealTrylock(pthread_mutex_t*);
asm(".symver RealTrylock, __pthread_mutex_trylock@GLIBC_2.2.5");

namespace torture {

#define NOINLINE __attribute__((noinline))

namespace {

// Call sites of pthread_mutex_trylock() in the order in which the workload
// first comes by them. jemalloc takes every lock that is free by this call
// (5.3.0, include/jemalloc/ internal/mutex.h, malloc_mutex_lock()), so each
// site stands for a kind of lock in a situation.
constexpr int kMostSites = 4096;
void* g_sites[kMostSites];
int g_site_count = 0;
int g_crash_at = -1;
std::atomic<int> g_counting{0};  // id of the thread whose locks count

}  // namespace

NOINLINE void CrashWithLockHeld() { CrashHere(); }

namespace {

void CountLock(void* site) {
  for (int i = 0; i < g_site_count; ++i) {
    if (g_sites[i] == site) return;
  }
  if (g_site_count == kMostSites) return;
  g_sites[g_site_count] = site;
  if (g_site_count++ == g_crash_at) CrashWithLockHeld();
}

}  // namespace
}  // namespace torture

extern "C" __attribute__((visibility("default"))) int pthread_mutex_trylock(
    pthread_mutex_t* mutex) {
  const int result = RealTrylock(mutex);
  if (result == 0 && torture::g_counting == gettid()) {
    torture::CountLock(__builtin_return_address(0));
  }
  return result;
}

namespace torture {
namespace {

void Mallctl(const char* name) {
  victim::JemallocControl(name, nullptr, nullptr, nullptr, 0);
}

unsigned MakeNumber(const char* name) {
  unsigned number = 0;
  size_t size = sizeof(number);
  victim::JemallocControl(name, &number, &size, nullptr, 0);
  return number;
}

void UseManyClasses() {
  constexpr size_t kCount = 20000;
  auto** blocks = static_cast<void**>(malloc(kCount * sizeof(void*)));
  Random random(7);
  for (size_t i = 0; i < kCount; ++i) blocks[i] = malloc(1 + random.Below(600));
  for (size_t i = 0; i < kCount; ++i) free(blocks[i]);
  free(blocks);
  for (size_t size = 8; size < (8u << 20); size += size / 3 + 8) {
    void* block = malloc(size);
    block = realloc(block, size * 2);
    block = realloc(block, size / 2 + 1);
    free(block);
    if (posix_memalign(&block, 4096, size) == 0) free(block);
    free(calloc(1, size));
  }
}

// All that we know to take one of jemalloc's locks.
NOINLINE void TakeEveryLock() {
  UseManyClasses();
  if (victim::HasJemalloc()) {
    const unsigned arena = MakeNumber("arenas.create");
    const int flags =
        static_cast<int>(MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
    for (size_t size = 16; size < (4u << 20); size *= 2) {
      (void)!victim::JemallocAllocate(size, flags);
    }
    for (const char* what : {"decay", "purge", "reset", "destroy"}) {
      char name[64];
      snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
      Mallctl(name);
    }
    Mallctl("arena.4096.purge");  // all arenas
    Mallctl("thread.tcache.flush");
    const unsigned cache = MakeNumber("tcache.create");
    for (int i = 0; i < 1000; ++i) {
      (void)!victim::JemallocAllocate(48,
                                      static_cast<int>(MALLOCX_TCACHE(cache)));
    }
    victim::JemallocControl("tcache.flush", nullptr, nullptr,
                            const_cast<unsigned*>(&cache), sizeof(cache));
    uint64_t epoch = 1;
    victim::JemallocControl("epoch", nullptr, nullptr, &epoch, sizeof(epoch));
  }
  void* secret = victim::AllocateTagged(100, "secret");
  free(secret);
  free(victim::AllocateTagged(100000, "bulk"));
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void*) -> void* {
        free(malloc(1000));
        return nullptr;
      },
      nullptr);
  pthread_join(thread, nullptr);
  // Its handlers take all locks at once.
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  UseManyClasses();
}

NOINLINE void Hammer() {
  victim::CountAsParked();
  for (;;) UseManyClasses();
}

// lock NUMBER; without a number: only counts the sites.
void Lock(const Arguments& arguments) {
  if (!arguments.empty()) {
    g_crash_at = atoi(arguments[0].c_str());
    victim::StartThread("hammer", Hammer);
    victim::AwaitParked(1);
  }
  NameTheCrasher();
  g_counting = gettid();
  TakeEveryLock();
  g_counting = 0;
  victim::Fact("sites", g_site_count);
  if (!arguments.empty()) CrashHere();  // without jemalloc there are hardly any
  _exit(0);
}

// --- extent hooks ---

extent_hooks_t g_hooks;
extent_hooks_t* g_default_hooks;
const char* g_crashing_hook = "";
bool g_armed = false;

bool IsArmed(const char* hook) {
  return g_armed && strcmp(hook, g_crashing_hook) == 0;
}

}  // namespace

NOINLINE void CrashInHook() { CrashHere(); }

namespace {

void* AllocHook(extent_hooks_t*, void* address, size_t size, size_t alignment,
                bool* zero, bool* commit, unsigned arena) {
  if (IsArmed("alloc")) CrashInHook();
  return g_default_hooks->alloc(g_default_hooks, address, size, alignment, zero,
                                commit, arena);
}
bool DallocHook(extent_hooks_t*, void*, size_t, bool, unsigned) {
  if (IsArmed("dalloc")) CrashInHook();
  return true;  // keep it
}
void DestroyHook(extent_hooks_t*, void*, size_t, bool, unsigned) {
  if (IsArmed("destroy")) CrashInHook();
}
bool PurgeHook(extent_hooks_t*, void* address, size_t size, size_t offset,
               size_t length, unsigned arena) {
  if (IsArmed("purge")) CrashInHook();
  return g_default_hooks->purge_forced(g_default_hooks, address, size, offset,
                                       length, arena);
}
bool SplitHook(extent_hooks_t*, void*, size_t, size_t, size_t, bool, unsigned) {
  if (IsArmed("split")) CrashInHook();
  return false;
}
bool MergeHook(extent_hooks_t*, void*, size_t, void*, size_t, bool, unsigned) {
  if (IsArmed("merge")) CrashInHook();
  return false;
}

// hook alloc|dalloc|destroy|purge|split|merge
void Hook(const Arguments& arguments) {
  NameTheCrasher();
  StartBystanders(2);
  if (!victim::HasJemalloc()) CrashHere();
  g_crashing_hook = arguments.at(0).c_str();
  size_t size = sizeof(g_default_hooks);
  victim::JemallocControl("arena.0.extent_hooks", &g_default_hooks, &size,
                          nullptr, 0);
  g_hooks = *g_default_hooks;
  g_hooks.alloc = AllocHook;
  g_hooks.dalloc = DallocHook;
  g_hooks.destroy = DestroyHook;
  g_hooks.purge_forced = PurgeHook;
  g_hooks.purge_lazy = PurgeHook;
  g_hooks.split = SplitHook;
  g_hooks.merge = MergeHook;
  extent_hooks_t* hooks = &g_hooks;
  unsigned arena = 0;
  size = sizeof(arena);
  victim::JemallocControl("arenas.create", &arena, &size, &hooks,
                          sizeof(hooks));
  g_armed = true;
  const int flags =
      static_cast<int>(MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
  void* blocks[100];
  for (void*& block : blocks) block = victim::JemallocAllocate(100000, flags);
  for (void* block : blocks) free(block);
  for (void*& block : blocks) block = victim::JemallocAllocate(30000, flags);
  for (const char* what : {"purge", "reset", "destroy"}) {
    char name[64];
    snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
    Mallctl(name);
  }
  CrashHere();
}

// --- any one instruction ---

volatile int g_steps_left = 0;

// The trap flag makes the processor trap after every instruction. When the
// steps are used up, SIGQUIT is sent, which waits until this handler returns:
// it then arrives between two instructions of whatever was stepped through.
void OnStep(int, siginfo_t*, void* context) {
  if (g_steps_left > 0 && --g_steps_left > 0) return;
  auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  registers[REG_EFL] &= ~0x100;
  pthread_kill(pthread_self(), SIGQUIT);
}

inline void StartStepping() {
  asm volatile("pushfq\n orl $0x100, (%%rsp)\n popfq" : : : "memory", "cc");
}

}  // namespace

// What the frame of StepThrough() holds on to: they must be in the core whole.
constexpr int kHeld = 64;
constexpr size_t kHeldBytes = 200;

NOINLINE void StepThrough(const char* operation) {
  char* held[kHeld];
  for (int i = 0; i < kHeld; ++i) {
    held[i] = static_cast<char*>(malloc(kHeldBytes));
    memset(held[i], 'A' + i % 26, kHeldBytes);
    victim::Fact("held." + std::to_string(i),
                 reinterpret_cast<uintptr_t>(held[i]));
  }
  victim::Keep(held);
  void* block = malloc(40);
  void* large = malloc(100000);
  StartStepping();
  for (int i = 0; i < 1000; ++i) {
    switch (operation[0]) {
      case 'm':  // malloc
        block = malloc(100 + static_cast<size_t>(i) * 8);
        break;
      case 'f':  // free
        free(block);
        block = nullptr;
        free(large);
        large = nullptr;
        free(malloc(static_cast<size_t>(i) * 300));
        break;
      case 'r':  // realloc
        block = realloc(block, 40 + static_cast<size_t>(i) * 500);
        large = realloc(large, 100000 + (static_cast<size_t>(i) & 3) * 40000);
        break;
      case 't':  // tag
        victim::Tag(block, i % 2 == 0 ? "keep" : "label");
        victim::Untag(block);
        victim::Tag(large, "cache");
        break;
      default:
        Fail("operation?");
    }
  }
  victim::Keep(held);
}

namespace {

// step OPERATION STEPS
void Step(const Arguments& arguments) {
  NameTheCrasher();
  StartBystanders(2);
  struct sigaction action = {};
  action.sa_sigaction = OnStep;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGQUIT);
  sigaction(SIGTRAP, &action, nullptr);
  g_steps_left = atoi(arguments.at(1).c_str());
  StepThrough(arguments.at(0).c_str());
}

constexpr Scenario kScenarios[] = {
    {"lock", Lock},
    {"hook", Hook},
    {"step", Step},
};

}  // namespace

const Theme kAllocatorTheme = MakeTheme(kScenarios);

}  // namespace torture
