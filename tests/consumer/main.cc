// Crashes with a session on the heap, and leaves core.consumer.PID in the folder it was
// started in.

#include <minicore/minicore.hpp>

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

struct Session {
  std::string user;
  std::vector<int> requests;
  const char* key;
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
  minicore::secret<std::array<char, 64>> key;
  for (std::size_t i = 0; i < key->size(); ++i) (*key)[i] = static_cast<char>('A' + (i * 7) % 23);

  const std::unique_ptr<Session> session(new Session{"alice", {1, 2, 3}, key->data()});
  return Serve(*session, nullptr);
}
