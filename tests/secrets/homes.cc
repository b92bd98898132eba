// Where a secret lives: every way to get memory, and every way to tag it.

#include <alloca.h>
#include <malloc.h>
#include <minicore/minicore.hpp>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "tests/secrets/spread.h"

// jemalloc's own interface, as minicore exports it.
extern "C" void* mallocx(size_t size, int flags);
extern "C" void* rallocx(void* pointer, size_t size, int flags);

namespace minicore {
namespace {

constexpr size_t kAnySize = 128 * 1024;
constexpr size_t kStatic = 8192;
alignas(16) char g_data[kStatic + 64] = {1};
alignas(16) char g_bss[kStatic + 64];
thread_local char t_local[kStatic + 64];

void Settle(Case& c, Secret& secret, void* home) {
  secret.home = static_cast<const uint8_t*>(home);
  Reach(home);
  Promise(c, secret);
  Continue(c);
}

void Tagged(Case& c, Secret& secret, void* memory) {
  if (memory == nullptr) abort();
  Fill(c, secret, memory);
  if (minicore_tag(memory, "secret") != 0) abort();
  Settle(c, secret, memory);
}

void Malloc(Case& c, Secret& s) { Tagged(c, s, malloc(s.size)); }
void Calloc(Case& c, Secret& s) { Tagged(c, s, calloc(1, s.size)); }
void Aligned(Case& c, Secret& s) {
  const size_t alignment = size_t{16} << c.random.Below(8);
  Tagged(c, s, aligned_alloc(alignment, s.size));
}
void PosixMemalign(Case& c, Secret& s) {
  void* memory = nullptr;
  if (posix_memalign(&memory, size_t{8} << c.random.Below(10), s.size) != 0) abort();
  Tagged(c, s, memory);
}
void Memalign(Case& c, Secret& s) { Tagged(c, s, memalign(4096, s.size)); }
void Valloc(Case& c, Secret& s) { Tagged(c, s, valloc(s.size)); }
void OperatorNew(Case& c, Secret& s) { Tagged(c, s, operator new(s.size)); }
void OperatorNewAligned(Case& c, Secret& s) {
  Tagged(c, s, operator new(s.size, std::align_val_t(128)));
}
void Mallocx(Case& c, Secret& s) { Tagged(c, s, mallocx(s.size, 0)); }

void TaggedBeforeFilled(Case& c, Secret& s) {
  void* memory = calloc(1, s.size);
  minicore_tag(memory, "secret");
  Fill(c, s, memory);
  Settle(c, s, memory);
}

void Interior(Case& c, Secret& s) {
  auto* memory = static_cast<char*>(malloc(s.size));
  Fill(c, s, memory);
  if (minicore_tag(memory + c.random.Below(s.size), "secret") != 0) abort();
  Settle(c, s, memory);
}

// Tagged, then resized, perhaps often; what it grows by is of no interest.
void Resized(Case& c, Secret& s, void* (*resize)(void*, size_t)) {
  void* memory = malloc(s.size);
  Fill(c, s, memory);
  minicore_tag(memory, "secret");
  for (uint64_t i = c.random.Below(6) + 1; i > 0; --i) {
    memory = resize(memory, s.size + c.random.Below(4 * s.size));
  }
  memory = resize(memory, s.size);
  Settle(c, s, memory);
}
void Realloc(Case& c, Secret& s) { Resized(c, s, realloc); }
void ReallocArray(Case& c, Secret& s) {
  Resized(c, s, [](void* p, size_t size) { return reallocarray(p, 1, size); });
}
void Rallocx(Case& c, Secret& s) {
  Resized(c, s, [](void* p, size_t size) { return rallocx(p, size, 0); });
}

// What a secret loses when it shrinks is gone: the tail must be nowhere either.
void Shrunk(Case& c, Secret& s) {
  void* memory = malloc(s.size);
  Fill(c, s, memory);
  minicore_tag(memory, "secret");
  Promise(c, s);  // the whole of it
  const size_t less = s.size / 2 < 16 ? s.size : s.size / 2 + c.random.Below(s.size / 2);
  memory = realloc(memory, less);
  s.size = less;
  // What was given up is somebody's now.
  for (int i = 0; i < 20; ++i) Reach(malloc(s.size + c.random.Below(2 * s.size)));
  Settle(c, s, memory);
}

void Freed(Case& c, Secret& s) {
  void* memory = malloc(s.size);
  Fill(c, s, memory);
  minicore_tag(memory, "secret");
  Promise(c, s);
  free(memory);
  for (int i = 0; i < 20; ++i) Reach(malloc(s.size));
  // No copies of it are made: nobody knows them for secret after this.
  while (c.next < c.steps.size() && &c.secrets[c.steps[c.next].secret] == &s) ++c.next;
  Continue(c);
}

// A tag comes while another thread moves the allocation. If it was put on, it holds.
void TagDuringRealloc(Case& c, Secret& s) {
  struct Race {
    std::atomic<int> ready{0};
    void* memory;
    size_t size;
  } race;
  race.memory = malloc(s.size);
  race.size = s.size * 3;
  Fill(c, s, race.memory);
  void* const old = race.memory;
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void* argument) -> void* {
        auto* r = static_cast<Race*>(argument);
        r->ready.fetch_add(1);
        while (r->ready.load() != 2) {
        }
        r->memory = realloc(r->memory, r->size);
        return nullptr;
      },
      &race);
  race.ready.fetch_add(1);
  while (race.ready.load() != 2) {
  }
  const int error = minicore_tag(old, "secret");
  pthread_join(thread, nullptr);
  if (error != 0) minicore_tag(race.memory, "secret");
  Settle(c, s, race.memory);
}

