// Objects that hide what they point to: behind base classes, control blocks, type
// erasure, unions, and bits in pointers.

#include <any>
#include <atomic>
#include <bitset>
#include <complex>
#include <cstdint>
#include <exception>
#include <functional>
#include <future>
#include <initializer_list>
#include <iostream>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/fidelity/victims/crash.h"

namespace {

struct Shape {
  virtual ~Shape() = default;
  virtual double Area() const = 0;
  std::string label = "a label that does not fit into its string";
};
struct Circle : Shape {
  explicit Circle(double r) : radius(r) {}
  double Area() const override { return 3.14 * radius * radius; }
  double radius;
  std::vector<int> samples = {1, 1, 2, 3, 5, 8};
};
struct Named {
  virtual ~Named() = default;
  std::string name = "named by a second base class, at an offset";
};
struct Square : virtual Shape, Named {
  explicit Square(double s) : side(s) {}
  double Area() const override { return side * side; }
  double side;
};

struct Node {
  std::string name;
  std::shared_ptr<Node> next;
  std::weak_ptr<Node> previous;
  std::unique_ptr<std::vector<int>> payload;
};

std::shared_ptr<Node> Ring(int n) {
  auto first = std::make_shared<Node>();
  first->name = "first of the ring";
  auto last = first;
  for (int i = 1; i < n; ++i) {
    auto node = std::make_shared<Node>();
    node->name = "node of the ring with number " + std::to_string(i);
    node->payload = std::make_unique<std::vector<int>>(static_cast<size_t>(i), i);
    node->previous = last;
    last->next = node;
    last = node;
  }
  last->next = first;  // a cycle: never freed
  return first;
}

// Pointers with bits in them, as tagged unions, hazard lists and JITs make them.
struct TaggedPointers {
  uint64_t low;       // kind in the low 3 bits
  uint64_t high;      // counter in the high 16 bits
  uint64_t high_byte;  // the top byte only, as with a hardware tag
  uint64_t both;
};
struct Leaf {
  uint64_t magic;
  char text[40];
};

Leaf* NewLeaf(uint64_t magic, const char* text) {
  auto* leaf = new Leaf{magic, {}};
  strncpy(leaf->text, text, sizeof(leaf->text) - 1);
  return leaf;
}

TaggedPointers* g_tagged;

// What a debugger's user would type to follow them: `Leaf` at the untagged address.
// gdb cannot mask within `info locals`, so these are functions' views kept as offsets.
void MakeTagged() {
  g_tagged = new TaggedPointers;
  g_tagged->low = reinterpret_cast<uint64_t>(NewLeaf(0x1111, "low bits")) | 5;
  g_tagged->high = reinterpret_cast<uint64_t>(NewLeaf(0x2222, "high bits")) | 0xabcdull << 48;
  g_tagged->high_byte = reinterpret_cast<uint64_t>(NewLeaf(0x3333, "top byte")) | 0x7full << 56;
  g_tagged->both =
      reinterpret_cast<uint64_t>(NewLeaf(0x4444, "both ends")) | 0xffffull << 48 | 3;
}

union Overlay {
  uint64_t word;
  double real;
  char bytes[8];
};

enum class Colour : uint8_t { kRed, kGreen = 7, kBlue };

struct Flags {
  unsigned ready : 1;
  unsigned kind : 5;
  int delta : 10;
  Colour colour;
};

using Value = std::variant<int, std::string, std::vector<std::string>, std::shared_ptr<Shape>>;

__attribute__((noinline)) void Erased(int n) {
  std::any any_string = std::string("a string in an any, and a long one");
  std::any any_vector = std::vector<int>{n, n + 1, n + 2};
  std::optional<std::string> some = "an optional string of some length";
  std::optional<std::vector<int>> none;
  Value number = n;
  Value text = std::string("a variant that holds a string now");
  Value list = std::vector<std::string>{"one that is long enough to be elsewhere", "two"};
  Value shape = std::make_shared<Circle>(4);
  std::vector<std::string> captured = {"captured by value in a closure's heap block", "c"};
  std::function<size_t()> closure = [captured, n] { return captured.size() + static_cast<size_t>(n); };
  std::reference_wrapper<std::string> reference = *some;
  std::promise<int> promise;
  std::future<int> future = promise.get_future();
  std::exception_ptr exception = std::make_exception_ptr(std::runtime_error("stored"));
  std::complex<double> complex(1, -2);
  Overlay overlay = {0x4142434445464748};
  Flags flags = {1, 9, -3, Colour::kGreen};
  std::atomic<long> atomic{42};
  std::mutex mutex;
  mutex.lock();
  Crash();
  KeepAlive(&any_string), KeepAlive(&any_vector), KeepAlive(&some), KeepAlive(&none);
  KeepAlive(&number), KeepAlive(&text), KeepAlive(&list), KeepAlive(&shape);
  KeepAlive(&closure), KeepAlive(&reference), KeepAlive(&future), KeepAlive(&exception);
  KeepAlive(&complex), KeepAlive(&overlay), KeepAlive(&flags), KeepAlive(&atomic);
  KeepAlive(&mutex);
}

__attribute__((noinline)) void Owners(int n) {
  std::unique_ptr<Shape> circle = std::make_unique<Circle>(2.5);
  std::unique_ptr<Shape> square = std::make_unique<Square>(1.5);
  Named* base_in_the_middle = dynamic_cast<Named*>(square.get());
  std::vector<std::unique_ptr<Shape>> shapes;
  for (int i = 0; i < n; ++i) {
    if (i % 2 == 0) {
      shapes.push_back(std::make_unique<Circle>(i));
    } else {
      shapes.push_back(std::make_unique<Square>(i));
    }
  }
  std::shared_ptr<Node> ring = Ring(n);
  std::weak_ptr<Node> weak = ring->next;
  std::shared_ptr<std::string> aliased(ring, &ring->name);
  std::shared_ptr<Shape> adopted(new Circle(9));
  Shape& by_reference = *adopted;
  Erased(n);
  KeepAlive(&circle), KeepAlive(&square), KeepAlive(base_in_the_middle);
  KeepAlive(&shapes), KeepAlive(&ring), KeepAlive(&weak), KeepAlive(&aliased);
  KeepAlive(&by_reference);
}

}  // namespace

int main() {
  AllocateBallast(48 << 20);
  MakeTagged();
  TaggedPointers* const tagged = g_tagged;
  Owners(12);
  KeepAlive(tagged);
}
