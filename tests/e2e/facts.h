// What the child knows just before it crashes, written to a file as JSON, one
// object a line: {"kind": "local", "thread": 17, "function": "victim::F",
// "name": "x", "value": 3}. The test asks a debugger the same of the core and
// compares.
//
// Kinds: "fact" (only the test's business), "local" (a variable of the
// innermost frame of `function` in `thread`), "tls" (a thread-local of
// `thread`), "global".

#ifndef MINICORE_TESTS_E2E_FACTS_H_
#define MINICORE_TESTS_E2E_FACTS_H_

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace victim {

// Ends the process with a sentence if the file cannot be made.
void OpenFacts(const char* path);

// Writes one line with a single write(): facts of different threads do not mix.
void WriteFact(const char* kind, const char* function, const std::string& name,
               const std::string& json);

std::string ToJson(const std::string& text);
std::string ToJson(const char* text);
std::string ToJson(double number);
inline std::string ToJson(bool truth) { return truth ? "true" : "false"; }
inline std::string ToJson(char character) {
  return std::to_string(static_cast<int>(character));
}
inline std::string ToJson(int number) { return std::to_string(number); }
inline std::string ToJson(unsigned number) { return std::to_string(number); }
inline std::string ToJson(long number) { return std::to_string(number); }
inline std::string ToJson(unsigned long number) {
  return std::to_string(number);
}

// Containers call each other: all are declared before the first is defined.
// Maps are lists of pairs in iteration order, which is the order in which gdb
// prints them; smart pointers are what they point to, or null.
template <class A, class B>
std::string ToJson(const std::pair<A, B>& pair);
template <class T>
std::string ToJson(const std::vector<T>& items);
template <class T>
std::string ToJson(const std::deque<T>& items);
template <class T>
std::string ToJson(const std::list<T>& items);
template <class T>
std::string ToJson(const std::set<T>& items);
template <class K, class V>
std::string ToJson(const std::map<K, V>& items);
template <class K, class V>
std::string ToJson(const std::unordered_map<K, V>& items);
template <class T>
std::string ToJson(const std::unique_ptr<T>& owner);
template <class T>
std::string ToJson(const std::shared_ptr<T>& owner);

template <class Items>
std::string ListToJson(const Items& items) {
  std::string json = "[";
  for (const auto& item : items) {
    if (json.size() > 1) json += ", ";
    json += ToJson(item);
  }
  return json + "]";
}

template <class A, class B>
std::string ToJson(const std::pair<A, B>& pair) {
  return "[" + ToJson(pair.first) + ", " + ToJson(pair.second) + "]";
}
template <class T>
std::string ToJson(const std::vector<T>& items) {
  return ListToJson(items);
}
template <class T>
std::string ToJson(const std::deque<T>& items) {
  return ListToJson(items);
}
template <class T>
std::string ToJson(const std::list<T>& items) {
  return ListToJson(items);
}
template <class T>
std::string ToJson(const std::set<T>& items) {
  return ListToJson(items);
}
template <class K, class V>
std::string ToJson(const std::map<K, V>& items) {
  return ListToJson(items);
}
template <class K, class V>
std::string ToJson(const std::unordered_map<K, V>& items) {
  return ListToJson(items);
}
template <class T>
std::string ToJson(const std::unique_ptr<T>& owner) {
  return owner ? ToJson(*owner) : "null";
}
template <class T>
std::string ToJson(const std::shared_ptr<T>& owner) {
  return owner ? ToJson(*owner) : "null";
}

template <class T>
void Fact(const std::string& name, const T& value) {
  WriteFact("fact", "", name, ToJson(value));
}

}  // namespace victim

// States the value of a local variable of the calling function, which must be
// in namespace victim and must still be on the stack at the crash.
#define LOCAL_FACT(variable)                                                 \
  ::victim::WriteFact("local", (std::string("victim::") + __func__).c_str(), \
                      #variable, ::victim::ToJson(variable))
#define TLS_FACT(variable) \
  ::victim::WriteFact("tls", "", #variable, ::victim::ToJson(variable))
#define GLOBAL_FACT(variable) \
  ::victim::WriteFact("global", "", #variable, ::victim::ToJson(variable))

#endif  // MINICORE_TESTS_E2E_FACTS_H_
