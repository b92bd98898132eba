// The victim of the demo: a small shop. Workers price orders; one order refers
// to a customer who is gone, and the worker that gets it crashes a few calls
// deep.
//
//   service CORE SECRET CACHE_MIB
//
// CORE is where the small core goes, SECRET a file with the key that must not
// be in it. Prints the time of the fault, in seconds since the epoch, on
// standard output.

#include <fcntl.h>
#include <minicore/minicore.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace shop {

constexpr size_t kKeyBytes = 48;
constexpr int kWorkers = 6;

struct Customer {
  std::string name;
  double discount = 0;
};

struct Line {
  std::string article;
  int pieces = 0;
  double price = 0;
};

struct Order {
  int number = 0;
  std::vector<Line> lines;
  std::shared_ptr<Customer> customer;
};

// Tagged "secret": read straight into its place, so that nothing else ever had
// it.
char* g_key;
// Tagged "cache": bulk that nobody needs to see after a crash.
char* g_cache;
size_t g_cache_bytes;

class Queue {
 public:
  void Push(std::unique_ptr<Order> order) {
    const std::lock_guard<std::mutex> lock(mutex_);
    orders_.push_back(std::move(order));
    ready_.notify_one();
  }
  std::unique_ptr<Order> Pop() {
    std::unique_lock<std::mutex> lock(mutex_);
    ready_.wait(lock, [this] { return !orders_.empty(); });
    std::unique_ptr<Order> order = std::move(orders_.front());
    orders_.pop_front();
    return order;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::unique_ptr<Order>> orders_;
};

// Leaves copies of the key on the stack and in vector registers, as real code
// does.
__attribute__((noinline)) unsigned Sign(const Order& order) {
  std::array<char, kKeyBytes> copy;
  std::memcpy(copy.data(), g_key, copy.size());
  unsigned sum = static_cast<unsigned>(order.number);
  for (char c : copy) sum = sum * 31 + static_cast<unsigned char>(c);
  return sum;
}

__attribute__((noinline)) double DiscountOf(const Customer* customer) {
  return customer->discount;  // null for order 1234
}

__attribute__((noinline)) double PriceOf(const Order* order) {
  std::map<std::string, int> pieces_by_article;
  double price = 0;
  for (const Line& line : order->lines) {
    pieces_by_article[line.article] += line.pieces;
    if (order->customer == nullptr) {
      timespec now;
      clock_gettime(CLOCK_REALTIME, &now);
      std::printf("%ld.%06ld\n", now.tv_sec, now.tv_nsec / 1000);
      std::fflush(stdout);
    }
    const double discount = DiscountOf(order->customer.get());
    price += line.price * line.pieces * (1 - discount);
  }
  return price;
}

__attribute__((noinline)) double Handle(const Order* order) {
  const unsigned signature = Sign(*order);
  return PriceOf(order) + signature % 2;
}

void Work(Queue* queue) {
  for (;;) {
    const std::unique_ptr<Order> order = queue->Pop();
    Handle(order.get());
  }
}

void FillCache(size_t bytes) {
  g_cache_bytes = bytes;
  g_cache = static_cast<char*>(std::malloc(bytes));
  if (g_cache == nullptr) std::exit(2);
  // Words that differ: neither zero pages nor compressible ones.
  unsigned long word = 88172645463325252ul;
  for (size_t at = 0; at + sizeof(word) <= bytes; at += sizeof(word)) {
    word ^= word << 13, word ^= word >> 7, word ^= word << 17;
    std::memcpy(g_cache + at, &word, sizeof(word));
  }
  minicore_tag(g_cache, "cache");
}

void ReadKey(const char* file) {
  g_key = static_cast<char*>(std::malloc(kKeyBytes));
  minicore_tag(g_key, "secret");
  const int fd = open(file, O_RDONLY);
  if (fd < 0 || read(fd, g_key, kKeyBytes) != kKeyBytes) std::exit(2);
  close(fd);
}

std::unique_ptr<Order> MakeOrder(int number,
                                 std::shared_ptr<Customer> customer) {
  auto order = std::make_unique<Order>();
  order->number = number;
  order->lines = {{"tea, green", 3, 4.5},
                  {"cups with a handle on the left side", 6, 12.0},
                  {"kettle", 1, 39.9}};
  order->customer = std::move(customer);
  return order;
}

}  // namespace shop

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  minicore_config config = MINICORE_CONFIG_INIT;
  config.path = argv[1];
  if (minicore_install(&config) != 0) return 2;

  shop::ReadKey(argv[2]);
  shop::FillCache(static_cast<size_t>(std::atol(argv[3])) << 20);

  auto* queue = new shop::Queue;
  std::vector<std::thread> workers;
  for (int i = 0; i < shop::kWorkers; ++i)
    workers.emplace_back(shop::Work, queue);

  auto customer = std::make_shared<shop::Customer>();
  customer->name = "Ada";
  customer->discount = 0.05;
  for (int number = 1000; number < 1234; ++number) {
    queue->Push(shop::MakeOrder(number, customer));
  }
  queue->Push(shop::MakeOrder(1234, nullptr));
  for (std::thread& worker : workers) worker.join();
  return 0;
}
