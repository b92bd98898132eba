#include "dump/handler/guessed_map.h"

#include <elf.h>
#include <link.h>

#include <algorithm>

#include "alloc/index_view.h"
#include "dump/handler/images.h"
#include "dump/handler/link_maps.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

// A stack is followed upward from its pointer until reading fails, at most this far.
constexpr ByteCount kMostStack = 8 * 1024 * 1024;

// Lines of /proc/self/maps, made up: the parser is the one way into the map. They must
// be sorted, so they are collected first.
struct Line {
  AddressRange range;
  char flags[5];
  uint64_t offset;
  bool file;
  const char* name;
};

class Guesser {
 public:
  explicit Guesser(safe::Arena& arena) { lines_.Reserve(arena, 4096); }

  void AddImage(Address base, const char* name);
  // Requires: all images are added.
  void AddReadable(Address address, const char* flags, const char* name);
  void AddUnknown(Address address);
  void Write(MemoryMap& map);

 private:
  safe::FixedVector<Line> lines_;
};

// Every PT_LOAD of the image at `base`, with its flags.
void Guesser::AddImage(Address base, const char* name) {
  Elf64_Ehdr header;
  Image image;
  if (!ReadImage(base, &image) || !safe::GuardedRead(base, &header)) return;
  for (unsigned i = 0; i < header.e_phnum && i < kMaxProgramHeaders; ++i) {
    Elf64_Phdr load;
    if (!safe::GuardedRead(base + header.e_phoff + i * sizeof(load), &load)) return;
    if (load.p_type != PT_LOAD) continue;
    Line line = {};
    line.range.begin = AlignDown(image.bias + load.p_vaddr, kPageSize);
    line.range.end = AlignUp(image.bias + load.p_vaddr + load.p_memsz, kPageSize);
    const bool write = (load.p_flags & PF_W) != 0;
    line.flags[0] = 'r';
    line.flags[1] = write ? 'w' : '-';
    line.flags[2] = (load.p_flags & PF_X) != 0 ? 'x' : '-';
    line.flags[3] = 'p';
    line.offset = AlignDown(load.p_offset, kPageSize);
    line.file = true;
    line.name = name;
    (void)lines_.Push(line);
  }
}

// The pages from `address` on that can be read, up to the next image, as one anonymous
// mapping. What is behind that image is none of it.
void Guesser::AddReadable(Address address, const char* flags, const char* name) {
  Line line = {};
  line.range.begin = line.range.end = AlignDown(address, kPageSize);
  Address most = line.range.begin + kMostStack;
  for (const Line& known : lines_) {
    if (known.file && known.range.begin > address) most = std::min(most, known.range.begin);
  }
  uint8_t byte;
  while (line.range.end < most && safe::GuardedRead(line.range.end, &byte)) {
    line.range.end += kPageSize;
  }
  if (line.range.empty()) return;
  __builtin_memcpy(line.flags, flags, 4);
  line.name = name;
  (void)lines_.Push(line);
}

// The page of `address` and the next, as far as they can be read and belong to nothing
// that is known.
void Guesser::AddUnknown(Address address) {
  Line line = {};
  line.range.begin = line.range.end = AlignDown(address, kPageSize);
  for (int i = 0; i < 2; ++i) {
    uint8_t byte;
    if (!safe::GuardedRead(line.range.end, &byte)) break;
    for (const Line& known : lines_) {
      if (known.range.Contains(line.range.end)) i = 2;
    }
    if (i < 2) line.range.end += kPageSize;
  }
  if (line.range.empty()) return;
  __builtin_memcpy(line.flags, "rw-p", 4);
  line.name = "";
  (void)lines_.Push(line);
}

void Guesser::Write(MemoryMap& map) {
  std::sort(lines_.begin(), lines_.end(), [](const Line& a, const Line& b) {
    return a.range.begin < b.range.begin;
  });
  Address end = 0;
  for (Line& line : lines_) {
    line.range.begin = std::max(line.range.begin, end);
    if (line.range.empty()) continue;
    end = line.range.end;
    char buffer[4096 + 128];
    safe::Text text(buffer, sizeof(buffer));
    const auto hex = [&text](uint64_t value) {
      for (int shift = 60; shift >= 0; shift -= 4) {
        text.Char("0123456789abcdef"[value >> shift & 15]);
      }
    };
    hex(line.range.begin);
    text.Char('-');
    hex(line.range.end);
    text.Char(' ').String(line.flags).Char(' ');
    hex(line.offset);
    text.String(" 00:00 ").String(line.file ? "1" : "0").Char(' ');
    text.String(line.name).Char('\n');
    map.Parse(text.data(), text.length());
  }
}

// Strings of the program's memory, copied.
class Names {
 public:
  explicit Names(safe::Arena& arena) { characters_.Reserve(arena, 1024 * 1024); }

  const char* Read(Address from) {
    const size_t start = characters_.size();
    char c;
    while (safe::GuardedRead(from++, &c) && c != '\0' && characters_.Push(c)) {
    }
    if (!characters_.Push('\0')) {
      characters_.Truncate(start);
      return "";
    }
    return &characters_[start];
  }

 private:
  safe::FixedVector<char> characters_;
};

}  // namespace

void GuessMemoryMap(const CrashContext& crash, const Runtime& runtime,
                    const ThreadTable& threads, safe::Arena& arena, MemoryMap& map,
                    Outcome& outcome) {
  const ProcessFacts& facts = runtime.facts;
  if (map.mappings().capacity() == 0) map.Reserve(arena);
  Guesser guesser(arena);
  Names names(arena);
  // The program: its header is in the page of its program headers.
  guesser.AddImage(AlignDown(AuxvValue(facts, AT_PHDR), kPageSize),
                   names.Read(AuxvValue(facts, AT_EXECFN)));
  safe::FixedVector<Address> addresses;
  addresses.Reserve(arena, 2 * kMaxLinkMaps);
  FindLinkMaps(facts.auxv, facts.auxv_words, addresses);
  // r_debug, then a node and its name each. A module's bias is its header's address;
  // the program's, which comes first, need not be.
  for (size_t i = 3; i + 1 < addresses.size(); i += 2) {
    link_map module;
    if (safe::GuardedRead(addresses[i], &module)) {
      guesser.AddImage(module.l_addr, names.Read(addresses[i + 1]));
    }
  }
  guesser.AddReadable(AuxvValue(facts, AT_SYSINFO_EHDR), "r-xp", "[vdso]");
  for (const Thread& thread : threads) {
    guesser.AddReadable(thread.stack_pointer() - 128, "rw-p",
                        thread.tid == crash.pid ? "[stack]" : "");
    guesser.AddReadable(thread.registers.fs_base, "rw-p", "");
    // A large stack takes a thousand reads. The crashed thread comes first.
    if (outcome.LateByNow()) break;
  }
  // The list itself is in memory of ld.so's own, or in the heap.
  for (Address address : addresses) {
    if (outcome.Late()) break;
    if (!InHeap(*runtime.index, address)) guesser.AddUnknown(address);
  }
  guesser.Write(map);
}

}  // namespace minicore
