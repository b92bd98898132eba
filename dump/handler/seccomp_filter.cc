#include "dump/handler/seccomp_filter.h"

#include <unistd.h>

#include <atomic>

#include "dump/handler/runtime.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// The descriptor has one position: threads that crash together read one after the other.
std::atomic<uint32_t> g_reading{0};  // futex: 1 while one does

// Bounded: who reads may have been stopped by a freeze.
void AwaitTurn() {
  const timespec timeout{0, 10000000};
  for (int i = 0; i < 20 && g_reading.exchange(1, std::memory_order_acquire) != 0; ++i) {
    safe::FutexWait(&g_reading, 1, &timeout);
  }
}

void EndTurn() {
  g_reading.store(0, std::memory_order_release);
  safe::FutexWake(&g_reading, 1);
}

}  // namespace

bool SaysFiltered(int fd) {
  constexpr char kKey[] = "\nSeccomp:\t";
  // NGROUPS_MAX groups of eleven bytes stand before it.
  constexpr int kMostReads = 1024;
  size_t matched = 0;  // bytes of the key that end here
  char text[1024];
  for (int i = 0; i < kMostReads; ++i) {
    const long bytes = safe::Read(fd, text, sizeof(text));
    if (bytes <= 0) return false;
    for (long at = 0; at < bytes; ++at) {
      if (matched == sizeof(kKey) - 1) return text[at] != '0';
      // The newline is nowhere else in it.
      matched = text[at] == kKey[matched] ? matched + 1 : text[at] == '\n';
    }
  }
  return false;
}

void LearnFilter() {
  const Preopened& preopened = g_runtime.preopened;
  if (preopened.pid == 0 || preopened.status < 0 || safe::g_basic_calls_only) return;
  AwaitTurn();
  if (!safe::g_basic_calls_only) {
    if (SaysFiltered(preopened.status)) {
      safe::g_basic_calls_only = true;
    } else {
      // A later signal may find one.
      safe::Syscall(SYS_lseek, preopened.status, 0, SEEK_SET);
    }
  }
  EndTurn();
}

}  // namespace minicore
