// Crashes with a session on the heap, and leaves core.consumer.PID in the folder it was
// started in.

#include <minicore/minicore.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

struct Session {
  std::string user;
  std::vector<int> requests;
  char* key;
};

// `session` is only referred to from this frame: the core has it whole all the same.
__attribute__((noinline)) int Serve(const Session& session, const int* broken) {
  std::printf("serving %s\n", session.user.c_str());
  std::fflush(stdout);
  return *broken + static_cast<int>(session.requests.size());
}

int main() {
  minicore_config config = MINICORE_CONFIG_INIT;
  config.verbose = 1;  // one line on standard error when a core was written
  if (minicore_install(&config) != 0) return 1;

  // The key is never in this file, as no literal would hide: a pattern, made here.
  char* key = static_cast<char*>(std::malloc(64));
  for (int i = 0; i < 64; ++i) key[i] = static_cast<char>('A' + (i * 7) % 23);
  if (minicore_tag(key, "secret") != 0) return 1;

  const std::unique_ptr<Session> session(new Session{"alice", {1, 2, 3}, key});
  return Serve(*session, nullptr);
}
