// How fast a dump is searched for copies of secrets: bytes of memory a second.
//
// Memory as dumps have it: pointers, small integers, zeros and text in equal parts, in an
// order that no processor can guess; runs of one byte; zeros alone; and what the file holds
// that MINICORE_BENCH_MEMORY names, a core of a real program, say.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
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

std::vector<uint8_t> MixedMemory() {
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

std::vector<uint8_t> FileMemory() {
  const char* const name = std::getenv("MINICORE_BENCH_MEMORY");
  if (name == nullptr) return {};
  std::ifstream file(name, std::ios::binary);
  std::vector<uint8_t> memory((std::istreambuf_iterator<char>(file)), {});
  memory.resize(AlignDown(memory.size(), kBlock));
  return memory;
}

enum Kind : int64_t { kMixed, kRuns, kZeros, kFile };

std::vector<uint8_t> Memory(int64_t kind) {
  if (kind == kMixed) return MixedMemory();
  if (kind == kFile) return FileMemory();
  return std::vector<uint8_t>(kMemory, kind == kZeros ? 0 : 0x5a);
}

void Measure(benchmark::State& state, const Redactor& redactor, Outcome& outcome) {
  if (redactor.uncertain()) return state.SkipWithError("the secrets do not fit");
  std::vector<uint8_t> memory = Memory(state.range(0));
  if (memory.empty()) return state.SkipWithError("MINICORE_BENCH_MEMORY names no file");
  for (auto _ : state) {
    for (size_t at = 0; at < memory.size(); at += kBlock) {
      redactor.Redact(0x1000 + at, memory.data() + at, kBlock, {0, ~0ull}, Place::kHeap,
                      outcome);
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * memory.size()));
}

// What every process has: values of environment variables, a canary, a pointer guard.
void BM_Environment(benchmark::State& state) {
  TestArena arena;
  Outcome outcome;
  outcome.holes.Reserve(arena, 1024);
  Redactor redactor;
  redactor.Reserve(arena, 1 << 20);
  std::mt19937_64 random(3);
  std::vector<std::string> values;
  for (size_t length = 3; length < 100; length += 3) {
    std::string value;
    for (size_t i = 0; i < length; ++i) {
      value += "abcdefghijklmnopqrstuvwxyz0123456789/:._-="[random() % 42];
    }
    values.push_back(value);
  }
  for (const std::string& value : values) {
    const auto begin = reinterpret_cast<Address>(value.data());
    redactor.AddSecret({begin, begin + value.size()}, HoleReason::kEnvironment, 0, true);
  }
  redactor.AddContents(Bytes(8, 4).data(), 8, HoleReason::kCanary);
  redactor.AddContents(Bytes(8, 5).data(), 8, HoleReason::kCanary);
  redactor.Build(arena);
  Measure(state, redactor, outcome);
}
BENCHMARK(BM_Environment)->Arg(kMixed)->Arg(kRuns)->Arg(kZeros)->Arg(kFile);

// range(1): bytes of secrets, in allocations of range(2) bytes.
void BM_Secrets(benchmark::State& state) {
  TestArena arena;
  Outcome outcome;
  outcome.holes.Reserve(arena, 1024);
  Redactor redactor;
  redactor.Reserve(arena, 1 << 20);
  const auto total = static_cast<size_t>(state.range(1));
  const auto size = static_cast<size_t>(state.range(2));
  std::vector<uint8_t> secrets = Bytes(total, 2);
  for (size_t at = 0; at + size <= total; at += size) {
    // As allocations have it: the end was never written.
    if (size > 32) std::fill_n(secrets.begin() + at + size - 24, 24, 0);
    const auto begin = reinterpret_cast<Address>(secrets.data() + at);
    redactor.AddSecret({begin, begin + size}, HoleReason::kSecret, 1, true);
  }
  redactor.Build(arena);
  Measure(state, redactor, outcome);
}
BENCHMARK(BM_Secrets)
    ->ArgsProduct({{kMixed, kRuns, kZeros, kFile}, {64}, {64}})
    ->ArgsProduct({{kMixed, kRuns, kZeros, kFile}, {65536}, {12, 64, 4096}})
    ->ArgsProduct({{kMixed, kRuns, kZeros, kFile}, {1 << 20}, {4096}});

}  // namespace
}  // namespace minicore

BENCHMARK_MAIN();
