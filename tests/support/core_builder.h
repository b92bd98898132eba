// ELF cores made in code: a small good one, every part of which a test may
// change before it is put together. No generated core lies in the tree.

#ifndef MINICORE_TESTS_SUPPORT_CORE_BUILDER_H_
#define MINICORE_TESTS_SUPPORT_CORE_BUILDER_H_

#include <elf.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dump/elf_core_format.h"

namespace minicore {

struct BuiltNote {
  std::string owner;
  uint32_t type = 0;
  std::string desc;
};

struct BuiltSegment {
  std::string name;  // for At()
  uint64_t address = 0;
  std::string bytes;
  uint64_t memory_bytes = 0;
  uint32_t flags = PF_R | PF_W;
  uint64_t align = 16;
};

// The raw bytes of a plain struct, and back.
template <class T>
std::string BytesOf(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}
template <class T>
void Put(std::string* bytes, size_t at, const T& value) {
  bytes->replace(at, sizeof(value), BytesOf(value));
}

// A note of rows: header and rows as dump/elf_core_format.h lays them out.
template <class Row>
std::string RowNote(const std::vector<Row>& rows) {
  const NoteRowHeader header = {kFormatVersion, sizeof(Row),
                                static_cast<uint32_t>(rows.size()), 0};
  std::string desc = BytesOf(header);
  for (const Row& row : rows) desc += BytesOf(row);
  return desc;
}

struct CoreBuilder {
  std::vector<BuiltNote> notes;        // the first segment
  std::vector<BuiltSegment> segments;  // PT_LOADs as the table lists them
  std::vector<BuiltNote> own_notes;    // the last segment

  BuiltNote& Note(uint32_t type, size_t nth = 0);
  BuiltNote& OwnNote(uint32_t type);
  BuiltSegment& At(const std::string& name);

  // The file. Header and program headers can be changed afterwards with Put().
  std::string Build() const;
  static size_t HeaderAt(size_t index) {
    return sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr);
  }
  // Program header of the segment `name`: 0 is the first PT_NOTE.
  size_t HeaderOf(const std::string& name) const;
};

// What is in SmallCore().
inline constexpr uint32_t kCrashedTid = 100;
inline constexpr uint32_t kOtherTid = 101;
inline constexpr uint64_t kImage = 0x555555554000;   // segment "image"
inline constexpr uint64_t kData = 0x555555558000;    // "data": PT_DYNAMIC
inline constexpr uint64_t kHeap = 0x7e0000000000;    // "heap"
inline constexpr uint64_t kThread = 0x7f1000000000;  // "other stack"
inline constexpr uint64_t kLinker =
    0x7f2000000000;  // "linker": r_debug, link_maps
inline constexpr uint64_t kStack =
    0x7ffe00000000;                       // "stack" of the crashed thread
inline constexpr uint64_t kFault = 0x10;  // si_addr
inline constexpr char kBuildId[] = "00112233445566778899aabbccddeeff00112233";

// Two threads, of which the first got SIGSEGV, a position independent program
// with two modules, one heap allocation, one tag, one secret that is not there.
// `verify` finds nothing wrong with it.
CoreBuilder SmallCore();

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_CORE_BUILDER_H_
