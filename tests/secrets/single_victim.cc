// single_victim SCENARIO FACTS [SIZE]: one promise about secrets at a time. Tells FACTS, a
// descriptor, what lies where, a line for each: "innocent|secret ADDRESS ID SIZE", the
// contents by keystream.h; then dies of a fault.

#include <alloca.h>
#include <elf.h>
#include <fcntl.h>
#include <minicore/minicore.hpp>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "alloc/state.h"
#include "tests/secrets/keystream.h"
#include "tests/secrets/single.h"
#include "tests/support/filter_call.h"

namespace minicore {
namespace {

constexpr size_t kSize = 200;
constexpr size_t kAround = 40;

int g_facts;
uint64_t g_next_id = 1;
const void* g_reached[4096] = {&g_reached};
size_t g_reached_count;
alignas(16) char g_data[512] = {1};
alignas(16) char g_bss[512];
thread_local char t_local[512];

void Reach(const void* pointer) {
  if (g_reached_count < 4096) g_reached[g_reached_count++] = pointer;
}

void Say(const char* what, const void* at, size_t size) {
  const uint64_t id = g_next_id++;
  FillSecret(kSingleSeed, id, Alphabet::kBytes, const_cast<void*>(at), size);
  dprintf(g_facts, "%s %lu %lu %zu\n", what, reinterpret_cast<uint64_t>(at), id, size);
}
void Innocent(void* at, size_t size) {
  Reach(at);
  Say("innocent", at, size);
}
void Secret(void* at, size_t size) { Say("secret", at, size); }

void SecretRange(void* at, size_t size) {
  Secret(at, size);
  if (minicore_tag_range(at, size, "secret") != 0) abort();
}

// Of each kind of memory a block of `size`, which stays until the crash.
template <typename Use>
void InEveryPlace(size_t size, Use use) {
  use(static_cast<char*>(malloc(size)));
  use(static_cast<char*>(calloc(1, size)));
  use(static_cast<char*>(aligned_alloc(64, (size + 63) / 64 * 64)));
  use(static_cast<char*>(operator new(size)));
  use(g_data + 8);
  use(g_bss + 8);
  use(t_local + 8);
  const auto map = [size](int flags, int fd) {
    if (fd >= 0 && ftruncate(fd, 8192) != 0) abort();
    void* memory = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (memory == MAP_FAILED) abort();
    return static_cast<char*>(memory) + 4096 - size / 2;  // across two pages
  };
  use(map(MAP_PRIVATE | MAP_ANONYMOUS, -1));
  use(map(MAP_SHARED, memfd_create("shared", 0)));
  use(map(MAP_PRIVATE, memfd_create("private", 0)));
  const int segment = shmget(IPC_PRIVATE, 8192, 0600);
  if (segment >= 0) {
    auto* memory = static_cast<char*>(shmat(segment, nullptr, 0));
    shmctl(segment, IPC_RMID, nullptr);
    if (memory == reinterpret_cast<char*>(-1)) abort();
    use(memory + 100);
  }
  // On the stack of a thread that waits for ever.
  struct Wait {
    Use* use;
    size_t size;
    pthread_barrier_t ready;
  };
  auto* wait = new Wait{&use, size, {}};
  pthread_barrier_init(&wait->ready, nullptr, 2);
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void* argument) -> void* {
        auto* w = static_cast<Wait*>(argument);
        auto* buffer = static_cast<char*>(alloca(w->size + 8));
        (*w->use)(buffer);
        (*w->use)(t_local + 8);
        pthread_barrier_wait(&w->ready);
        for (;;) pause();
      },
      wait);
  pthread_barrier_wait(&wait->ready);
}

void NothingTagged() {
  InEveryPlace(kSize, [](char* memory) { Innocent(memory, kSize); });
  for (const char* tag : {"keep", "a label"}) {
    void* memory = malloc(kSize);
    Innocent(memory, kSize);
    minicore_tag(memory, tag);
    void* of_extent = minicore_malloc(kSize, tag);
    Innocent(of_extent, kSize);
  }
  auto* untagged = static_cast<char*>(malloc(kSize));
  Innocent(untagged, kSize);
  minicore_tag(untagged, "secret");
  minicore_untag(untagged);
  Innocent(g_data + 300, 100);
  minicore_tag_range(g_data + 300, 100, "secret");
  minicore_untag_range(g_data + 300, 100, "secret");
  setenv("ALLOWED", "correct-horse-battery-staple", 1);
  Reach(getenv("ALLOWED"));
}

size_t g_secret_size;

