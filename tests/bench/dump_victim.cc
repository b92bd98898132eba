// A service-like program to crash: a heap of a given size, threads that are
// parked with containers on their stacks, and a null dereference five frames
// down.
//
//   dump_victim HEAP_BYTES THREADS main|worker|park|live
//
// The heap is a cache: blocks of 256 bytes to 64 KiB, each pointing to two
// others, the first reachable from main's stack, so that a dumper that follows
// pointers is led to all of it. THREADS counts main. Right before the fault the
// time is stored in the fault clock (see measure.cc). "park" does not crash: it
// prints "ready" and waits for SIGTERM, for dumpers that come from outside.
// "live" makes live dumps, and prints for each, in nanoseconds, the longest time
// that a thread which does nothing but look at the clock did not run.

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/bench/clock.h"

namespace minicore {
namespace {

std::atomic<int64_t>* fault_clock;
pthread_barrier_t all_are_parked;
pthread_mutex_t forever = PTHREAD_MUTEX_INITIALIZER;
int* volatile null_pointer;

struct Block {
  Block* links[2];
  uint64_t bytes;
};

// Returns blocks of `bytes` in all, every page written, linked as a binary
// tree.
std::vector<Block*> BuildHeap(uint64_t bytes) {
  std::vector<Block*> blocks;
  uint64_t random = 88172645463325252u;
  for (uint64_t built = 0; built < bytes;) {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    uint64_t size = uint64_t{256} << (random % 9);
    auto* block = static_cast<Block*>(malloc(size));
    if (block == nullptr) abort();
    memset(static_cast<void*>(block), 0x5a, size);
    *block = Block{{nullptr, nullptr}, size};
    if (!blocks.empty()) {
      blocks[(blocks.size() - 1) / 2]->links[(blocks.size() - 1) % 2] = block;
    }
    blocks.push_back(block);
    built += size;
  }
  return blocks;
}

struct Node {
  std::unique_ptr<Node> next;
  std::vector<int> numbers;
  std::string text;
};

std::unique_ptr<Node> MakeList(int length) {
  std::unique_ptr<Node> head;
  for (int i = 0; i < length; ++i) {
    auto node = std::make_unique<Node>();
    node->next = std::move(head);
    node->numbers.assign(32, i);
    node->text =
        "a text that is too long for the small string " + std::to_string(i);
    head = std::move(node);
  }
  return head;
}

__attribute__((noinline)) void Fault(const Node& node) {
  int value = static_cast<int>(node.text.size());
  fault_clock->store(MonotonicNanoseconds(), std::memory_order_relaxed);
  *null_pointer = value;
}

__attribute__((noinline)) void FramesDown(int frames, const Node& node) {
  std::string local = node.text + " in frame " + std::to_string(frames);
  if (frames == 0) {
    Fault(node);
  } else {
    FramesDown(frames - 1, node);
  }
  asm volatile("" : : "r"(local.data()) : "memory");
}

std::atomic<bool> live_runs{true};
std::atomic<int64_t> longest_gap{0};

void WatchTheClock() {
  int64_t last = MonotonicNanoseconds();
  while (live_runs.load(std::memory_order_relaxed)) {
    const int64_t now = MonotonicNanoseconds();
    if (now - last > longest_gap.load(std::memory_order_relaxed)) {
      longest_gap.store(now - last, std::memory_order_relaxed);
    }
    last = now;
  }
}

void* Work(void* crash) {
  std::unique_ptr<Node> list = MakeList(8);
  std::map<int, std::string> names;
  std::unordered_map<int, std::vector<uint64_t>> table;
  for (int i = 0; i < 16; ++i) {
    names[i] = "a name that does not fit into the string " + std::to_string(i);
    table[i].assign(16, 0x1234);
  }
  pthread_barrier_wait(&all_are_parked);
  if (crash != nullptr && *static_cast<std::string*>(crash) == "live") {
    WatchTheClock();
  } else if (crash != nullptr) {
    FramesDown(4, *list);
  }
  pthread_mutex_lock(&forever);
  pthread_mutex_unlock(&forever);
  return nullptr;
}

int DumpLive(int times) {
  auto* const dump =
      reinterpret_cast<int (*)(int)>(dlsym(RTLD_DEFAULT, "minicore_dump_fd"));
  const int file = open("core.live", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (dump == nullptr || file < 0) return 1;
  for (int i = 0; i < times; ++i) {
    if (ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0) return 1;
    usleep(20000);
    longest_gap = 0;
    if (dump(file) != 0) return 1;
    printf("%ld\n", longest_gap.load());
  }
  return 0;
}

int Main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr,
            "usage: dump_victim HEAP_BYTES THREADS main|worker|park|live\n");
    return 2;
  }
  uint64_t heap_bytes = strtoull(argv[1], nullptr, 10);
  auto threads = static_cast<unsigned>(strtoul(argv[2], nullptr, 10));
  std::string mode = argv[3];
  const char* clock_fd = getenv("MINICORE_BENCH_CLOCK_FD");
  void* page =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
           clock_fd != nullptr ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS,
           clock_fd != nullptr ? atoi(clock_fd) : -1, 0);
  if (page == MAP_FAILED) {
    perror("dump_victim: fault clock");
    return 2;
  }
  fault_clock = static_cast<std::atomic<int64_t>*>(page);

  std::vector<Block*> heap = BuildHeap(heap_bytes);
  std::unique_ptr<Node> list = MakeList(8);
  pthread_mutex_lock(&forever);
  pthread_barrier_init(&all_are_parked, nullptr, threads);
  for (unsigned i = 1; i < threads; ++i) {
    pthread_t thread;
    bool crash = i == 1 && (mode == "worker" || mode == "live");
    int error = pthread_create(&thread, nullptr, Work, crash ? &mode : nullptr);
    if (error != 0) {
      fprintf(stderr, "dump_victim: thread %u: %s\n", i, strerror(error));
      return 2;
    }
  }
  pthread_barrier_wait(&all_are_parked);
  if (mode == "main") FramesDown(4, *list);
  if (mode == "live") {
    const int failed = DumpLive(11);
    live_runs = false;
    fflush(stdout);
    _exit(failed);
  }
  if (mode == "park") {
    puts("ready");
    fflush(stdout);
  }
  for (;;) pause();
  asm volatile("" : : "r"(heap.data()) : "memory");
}

}  // namespace
}  // namespace minicore

int main(int argc, char** argv) { return minicore::Main(argc, argv); }
