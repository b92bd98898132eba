#include "tests/support/made_up_process.h"

#include <cstdio>
#include <cstring>

namespace minicore {

MadeUpProcess::MadeUpProcess() {
  crash.signal = SIGSEGV;
  crash.pid = crash.tid = 4711;
  crash.info = &info;

  Policy& policy = runtime.policy;
  strcpy(policy.path, "core");
  policy.fd = -1;
  policy.max_bytes = 8 << 20;
  policy.root_bytes = 16 << 10;
  policy.object_bytes = 1 << 20;
  policy.window_bytes = 1024;
  policy.tagged_pointers = true;
  policy.stack_bytes = 1 << 20;
  policy.static_bytes = 16 << 20;
  policy.segments = 8192;
  policy.text = TextPolicy::kProgramCounter;
  policy.freeze_us = 200'000;
  policy.deadline_us = 60'000'000;
  runtime.index = &heap.index();
  runtime.tags = &heap.tags();

  outcome.started_us = safe::NowMicroseconds();
  outcome.deadline_us = policy.deadline_us;
  outcome.holes.Reserve(arena, 16384);
  map.Reserve(arena);
  threads.Reserve(arena, 64);
  Thread crashed;
  crashed.tid = crash.tid;
  crashed.source = ThreadSource::kCrashed;
  (void)threads.Push(crashed);
  roots.pieces.Reserve(arena, 65536);
  roots.stacks.Reserve(arena, 64);
  roots.thread_data.Reserve(arena, 64);
  roots.static_data.Reserve(arena, 64);
  roots.metadata.Reserve(arena, 8192);
  redactor.Reserve(arena, 1 << 20);
}

void MadeUpProcess::Map(AddressRange range, const char* permissions,
                        const char* name, unsigned inode) {
  char line[512];
  const int length =
      snprintf(line, sizeof(line), "%lx-%lx %s 00000000 08:01 %u %s\n",
               range.begin, range.end, permissions, inode, name);
  map.Parse(line, static_cast<size_t>(length));
}

void MadeUpProcess::ScanAsStack(const uint64_t* words, size_t count) {
  const auto begin = reinterpret_cast<Address>(words);
  (void)roots.stacks.Push({begin, begin + count * sizeof(*words)});
}

void MadeUpProcess::Scan() {
  ScanAnchors(crash, runtime, map, threads, roots, redactor, arena, scan,
              outcome);
}

bool MadeUpProcess::Kept(Address address) const {
  for (const Reached& reached : scan.reached) {
    if (reached.range.Contains(address)) return true;
  }
  return false;
}

ByteCount MadeUpProcess::KeptBytes(AddressRange range) const {
  ByteCount kept = 0;
  for (const Reached& reached : scan.reached)
    kept += reached.range.Clip(range).size();
  return kept;
}

bool MadeUpProcess::Hole(Address address, HoleReason reason) const {
  for (const HoleRow& row : outcome.holes) {
    if (row.reason == reason && address >= row.begin && address < row.end)
      return true;
  }
  return false;
}

}  // namespace minicore
