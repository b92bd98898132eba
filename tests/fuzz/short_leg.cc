// The short leg of a fuzz target, the same on every run: the files of its
// corpus, its first seed cut at every length (500 of them), and all seeds
// with a few words overwritten by numbers that hurt. A run ends with the number
// of inputs; a crash leaves the file or the number of the input, which brings
// it back:
//
//   core_reader_fuzz_short 4711
//   core_reader_fuzz_short crash-0a1b2c
//
// With a folder for an argument, the seeds are written there: libFuzzer's first
// corpus.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "tests/fuzz/fuzz_target.h"

namespace {

constexpr uint64_t kMutations = 2500;
constexpr uint64_t kMostCuts = 500;
constexpr uint64_t kHurting[] = {
    0,          1,          7,          8,          0x7f,   0xff,
    0x7fff,     0xffff,     0x7fffffff, 0x80000000, ~0u,    1ull << 47,
    1ull << 63, ~0ull >> 1, ~0ull - 7,  ~0ull,      0x1000, 0x3e444544494c453c};

std::string Mutated(std::string input, uint64_t number) {
  if (input.empty()) return input;
  std::mt19937_64 random(number);
  const auto below = [&random](uint64_t limit) { return random() % limit; };
  for (uint64_t i = 0, changes = 1 + below(6); i < changes; ++i) {
    const size_t width = size_t{1} << below(4);
    const size_t at = below(input.size());
    const uint64_t word =
        below(3) == 0 ? random() : kHurting[below(std::size(kHurting))];
    for (size_t k = 0; k < width && at + k < input.size(); ++k) {
      input[at + k] = static_cast<char>(word >> (8 * k));
    }
  }
  if (below(8) == 0) input.resize(below(input.size()) + 1);
  return input;
}

void Run(const std::string& input) {
  // An exact copy on the heap, so that a sanitizer sees the first byte behind
  // it.
  uint8_t* copy = static_cast<uint8_t*>(std::malloc(input.size() + 1));
  std::copy(input.begin(), input.end(), copy);
  LLVMFuzzerTestOneInput(copy, input.size());
  std::free(copy);
}

// One of the inputs; false behind the last.
bool RunNumber(const std::vector<std::string>& seeds, uint64_t number) {
  const std::string& first = seeds.at(0);
  const uint64_t cuts = std::min<uint64_t>(first.size(), kMostCuts);
  if (number <= cuts) {
    Run(first.substr(0, cuts == 0 ? 0 : number * first.size() / cuts));
    return true;
  }
  number -= cuts + 1;
  if (number >= kMutations) return false;
  Run(Mutated(seeds.at(number % seeds.size()), number));
  return true;
}

}  // namespace

namespace {

bool IsFolder(const char* path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool IsNumber(const std::string& text) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

// Stands in the log before the input runs: a crash leaves it there.
void Announce(const std::string& what) {
  static const int log = dup(2);
  const std::string line = "\rinput " + what;
  if (write(log, line.data(), line.size()) < 0) std::exit(1);
}

bool RunFile(const char* path) {
  Announce(path);
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  Run({std::istreambuf_iterator<char>(file), {}});
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> seeds = minicore::FuzzSeeds();
  if (argc == 2 && IsNumber(argv[1])) {
    return RunNumber(seeds, std::strtoull(argv[1], nullptr, 10)) ? 0 : 1;
  }
  if (argc == 2 && IsFolder(argv[1])) {
    for (size_t i = 0; i < seeds.size(); ++i) {
      std::ofstream(argv[1] + ("/seed" + std::to_string(i))) << seeds[i];
    }
    return 0;
  }
  for (int i = 1; i < argc; ++i) {
    if (!RunFile(argv[i])) {
      std::fprintf(stderr, "\ncannot read %s\n", argv[i]);
      return 1;
    }
  }
  uint64_t number = 0;
  do {
    Announce(std::to_string(number));
  } while (RunNumber(seeds, number++));
  std::printf("\n%d files, %lu inputs\n", argc - 1, number - 1);
  return number > 1000 ? 0 : 1;
}
