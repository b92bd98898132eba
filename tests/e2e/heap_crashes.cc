// Crashes that find the heap in a bad state: its locks held, or its contents
// scribbled over.

#include <fcntl.h>
#include <jemalloc/jemalloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/jemalloc_api.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/threads.h"

namespace victim {
namespace {

extent_hooks_t* g_default_hooks;
extent_hooks_t g_hooks;
int g_arena_flags;
std::atomic<bool> g_armed{false};
std::atomic<int> g_waiter{0};
std::atomic<bool> g_go{false};

// 'S' while the thread sleeps; without a call that allocates.
char StateOf(int tid) {
  char path[64];
  char stat[512] = {};
  snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
  const int fd = open(path, O_RDONLY);
  const ssize_t size = read(fd, stat, sizeof(stat) - 1);
  close(fd);
  const char* name_end = size > 0 ? strrchr(stat, ')') : nullptr;
  return name_end ? name_end[2] : '?';
}

}  // namespace

// jemalloc calls the hook of an arena with that arena's grow lock held (5.3.0,
// src/extent.c, extent_alloc_retained). Crashes as soon as another thread waits
// for it.
__attribute__((noinline)) void* CrashInExtentHook(extent_hooks_t*,
                                                  void* address, size_t size,
                                                  size_t alignment, bool* zero,
                                                  bool* commit,
                                                  unsigned arena) {
  if (!g_armed) {
    return g_default_hooks->alloc(g_default_hooks, address, size, alignment,
                                  zero, commit, arena);
  }
  g_go = true;
  while (StateOf(g_waiter) != 'S') {
  }
  WriteToNull();
  return nullptr;
}

namespace {

void MakeCrashingArena() {
  size_t size = sizeof(g_default_hooks);
  JemallocControl("arena.0.extent_hooks", &g_default_hooks, &size, nullptr, 0);
  g_hooks = *g_default_hooks;
  g_hooks.alloc = CrashInExtentHook;
  extent_hooks_t* hooks = &g_hooks;
  unsigned arena = 0;
  size = sizeof(arena);
  JemallocControl("arenas.create", &arena, &size, &hooks, sizeof(hooks));
  g_arena_flags = static_cast<int>(MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
}

}  // namespace

__attribute__((noinline)) void AllocateFromCrashingArena() {
  void* volatile memory = JemallocAllocate(1 << 20, g_arena_flags);
  (void)memory;
}

// Without jemalloc there is no such lock: the control run crashes plainly.
void InsideMalloc(bool in_worker) {
  const auto crash = [] {
    if (HasJemalloc()) {
      g_armed = true;
      AllocateFromCrashingArena();
    }
    WriteToNull();
  };
  if (HasJemalloc()) {
    MakeCrashingArena();
    StartThread("waiter", [] {
      g_waiter = static_cast<int>(gettid());
      CountAsParked();
      while (!g_go) {
      }
      AllocateFromCrashingArena();
    });
    AwaitParked(1);
  }
  if (in_worker) {
    pthread_join(StartThread("crasher", crash), nullptr);
  } else {
    NameThisThread("crasher");
    crash();
  }
}

// Takes and returns memory of all sizes, for ever.
__attribute__((noinline)) void Hammer(unsigned seed) {
  void* blocks[256] = {};
  CountAsParked();
  for (;;) {
    seed = seed * 1664525 + 1013904223;
    void*& block = blocks[seed >> 24];
    if (block != nullptr && (seed & 0x100) != 0) {
      block = realloc(block, 1 + (seed >> 16) % 2000);
    } else {
      free(block);
      block = malloc(1 + (seed >> 12) % (seed & 0x200 ? 100000 : 500));
    }
  }
}

// A signal from outside at any instant of threads that do nothing but allocate.
void Hammered(bool) {
  NameThisThread("main");
  for (unsigned i = 0; i < 3; ++i) {
    StartThread(("hammer" + std::to_string(i)).c_str(), [i] { Hammer(i); });
  }
  AwaitParked(3);
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  AnnounceReady();
  Park();
}

__attribute__((noinline)) void FreeWildPointer() {
  void* volatile wild = reinterpret_cast<void*>(0x123456789a0);
  free(wild);
}

void WildFree(bool) {
  NameThisThread("crasher");
  FreeWildPointer();
}

__attribute__((noinline)) void FreeForTheSecondTime(void* block) {
  free(block);
}

// Without minicore's check it goes unnoticed.
void DoubleFree(bool) {
  NameThisThread("crasher");
  void* volatile block = malloc(48);
  void* volatile again = block;
  free(block);
  FreeForTheSecondTime(again);
}

namespace {

// The writable mapping that holds `pointer`, by a reader that does not
// allocate.
bool FindMapping(const void* pointer, char** begin, char** end) {
  static char maps[1 << 20];
  const int fd = open("/proc/self/maps", O_RDONLY);
  size_t size = 0;
  ssize_t got = 0;
  while ((got = read(fd, maps + size, sizeof(maps) - 1 - size)) > 0) {
    size += got;
  }
  close(fd);
  maps[size] = '\0';
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  for (char* line = maps; line != nullptr && *line != '\0';) {
    char* after = nullptr;
    const uintptr_t from = strtoul(line, &after, 16);
    const uintptr_t to = strtoul(after + 1, &after, 16);
    if (address >= from && address < to && after[2] == 'w') {
      *begin = reinterpret_cast<char*>(from);
      *end = reinterpret_cast<char*>(to);
      return true;
    }
    line = strchr(line, '\n');
    if (line != nullptr) ++line;
  }
  return false;
}

}  // namespace

// Every byte of the heap, the allocator's own included, becomes 0xa5.
__attribute__((noinline)) void ScribbleOverTheHeap() {
  char* begin = nullptr;
  char* end = nullptr;
  if (!FindMapping(malloc(100), &begin, &end)) {
    fprintf(stderr, "the heap is not in /proc/self/maps\n");
    exit(2);
  }
  memset(begin, 0xa5, end - begin);
  WriteToNull();
}

void HeapScribbled(bool in_worker) {
  if (in_worker) {
    pthread_join(StartThread("crasher", ScribbleOverTheHeap), nullptr);
  } else {
    NameThisThread("crasher");
    ScribbleOverTheHeap();
  }
}

// A buffer overrun into its neighbours, noticed by the program itself.
__attribute__((noinline)) void OverrunAndAbort() {
  char* blocks[64];
  for (char*& block : blocks) {
    block = static_cast<char*>(malloc(48));
    memset(block, '.', 48);
  }
  memset(blocks[20], 'A', 480);
  asm volatile("" : : "r"(blocks) : "memory");
  abort();
}

void AbortAfterOverrun(bool in_worker) {
  if (in_worker) {
    pthread_join(StartThread("crasher", OverrunAndAbort), nullptr);
  } else {
    NameThisThread("crasher");
    OverrunAndAbort();
  }
}

}  // namespace victim