void Neighbours() {
  InEveryPlace(kAround + g_secret_size + kAround, [](char* memory) {
    Innocent(memory, kAround);
    SecretRange(memory + kAround, g_secret_size);
    Innocent(memory + kAround + g_secret_size, kAround);
  });
  // Side by side in a slab, every other one secret.
  for (const size_t size : {16, 48, 200, 4096, 20000}) {
    for (int i = 0; i < 20; ++i) {
      void* memory = malloc(size);
      Reach(memory);
      if (i % 2 == 0) {
        Innocent(memory, size);
      } else {
        Secret(memory, size);
        minicore_tag(memory, "secret");
      }
    }
  }
}

// A tagged allocation, and copies of it on the heap, the stack, in data.
__attribute__((noinline)) char* Spread() {
  auto* secret = static_cast<char*>(malloc(kSize));
  Secret(secret, kSize);
  auto* copy = static_cast<char*>(malloc(kSize + 5));
  memcpy(copy + 5, secret, kSize);
  memcpy(g_data + 3, secret, kSize);
  memcpy(t_local + 1, secret, kSize);
  Reach(secret);
  Reach(copy);
  return secret;
}
void SpreadTagged() {
  if (minicore_tag(Spread(), "secret") != 0) abort();
}

// A secret for the name of the program.
void SecretName() {
  auto* name = static_cast<char*>(calloc(1, 100));
  FillSecret(kSingleSeed, kNameId, Alphabet::kText, name, kNameLength);
  if (minicore_tag(name, "secret") != 0) abort();
  prctl(PR_SET_NAME, name);
  SpreadTagged();
}
void SecretNameOfManySecrets() {
  SecretName();
  void* large = malloc(3 << 20);
  memset(large, 1, 3 << 20);
  minicore_tag(large, "secret");
}

// Whatever the kernel thinks of a program with more rights than its user.
void SpreadDumpable() {
  prctl(PR_SET_DUMPABLE, 1);
  SpreadTagged();
}

void FullNames() {
  char name[16];
  for (unsigned i = 0; i < 300; ++i) {
    snprintf(name, sizeof(name), "name %u", i);
    minicore_tag_range(&name, 1, name);
  }
  if (minicore_tag(Spread(), "no room for this") == 0) abort();
}

void FullRanges() {
  static char many[6000 * 32];
  for (size_t i = 0; i < 6000; ++i) minicore_tag_range(many + i * 32, 8, "secret");
  char* secret = Spread();
  minicore_tag_range(secret, kSize, "secret");
  SpreadTagged();
}

// Secrets in what begins like a module: a file that the program has mapped for itself. Where
// the headers are, behind them, and in what they say is PT_DYNAMIC.
void InAnImage() {
  const int fd = open("/proc/self/exe", O_RDONLY);
  const off_t size = lseek(fd, 0, SEEK_END);
  void* memory = mmap(nullptr, static_cast<size_t>(size), PROT_READ | PROT_WRITE, MAP_PRIVATE,
                      fd, 0);
  if (memory == MAP_FAILED) abort();
  auto* image = static_cast<char*>(memory);
  const auto* headers = reinterpret_cast<Elf64_Phdr*>(image + sizeof(Elf64_Ehdr));
  const unsigned count = reinterpret_cast<Elf64_Ehdr*>(image)->e_phnum;
  const auto tag = [](char* at, size_t bytes) {
    auto* secret = static_cast<char*>(malloc(bytes));
    Secret(secret, bytes);
    if (minicore_tag(secret, "secret") != 0) abort();
    memcpy(at, secret, bytes);
    Reach(at);
  };
  for (unsigned i = 0; i < count; ++i) {
    if (headers[i].p_type == PT_DYNAMIC) tag(image + headers[i].p_vaddr + 16, kSize);
  }
  tag(image + 3000, kSize);
  tag(image + sizeof(Elf64_Ehdr) + (count - 1) * sizeof(Elf64_Phdr), 48);
}
void InAnImageOfManySecrets() {
  InAnImage();
  FullRanges();
}

// More secrets than the dumper's list has room for.
void ManySecrets() {
  SpreadTagged();
  for (int i = 0; i < 70000; ++i) {
    void* memory = malloc(16);
    memset(memory, i, 16);
    minicore_tag(memory, "secret");
  }
  SpreadTagged();
}

// More contents of secrets than secret_bytes.
void LargeSecrets() {
  SpreadTagged();
  for (int i = 0; i < 3; ++i) {
    constexpr size_t kLarge = 400 * 1024;
    auto* secret = static_cast<char*>(malloc(kLarge));
    Secret(secret, kLarge);
    minicore_tag(secret, "secret");
    auto* copy = static_cast<char*>(malloc(kSize));
    memcpy(copy, secret + kLarge / 2, kSize);
    Reach(copy);
  }
}

void OverwrittenIndex() {
  SpreadTagged();
  Random random(7);
  const size_t granules = g_index_state.committed.load() >> kGranuleShift;
  for (size_t i = 0; i < std::min<size_t>(granules, 1 << 20); ++i) {
    g_index_state.shadow[i].store(static_cast<uint8_t>(random.Next()));
  }
}

