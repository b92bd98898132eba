#include "dump/handler/rehearsal.h"

#include <sys/mman.h>

#include <new>

#include "dump/handler/freeze.h"
#include "dump/handler/images.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/redactor.h"
#include "dump/handler/roots.h"
#include "dump/handler/secrets.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

struct State {
  safe::Arena arena;
  Outcome outcome;
  ThreadTable threads;
  MemoryMap map;
  Images images;
  Roots roots;
  ScanResult scan;
  Redactor redactor;
};
alignas(State) char g_state[sizeof(State)];

}  // namespace

void Rehearsal::Run(const CrashContext& crash, const Runtime& runtime) {
  const long memory = safe::Syscall(
      SYS_mmap, 0, static_cast<long>(runtime.arena_bytes), PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory < 0 && memory > -4096) return;
  memory_ = reinterpret_cast<void*>(memory);
  bytes_ = runtime.arena_bytes;
  safe::Syscall(SYS_madvise, memory, static_cast<long>(bytes_), MADV_DONTDUMP);
  safe::Syscall(SYS_madvise, memory, static_cast<long>(bytes_), MADV_DONTFORK);
  State& s = *new (g_state) State;
  s.arena.Reset(memory_, bytes_);
  s.outcome.started_us = safe::NowMicroseconds();
  s.outcome.deadline_us = runtime.policy.deadline_us / 4;
  if (!safe::CopyByCalls(crash.pid)) return;
  AddCrashedThread(crash, s.arena, s.threads);
  FreezeThreads(crash, runtime, s.arena, s.threads, s.outcome);
  // The frames that `threads` points into are gone soon: what they hold then is as good as
  // any other words.
  if (!ThawThreads()) return;
  ReadMemoryMap(s.arena, -1, s.map, s.outcome);
  FindImages(s.map, s.arena, s.images);
  CollectRoots(crash, runtime, s.map, s.images, s.threads, s.arena, s.roots, s.outcome);
  FindSecrets(runtime, s.map, s.images, s.threads, s.roots, s.arena, s.redactor,
              s.outcome);
  ScanAnchors(crash, runtime, s.map, s.threads, s.roots, s.redactor, s.arena, s.scan,
              s.outcome, nullptr);
  if (!s.outcome.past_deadline) found_ = &s.scan;
}

void Rehearsal::End() { (void)safe::CopyByCalls(0); }

void Rehearsal::Release() {
  if (memory_ != nullptr) {
    safe::Syscall(SYS_munmap, safe::Word(memory_), static_cast<long>(bytes_));
  }
  memory_ = nullptr;
  found_ = nullptr;
}

}  // namespace minicore
