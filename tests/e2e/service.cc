// A program as it looks in production: threads in different states, values on
// every stack, in thread-local storage and in globals, one of them inside a
// library opened with dlopen. Every value is stated as a fact, then one thread
// faults.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/e2e/facts.h"
#include "tests/e2e/plugin.h"
#include "tests/e2e/registers.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/threads.h"

namespace victim {

struct Account {
  std::string owner;
  long balance = 0;
  std::unique_ptr<Account> next;
};

// As the debugger shows it: an object by field.
std::string ToJson(const Account& account) {
  return "{\"owner\": " + ToJson(account.owner) +
         ", \"balance\": " + ToJson(account.balance) +
         ", \"next\": " + ToJson(account.next) + "}";
}

thread_local long t_request = -1;
thread_local std::string t_user = "nobody";
long g_requests = 41;  // .data
long g_errors;         // .bss
std::vector<std::string> g_hosts = {"a.example", "b.example"};
std::map<std::string, Account> g_accounts;
RegisterPattern g_crash_registers;
RegisterPattern g_spin_registers;

namespace {

constexpr int kDeepFrames = 200;
constexpr uint64_t kUnmapped = 0x00000badadd50000;

}  // namespace

__attribute__((noinline)) void SetThreadLocals(long request, const char* user) {
  t_request = request;
  t_user = user;
  TLS_FACT(t_request);
  TLS_FACT(t_user);
}

// One frame for each level, each with a number of its own; the innermost parks.
__attribute__((noinline)) long Descend(long depth) {
  long level = depth;
  long cookie = level * 7919 + 5;
  Keep(level), Keep(cookie);
  if (depth > 1) {
    cookie += Descend(depth - 1);
  } else {
    Park();
  }
  Keep(level), Keep(cookie);
  return cookie;
}

__attribute__((noinline)) void HoldContainers(int seed, void (*then)()) {
  int number = seed * 1000003;
  double ratio = seed / 7.0;
  std::string short_text = "fits in the string";
  short_text.resize(12);
  std::string long_text(300, 'x');
  for (size_t i = 0; i < long_text.size(); ++i) {
    long_text[i] = static_cast<char>('a' + (i * 7 + seed) % 26);
  }
  std::string bytes("\x00\x01\xff\"\\\n", 6);
  std::vector<int> numbers;
  std::vector<std::string> names;
  std::map<std::string, int> stock;
  std::map<int, std::vector<std::string>> index;
  std::unordered_map<std::string, double> prices;
  std::set<long> keys;
  std::deque<int> queue;
  std::list<std::string> lines;
  for (int i = 0; i < 200; ++i) {
    numbers.push_back(i * i - seed);
    names.push_back("name number " + std::to_string(i * seed));
    stock[names.back()] = i;
    index[i % 17].push_back(names.back());
    prices["price " + std::to_string(i)] = i / 3.0;
    keys.insert(i * 31 % 101);
    queue.push_back(i);
    lines.push_back(std::string(static_cast<size_t>(i), '-'));
  }
  std::vector<double> empty;
  auto unique = std::make_unique<Account>();
  unique->owner = "a name too long for the inside of a string";
  unique->balance = -seed;
  unique->next = std::make_unique<Account>();
  unique->next->owner = "next";
  auto shared = std::make_shared<std::vector<std::string>>(names);
  std::shared_ptr<std::vector<std::string>> second_owner = shared;
  std::unique_ptr<Account> nothing;

  LOCAL_FACT(number);
  LOCAL_FACT(ratio);
  LOCAL_FACT(short_text);
  LOCAL_FACT(long_text);
  LOCAL_FACT(bytes);
  LOCAL_FACT(numbers);
  LOCAL_FACT(names);
  LOCAL_FACT(stock);
  LOCAL_FACT(index);
  LOCAL_FACT(prices);
  LOCAL_FACT(keys);
  LOCAL_FACT(queue);
  LOCAL_FACT(lines);
  LOCAL_FACT(empty);
  LOCAL_FACT(unique);
  LOCAL_FACT(shared);
  LOCAL_FACT(second_owner);
  LOCAL_FACT(nothing);
  Keep(number), Keep(ratio), Keep(shared), Keep(second_owner);
  then();
  Keep(number), Keep(ratio), Keep(shared), Keep(second_owner);
}

__attribute__((noinline)) void FaultWithParkedRegisters() {
  LoadRegistersAndFault(&g_crash_registers);
}

__attribute__((noinline)) void SpinWithParkedRegisters() {
  LoadRegistersAndSpin(&g_spin_registers);
}

namespace {

void RunPlugin() {
  const char* path = getenv("VICTIM_PLUGIN");
  void* library = path ? dlopen(path, RTLD_NOW) : nullptr;
  void* function = library ? dlsym(library, "PluginRun") : nullptr;
  if (function == nullptr) {
    fprintf(stderr, "no plugin: %s\n", dlerror());
    exit(2);
  }
  Fact("plugin.path", path);
  SetThreadLocals(3003, "plugin user");
  reinterpret_cast<decltype(&PluginRun)>(function)(424242, Park);
}

void SetGlobals() {
  g_requests = 1234567;
  g_errors = 89;
  for (int i = 0; i < 50; ++i) {
    Account& account = g_accounts["account " + std::to_string(i)];
    account.owner = "owner " + std::to_string(i);
    account.balance = i * 100;
  }
  GLOBAL_FACT(g_requests);
  GLOBAL_FACT(g_errors);
  GLOBAL_FACT(g_hosts);
  GLOBAL_FACT(g_accounts);
}

void FaultLast() {
  AwaitParked(4);
  while (registers_are_loaded == 0) {
  }
  RegisterFacts("crash", g_crash_registers);
  RegisterFacts("spin", g_spin_registers);
  Fact("crash.instruction",
       reinterpret_cast<uintptr_t>(registers_fault_instruction));
  Fact("spin.begin", reinterpret_cast<uintptr_t>(registers_spin_instruction));
  Fact("spin.end", reinterpret_cast<uintptr_t>(registers_spin_end));
  Fact("fault_address", kUnmapped);
  FaultWithParkedRegisters();
}

}  // namespace

void Service(bool in_worker) {
  SetGlobals();
  MakeRegisterPattern(1, kUnmapped, &g_crash_registers);
  MakeRegisterPattern(2, kUnmapped, &g_spin_registers);
  Fact("deep.frames", kDeepFrames);
  StartThread("deep", [] {
    SetThreadLocals(2002, "deep user");
    Descend(kDeepFrames);
  });
  StartThread("plugin", RunPlugin);
  StartThread("holder", [] {
    SetThreadLocals(4004, "a user name that is too long to be short");
    HoldContainers(3, Park);
  });
  StartThread("spinner", SpinWithParkedRegisters);
  const auto crash = [] {
    SetThreadLocals(5005, "crasher");
    HoldContainers(5, FaultLast);
  };
  if (in_worker) {
    const pthread_t crasher = StartThread("crasher", crash);
    SetThreadLocals(1001, "main user");
    CountAsParked();
    pthread_join(crasher, nullptr);
  } else {
    NameThisThread("crasher");
    CountAsParked();
    crash();
  }
}

}  // namespace victim
