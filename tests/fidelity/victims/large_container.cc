// A std::map or a std::unordered_map ("map" or "unordered_map") of argv[2] strings, whose
// nodes lie scattered between others of their sizes that nothing leads to.

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/fidelity/victims/crash.h"

namespace {

// 40 characters; scale_test.py knows them.
std::string TextOf(unsigned key) {
  char text[41];
  snprintf(text, sizeof(text), "%08u.%08x.%08x.%013llu", key, key * 2654435761u,
           key * 2246822519u, key * 6364136223ull % 10000000000000ull);
  return text;
}

template <typename Container>
void Hold(unsigned count) {
  Container container;
  {
    std::mt19937 random(1);
    std::vector<unsigned> keys(count);
    for (unsigned i = 0; i < count; ++i) keys[i] = i;
    std::shuffle(keys.begin(), keys.end(), random);
    for (const unsigned key : keys) {
      container.emplace(key, TextOf(key));
      if (random() % 2 == 0) KeepAlive(malloc(sizeof(*container.begin()) + 32));
      if (random() % 2 == 0) KeepAlive(malloc(41));
    }
  }
  Crash();
  KeepAlive(&container);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto count = static_cast<unsigned>(atoi(argv[2]));
  if (strcmp(argv[1], "map") == 0) {
    Hold<std::map<unsigned, std::string>>(count);
  } else {
    Hold<std::unordered_map<unsigned, std::string>>(count);
  }
}
