// Arbitrary text as /proc/self/maps, in two pieces that meet anywhere: the map
// is sorted, its names end, and where the text was cut makes no difference.

#include <cstring>
#include <string>
#include <vector>

#include "dump/handler/memory_map.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/test_arena.h"

namespace minicore {
namespace {

struct Parsed {
  explicit Parsed(TestArena& arena) {
    arena.Renew();
    map.Reserve(arena);
  }
  MemoryMap map;
};

struct Line {
  Mapping mapping;
  std::string name;
};

std::vector<Line> Check(const MemoryMap& map) {
  std::vector<Line> lines;
  Address last = 0;
  for (const Mapping& mapping : map.mappings()) {
    Promise(mapping.range.begin < mapping.range.end &&
            mapping.range.begin >= last);
    last = mapping.range.end;
    const std::string name = map.NameOf(mapping);
    Promise(name.size() < 8192 && name.find('\n') == std::string::npos);
    Promise(map.Find(mapping.range.begin) == &mapping);
    Promise(map.Find(mapping.range.end - 1) == &mapping);
    Promise(map.FindAtOrAbove(mapping.range.begin) == &mapping);
    const Mapping* behind = map.Find(mapping.range.end);
    Promise(behind == nullptr || behind == &mapping + 1);
    lines.push_back({mapping, name});
  }
  return lines;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const std::string maps =
      "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon\n"
      "00651000-00652000 rw-p 00051000 08:02 173521      /usr/bin/dbus-daemon\n"
      "00e03000-00e24000 rw-p 00000000 00:00 0           [heap]\n"
      "35b1800000-35b1820000 r-xp 00000000 08:02 135522  /usr/lib64/ld "
      "2.15.so\n"
      "7fffb2c0d000-7fffb2c2e000 rw-p 00000000 00:00 0   [stack]\n"
      "7fffb2d48000-7fffb2d49000 ---p 00000000 00:00 0 \n"
      "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n";
  return {std::string("\x20\0\0\0", 4) + maps,
          std::string("\0\0\0\0", 4) + maps};
}

}  // namespace minicore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace minicore;
  static TestArena arena;
  FuzzInput input(data, size);
  const auto cut = static_cast<size_t>(input.Below(input.left() + 5));
  const char* text = reinterpret_cast<const char*>(input.data());
  const size_t length = input.left();
  Parsed whole(arena);
  whole.map.Parse(text, length);
  const auto lines = Check(whole.map);
  if (cut > length) return 0;
  Parsed pieces(arena);
  pieces.map.Parse(text, cut);
  pieces.map.Parse(text + cut, length - cut);
  const auto again = Check(pieces.map);
  Promise(lines.size() == again.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    Promise(lines[i].mapping.range == again[i].mapping.range);
    Promise(lines[i].name == again[i].name);
  }
  return 0;
}
