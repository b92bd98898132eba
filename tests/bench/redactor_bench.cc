// How fast a dump is searched for copies of secrets: bytes of memory a second.
//
// Memory as dumps have it: pointers, small integers, zeros and text in equal parts; and
// the worst that is ordinary, zeros alone.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "dump/handler/redactor.h"
#include "tests/support/test_arena.h"

namespace minicore {
namespace {

constexpr size_t kMemory = 16 << 20;
constexpr size_t kBlock = 64 * 1024;

std::vector<uint8_t> Bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

std::vector<uint8_t> Memory() {
  std::mt19937_64 random(1);
  std::vector<uint8_t> memory(kMemory);
  for (size_t at = 0; at < kMemory; at += 8) {
    uint64_t word = 0;
    switch (random() % 4) {
      case 0:
        word = 0x7f0000000000 + random() % (1 << 30);
        break;
      case 1:
        word = random() % 1000;
        break;
      case 2:
        for (int i = 0; i < 8; ++i) word = word << 8 | ('a' + random() % 26);
        break;
      default:
        break;
    }
    __builtin_memcpy(&memory[at], &word, 8);
  }
  return memory;
}

// range(0): bytes of secrets, in secrets of range(1) bytes. range(2): zeros only.
void BM_Redact(benchmark::State& state) {
  TestArena arena;
  Outcome outcome;
  outcome.holes.Reserve(arena, 1024);
  Redactor redactor;
  redactor.Reserve(arena, 1 << 20);
  const auto total = static_cast<size_t>(state.range(0));
  const auto size = static_cast<size_t>(state.range(1));
  std::vector<uint8_t> secrets = Bytes(total, 2);
  for (size_t at = 0; at + size <= total; at += size) {
    // As allocations have it: the end was never written.
    if (size > 32) std::fill_n(secrets.begin() + at + size - 24, 24, 0);
    const auto begin = reinterpret_cast<Address>(secrets.data() + at);
    redactor.AddSecret({begin, begin + size}, HoleReason::kSecret, 1, true);
  }
  redactor.Build(arena);
  if (redactor.uncertain()) state.SkipWithError("the secrets do not fit");
  std::vector<uint8_t> memory =
      state.range(2) != 0 ? std::vector<uint8_t>(kMemory) : Memory();
  for (auto _ : state) {
    for (size_t at = 0; at < kMemory; at += kBlock) {
      redactor.Redact(0x1000 + at, memory.data() + at, kBlock, {0, ~0ull}, Place::kHeap,
                      outcome);
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kMemory));
}
BENCHMARK(BM_Redact)
    ->Args({64, 64, 0})
    ->Args({4096, 12, 0})
    ->Args({65536, 64, 0})
    ->Args({65536, 64, 1})
    ->Args({65536, 4096, 0})
    ->Args({1 << 20, 4096, 0});

}  // namespace
}  // namespace minicore

BENCHMARK_MAIN();
