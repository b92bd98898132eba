// A service-like program to crash: a heap of a given size, threads that are
// parked with containers on their stacks, and a null dereference five frames
// down.
//
//   dump_victim HEAP_BYTES THREADS main|worker|park
//
// The heap is a cache: blocks of 256 bytes to 64 KiB, each pointing to two
// others, the first reachable from main's stack, so that a dumper that follows
// pointers is led to all of it. THREADS counts main. Right before the fault the
// time is stored in the fault clock (see measure.cc). "park" does not crash: it
// prints "ready" and waits for SIGTERM, for dumpers that come from outside.

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

void* Work(void* crash) {
  std::unique_ptr<Node> list = MakeList(8);
  std::map<int, std::string> names;
  std::unordered_map<int, std::vector<uint64_t>> table;
  for (int i = 0; i < 16; ++i) {
    names[i] = "a name that does not fit into the string " + std::to_string(i);
    table[i].assign(16, 0x1234);
  }
  pthread_barrier_wait(&all_are_parked);
  if (crash != nullptr) FramesDown(4, *list);
  pthread_mutex_lock(&forever);
  pthread_mutex_unlock(&forever);
  return nullptr;
}

int Main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: dump_victim HEAP_BYTES THREADS main|worker|park\n");
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
    bool crash = i == 1 && mode == "worker";
    int error = pthread_create(&thread, nullptr, Work, crash ? &mode : nullptr);
    if (error != 0) {
      fprintf(stderr, "dump_victim: thread %u: %s\n", i, strerror(error));
      return 2;
    }
  }
  pthread_barrier_wait(&all_are_parked);
  if (mode == "main") FramesDown(4, *list);
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
