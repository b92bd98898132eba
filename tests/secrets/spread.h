// One case of the adversarial suite, as the victim plays it: secrets get a home, copies of
// them get everywhere, and then the process crashes.
//
// Places on stacks must still be there at the crash: each place calls Continue() when it
// is done, so that the frames of all places stand on each other.

#ifndef MINICORE_TESTS_SECRETS_SPREAD_H_
#define MINICORE_TESTS_SECRETS_SPREAD_H_

#include <string>
#include <utility>
#include <vector>

#include "tests/secrets/keystream.h"

namespace minicore {

struct Secret {
  uint64_t id;
  Alphabet alphabet;
  size_t size;
  const uint8_t* home = nullptr;  // where it lies, tagged
};

struct Case;
using Place = void (*)(Case& c, Secret& secret);

struct Step {
  size_t secret;
  const char* name;
  Place place;
};

struct Case {
  uint64_t seed;
  std::string crash;
  Random random{0};
  std::vector<Secret> secrets;
  std::vector<Step> steps;
  size_t next = 0;
  int facts = -1;
  // Secrets for the registers at the crash.
  const Secret* in_registers = nullptr;
  // What the program protects when it has made its copies.
  std::vector<std::pair<void*, size_t>> protect;
  // Where copies can go that lie at the top of the main stack.
  char** argv = nullptr;
};

// Tells the test that this secret must not be in the core.
void Promise(const Case& c, const Secret& secret);

void Fill(const Case& c, const Secret& secret, void* to);

// Keeps `pointer` in static data, so that what it points to is in the core.
void Reach(const void* pointer);

// Places the next one, or crashes.
void Continue(Case& c);

struct NamedPlace {
  const char* name;
  Place place;
  // What it can take.
  size_t least;
  size_t most;
  bool text_only;
};

extern const NamedPlace kHomes[];
extern const size_t kHomeCount;
extern const NamedPlace kCopies[];
extern const size_t kCopyCount;

// Ends the process in the way that c.crash says.
void Crash(Case& c);

}  // namespace minicore

#endif  // MINICORE_TESTS_SECRETS_SPREAD_H_