void Extent(Case& c, Secret& s) {
  void* memory = minicore_malloc(s.size, "secret");
  Fill(c, s, memory);
  Settle(c, s, memory);
}
void ExtentRealloc(Case& c, Secret& s) {
  void* memory = minicore_malloc(s.size, "secret");
  Fill(c, s, memory);
  memory = realloc(memory, s.size * 2 + c.random.Below(10000));
  memory = realloc(memory, s.size);
  Settle(c, s, memory);
}
void Resource(Case& c, Secret& s) {
  static memory_resource resource;
  auto* keys = new std::pmr::vector<uint8_t>(s.size, &resource);
  Fill(c, s, keys->data());
  Reach(keys);
  Settle(c, s, keys->data());
}
void Allocator(Case& c, Secret& s) {
  auto* keys = new std::vector<uint8_t, allocator<uint8_t>>;
  for (size_t i = 0; i < s.size; ++i) keys->push_back(0);
  Fill(c, s, keys->data());
  Reach(keys);
  Settle(c, s, keys->data());
}
void SecretObject(Case& c, Secret& s) {
  struct alignas(64) Block {
    uint8_t bytes[4096];
  };
  auto* object = new secret<Block>;
  Fill(c, s, (*object)->bytes);
  Reach(object);
  Settle(c, s, (*object)->bytes);
}

void UserTag(Case& c, Secret& s) {
  void* memory = malloc(s.size);
  Fill(c, s, memory);
  minicore_tag(memory, "vault");  // the test sets tag.vault=elide
  Settle(c, s, memory);
}
void Retagged(Case& c, Secret& s) {
  void* memory = malloc(s.size);
  Fill(c, s, memory);
  minicore_tag(memory, "cache");
  minicore_tag(memory, "secret");
  Settle(c, s, memory);
}

