// Where copies of a secret get to: everything that a core consists of.

#include <alloca.h>
#include <minicore/minicore.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>

#include "tests/secrets/spread.h"

namespace minicore {
namespace {

constexpr size_t kMost = 128 * 1024;
constexpr size_t kStatic = 16384;
alignas(16) char g_data[kStatic + 128] = {1};
alignas(16) char g_bss[kStatic + 128];
thread_local char t_local[kStatic + 128];

// All of the secret, or any piece of 16 bytes and more.
struct Piece {
  const uint8_t* bytes;
  size_t size;
};
Piece PieceOf(Case& c, const Secret& s) {
  if (s.size <= 16 || c.random.Chance(60)) return {s.home, s.size};
  const size_t from = c.random.Below(s.size - 15);
  return {s.home + from, 16 + c.random.Below(s.size - from - 15)};
}

void Put(Case& c, const Secret& s, char* to) {
  const Piece piece = PieceOf(c, s);
  memcpy(to + c.random.Below(64), piece.bytes, piece.size);
}

void PutAndContinue(Case& c, const Secret& s, char* to) {
  Put(c, s, to);
  Reach(to);
  Continue(c);
}

void Heap(Case& c, Secret& s) {
  PutAndContinue(c, s, static_cast<char*>(malloc(s.size + 64)));
}
void HeapOnStackOnly(Case& c, Secret& s) {
  auto* volatile copy = static_cast<char*>(malloc(s.size + 64));
  Put(c, s, copy);
  Continue(c);
  free(copy);
}
void DeepInHeap(Case& c, Secret& s) {
  void** root = nullptr;
  for (int i = 0; i < 5; ++i) {
    auto** link = static_cast<void**>(malloc(48));
    link[2] = root;
    root = link;
  }
  auto* copy = static_cast<char*>(malloc(s.size + 64));
  Put(c, s, copy);
  auto** top = static_cast<void**>(malloc(32));
  top[0] = root;
  top[1] = copy;
  Reach(top);
  Continue(c);
}
// At the seam of the blocks in which a dumper may read.
void InLargeObject(Case& c, Secret& s) {
  constexpr size_t kSize = 700 * 1024;
  auto* copy = static_cast<char*>(malloc(kSize));
  memset(copy, 'L', kSize);
  for (size_t block = 1; block <= 8; ++block) {
    const Piece piece = PieceOf(c, s);
    char* seam = copy + block * 64 * 1024;
    memcpy(seam - c.random.Below(std::min<size_t>(piece.size, 4096) + 1), piece.bytes,
           piece.size);
  }
  Reach(copy);
  Continue(c);
}
void AcrossObjects(Case& c, Secret& s) {
  // Slots of one size lie side by side; some pair of many is in order.
  char* slots[64];
  for (char*& slot : slots) Reach(slot = static_cast<char*>(malloc(64)));
  for (char* a : slots) {
    for (char* b : slots) {
      if (b != a + 64) continue;
      const size_t size = std::min<size_t>(s.size, 100);
      const size_t first = 1 + c.random.Below(std::min<size_t>(size - 1, 63));
      memcpy(a + 64 - first, s.home, first);
      memcpy(b, s.home + first, std::min<size_t>(size - first, 64));
    }
  }
  Continue(c);
}
// Side by side in the file, though not in memory.
void EndAndBeginning(Case& c, Secret& s) {
  char* slots[32];
  for (char*& slot : slots) {
    Reach(slot = static_cast<char*>(malloc(192)));
    const size_t half = std::min<size_t>(s.size / 2, 90);
    memcpy(slot, s.home + half, half);
    memcpy(slot + 192 - half, s.home, half);
  }
  Continue(c);
}
void AcrossPages(Case& c, Secret& s) {
  const size_t pages = (s.size + 3 * 4096) / 4096 * 4096;
  auto* memory = static_cast<char*>(mmap(nullptr, pages, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  const Piece piece = PieceOf(c, s);
  memcpy(memory + 4096 - c.random.Below(std::min<size_t>(piece.size, 4095) + 1),
         piece.bytes, piece.size);
  // Other permissions: the kernel's mappings, and so the segments, part here.
  if (c.random.Chance(50)) mprotect(memory + 4096, 4096, PROT_READ);
  for (size_t at = 0; at < pages; at += 1024) Reach(memory + at);
  Continue(c);
}
void Stack(Case& c, Secret& s) {
  PutAndContinue(c, s, static_cast<char*>(alloca(s.size + 64)));
}
void StackManyTimes(Case& c, Secret& s) {
  const size_t size = std::min<size_t>(s.size, 512);
  auto* buffer = static_cast<char*>(alloca(20 * (size + 1)));
  for (size_t i = 0; i < 20; ++i) memcpy(buffer + i * (size + 1), s.home, size);
  Reach(buffer);
  Continue(c);
}
__attribute__((noinline)) void LeaveBehind(Case& c, const Secret& s) {
  auto* buffer = static_cast<char*>(alloca(s.size + 64));
  Put(c, s, buffer);
  asm volatile("" ::"r"(buffer) : "memory");
}
void DeadStack(Case& c, Secret& s) {
  LeaveBehind(c, s);
  Continue(c);
}
void Data(Case& c, Secret& s) { PutAndContinue(c, s, g_data); }
void Bss(Case& c, Secret& s) { PutAndContinue(c, s, g_bss); }
void ThreadLocal(Case& c, Secret& s) { PutAndContinue(c, s, t_local); }

char* Mapped(size_t size, int flags, int fd) {
  const size_t pages = (size + 64 + 4095) / 4096 * 4096;
  if (fd >= 0 && ftruncate(fd, static_cast<off_t>(pages)) != 0) abort();
  void* memory = mmap(nullptr, pages, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (memory == MAP_FAILED) abort();
  for (size_t at = 0; at < pages; at += 1024) Reach(static_cast<char*>(memory) + at);
  return static_cast<char*>(memory);
}
void Anonymous(Case& c, Secret& s) {
  PutAndContinue(c, s, Mapped(s.size, MAP_PRIVATE | MAP_ANONYMOUS, -1));
}
void Shared(Case& c, Secret& s) {
  PutAndContinue(c, s, Mapped(s.size, MAP_SHARED, memfd_create("copies", 0)));
}
void PrivateFile(Case& c, Secret& s) {
  PutAndContinue(c, s, Mapped(s.size, MAP_PRIVATE, memfd_create("copies", 0)));
}
void SystemVShared(Case& c, Secret& s) {
  const int segment = shmget(IPC_PRIVATE, s.size + 64, 0600);
  if (segment < 0) return Continue(c);
  auto* memory = static_cast<char*>(shmat(segment, nullptr, 0));
  shmctl(segment, IPC_RMID, nullptr);
  if (memory == reinterpret_cast<char*>(-1)) abort();
  for (size_t at = 0; at < s.size; at += 1024) Reach(memory + at);
  PutAndContinue(c, s, memory);
}
void Break(Case& c, Secret& s) {
  auto* memory = static_cast<char*>(sbrk(static_cast<intptr_t>(s.size + 4096)));
  if (memory == reinterpret_cast<char*>(-1)) abort();
  PutAndContinue(c, s, memory);
}
void StdString(Case& c, Secret& s) {
  const Piece piece = PieceOf(c, s);
  static std::map<int, std::string> strings;
  std::string text = "prefix ";
  text.append(reinterpret_cast<const char*>(piece.bytes), piece.size);
  strings[static_cast<int>(c.next)] = text + " suffix";
  Continue(c);
}
void HashTable(Case& c, Secret& s) {
  static std::unordered_map<std::string, int> table;
  const Piece piece = PieceOf(c, s);
  table[std::string(reinterpret_cast<const char*>(piece.bytes), piece.size)] = 1;
  Continue(c);
}
char* PutOnHeap(Case& c, Secret& s) {
  auto* copy = static_cast<char*>(malloc(s.size + 64));
  Put(c, s, copy);
  return copy;
}
void Untagged(Case& c, Secret& s) {
  char* copy = PutOnHeap(c, s);
  minicore_tag(copy, "secret");
  minicore_untag(copy);
  Reach(copy);
  Continue(c);
}
void Cache(Case& c, Secret& s) {
  char* copy = PutOnHeap(c, s);
  minicore_tag(copy, "cache");
  Reach(copy);
  Continue(c);
}
void Kept(Case& c, Secret& s) {
  minicore_tag(PutOnHeap(c, s), "keep");
  Continue(c);
}
void KeptRange(Case& c, Secret& s) {
  char* copy = PutOnHeap(c, s);
  minicore_tag_range(copy, s.size + 64, "keep");
  Continue(c);
}
// Half in a tagged range, half out of it.
void HalfTagged(Case& c, Secret& s) {
  auto* copy = static_cast<char*>(malloc(s.size + 64));
  memcpy(copy + 7, s.home, s.size);
  minicore_tag_range(copy + 7 + s.size / 3, s.size / 3, "secret");
  Reach(copy);
  Continue(c);
}
void FreedNeighbour(Case& c, Secret& s) {
  char* slots[16];
  for (char*& slot : slots) {
    slot = static_cast<char*>(malloc(s.size));
    memcpy(slot, s.home, s.size);
  }
  for (int i = 0; i < 16; i += 2) free(slots[i]);
  for (int i = 1; i < 16; i += 2) {
    memset(slots[i], 'n', s.size);
    Reach(slots[i]);
  }
  Continue(c);
}
void ReusedUncleared(Case& c, Secret& s) {
  void* memory = malloc(s.size);
  memcpy(memory, s.home, s.size);
  free(memory);
  for (int i = 0; i < 4; ++i) Reach(malloc(s.size));
  Continue(c);
}
void GrownCopy(Case& c, Secret& s) {
  auto* copy = static_cast<char*>(malloc(s.size));
  memcpy(copy, s.home, s.size);
  copy = static_cast<char*>(realloc(copy, 3 * s.size + 100));
  memcpy(copy + s.size, copy, s.size);
  Reach(copy);
  Continue(c);
}
void StandardIo(Case& c, Secret& s) {
  FILE* null = fopen("/dev/null", "w");
  auto* buffer = static_cast<char*>(malloc(256 * 1024));
  setvbuf(null, buffer, _IOFBF, 256 * 1024);
  fwrite(s.home, 1, s.size, null);
  Reach(null);
  Reach(buffer);
  Continue(c);
}
void ThreadName(Case& c, Secret& s) {
  char name[16] = {};
  memcpy(name, s.home, std::min<size_t>(s.size, 15));
  prctl(PR_SET_NAME, name);
  Continue(c);
}
void FileName(Case& c, Secret& s) {
  char name[200] = {};
  memcpy(name, s.home, std::min<size_t>(s.size, 199));
  const int fd = memfd_create(name, 0);
  Reach(Mapped(4096, MAP_SHARED, fd));
  Continue(c);
}
void TagName(Case& c, Secret& s) {
  char name[32] = {};
  memcpy(name, s.home, std::min<size_t>(s.size, 31));
  void* memory = calloc(1, 100);
  minicore_tag(memory, name);
  Reach(memory);
  Continue(c);
}
// As setproctitle() does.
void Arguments(Case& c, Secret& s) {
  char* title = c.argv[1];  // long and of no use
  memcpy(title, s.home, std::min(s.size, strlen(title)));
  Continue(c);
}
void EnvironmentCopies(Case& c, Secret& s) {
  char* value = static_cast<char*>(malloc(s.size + 1));
  memcpy(value, s.home, s.size);
  value[s.size] = '\0';
  setenv("COPIED", value, 1);
  std::string assignment = std::string("PUT=") + value;
  putenv(strdup(assignment.c_str()));
  Reach(value);
  Continue(c);
}
void AlternateStack(Case& c, Secret& s) {
  stack_t stack;
  // The one that is there: libc's call tells of the program's own.
  if (syscall(SYS_sigaltstack, nullptr, &stack) == 0 && stack.ss_sp != nullptr) {
    auto* top = static_cast<char*>(stack.ss_sp);
    memcpy(top + 100, s.home, std::min<size_t>(s.size, 4096));
    Reach(top + 100);
  }
  Continue(c);
}
void Registers(Case& c, Secret& s) {
  c.in_registers = &s;
  Continue(c);
}

// Other threads, frozen with it in their registers, on their stacks, in their
// thread-local storage.
struct Holder {
  Case* c;
  const Secret* secret;
  int kind;
  std::atomic<bool> ready{false};
};
void* Hold(void* argument) {
  auto* holder = static_cast<Holder*>(argument);
  const Secret& s = *holder->secret;
  const uint8_t* from = s.home;
  if (holder->kind == 0) {
    auto* buffer = static_cast<char*>(alloca(s.size + 3));
    memcpy(buffer + 3, from, s.size);
    asm volatile("" ::"r"(buffer) : "memory");
    holder->ready.store(true);
    for (;;) pause();
  }
  if (holder->kind == 1) {
    memcpy(t_local + 5, from, std::min(s.size, kStatic));
    holder->ready.store(true);
    for (;;) pause();
  }
  if (holder->kind == 2) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    auto* buffer = static_cast<char*>(alloca(s.size + 3));
    memcpy(buffer + 1, from, s.size);
    asm volatile("" ::"r"(buffer) : "memory");
    holder->ready.store(true);
    for (;;) pause();
  }
  // Most wait in the kernel, which keeps their registers, rather than burn the processor
  // that the dump needs.
  constexpr long kRun = 0;
  constexpr long kPause = 1;
  asm volatile(
      "movq (%0), %%rbx\n\t"
      "movq 1(%0), %%r12\n\t"
      "movq 5(%0), %%r13\n\t"
      "movq 8(%0), %%r14\n\t"
      "movdqu (%0), %%xmm3\n\t"
      "movdqu (%0), %%xmm15\n\t"
      "movb $1, (%1)\n\t"
      "1: pause\n\t"
      "testq %2, %2\n\t"
      "jz 1b\n\t"
      "movl %3, %%eax\n\t"
      "syscall\n\t"
      "jmp 1b"
      :
      : "r"(from), "r"(&holder->ready), "r"(s.size % 8 == 0 ? kRun : kPause),
        "i"(SYS_pause)
      : "rax", "rcx", "r11", "rbx", "r12", "r13", "r14", "xmm3", "xmm15", "memory");
  return nullptr;
}
void Holding(Case& c, Secret& s, int kind) {
  auto* holder = new Holder{&c, &s, kind};
  pthread_t thread;
  pthread_create(&thread, nullptr, Hold, holder);
  while (!holder->ready.load()) sched_yield();
  Continue(c);
}
void WorkerStack(Case& c, Secret& s) { Holding(c, s, 0); }
void WorkerLocal(Case& c, Secret& s) { Holding(c, s, 1); }
void SilentWorker(Case& c, Secret& s) { Holding(c, s, 2); }
void WorkerRegisters(Case& c, Secret& s) { Holding(c, s, 3); }

ucontext_t g_outer;
ucontext_t g_coroutine;
Case* g_case;
Secret* g_secret;
void CoroutineStack(Case& c, Secret& s) {
  constexpr size_t kStackBytes = 768 * 1024;
  // With a guard, or an overflow would write into the next allocation, a home perhaps.
  auto* stack = static_cast<char*>(aligned_alloc(4096, kStackBytes));
  if (mprotect(stack, 4096, PROT_NONE) != 0) abort();
  g_case = &c;
  g_secret = &s;
  getcontext(&g_coroutine);
  g_coroutine.uc_stack.ss_sp = stack;
  g_coroutine.uc_stack.ss_size = kStackBytes;
  g_coroutine.uc_link = &g_outer;
  makecontext(&g_coroutine, [] { Stack(*g_case, *g_secret); }, 0);
  swapcontext(&g_outer, &g_coroutine);
}

}  // namespace

const NamedPlace kCopies[] = {
    {"heap", Heap, 6, kMost, false},
    {"heap, from the stack", HeapOnStackOnly, 6, kMost, false},
    {"deep in the heap", DeepInHeap, 6, kMost, false},
    {"seams of a large object", InLargeObject, 6, 64 * 1024, false},
    {"across two objects", AcrossObjects, 32, kMost, false},
    {"end of one, beginning of another", EndAndBeginning, 32, kMost, false},
    {"across pages", AcrossPages, 6, kMost, false},
    {"stack", Stack, 6, 32768, false},
    {"stack, many times", StackManyTimes, 6, kMost, false},
    {"dead stack", DeadStack, 6, 32768, false},
    {".data", Data, 6, kStatic, false},
    {".bss", Bss, 6, kStatic, false},
    {"thread-local", ThreadLocal, 6, kStatic, false},
    {"anonymous mapping", Anonymous, 6, kMost, false},
    {"shared mapping", Shared, 6, kMost, false},
    {"private file mapping", PrivateFile, 6, kMost, false},
    {"System V shared memory", SystemVShared, 6, kMost, false},
    {"break", Break, 6, kMost, false},
    {"std::string", StdString, 6, kMost, false},
    {"hash table", HashTable, 6, kMost, false},
    {"untagged again", Untagged, 6, kMost, false},
    {"cache", Cache, 6, kMost, false},
    {"kept", Kept, 6, kMost, false},
    {"kept range", KeptRange, 6, kMost, false},
    {"half tagged", HalfTagged, 16, kMost, false},
    {"freed neighbour", FreedNeighbour, 6, kMost, false},
    {"reused uncleared", ReusedUncleared, 6, kMost, false},
    {"grown copy", GrownCopy, 6, kMost, false},
    {"stdio buffer", StandardIo, 6, kMost, false},
    {"thread name", ThreadName, 6, kMost, true},
    {"file name", FileName, 6, kMost, true},
    {"tag name", TagName, 6, kMost, true},
    {"arguments", Arguments, 6, kMost, true},
    {"environment", EnvironmentCopies, 6, kMost, true},
    {"signal stack", AlternateStack, 6, kMost, false},
    {"registers", Registers, 16, kMost, false},
    {"worker's stack", WorkerStack, 6, 32768, false},
    {"worker's thread-local", WorkerLocal, 6, kStatic, false},
    {"worker that blocks signals", SilentWorker, 6, 32768, false},
    {"worker's registers", WorkerRegisters, 16, kMost, false},
    {"coroutine's stack", CoroutineStack, 6, 32768, false},
};
const size_t kCopyCount = sizeof(kCopies) / sizeof(kCopies[0]);

}  // namespace minicore
