// A hundred thousand small objects (or argv[1]), scattered between others that nothing
// leads to: the worst case for the number of segments.

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/fidelity/victims/crash.h"

namespace {

struct Object {
  int number;
  std::unique_ptr<Object> child;
};

std::vector<std::unique_ptr<Object>> g_objects;

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? atoi(argv[1]) : 100000;
  std::mt19937 random(1);
  std::vector<std::unique_ptr<Object>> objects;
  for (int i = 0; i < count; ++i) {
    auto object = std::make_unique<Object>();
    object->number = i;
    // A neighbour of the same size that nothing points to.
    for (unsigned j = random() % 6; j != 0; --j) KeepAlive(malloc(sizeof(Object)));
    objects.push_back(std::move(object));
  }
  g_objects.swap(objects);
  std::map<int, std::string> local = {{1, "one"}, {2, "two"}};
  Object* last = g_objects.back().get();
  Crash();
  KeepAlive(&local), KeepAlive(last);
}
