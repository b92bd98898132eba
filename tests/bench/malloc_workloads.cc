// Malloc workloads, one per process, so that each starts from a fresh heap and
// any allocator can be preloaded.
//
//   malloc_workloads --list          names, one a line; those of 16 threads only
//                                    where there are as many processors
//   malloc_workloads NAME [SCALE]    runs it; SCALE (default 1) multiplies the
//   operations
//
// Prints {"ops": N, "cpu_ns": T, "wall_ns": W}: T is the sum of the threads'
// own CPU time in the measured loop, W the time from the common start to the
// last thread's end. Filling a working set and tearing it down is not timed.
// Every block is touched at both ends as a constructor would, but for
// "untouched".

#include <pthread.h>

#include <atomic>
#include <cinttypes>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "tests/bench/clock.h"

namespace minicore {
namespace {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  size_t Below(size_t bound) {
    return static_cast<size_t>(
        (static_cast<unsigned __int128>(Next()) * bound) >> 64);
  }

 private:
  uint64_t state_;
};

// Sizes drawn in advance: the loop pays for a load, not for a distribution.
class Sizes {
 public:
  Sizes(size_t low, size_t high, uint64_t seed) {
    Random random(seed);
    for (uint32_t& size : sizes_) {
      size = static_cast<uint32_t>(low + random.Below(high - low + 1));
    }
  }
  size_t Get(uint64_t bits) const { return sizes_[bits % kCount]; }

 private:
  static constexpr size_t kCount = 1024;
  uint32_t sizes_[kCount];
};

inline void* Touched(void* block, size_t size) {
  auto* bytes = static_cast<volatile char*>(block);
  bytes[0] = 1;
  bytes[size - 1] = 1;
  return block;
}

inline void* Allocate(size_t size) { return Touched(malloc(size), size); }

// One thread's share of a run. Start() ends the set-up: the threads wait for
// one another there and the clock starts.
struct Run {
  uint64_t ops;
  unsigned index;
  pthread_barrier_t* barrier;
  int64_t cpu_start = 0;
  int64_t cpu_ns = 0;
  int64_t wall_start = 0;
  int64_t wall_end = 0;

  void Start() {
    pthread_barrier_wait(barrier);
    wall_start = MonotonicNanoseconds();
    cpu_start = ThreadCpuNanoseconds();
  }
  void Stop() {
    cpu_ns = ThreadCpuNanoseconds() - cpu_start;
    wall_end = MonotonicNanoseconds();
  }
};

constexpr unsigned kMostThreads = 16;

template <size_t kSize>
void Pairs(Run* run) {
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) free(Allocate(kSize));
  run->Stop();
}

// 1000 blocks are allocated, then all freed, oldest first.
template <size_t kLow, size_t kHigh>
void Batches(Run* run) {
  constexpr size_t kBatch = 1000;
  Sizes sizes(kLow, kHigh, 1);
  std::vector<void*> blocks(kBatch);
  run->Start();
  for (uint64_t done = 0; done < run->ops; done += kBatch) {
    for (size_t i = 0; i < kBatch; ++i) blocks[i] = Allocate(sizes.Get(i));
    for (void* block : blocks) free(block);
  }
  run->Stop();
}

// A random slot's block is freed and replaced by one of another size. A run
// that is too short to be timed anyway (the smoke test's) gets a working set as
// small.
template <size_t kSlots, size_t kLow, size_t kHigh>
void Replace(Run* run) {
  const size_t count = run->ops < 100'000 ? 1000 : kSlots;
  Sizes sizes(kLow, kHigh, 2 + run->index);
  Random random(3 + run->index);
  std::vector<void*> slots(count);
  for (void*& slot : slots) slot = Allocate(sizes.Get(random.Next()));
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) {
    void*& slot = slots[random.Below(count)];
    free(slot);
    slot = Allocate(sizes.Get(i));
  }
  run->Stop();
  for (void* slot : slots) free(slot);
}

// The pattern of glibc's bench-malloc-thread: small sizes are likelier, and the
// memory is never touched, so that nothing hides the cost of malloc itself.
void Untouched(Run* run) {
  constexpr size_t kSlots = 1024;
  Random random(4 + run->index);
  std::vector<uint32_t> sizes(4096);
  for (uint32_t& size : sizes) {
    size = 4u << random.Below(13);
    size = static_cast<uint32_t>(size + random.Below(size));
  }
  std::vector<void*> slots(kSlots);
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) {
    void*& slot = slots[random.Below(kSlots)];
    free(slot);
    slot = malloc(sizes[i % 4096]);
  }
  run->Stop();
  for (void* slot : slots) free(slot);
}

