// Containers of every standard kind, nested in each other, as locals of one frame.

#include <algorithm>
#include <array>
#include <bitset>
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <sstream>
#include <stack>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <valarray>
#include <vector>

#include "tests/fidelity/victims/crash.h"

namespace {

struct Point {
  int x;
  double y;
  std::string name;
};

std::string Text(int i) {
  return i % 2 == 0 ? "s" + std::to_string(i)
                    : "a text that is too long for its object, number " + std::to_string(i);
}

std::map<std::string, std::vector<Point>> g_points;
std::unordered_map<int, std::set<std::string>> g_sets;
std::deque<std::string> g_deque;

void FillGlobals() {
  for (int i = 0; i < 40; ++i) {
    for (int j = 0; j < i % 5; ++j) g_points[Text(i)].push_back({i, j / 2.0, Text(j)});
    g_sets[i * 17].insert(Text(i));
    g_sets[i * 17].insert(Text(i + 1));
    g_deque.push_front(Text(i));
  }
}

__attribute__((noinline)) int Sequences(int n) {
  std::vector<int> integers;
  std::vector<bool> bits;
  std::vector<std::string> strings;
  std::vector<std::vector<std::vector<int>>> nested;
  std::deque<std::pair<int, std::string>> pairs;
  std::deque<std::deque<int>> deques;
  std::list<std::list<std::string>> lists;
  std::forward_list<Point> points;
  std::array<std::vector<int>, 4> arrays;
  std::bitset<70> set_bits(0x123456789abcdefull);
  std::valarray<double> values(0.5, static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) {
    integers.push_back(i * i);
    bits.push_back(i % 3 == 0);
    strings.push_back(Text(i));
    nested.push_back({{i}, {i, i + 1}, {}});
    pairs.emplace_back(i, Text(i));
    deques.emplace_back(static_cast<size_t>(i % 7), i);
    lists.push_back({Text(i), Text(i + 1)});
    points.push_front({i, i * 0.25, Text(i)});
    arrays[static_cast<size_t>(i) % 4].push_back(i);
  }
  const std::string_view view = strings[static_cast<size_t>(n) / 2];
  std::stack<std::string> stack({"bottom of the stack, which is long", "top"});
  std::queue<int> queue({1, 2, 3});
  std::priority_queue<int> priorities;
  for (int i = 0; i < 10; ++i) priorities.push((i * 7) % 10);
  Crash();
  KeepAlive(&integers), KeepAlive(&bits), KeepAlive(&strings), KeepAlive(&nested);
  KeepAlive(&pairs), KeepAlive(&deques), KeepAlive(&lists), KeepAlive(&points);
  KeepAlive(&arrays), KeepAlive(&set_bits), KeepAlive(&values), KeepAlive(&view);
  KeepAlive(&stack), KeepAlive(&queue), KeepAlive(&priorities);
  return static_cast<int>(integers.size());
}

__attribute__((noinline)) int Associations(int n) {
  std::map<int, int> map;
  std::map<std::string, std::map<int, std::string>> map_of_maps;
  std::set<std::string> set;
  std::multimap<int, std::string> multimap;
  std::multiset<int> multiset;
  std::unordered_map<std::string, std::vector<int>> unordered;
  std::unordered_set<std::string> unordered_set;
  std::unordered_multimap<int, std::unique_ptr<Point>> owners;
  for (int i = 0; i < n; ++i) {
    map[i * 31 % 101] = i;
    map_of_maps[Text(i % 9)][i] = Text(i);
    set.insert(Text(i));
    multimap.emplace(i % 5, Text(i));
    multiset.insert(i % 7);
    unordered[Text(i)].assign(static_cast<size_t>(i % 6), i);
    unordered_set.insert(Text(i));
    owners.emplace(i % 11, std::make_unique<Point>(Point{i, 1.5 * i, Text(i)}));
  }
  const auto third = std::next(map.begin(), 3);
  const std::tuple<int, std::string, std::vector<int>> tuple(n, Text(n), {1, 2, 3});
  const int result = Sequences(n / 2);
  KeepAlive(&map), KeepAlive(&map_of_maps), KeepAlive(&set), KeepAlive(&multimap);
  KeepAlive(&multiset), KeepAlive(&unordered), KeepAlive(&unordered_set);
  KeepAlive(&owners), KeepAlive(&third), KeepAlive(&tuple);
  return result;
}

__attribute__((noinline)) int Streams(int n) {
  std::ostringstream stream;
  for (int i = 0; i < n; ++i) stream << "line " << i << '\n';
  std::wstring wide(40, L'w');
  std::u16string sixteen(40, u's');
  const int result = Associations(n);
  KeepAlive(&stream), KeepAlive(&wide), KeepAlive(&sixteen);
  return result;
}

}  // namespace

int main() {
  AllocateBallast(48 << 20);
  FillGlobals();
  return Streams(60);
}
