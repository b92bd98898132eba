// The kernel's list of mappings, /proc/thread-self/maps, in a fixed array.
//
// Context: handler. The parser is a pure function over text and never trusts it.

#ifndef MINICORE_DUMP_HANDLER_MEMORY_MAP_H_
#define MINICORE_DUMP_HANDLER_MEMORY_MAP_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/handler/outcome.h"
#include "dump/safe/arena.h"

namespace minicore {

struct Mapping {
  AddressRange range;
  uint64_t file_offset = 0;
  uint64_t inode = 0;
  uint32_t name = 0;  // offset into MemoryMap::names; 0: none
  bool readable = false;
  bool writable = false;
  bool executable = false;
  bool shared = false;
};

// vm.max_map_count is 65,530 by default; more mappings than this are not seen, and what
// lies in them is not kept.
inline constexpr size_t kMaxMappings = 131072;
inline constexpr size_t kMaxNameBytes = 8 * 1024 * 1024;

class MemoryMap {
 public:
  void Reserve(safe::Arena& arena);

  // Takes the next piece of the text; lines may be split anywhere. A line that is not
  // in the form of fs/proc/task_mmu.c, show_map_vma(), or not above the one before it,
  // is skipped.
  void Parse(const char* text, size_t size);

  const safe::FixedVector<Mapping>& mappings() const { return mappings_; }
  // Path of a file, or "[stack]" and the like; "" for anonymous memory.
  const char* NameOf(const Mapping& mapping) const {
    return names_.size() > mapping.name ? &names_[mapping.name] : "";
  }
  // Whether reading it may do something: a device's memory.
  bool IsDevice(const Mapping& mapping) const;
  // The mapping that holds `address`; null if none does.
  const Mapping* Find(Address address) const;
  // The first mapping that ends above `address`; null if none does.
  const Mapping* FindAtOrAbove(Address address) const;
  // False if `address` lies far from all that can be written: of words that are no
  // pointers (text, numbers) nearly all end here, after one look and without a branch.
  bool MayBeWritable(Address address) const {
    const uint64_t area = address >> kAreaShift;
    const uint64_t areas = writable_areas_[area / 64 % (kAreas / 64)];
    return (area < kAreas) & (areas >> (area % 64) & 1);
  }

 private:
  // One bit for each GiB of the user half of a 4-level address space.
  static constexpr unsigned kAreaShift = 30;
  static constexpr uint64_t kAreas = uint64_t{1} << (47 - kAreaShift);

  void ParseLine();
  void MarkWritable(AddressRange range);
  uint32_t KeepName(const char* name);

  safe::FixedVector<Mapping> mappings_;
  safe::FixedVector<char> names_;
  uint64_t writable_areas_[kAreas / 64] = {};
  char line_[4096 + 128] = {};  // PATH_MAX and the numbers before it
  size_t line_length_ = 0;
};

// Reads /proc/thread-self/maps (/proc/self is the main thread's, empty once that has
// ended), or where that can't be opened the descriptor `before` of it (-1: there is none).
void ReadMemoryMap(safe::Arena& arena, int before, MemoryMap& map, Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_MEMORY_MAP_H_