void MapChurn(Run* run) {
  constexpr size_t kKeys = 100'000;
  Random random(5 + run->index);
  std::map<uint64_t, uint64_t> map;
  for (size_t i = 0; i < kKeys; ++i) map.emplace(random.Below(2 * kKeys), i);
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) {
    auto [place, inserted] = map.emplace(random.Below(2 * kKeys), i);
    if (!inserted) map.erase(place);
  }
  run->Stop();
}

void HashChurn(Run* run) {
  constexpr size_t kKeys = 50'000;
  Random random(6 + run->index);
  std::vector<std::string> keys;
  for (size_t i = 0; i < 2 * kKeys; ++i) {
    keys.push_back("a key that is no short string " + std::to_string(i));
  }
  std::unordered_map<std::string, std::string> map;
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) {
    const std::string& key = keys[random.Below(keys.size())];
    auto [place, inserted] = map.emplace(key, key);
    if (!inserted) map.erase(place);
  }
  run->Stop();
}

void StringChurn(Run* run) {
  constexpr size_t kStrings = 1000;
  Random random(7 + run->index);
  std::vector<std::string> strings(kStrings);
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) {
    std::string& string = strings[random.Below(kStrings)];
    if (string.size() > 400) {
      std::string().swap(string);
    } else {
      string += "grows by a few words at a time, ";
    }
  }
  run->Stop();
}

// Grown to 50 elements without a reserve(): seven allocations.
void VectorGrowth(Run* run) {
  constexpr uint64_t kElements = 50;
  run->Start();
  for (uint64_t done = 0; done < run->ops; done += kElements) {
    std::vector<uint64_t> vector;
    for (uint64_t i = 0; i < kElements; ++i) vector.push_back(i);
    asm volatile("" : : "r"(vector.data()) : "memory");
  }
  run->Stop();
}

// A buffer that grows by half until 256 KiB, like a reader of unknown input.
void ReallocGrowth(Run* run) {
  uint64_t done = 0;
  run->Start();
  while (done < run->ops) {
    char* buffer = nullptr;
    for (size_t size = 24; size < 256 * 1024; size += size / 2, ++done) {
      buffer = static_cast<char*>(Touched(realloc(buffer, size), size));
    }
    free(buffer);
  }
  run->Stop();
}

void CallocPairs(Run* run) {
  Sizes sizes(32, 512, 8);
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) {
    size_t size = sizes.Get(i);
    free(Touched(calloc(1, size), size));
  }
  run->Stop();
}

// Blocks are allocated by one thread of a couple and freed by the other. They are
// handed over by the thousand, and waiting is sleeping, so that CPU time is spent
// on malloc alone.
class Pipe {
 public:
  static constexpr size_t kBatch = 1000;
  using Batch = std::vector<void*>;

  void Push(Batch batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return batches_.size() < 8; });
    batches_.push_back(std::move(batch));
    changed_.notify_one();
  }
  Batch Pop() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !batches_.empty(); });
    Batch batch = std::move(batches_.front());
    batches_.pop_front();
    changed_.notify_one();
    return batch;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> batches_;
};

void ProducerConsumer(Run* run) {
  static Pipe pipes[kMostThreads / 2];
  Pipe& pipe = pipes[run->index / 2];
  Sizes sizes(16, 256, 9);
  run->Start();
  for (uint64_t done = 0; done < run->ops; done += Pipe::kBatch) {
    if (run->index % 2 == 0) {
      Pipe::Batch batch(Pipe::kBatch);
      for (size_t i = 0; i < Pipe::kBatch; ++i) {
        batch[i] = Allocate(sizes.Get(done + i));
      }
      pipe.Push(std::move(batch));
    } else {
      for (void* block : pipe.Pop()) free(block);
    }
  }
  run->Stop();
}

// Threads replace blocks in slots that they share: most are freed by another
// thread than allocated them.
void Exchanging(Run* run) {
  constexpr size_t kSlots = 4096;
  static std::atomic<void*> slots[kSlots];
  Sizes sizes(16, 256, 10 + run->index);
  Random random(11 + run->index);
  run->Start();
  for (uint64_t i = 0; i < run->ops; ++i) {
    void* block = Allocate(sizes.Get(i));
    free(slots[random.Below(kSlots)].exchange(block));
  }
  run->Stop();
}

