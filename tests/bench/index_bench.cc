// How fast a crashed process finds the allocation behind a word: the index's
// reader over made-up heaps, and the scan of words that mean nothing.
//
// Names: what the pointer points to / where in the heap the next look-up goes.
// "hot" stays within 1,000 allocations, "cold" goes anywhere in a heap of 1
// GiB. (1,000 of 14 KiB have 900 KiB of index, which is no longer in every cache:
// "of 100" are.)

#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "alloc/index_view.h"
#include "alloc/shadow_index.h"
#include "tests/bench/made_up_heap.h"

namespace minicore {
namespace {

constexpr ByteCount kMiB = 1024 * 1024;
constexpr ByteCount kGiB = 1024 * kMiB;

class Random {
 public:
  uint64_t Below(uint64_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ % bound;
  }

 private:
  uint64_t state_ = 88172645463325252u;
};

// Pointers somewhere inside of randomly chosen allocations, drawn in advance.
std::vector<Address> Interior(const std::vector<Address>& starts,
                              ByteCount size, size_t among) {
  Random random;
  std::vector<Address> pointers(1 << 16);
  for (Address& pointer : pointers) {
    pointer =
        starts[random.Below(among < starts.size() ? among : starts.size())] +
        random.Below(size);
  }
  return pointers;
}

void ResolveEach(benchmark::State& state, const IndexState& index,
                 const std::vector<Address>& pointers,
                 AllocationState expected) {
  size_t i = 0;
  for (auto _ : state) {
    Allocation found = Resolve(index, pointers[i++ % pointers.size()]);
    if (found.state != expected) {
      state.SkipWithError("wrong answer");
      return;
    }
    benchmark::DoNotOptimize(found);
  }
}

void ResolveSmall(benchmark::State& state, unsigned size_class,
                  size_t among) {
  MadeUpHeap heap(kGiB);
  std::vector<Address> starts = heap.FillSmall(size_class, kGiB - kMiB);
  ResolveEach(
      state, heap.index(),
      Interior(starts, kSmallClassSize[size_class], among),
      AllocationState::kLive);
}
BENCHMARK_CAPTURE(ResolveSmall, 64_bytes_hot, 4, 1000);
BENCHMARK_CAPTURE(ResolveSmall, 64_bytes_cold, 4, SIZE_MAX);
BENCHMARK_CAPTURE(ResolveSmall, 1_KiB_hot, 20, 1000);
BENCHMARK_CAPTURE(ResolveSmall, 1_KiB_cold, 20, SIZE_MAX);
BENCHMARK_CAPTURE(ResolveSmall, 14_KiB_of_100, 35, 100);
BENCHMARK_CAPTURE(ResolveSmall, 14_KiB_hot, 35, 1000);

void ResolveLarge(benchmark::State& state, ByteCount size, unsigned count) {
  MadeUpHeap heap(AlignUp(size * count, kChunkSize) + kChunkSize);
  std::vector<Address> starts;
  for (unsigned i = 0; i < count; ++i) starts.push_back(heap.AddLarge(size));
  ResolveEach(state, heap.index(), Interior(starts, size, starts.size()),
              AllocationState::kLive);
}
BENCHMARK_CAPTURE(ResolveLarge, 20_KiB_of_1000, 20480, 1000);
BENCHMARK_CAPTURE(ResolveLarge, 1_MiB_of_1000, kMiB, 1000);
BENCHMARK_CAPTURE(ResolveLarge, 20_KiB_of_100000, 20480, 100'000);
BENCHMARK_CAPTURE(ResolveLarge, 1_MiB_of_100000, kMiB, 100'000);
BENCHMARK_CAPTURE(ResolveLarge, the_only_10_GiB, 10 * kGiB, 1);

// Between the allocations, where something was freed.
void ResolveFreed(benchmark::State& state, unsigned size_class) {
  MadeUpHeap heap(kGiB);
  std::vector<Address> starts = heap.FillSmall(size_class, 64 * kMiB);
  std::vector<Address> freed;
  for (size_t i = 0; i < starts.size(); i += 3) {
    Retire(heap.index(), starts[i] - MadeUpHeap::kRegion);
    freed.push_back(starts[i]);
  }
  ResolveEach(state, heap.index(),
              Interior(freed, kSmallClassSize[size_class], 1000),
              AllocationState::kFreed);
}
BENCHMARK_CAPTURE(ResolveFreed, 64_bytes_hot, 4);
BENCHMARK_CAPTURE(ResolveFreed, 1_KiB_hot, 20);

// The longest way to "nothing": heap in which nothing was ever recorded.
void ResolveNothing(benchmark::State& state) {
  MadeUpHeap heap(kGiB);
  ResolveEach(state, heap.index(),
              Interior({MadeUpHeap::kRegion}, 64 * kMiB, 1),
              AllocationState::kUnknown);
}
BENCHMARK(ResolveNothing);

void RejectWord(benchmark::State& state) {
  MadeUpHeap heap(kGiB);
  Random random;
  std::vector<uint64_t> words(512);
  for (uint64_t& word : words) word = random.Below(MadeUpHeap::kRegion);
  size_t i = 0;
  for (auto _ : state) {
    bool in_heap = InHeap(heap.index(), words[i++ % 512]);
    benchmark::DoNotOptimize(in_heap);
  }
}
BENCHMARK(RejectWord);

// `bytes` of words that are no heap pointers.
void ScanForeignWords(benchmark::State& state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  MadeUpHeap heap(kGiB);
  Random random;
  std::vector<uint64_t> words(bytes / 8);
  for (uint64_t& word : words) word = random.Below(MadeUpHeap::kRegion);
  for (auto _ : state) {
    uint64_t found = 0;
    for (uint64_t word : words) {
      if (InHeap(heap.index(), word)) ++found;
    }
    benchmark::DoNotOptimize(found);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) *
                          state.range(0));
}
BENCHMARK(ScanForeignWords)->Arg(64 << 10)->Arg(64 << 20);

// All live allocations of a heap, in bytes of heap a second.
void VisitLive(benchmark::State& state, unsigned size_class) {
  const ByteCount bytes = 64 * kMiB;
  MadeUpHeap heap(2 * bytes);
  heap.FillSmall(size_class, bytes);
  AddressRange range{MadeUpHeap::kRegion, MadeUpHeap::kRegion + bytes};
  for (auto _ : state) {
    ByteCount total = 0;
    ForEachLive(
        heap.index(), range,
        [](void* context, const Allocation& allocation) {
          *static_cast<ByteCount*>(context) += allocation.size;
          return true;
        },
        &total);
    benchmark::DoNotOptimize(total);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}
BENCHMARK_CAPTURE(VisitLive, 64_bytes, 4);
BENCHMARK_CAPTURE(VisitLive, 4_KiB, 28);

}  // namespace
}  // namespace minicore

BENCHMARK_MAIN();
