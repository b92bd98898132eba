#include "tests/e2e/threads.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <utility>

#include "tests/e2e/facts.h"

namespace victim {
namespace {

struct Start {
  std::string name;
  std::function<void()> body;
};

std::atomic<int> g_parked{0};
volatile bool g_released = false;

void* Run(void* argument) {
  const std::unique_ptr<Start> start(static_cast<Start*>(argument));
  NameThisThread(start->name.c_str());
  start->body();
  return nullptr;
}

}  // namespace

void NameThisThread(const char* name) {
  Fact(std::string("thread.") + name, static_cast<int>(gettid()));
}

pthread_t StartThread(const char* name, std::function<void()> body) {
  pthread_t thread;
  const int error =
      pthread_create(&thread, nullptr, Run, new Start{name, std::move(body)});
  if (error != 0) {
    fprintf(stderr, "pthread_create: %s\n", strerror(error));
    exit(2);
  }
  return thread;
}

__attribute__((noinline)) void Park() {
  CountAsParked();
  while (!g_released) pause();
}

void CountAsParked() { g_parked.fetch_add(1); }

void AwaitParked(int threads) {
  while (g_parked.load() < threads) sched_yield();
}

void AnnounceReady() {
  const char* fd = getenv("VICTIM_READY_FD");
  if (fd == nullptr || write(atoi(fd), "r", 1) != 1) {
    fprintf(stderr, "nobody waits for this scenario to be ready\n");
    exit(2);
  }
}

}  // namespace victim