struct Workload {
  const char* name;
  unsigned threads;
  uint64_t ops;  // of each thread, at scale 1: about 0.2 s
  void (*function)(Run*);
};

constexpr Workload kWorkloads[] = {
    {"pairs-16", 1, 20'000'000, Pairs<16>},
    {"pairs-64", 1, 20'000'000, Pairs<64>},
    {"pairs-256", 1, 20'000'000, Pairs<256>},
    {"pairs-4096", 1, 15'000'000, Pairs<4096>},
    {"pairs-20000", 1, 8'000'000, Pairs<20000>},
    {"pairs-calloc", 1, 10'000'000, CallocPairs},
    {"batch-64", 1, 20'000'000, Batches<64, 64>},
    {"batch-16-1024", 1, 10'000'000, Batches<16, 1024>},
    {"map", 1, 1'200'000, MapChurn},
    {"unordered_map", 1, 1'500'000, HashChurn},
    {"string", 1, 8'000'000, StringChurn},
    {"vector", 1, 80'000'000, VectorGrowth},
    {"realloc", 1, 1'000'000, ReallocGrowth},
    {"replace-20k", 1, 10'000'000, Replace<20'000, 16, 256>},
    {"replace-1M", 1, 2'500'000, Replace<1'000'000, 16, 256>},
    {"replace-4M", 1, 2'000'000, Replace<4'000'000, 16, 256>},
    {"replace-4096", 1, 2'000'000, Replace<200'000, 512, 4096>},
    {"pairs-64 x2", 2, 20'000'000, Pairs<64>},
    {"batch-16-1024 x2", 2, 8'000'000, Batches<16, 1024>},
    {"map x2", 2, 800'000, MapChurn},
    {"replace-20k x2", 2, 8'000'000, Replace<20'000, 16, 256>},
    {"producer-consumer x2", 2, 8'000'000, ProducerConsumer},
    {"exchange x2", 2, 5'000'000, Exchanging},
    {"pairs-64 x16", 16, 20'000'000, Pairs<64>},
    {"batch-16-1024 x16", 16, 8'000'000, Batches<16, 1024>},
    {"map x16", 16, 800'000, MapChurn},
    {"replace-20k x16", 16, 8'000'000, Replace<20'000, 16, 256>},
    {"producer-consumer x16", 16, 8'000'000, ProducerConsumer},
    {"exchange x16", 16, 5'000'000, Exchanging},
    {"untouched", 1, 8'000'000, Untouched},
    {"untouched x2", 2, 8'000'000, Untouched},
    {"untouched x16", 16, 8'000'000, Untouched},
};

int RunWorkload(const Workload& workload, double scale) {
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, workload.threads);
  auto ops =
      static_cast<uint64_t>(static_cast<double>(workload.ops) * scale) + 1;
  std::vector<Run> runs;
  for (unsigned i = 0; i < workload.threads; ++i) {
    runs.push_back(Run{ops, i, &barrier});
  }
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < workload.threads; ++i) {
    threads.emplace_back(workload.function, &runs[i]);
  }
  workload.function(&runs[0]);
  for (std::thread& thread : threads) thread.join();

  int64_t cpu_ns = 0, start = INT64_MAX, end = 0;
  for (const Run& run : runs) {
    cpu_ns += run.cpu_ns;
    if (run.wall_start < start) start = run.wall_start;
    if (run.wall_end > end) end = run.wall_end;
  }
  printf("{\"ops\": %" PRIu64 ", \"cpu_ns\": %" PRId64 ", \"wall_ns\": %" PRId64
         "}\n",
         ops * workload.threads, cpu_ns, end - start);
  return 0;
}

int List() {
  const unsigned processors = std::thread::hardware_concurrency();
  for (const Workload& workload : kWorkloads) {
    if (workload.threads <= 2 || workload.threads <= processors) {
      puts(workload.name);
    }
  }
  return 0;
}

int Main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--list") == 0) return List();
  for (const Workload& workload : kWorkloads) {
    if (argc >= 2 && strcmp(argv[1], workload.name) == 0) {
      return RunWorkload(workload, argc > 2 ? atof(argv[2]) : 1);
    }
  }
  fprintf(stderr, "usage: malloc_workloads --list | NAME [SCALE]\n");
  return 2;
}

}  // namespace
}  // namespace minicore

int main(int argc, char** argv) { return minicore::Main(argc, argv); }
