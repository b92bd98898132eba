// Asks the index of a crashed process, as its core has it, about every
// allocation that the process had published:
//
//   storm_check CORE STORM_FILE
//
// Prints what is wrong, one sentence a line, and a summary; status 1 if
// anything is.
//
// The reader under test is the real one, IndexView, over the core's copy of the
// planes; what it is held against comes from shared memory that outlived the
// process.

#include <stdio.h>
#include <string.h>

#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "alloc/index_view.h"
#include "tests/support/core_file.h"
#include "tests/torture/storm_layout.h"

namespace torture {
namespace {

using minicore::Allocation;
using minicore::AllocationState;
using minicore::IndexState;

// The index of the core, with planes in this process.
class CrashedIndex {
 public:
  CrashedIndex(const minicore::CoreFile& core, uint64_t state_address) {
    const std::string bytes = core.Memory(state_address, sizeof(IndexState));
    memcpy(static_cast<void*>(&state_), bytes.data(), sizeof(state_));
    if (state_.magic != minicore::kIndexMagic)
      throw std::runtime_error("no index there");
    const uint64_t committed = state_.committed;
    Copy(core, state_.shadow, committed / minicore::kGranuleSize);
    Copy(core, state_.tags, committed / minicore::kGranuleSize);
    Copy(core, state_.large, committed / minicore::kPageSize);
    Copy(core, state_.chunks, committed >> minicore::kChunkShift);
  }

  const IndexState& state() const { return state_; }

 private:
  template <class T>
  void Copy(const minicore::CoreFile& core, T*& plane, uint64_t elements) {
    planes_.push_back(
        core.Memory(reinterpret_cast<uint64_t>(plane), elements * sizeof(T)));
    plane = reinterpret_cast<T*>(planes_.back().data());
  }

  IndexState state_;
  std::vector<std::string> planes_;
};

class Check {
 public:
  Check(const IndexState& index, const Storm& storm)
      : index_(index), storm_(storm) {}

  int Run() {
    for (const auto& slots : storm_.slots) {
      for (const Slot& slot : slots) CheckSlot(slot);
    }
    CheckAllLive();
    printf("%zu live, %zu freed, %zu under way, %d wrong\n", live_.size(),
           freed_, busy_, wrong_);
    return wrong_ == 0 ? 0 : 1;
  }

 private:
  void Wrong(const char* what, const Slot& slot) {
    ++wrong_;
    const Allocation found = minicore::Resolve(index_, slot.address);
    printf(
        "%s: published %#lx + %lu, tag %u; the index says state %d, %#lx + "
        "%lu, tag %u\n",
        what, slot.address, slot.size, slot.tag, static_cast<int>(found.state),
        found.begin, found.size, found.own_tag);
  }

  void CheckSlot(const Slot& slot) {
    const uint32_t state = slot.state.load();
    if (state == kBusy) {
      ++busy_;
      return;
    }
    if (state == kEmpty) {
      if (slot.address != 0) ++freed_;
      return;
    }
    live_.insert(slot.address);
    for (const uint64_t offset : {uint64_t{0}, slot.size / 2, slot.size - 1}) {
      const Allocation found = minicore::Resolve(index_, slot.address + offset);
      if (found.state != AllocationState::kLive)
        return Wrong("is missing", slot);
      if (found.begin != slot.address) return Wrong("starts elsewhere", slot);
      if (found.size != slot.size) return Wrong("has another size", slot);
      const bool keep = found.own_tag == minicore::kTagKeep;
      const bool label = found.own_tag >= minicore::kFirstUserTag;
      if (keep != (slot.tag == 1) || label != (slot.tag == 2)) {
        return Wrong("has another tag", slot);
      }
    }
  }

  // Whatever else the index says lives must have lived before the storm, or be
  // in the hands of a call that is under way: one each.
  void CheckAllLive() {
    struct Count {
      const std::set<uint64_t>* published;
      uint64_t others;
      uint64_t end;
      int overlaps;
    } count = {&live_, 0, 0, 0};
    minicore::ForEachLive(
        index_, {index_.region, index_.region + index_.region_bytes},
        [](void* context, const Allocation& allocation) {
          auto& c = *static_cast<Count*>(context);
          if (c.published->count(allocation.begin) == 0) ++c.others;
          if (allocation.begin < c.end) ++c.overlaps;
          c.end = allocation.begin + allocation.size;
          return true;
        },
        &count);
    if (count.overlaps != 0) {
      ++wrong_;
      printf("%d live allocations overlap\n", count.overlaps);
    }
    // A realloc that moves has two for a moment.
    if (count.others < storm_.baseline ||
        count.others > storm_.baseline + 2 * busy_) {
      ++wrong_;
      printf(
          "%lu allocations live that nobody published; before the storm there "
          "were %lu, "
          "and %zu calls are under way\n",
          count.others, storm_.baseline, busy_);
    }
  }

  const IndexState& index_;
  const Storm& storm_;
  std::set<uint64_t> live_;
  size_t freed_ = 0;
  size_t busy_ = 0;
  int wrong_ = 0;
};

int Main(int argc, char** argv) {
  if (argc != 3) throw std::runtime_error("usage: storm_check CORE STORM_FILE");
  std::ifstream file(argv[2], std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (bytes.size() != sizeof(Storm))
    throw std::runtime_error("no storm in the file");
  auto storm = std::make_unique<Storm>();
  memcpy(static_cast<void*>(storm.get()), bytes.data(), sizeof(Storm));
  if (storm->magic != kStormMagic)
    throw std::runtime_error("the storm did not begin");
  const minicore::CoreFile core(argv[1]);
  const CrashedIndex index(core, storm->state_address);
  return Check(index.state(), *storm).Run();
}

}  // namespace
}  // namespace torture

int main(int argc, char** argv) {
  try {
    return torture::Main(argc, argv);
  } catch (const std::exception& error) {
    fprintf(stderr, "storm_check: %s\n", error.what());
    return 2;
  }
}
