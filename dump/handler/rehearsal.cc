#include "dump/handler/rehearsal.h"

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

void Rehearsal::Run(const CrashContext& crash, const Runtime& runtime, void* memory,
                    ByteCount bytes) {
  State& s = *new (g_state) State;
  begun_ = true;
  s.arena.Reset(memory, bytes);
  s.outcome.started_us = safe::NowMicroseconds();
  s.outcome.deadline_us = runtime.policy.deadline_us / 4;
  if (!safe::CopyByCalls(crash.pid)) return;
  AddCrashedThread(crash, s.arena, s.threads);
  FreezeThreads(crash, runtime, s.arena, s.threads, s.outcome);
  // The frames that `threads` points into are gone soon: what they hold then is as good as
  // any other words.
  EndFreeze();
  ReadMemoryMap(s.arena, -1, s.map, s.outcome);
  FindImages(s.map, s.arena, s.images);
  CollectRoots(crash, runtime, s.map, s.images, s.threads, s.arena, s.roots, s.outcome);
  FindSecrets(runtime, s.map, s.images, s.threads, s.roots, s.arena, s.redactor,
              s.outcome);
  ScanAnchors(crash, runtime, s.map, s.threads, s.roots, s.redactor, s.arena, s.scan,
              s.outcome, nullptr);
  if (!s.outcome.past_deadline) found_ = &s.scan;
}

void Rehearsal::End() {
  EndFreeze();
  (void)safe::CopyByCalls(0);
  // A secret that was known then may be nobody's when the threads stand still, and then
  // no copy of it is looked for.
  if (begun_) std::launder(reinterpret_cast<State*>(g_state))->redactor.Wipe();
}

}  // namespace minicore
