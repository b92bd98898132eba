#include "dump/handler/memory_map.h"

#include "dump/handler/proc_files.h"
#include "dump/safe/format.h"
#include "dump/safe/syscalls.h"

namespace minicore {

void MemoryMap::Reserve(safe::Arena& arena) {
  mappings_.Reserve(arena, kMaxMappings);
  names_.Reserve(arena, kMaxNameBytes);
  (void)names_.Push('\0');  // offset 0: no name
  line_length_ = 0;
}

void MemoryMap::Parse(const char* text, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (text[i] == '\n') {
      line_[line_length_] = '\0';
      ParseLine();
      line_length_ = 0;
    } else if (line_length_ + 1 < sizeof(line_)) {
      line_[line_length_++] = text[i];
    }
  }
}

// begin-end rwxp offset major:minor inode    name
void MemoryMap::ParseLine() {
  const char* at = line_;
  Mapping mapping;
  uint64_t major, minor;
  if (!TakeNumber(at, 16, '-', &mapping.range.begin) ||
      !TakeNumber(at, 16, ' ', &mapping.range.end)) {
    return;
  }
  if (mapping.range.empty() || line_length_ < static_cast<size_t>(at - line_) + 5 ||
      at[4] != ' ') {
    return;
  }
  mapping.readable = at[0] == 'r';
  mapping.writable = at[1] == 'w';
  mapping.executable = at[2] == 'x';
  mapping.shared = at[3] == 's';
  at += 5;
  if (!TakeNumber(at, 16, ' ', &mapping.file_offset) ||
      !TakeNumber(at, 16, ':', &major) || !TakeNumber(at, 16, ' ', &minor) ||
      !TakeNumber(at, 10, ' ', &mapping.inode)) {
    return;
  }
  if (!mappings_.empty() && mapping.range.begin < mappings_.back().range.end) {
    return;
  }
  while (*at == ' ') ++at;
  mapping.name = KeepName(at);
  if (mappings_.Push(mapping) && mapping.writable) MarkWritable(mapping.range);
}

// Mappings are disjoint and there are kAreas areas: all of them together take at most one
// turn for each mapping and each area.
void MemoryMap::MarkWritable(AddressRange range) {
  for (uint64_t area = range.begin >> kAreaShift;
       area < kAreas && area << kAreaShift < range.end; ++area) {
    writable_areas_[area / 64] |= uint64_t{1} << (area % 64);
  }
}

// Neighbours mostly share their file: the last name is kept once.
uint32_t MemoryMap::KeepName(const char* name) {
  if (*name == '\0') return 0;
  if (!mappings_.empty() && mappings_.back().name != 0 &&
      safe::Equal(NameOf(mappings_.back()), name)) {
    return mappings_.back().name;
  }
  const size_t offset = names_.size();
  if (names_.capacity() - offset < safe::Length(name) + 1) return 0;
  for (; *name != '\0'; ++name) (void)names_.Push(*name);
  (void)names_.Push('\0');
  return static_cast<uint32_t>(offset);
}

const Mapping* MemoryMap::FindAtOrAbove(Address address) const {
  size_t low = 0;
  size_t high = mappings_.size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (mappings_[middle].range.end > address) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low < mappings_.size() ? &mappings_[low] : nullptr;
}

const Mapping* MemoryMap::Find(Address address) const {
  const Mapping* mapping = FindAtOrAbove(address);
  return mapping != nullptr && mapping->range.Contains(address) ? mapping : nullptr;
}

bool MemoryMap::IsDevice(const Mapping& mapping) const {
  const char* name = NameOf(mapping);
  return safe::StartsWith(name, "/dev/") && !safe::StartsWith(name, "/dev/shm/") &&
         !safe::StartsWith(name, "/dev/zero");
}

void ReadMemoryMap(safe::Arena& arena, int before, MemoryMap& map, Outcome& outcome) {
  map.Reserve(arena);
  constexpr size_t kBlock = 64 * 1024;
  char* block = arena.AllocateArray<char>(kBlock);
  const int fd = OpenProc("/proc/thread-self/maps", O_RDONLY, before);
  if (fd < 0 || block == nullptr) {
    CloseProc(fd, before);
    return;
  }
  while (!outcome.Late()) {
    const long bytes = safe::Read(fd, block, kBlock);
    if (bytes <= 0) break;
    map.Parse(block, static_cast<size_t>(bytes));
  }
  CloseProc(fd, before);
}

}  // namespace minicore
