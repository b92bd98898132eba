#include "dump/handler/election.h"

#include <errno.h>
#include <sys/mman.h>

#include <atomic>

#include "dump/handler/freeze.h"
#include "dump/handler/runtime.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// Process and thread id of the dumper, 0 for none: the process too, since a child of
// vfork() shares this memory and has an election of its own.
std::atomic<uint64_t> g_dumper{0};

uint64_t Elector(int pid, int tid) {
  return static_cast<uint64_t>(pid) << 32 | static_cast<uint32_t>(tid);
}

// Another process that dumps in this memory: the parent of our vfork(), or its child.
// (Or the parent whose memory we have a copy of: then waiting is in vain, but ends.)
void WaitForOtherProcess(uint64_t holder) {
  const uint64_t until = safe::NowMicroseconds() + g_runtime.policy.deadline_us;
  const int pid = static_cast<int>(holder >> 32);
  while (g_dumper.load(std::memory_order_acquire) == holder &&
         safe::Syscall(SYS_kill, pid, 0) != -ESRCH && safe::NowMicroseconds() < until) {
    const timespec pause{0, 1000000};
    safe::Syscall(SYS_nanosleep, safe::Word(&pause));
  }
}

}  // namespace

bool WinElection(int pid, int tid) {
  uint64_t holder = g_dumper.load(std::memory_order_acquire);
  if (holder != 0 && holder >> 32 != static_cast<uint64_t>(pid)) {
    WaitForOtherProcess(holder);
    holder = g_dumper.load(std::memory_order_acquire);
  }
  do {
    if (holder >> 32 == static_cast<uint64_t>(pid)) return false;
  } while (!g_dumper.compare_exchange_weak(holder, Elector(pid, tid),
                                           std::memory_order_acq_rel));
  // What another process left unfinished is in the way.
  if (holder != 0) ResetFreeze();
  return true;
}

void WaitForDumper() {
  const auto tid = static_cast<uint32_t>(g_dumper.load(std::memory_order_acquire));
  const timespec timeout{0, 1000000};
  if (tid != 0) safe::FutexWait(&g_dumper, tid, &timeout);
}

void EndDump() {
  g_dumper.store(0, std::memory_order_release);
  safe::FutexWake(&g_dumper, INT32_MAX);
}

bool IsDumper(int pid, int tid) {
  return g_dumper.load(std::memory_order_acquire) == Elector(pid, tid);
}

bool NobodyDumps() { return g_dumper.load(std::memory_order_acquire) == 0; }

void OpenMemory() {
  const auto begin = reinterpret_cast<Address>(g_runtime.dump_stack_end);
  const auto size = static_cast<long>(g_runtime.arena_range.end - begin);
  safe::Syscall(SYS_mprotect, static_cast<long>(begin), size, PROT_READ | PROT_WRITE);
  // MADV_DONTNEED fails on what mlockall() has locked (mm/madvise.c, since Linux 5.18
  // there is the other).
  constexpr long kDontNeedLocked = 24;  // MADV_DONTNEED_LOCKED
  if (safe::Syscall(SYS_madvise, static_cast<long>(begin), size, MADV_DONTNEED) != 0) {
    safe::Syscall(SYS_madvise, static_cast<long>(begin), size, kDontNeedLocked);
  }
}

void CloseMemory() {
  OpenMemory();  // gives it back
  const auto begin = reinterpret_cast<Address>(g_runtime.dump_stack_end);
  if (g_runtime.policy.preopen) return;
  safe::Syscall(SYS_mprotect, static_cast<long>(begin),
                static_cast<long>(g_runtime.arena_range.end - begin), PROT_NONE);
}

}  // namespace minicore
