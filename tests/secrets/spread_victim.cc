// spread_victim PADDING SEED CRASH FACTS [SECRET]: plays one case and dies. What it
// promises about its secrets it writes to the descriptor FACTS, a line for each.

#include <minicore/minicore.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/secrets/spread.h"

namespace minicore {
namespace {

constexpr size_t kMostPointers = 4096;
const void* g_reached[kMostPointers] = {&g_reached};
size_t g_reached_count;

size_t PickSize(Random& random, const NamedPlace& home) {
  static constexpr size_t kUpTo[] = {16, 16, 64, 64, 64, 300, 4096, 4096, 40000, 131072};
  const size_t most = kUpTo[random.Below(10)];
  const size_t size = 6 + random.Below(most - 5);
  return size < home.least ? home.least : size > home.most ? home.most : size;
}

bool Fits(const NamedPlace& place, const Secret& secret) {
  return secret.size >= place.least && secret.size <= place.most &&
         (!place.text_only || secret.alphabet == Alphabet::kText);
}

void MakeCase(Case& c) {
  const size_t count = 1 + c.random.Below(4);
  std::vector<bool> taken(kHomeCount);
  for (size_t i = 0; i < count; ++i) {
    // A home of its own: static ones are there once.
    size_t number;
    do {
      number = c.random.Below(kHomeCount);
    } while (taken[number]);
    taken[number] = true;
    const NamedPlace& home = kHomes[number];
    Secret secret{i, Alphabet::kBytes, PickSize(c.random, home)};
    if (c.random.Chance(40)) secret.alphabet = Alphabet::kText;
    // A short secret between zeros would be shorter than it is.
    if (secret.size > 100 && c.random.Chance(20)) secret.alphabet = Alphabet::kSparse;
    c.secrets.push_back(secret);
    c.steps.push_back({i, home.name, home.place});
    for (uint64_t copies = 1 + c.random.Below(5); copies > 0;) {
      const NamedPlace& copy = kCopies[c.random.Below(kCopyCount)];
      --copies;
      if (Fits(copy, c.secrets[i])) c.steps.push_back({i, copy.name, copy.place});
    }
  }
}

// What a program does with a token from its environment: takes it, and then, at times,
// wipes it there, or writes a title over it and the arguments.
void TakeFromEnvironment(Case& c, const char* name) {
  char* token = getenv(name);
  if (token == nullptr) return;
  char* copy = strdup(token);
  Reach(copy);
  if (c.random.Chance(30)) memset(token, 'x', strlen(token));
  if (c.random.Chance(30)) {
    const size_t room = strlen(c.argv[0]);
    const size_t size = std::min(strlen(copy), room);
    memset(c.argv[0], 0, room);
    memcpy(c.argv[0], copy, size);
  }
}

}  // namespace

void Promise(const Case& c, const Secret& secret) {
  dprintf(c.facts, "%lu %d %zu\n", secret.id, static_cast<int>(secret.alphabet),
          secret.size);
}

void Fill(const Case& c, const Secret& secret, void* to) {
  FillSecret(c.seed, secret.id, secret.alphabet, to, secret.size);
}

void Reach(const void* pointer) {
  if (g_reached_count < kMostPointers) g_reached[g_reached_count++] = pointer;
}

__attribute__((noinline)) void Continue(Case& c) {
  if (c.next == c.steps.size()) {
    if (getenv("SPREAD_VERBOSE") != nullptr) {
      for (const Step& step : c.steps) {
        fprintf(stderr, "secret %zu, %zu bytes: %s\n", step.secret,
                c.secrets[step.secret].size, step.name);
      }
    }
    Crash(c);
  }
  const Step& step = c.steps[c.next++];
  step.place(c, c.secrets[step.secret]);
}

}  // namespace minicore

int main(int argc, char** argv) {
  using namespace minicore;
  if (argc < 5) return 2;
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  if (minicore_install(nullptr) != 0) return 2;
  auto* c = new Case;
  c->seed = strtoull(argv[2], nullptr, 10);
  c->random = Random(c->seed);
  c->crash = argv[3];
  c->facts = atoi(argv[4]);
  c->argv = argv;
  TakeFromEnvironment(*c, "SPREAD_TOKEN");
  MakeCase(*c);
  Continue(*c);
  return 0;
}
