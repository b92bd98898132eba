// Stands for libminicore.so: says what it was started with.

#include <cstdio>
#include <cstdlib>

namespace {

const char* Get(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "(none)";
}

__attribute__((constructor)) void Say() {
  std::fprintf(stderr, "fake library: %s\n", Get("MINICORE_OPTIONS"));
  std::fprintf(stderr, "preload: %s\n", Get("LD_PRELOAD"));
}

}  // namespace

// By which the real one is known.
extern "C" __attribute__((visibility("default"))) void minicore_install() {}
