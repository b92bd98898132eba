// Static data: initialised, zero, huge and hardly touched, thread-local, in functions,
// and pointed into from outside the cap per module.

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/fidelity/victims/crash.h"

namespace {

struct Record {
  int id;
  char text[56];
  Record* next;
};

int g_initialised[2048] = {1, 2, 3};
int g_zero[4096];
char g_huge[64 << 20];          // .bss, three pages touched
Record g_records[2000];         // .bss, all touched
std::map<std::string, int> g_names;
const int g_constants[] = {2, 3, 5, 7, 11};
Record* g_first;
static std::string g_string = "a global string that does not fit its object";
thread_local int tls_integers[100];
thread_local std::string tls_text = "a thread's own text, longer than its object";
[[gnu::used]] thread_local Record tls_record = {9, "thread-local record", nullptr};
std::vector<Record*> g_pointers;

std::vector<std::string>& InFunction() {
  static std::vector<std::string> g_strings = {"static in a function", "and a second, longer one of it"};
  return g_strings;
}

__attribute__((noinline)) void Use(int n) {
  Record* middle = &g_records[n];
  char* far = &g_huge[40 << 20];
  std::vector<std::string>& strings = InFunction();
  tls_integers[n % 100] = n;
  Crash();
  KeepAlive(middle), KeepAlive(far), KeepAlive(&strings);
}

}  // namespace

int main() {
  AllocateBallast(32 << 20);
  for (int i = 0; i < 2000; ++i) {
    g_records[i].id = i;
    snprintf(g_records[i].text, sizeof(g_records[i].text), "record %d", i);
    g_records[i].next = i == 0 ? nullptr : &g_records[i - 1];
    if (i % 100 == 0) g_pointers.push_back(&g_records[i]);
  }
  g_first = &g_records[1999];
  g_initialised[1000] = 1000;
  g_zero[77] = 77;
  strcpy(&g_huge[1 << 20], "first text in the huge array");
  strcpy(&g_huge[40 << 20], "second text in the huge array");
  g_huge[(64 << 20) - 1] = 'z';
  for (int i = 0; i < 30; ++i) g_names["name number " + std::to_string(i)] = i;
  KeepAlive(g_constants);
  std::thread other([] {
    tls_text += ", changed by the other thread";
    Use(55);
  });
  tls_integers[3] = 3;
  other.join();
}