// The kind of mark that says "secret here" lost, and nothing else.
void ForgottenMarks() {
  SpreadTagged();
  for (size_t i = 0; i < g_index_state.committed.load() >> kChunkShift; ++i) {
    g_index_state.chunks[i].tags.store(0);
  }
}

// Reading the index faults, in the phase that asks it for secrets.
void UnmappedIndex() {
  SpreadTagged();
  const auto tags = reinterpret_cast<uint64_t>(&g_index_state.tags[0]);
  munmap(reinterpret_cast<void*>(tags), g_index_state.committed.load() >> kGranuleShift);
}

void LittleMemory() {
  SpreadTagged();
  for (int i = 0; i < 200; ++i) {
    auto* secret = static_cast<char*>(malloc(4096));
    Secret(secret, 4096);
    minicore_tag(secret, "secret");
    auto* copy = static_cast<char*>(malloc(4096));
    memcpy(copy, secret, 4096);
    Reach(copy);
  }
}

char* MapPages(int flags = MAP_PRIVATE | MAP_ANONYMOUS, int fd = -1) {
  void* memory = mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (memory == MAP_FAILED) abort();
  return static_cast<char*>(memory);
}

// The page at keys + 4096 is a secret, its neighbours are not.
void DontDumpPage(char* keys) {
  if (madvise(keys + 4096, 4096, MADV_DONTDUMP) != 0) abort();
  Innocent(keys + 4096 - 300, 300);
  Secret(keys + 4096, 300);
  Innocent(keys + 8192, 300);
}

// What the program has taken out of cores itself, without a word to minicore.
void DontDump() {
  char* keys = MapPages();
  DontDumpPage(keys);
  DontDumpPage(static_cast<char*>(aligned_alloc(4096, 3 * 4096)));
  auto* copy = static_cast<char*>(malloc(400));
  memcpy(copy + 1, keys + 4096, 300);
  Innocent(copy + 301, 99);
  Reach(copy);
  for (int at = 4096; at < 8192; at += 512) Reach(keys + at);
  // Taken back: it is in cores again.
  char* plain = MapPages();
  madvise(plain, 8192, MADV_DONTDUMP);
  madvise(plain, 8192, MADV_DODUMP);
  Innocent(plain, 300);
  // The kernel has memory that is in no core without advice.
  const auto fd = static_cast<int>(syscall(SYS_memfd_secret, 0));
  if (fd < 0 || ftruncate(fd, 3 * 4096) != 0) return;
  char* hidden = MapPages(MAP_SHARED, fd);
  Reach(hidden);
  Secret(hidden, 300);
}

// So that what it said is not where it said so.
void DontDumpMoved() {
  DontDump();
  char* keys = MapPages();
  DontDumpPage(keys);
  char* place = MapPages();
  void* moved = mremap(keys + 4096, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, place + 4096);
  if (moved != place + 4096) abort();
  Reach(moved);
  // And something of the same size where it was.
  if (mmap(keys + 4096, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
           -1, 0) != keys + 4096) {
    abort();
  }
  Innocent(keys + 4096, 300);
}

// More often than minicore remembers.
void DontDumpOften() {
  for (int i = 0; i < 1500; ++i) {
    char* keys = MapPages();
    if (i % 150 == 0) {
      DontDumpPage(keys);
    } else {
      madvise(keys + 4096, 4096, MADV_DONTDUMP);
    }
  }
  DontDump();
}

// A word of a secret in a frame, as a register that was saved there leaves it; and words
// that lead to the dead memory below the frame and to the stack itself.
__attribute__((noinline)) void HoldAWord(const char* secret) {
  volatile uint64_t frame[512] = {};
  const auto page = reinterpret_cast<uint64_t>(&frame[0]) & ~uint64_t{4095};
  uint64_t word;
  memcpy(&word, secret + 8, sizeof(word));
  frame[400] = word;
  frame[300] = page - 700;
  frame[301] = page - 4096 - 700;
  frame[302] = reinterpret_cast<uint64_t>(&frame[400]);
  word = 0;
  *reinterpret_cast<volatile int*>(0x10) = 1;
}
const char* g_secret;
const char* TaggedSecret() {
  auto* secret = static_cast<char*>(malloc(48));
  Secret(secret, 48);
  if (minicore_tag(secret, "secret") != 0) abort();
  return secret;
}
void SpilledOnTheStack() { HoldAWord(TaggedSecret()); }