void Range(Case& c, Secret& s, void* begin) {
  Fill(c, s, begin);
  if (minicore_tag_range(begin, s.size, "secret") != 0) abort();
  Settle(c, s, begin);
}
void Stack(Case& c, Secret& s) {
  auto* buffer = static_cast<char*>(alloca(s.size + 64));
  Range(c, s, buffer + c.random.Below(64));
}
void ScopedStack(Case& c, Secret& s) {
  auto* buffer = static_cast<char*>(alloca(s.size + 64));
  const scoped_range_tag guard(buffer, s.size);
  Fill(c, s, buffer);
  Settle(c, s, buffer);
}
void ThreadLocal(Case& c, Secret& s) { Range(c, s, t_local + c.random.Below(64)); }
void Data(Case& c, Secret& s) { Range(c, s, g_data + c.random.Below(64)); }
void Bss(Case& c, Secret& s) { Range(c, s, g_bss + c.random.Below(64)); }
void InsideObject(Case& c, Secret& s) {
  auto* object = static_cast<char*>(malloc(s.size + 200));
  memset(object, 'o', s.size + 200);
  Reach(object);
  Range(c, s, object + 40 + c.random.Below(64));
}
char* MapMemory(size_t size, int flags, int fd) {
  const size_t pages = (size + 64 + 4095) / 4096 * 4096;
  if (fd >= 0 && ftruncate(fd, static_cast<off_t>(pages)) != 0) abort();
  void* memory = mmap(nullptr, pages, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (memory == MAP_FAILED) abort();
  if (fd >= 0) close(fd);
  return static_cast<char*>(memory);
}
void Anonymous(Case& c, Secret& s) {
  Range(c, s, MapMemory(s.size, MAP_PRIVATE | MAP_ANONYMOUS, -1) + c.random.Below(64));
}
void Shared(Case& c, Secret& s) {
  Range(c, s, MapMemory(s.size, MAP_SHARED, memfd_create("shared", 0)));
}
void PrivateFile(Case& c, Secret& s) {
  Range(c, s, MapMemory(s.size, MAP_PRIVATE, memfd_create("private", 0)));
}
void SystemVShared(Case& c, Secret& s) {
  const int segment = shmget(IPC_PRIVATE, s.size + 64, 0600);
  if (segment < 0) return Anonymous(c, s);
  void* memory = shmat(segment, nullptr, 0);
  shmctl(segment, IPC_RMID, nullptr);
  if (memory == reinterpret_cast<void*>(-1)) abort();
  Range(c, s, static_cast<char*>(memory) + c.random.Below(64));
}
// Nothing of minicore's: what the program keeps out of cores itself.
void DontDump(Case& c, Secret& s) {
  constexpr size_t kPages = 64 * 1024;  // the most that is searched for copies
  void* memory = mmap(nullptr, kPages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
  if (memory == MAP_FAILED || madvise(memory, kPages, MADV_DONTDUMP) != 0) abort();
  Fill(c, s, memory);
  Settle(c, s, memory);
}
void MallocsPages(Case& c, Secret& s) {
  constexpr size_t kPages = 64 * 1024;
  auto* memory = static_cast<char*>(aligned_alloc(4096, kPages + 4096));
  memset(memory, 0, kPages + 4096);
  if (madvise(memory + 4096, kPages, MADV_DONTDUMP) != 0) abort();
  Fill(c, s, memory + 4096);
  Settle(c, s, memory + 4096);
}
// Memory that no core has, by the kernel's own doing.
void SecretMemory(Case& c, Secret& s) {
  constexpr size_t kPages = 64 * 1024;
  const auto fd = static_cast<int>(syscall(SYS_memfd_secret, 0));
  if (fd < 0 || ftruncate(fd, kPages) != 0) return Malloc(c, s);
  void* memory = mmap(nullptr, kPages, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return Malloc(c, s);  // RLIMIT_MEMLOCK
  Fill(c, s, memory);
  Settle(c, s, memory);
}
// As libsodium keeps keys: out of cores, and out of reach while nobody uses them.
void* Protected(Case& c, size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                      -1, 0);
  if (memory == MAP_FAILED) abort();
  c.protect.push_back({memory, size});
  return memory;
}
void ProtectedPages(Case& c, Secret& s) {
  void* memory = Protected(c, 64 * 1024);
  if (madvise(memory, 64 * 1024, MADV_DONTDUMP) != 0) abort();
  Fill(c, s, memory);
  Settle(c, s, memory);
}
void ProtectedRange(Case& c, Secret& s) { Range(c, s, Protected(c, s.size)); }
// Nobody knows how long a secret is that was put into a buffer of zeros.
void AloneInABuffer(Case& c, Secret& s) {
  const size_t before = c.random.Below(3000);
  const size_t size = before + s.size + c.random.Below(10000);
  auto* memory = static_cast<char*>(calloc(1, size));
  if (c.random.Chance(50)) {
    if (minicore_tag(memory, "secret") != 0) abort();
  } else {
    minicore_tag_range(memory, size, "secret");
  }
  Fill(c, s, memory + before);
  Settle(c, s, memory + before);
}
// Or, if it is a text, into one that was used before.
void TextInABuffer(Case& c, Secret& s) {
  s.alphabet = Alphabet::kText;
  auto* memory = static_cast<char*>(malloc(s.size + 1 + c.random.Below(1000)));
  memset(memory, 0xa5, malloc_usable_size(memory));
  memory[s.size] = '\0';
  Tagged(c, s, memory);
}
// Tokens of one kind, which begin alike.
void BeginsLikeAnother(Case& c, Secret& s) {
  if (s.size < 7 || s.size > 16) return Malloc(c, s);
  auto* first = static_cast<uint8_t*>(malloc(s.size));
  auto* second = static_cast<uint8_t*>(malloc(s.size));
  uint8_t* other = c.random.Chance(50) ? first : second;
  Fill(c, s, other);
  for (size_t i = 6; i < s.size; ++i) other[i] = static_cast<uint8_t>(~other[i]);
  if (minicore_tag(other, "secret") != 0) abort();
  Tagged(c, s, other == first ? second : first);
}
void OverlappingRanges(Case& c, Secret& s) {
  auto* memory = static_cast<char*>(malloc(s.size + 64));
  Reach(memory);
  Fill(c, s, memory + 32);
  minicore_tag_range(memory + 32, s.size * 2 / 3, "secret");
  minicore_tag_range(memory + 32 + s.size / 3, s.size - s.size / 3, "secret");
  minicore_tag_range(memory + 32, s.size, "secret");
  Settle(c, s, memory + 32);
}
// Where the heap says one thing and a range another, the more protective counts.
void RangeInCache(Case& c, Secret& s) {
  auto* memory = static_cast<char*>(malloc(s.size + 64));
  minicore_tag(memory, "cache");
  Range(c, s, memory + 16);
}
void RangeInKept(Case& c, Secret& s) {
  auto* memory = static_cast<char*>(malloc(s.size + 64));
  minicore_tag(memory, "keep");
  Range(c, s, memory + 16);
}

// More ranges than there are slots for.
void FullRanges(Case& c, Secret& s) {
  static char many[6000 * 32];
  for (size_t i = 0; i < 6000; ++i) minicore_tag_range(many + i * 32, 8, "label");
  auto* memory = static_cast<char*>(malloc(s.size + 64));
  Reach(memory);
  Fill(c, s, memory);
  minicore_tag_range(memory, s.size, "secret");
  Settle(c, s, memory);
}
// More names than the table takes: a lost tag elides.
void FullNames(Case& c, Secret& s) {
  char name[16];
  for (unsigned i = 0; i < 300; ++i) {
    snprintf(name, sizeof(name), "name %u", i);
    minicore_tag_range(&name, 1, name);
    minicore_untag_range(&name, 1, name);
  }
  void* memory = malloc(s.size);
  Fill(c, s, memory);
  minicore_tag(memory, "yet another");
  Settle(c, s, memory);
}

// A coroutine's stack from the heap, secret as a whole.
ucontext_t g_outer;
ucontext_t g_coroutine;
Case* g_case;
Secret* g_secret;
void Coroutine(Case& c, Secret& s) {
  constexpr size_t kStack = 512 * 1024;
  // With a guard, or an overflow would write into the next allocation, a home perhaps.
  auto* stack = static_cast<char*>(aligned_alloc(4096, kStack));
  if (mprotect(stack, 4096, PROT_NONE) != 0) abort();
  g_case = &c;
  g_secret = &s;
  getcontext(&g_coroutine);
  g_coroutine.uc_stack.ss_sp = stack;
  g_coroutine.uc_stack.ss_size = kStack;
  g_coroutine.uc_link = &g_outer;
  makecontext(&g_coroutine, [] { Stack(*g_case, *g_secret); }, 0);
  swapcontext(&g_outer, &g_coroutine);
}

// Reached only through another secret, and through a cache: followed from neither.
void BehindASecret(Case& c, Secret& s) {
  auto** outer = static_cast<void**>(malloc(64));
  void* memory = malloc(s.size);
  Fill(c, s, memory);
  minicore_tag(memory, "secret");
  outer[3] = memory;
  minicore_tag(outer, c.random.Chance(50) ? "secret" : "cache");
  Reach(outer);
  s.home = static_cast<const uint8_t*>(memory);
  Promise(c, s);
  Continue(c);
}

// In another thread's stack and thread-local storage; it waits for ever.
struct Worker {
  Case* c;
  Secret* secret;
  bool local;
  std::atomic<uint8_t*> home{nullptr};
};
void OtherThread(Case& c, Secret& s, bool local) {
  auto* worker = new Worker{&c, &s, local};
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void* argument) -> void* {
        auto* w = static_cast<Worker*>(argument);
        auto* buffer = static_cast<uint8_t*>(alloca(w->secret->size));
        if (w->local) buffer = reinterpret_cast<uint8_t*>(t_local);
        minicore_tag_range(buffer, w->secret->size, "secret");
        Fill(*w->c, *w->secret, buffer);
        w->home.store(buffer);
        for (;;) pause();
      },
      worker);
  uint8_t* home;
  while ((home = worker->home.load()) == nullptr) sched_yield();
  Settle(c, s, home);
}
void WorkerStack(Case& c, Secret& s) { OtherThread(c, s, false); }
void WorkerLocal(Case& c, Secret& s) { OtherThread(c, s, true); }

}  // namespace

