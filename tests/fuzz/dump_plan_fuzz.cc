// Arbitrary pieces, in any order and overlapping as they like: the plan keeps
// every promise that its writer and its readers rely on.

#include <memory>

#include "dump/handler/dump_plan.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/made_up_process.h"
#include "tests/support/plan_promises.h"

namespace minicore {
namespace {

// Close together or far apart, but always of whole granules: CollectRoots() and
// ScanAnchors() see to that.
AddressRange TakeRange(FuzzInput& input) {
  const auto shift = input.Take<uint8_t>() % 24;
  const Address begin =
      0x100000 + (Address{input.Take<uint16_t>()} << shift << 4);
  const ByteCount size = (1 + Address{input.Take<uint16_t>()}) << 4;
  return {begin, begin + size};
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  FuzzSeed seed;
  seed.Put<uint16_t>(64).Put<uint32_t>(8 << 20);
  seed.Put<uint8_t>(3);
  for (uint16_t i = 0; i < 3; ++i) {
    seed.Put<uint8_t>(8).Put<uint16_t>(i).Put<uint16_t>(255).Put<uint8_t>(
        uint8_t(i));
  }
  for (uint16_t i = 0; i < 100; ++i) {
    seed.Put<uint8_t>(uint8_t(i)).Put<uint8_t>(0);
    seed.Put<uint16_t>(uint16_t(i * 7)).Put<uint16_t>(uint16_t(i % 5));
    seed.Put<uint8_t>(uint8_t(i));
  }
  return {seed.bytes()};
}

}  // namespace minicore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicore;
  static MadeUpProcess& process = *new MadeUpProcess;
  process.arena.Renew();
  process.outcome = Outcome();
  process.outcome.started_us = safe::NowMicroseconds();
  process.outcome.deadline_us = 60'000'000;
  process.outcome.holes.Reserve(process.arena, 1024);
  process.map.Reserve(process.arena);
  process.roots.pieces.Reserve(process.arena, 4096);
  process.scan.reached.Reserve(process.arena, 4096);
  FuzzInput input(data, size);
  process.runtime.policy.segments = 64 + input.Take<uint16_t>() % 4096;
  process.runtime.policy.max_bytes = input.Take<uint32_t>();
  Address last = 0;
  for (unsigned mappings = input.Take<uint8_t>() % 16; mappings != 0;
       --mappings) {
    constexpr const char* kPermissions[] = {"r--p", "rw-p", "r-xp", "---p"};
    AddressRange range = TakeRange(input);
    const char* permissions = kPermissions[input.Take<uint8_t>() % 4];
    if (range.begin < last) continue;
    last = range.end;
    process.Map(range, permissions);
  }
  while (input.left() != 0) {
    const auto what = input.Take<uint8_t>();
    const AddressRange range = TakeRange(input);
    const auto group =
        static_cast<FileGroup>(input.Take<uint8_t>() % kFileGroups);
    bool room;
    if (what % 4 == 0) {
      room =
          process.roots.pieces.Push({range, SegmentKind::kText,
                                     FileGroup::kForeign, Content::kAbsent, false, 0});
    } else if (what % 4 == 1) {
      room = process.roots.pieces.Push(
          {range, SegmentKind::kStack, group, Content::kMemory, false, what});
    } else {
      Reached reached;
      reached.range = range;
      room = process.scan.reached.Push(reached);
    }
    if (!room) break;
  }
  DumpPlan plan;
  BuildPlan(process.runtime, process.map, process.roots, process.scan,
            process.redactor, process.arena, plan, process.outcome);
  LayOut(1000, 2000, plan);
  Promise(BrokenPromise(plan).empty());
  Promise(plan.segments.size() <= process.runtime.policy.segments);
  return 0;
}