ucontext_t g_coroutine;
char* g_coroutine_stack;
void RunOn(char* stack, size_t size, void (*run)()) {
  g_secret = TaggedSecret();
  g_coroutine_stack = stack;
  getcontext(&g_coroutine);
  g_coroutine.uc_stack.ss_sp = stack;
  g_coroutine.uc_stack.ss_size = size;
  makecontext(&g_coroutine, run, 0);
  setcontext(&g_coroutine);
}
constexpr size_t kCoroutine = 64 * 1024;
void SpilledOnAHeapStack() {
  RunOn(static_cast<char*>(malloc(kCoroutine)), kCoroutine, [] { HoldAWord(g_secret); });
}
void SpilledOnAFreedStack() {
  RunOn(static_cast<char*>(malloc(kCoroutine)), kCoroutine, [] {
    free(g_coroutine_stack);
    HoldAWord(g_secret);
  });
}
void SpilledOnAStaticStack() {
  alignas(16) static char stack[kCoroutine];
  RunOn(stack, kCoroutine, [] { HoldAWord(g_secret); });
}
// In a frame that stack_bytes leaves out of a stack from the heap, and that the heap's
// budget has in.
__attribute__((noinline)) void HoldAWordAbove(const char* secret) {
  volatile uint64_t frame[32 * 1024] = {};
  uint64_t word;
  memcpy(&word, secret + 16, sizeof(word));
  frame[32 * 1024 - 2] = word;
  word = 0;
  Reach(const_cast<const uint64_t*>(&frame[32 * 1024 - 2]));
  HoldAWord(secret);
}
void SpilledOnALargeHeapStack() {
  RunOn(static_cast<char*>(malloc(1 << 20)), 1 << 20, [] { HoldAWordAbove(g_secret); });
}

// What another dumper makes of extents of secrets; leaves it as gcore in the working
// directory.
void Gcore() {
  for (const size_t size : {24, 5000, 40000, 300 * 1024}) {
    Secret(minicore_malloc(size, "secret"), size);
    Innocent(malloc(size), size);
  }
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  const std::string pid = std::to_string(getpid());
  if (system(("gcore -o gcore " + pid + " > gcore.log 2>&1").c_str()) == 0) {
    rename(("gcore." + pid).c_str(), "gcore");
  }
}

void (*ScenarioOf(const std::string& name))() {
  if (name == "nothing tagged") return NothingTagged;
  if (name == "neighbours") return Neighbours;
  if (name == "spread") return SpreadTagged;
  if (name == "spread, dumpable") return SpreadDumpable;
  if (name == "in an image") return InAnImage;
  if (name == "in an image, full ranges") return InAnImageOfManySecrets;
  if (name == "secret name") return SecretName;
  if (name == "secret name, many secrets") return SecretNameOfManySecrets;
  if (name == "full names") return FullNames;
  if (name == "full ranges") return FullRanges;
  if (name == "many secrets") return ManySecrets;
  if (name == "large secrets") return LargeSecrets;
  if (name == "overwritten index") return OverwrittenIndex;
  if (name == "forgotten marks") return ForgottenMarks;
  if (name == "unmapped index") return UnmappedIndex;
  if (name == "little memory") return LittleMemory;
  if (name == "spilled on the stack") return SpilledOnTheStack;
  if (name == "spilled on a heap stack") return SpilledOnAHeapStack;
  if (name == "spilled on a freed stack") return SpilledOnAFreedStack;
  if (name == "spilled on a static stack") return SpilledOnAStaticStack;
  if (name == "spilled on a large heap stack") return SpilledOnALargeHeapStack;
  if (name == "gcore") return Gcore;
  if (name == "dont dump") return DontDump;
  if (name == "dont dump, moved") return DontDumpMoved;
  if (name == "dont dump, often") return DontDumpOften;
  return nullptr;
}

// No signal reaches it: the dumper waits for it longer than a millisecond.
void StartDeafThread() {
  static std::atomic<bool> is_deaf{false};
  std::thread([] {
    const uint64_t all = ~uint64_t{0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
    is_deaf = true;
    for (;;) pause();
  }).detach();
  while (!is_deaf) sched_yield();
}

// Nor may the dumper trace any.
void ForbidTracing() {
  if (!FilterCall(SYS_ptrace, SECCOMP_RET_ERRNO | EPERM)) abort();
}

}  // namespace
}  // namespace minicore

int main(int argc, char** argv) {
  using namespace minicore;
  if (argc < 3) return 2;
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  const std::string name = argv[1];
  if (minicore_install(nullptr) != 0) return 2;
  g_facts = atoi(argv[2]);
  if (argc > 3) g_secret_size = strtoul(argv[3], nullptr, 10);
  const auto scenario = ScenarioOf(name);
  if (scenario == nullptr) return 2;
  if (getenv("SINGLE_SLOW") != nullptr) StartDeafThread();
  if (getenv("SINGLE_RUNS_ON") != nullptr) {
    StartDeafThread();
    ForbidTracing();
  }
  scenario();
  *reinterpret_cast<volatile int*>(0x10) = 1;
}