const NamedPlace kHomes[] = {
    {"malloc", Malloc, 6, kAnySize, false},
    {"calloc", Calloc, 6, kAnySize, false},
    {"aligned_alloc", Aligned, 16, kAnySize, false},
    {"posix_memalign", PosixMemalign, 16, kAnySize, false},
    {"memalign", Memalign, 16, kAnySize, false},
    {"valloc", Valloc, 16, kAnySize, false},
    {"operator new", OperatorNew, 6, kAnySize, false},
    {"aligned operator new", OperatorNewAligned, 16, kAnySize, false},
    {"mallocx", Mallocx, 6, kAnySize, false},
    {"tagged before filled", TaggedBeforeFilled, 6, kAnySize, false},
    {"interior pointer", Interior, 6, kAnySize, false},
    {"realloc", Realloc, 16, kAnySize, false},
    {"reallocarray", ReallocArray, 16, kAnySize, false},
    {"rallocx", Rallocx, 16, kAnySize, false},
    {"shrunk", Shrunk, 64, kAnySize, false},
    {"freed", Freed, 16, kAnySize, false},
    {"tag during realloc", TagDuringRealloc, 16, kAnySize, false},
    {"tagged extent", Extent, 6, kAnySize, false},
    {"tagged extent, realloc", ExtentRealloc, 16, kAnySize, false},
    {"memory_resource", Resource, 16, kAnySize, false},
    {"allocator", Allocator, 16, kAnySize, false},
    {"secret<T>", SecretObject, 16, 4096, false},
    {"user's tag", UserTag, 6, kAnySize, false},
    {"retagged", Retagged, 6, kAnySize, false},
    {"stack", Stack, 6, 32768, false},
    {"scoped stack", ScopedStack, 6, 32768, false},
    {"thread-local", ThreadLocal, 6, kStatic, false},
    {".data", Data, 6, kStatic, false},
    {".bss", Bss, 6, kStatic, false},
    {"inside an object", InsideObject, 6, kAnySize, false},
    {"anonymous mapping", Anonymous, 6, kAnySize, false},
    {"shared mapping", Shared, 6, kAnySize, false},
    {"private file mapping", PrivateFile, 6, kAnySize, false},
    {"System V shared memory", SystemVShared, 6, kAnySize, false},
    {"MADV_DONTDUMP", DontDump, 16, 60 * 1024, false},
    {"malloc's pages, MADV_DONTDUMP", MallocsPages, 16, 60 * 1024, false},
    {"memfd_secret", SecretMemory, 16, 60 * 1024, false},
    {"protected pages", ProtectedPages, 16, 60 * 1024, false},
    {"protected range", ProtectedRange, 6, kAnySize, false},
    {"alone in a buffer", AloneInABuffer, 8, kAnySize, false},
    {"text in a buffer", TextInABuffer, 6, kAnySize, false},
    {"begins like another", BeginsLikeAnother, 6, 16, false},
    {"overlapping ranges", OverlappingRanges, 16, kAnySize, false},
    {"range in a cache", RangeInCache, 6, kAnySize, false},
    {"range in kept memory", RangeInKept, 6, kAnySize, false},
    {"full table of ranges", FullRanges, 6, kAnySize, false},
    {"full table of names", FullNames, 6, kAnySize, false},
    {"coroutine's stack", Coroutine, 6, 32768, false},
    {"behind a secret", BehindASecret, 16, kAnySize, false},
    {"worker's stack", WorkerStack, 6, 32768, false},
    {"worker's thread-local", WorkerLocal, 6, kStatic, false},
};
const size_t kHomeCount = sizeof(kHomes) / sizeof(kHomes[0]);

}  // namespace minicore
