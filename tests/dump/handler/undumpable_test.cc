#include "dump/handler/undumpable.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace minicore {
namespace {

struct Found {
  AddressRange range;
  bool device;
};

// In pieces of `size`.
std::vector<Found> Parse(const std::string& text, size_t size = SIZE_MAX) {
  std::vector<Found> found;
  SmapsParser parser(
      [](void* to, AddressRange range, bool device) {
        static_cast<std::vector<Found>*>(to)->push_back({range, device});
      },
      &found);
  for (size_t at = 0; at < text.size(); at += size) {
    const std::string piece = text.substr(at, size);
    parser.Parse(piece.data(), piece.size());
    if (size == SIZE_MAX) break;
  }
  return found;
}

std::string Mapping(const std::string& range, const std::string& flags,
                    const std::string& name = "") {
  return range + " rw-p 00000000 00:00 0 " + name +
         "\nSize:                 4 kB\nRss:                  dd kB\nVmFlags:" + flags +
         "\n";
}

TEST(Smaps, MappingsThatAreInNoCoreAreFound) {
  const std::string text = Mapping("1000-2000", " rd wr mr mw me dd ac") +
                           Mapping("2000-3000", " rd wr mr mw me ac") +
                           Mapping("7f0000000000-7f0000005000", " rd io dd", "/dev/x") +
                           Mapping("7fffffff0000-7ffffffff000", " dd");
  for (size_t size : {size_t{1}, size_t{7}, size_t{64}, SIZE_MAX}) {
    const auto found = Parse(text, size);
    ASSERT_EQ(found.size(), 3u) << size;
    EXPECT_EQ(found[0].range.begin, 0x1000u);
    EXPECT_EQ(found[0].range.end, 0x2000u);
    EXPECT_FALSE(found[0].device);
    EXPECT_EQ(found[1].range.begin, 0x7f0000000000u);
    EXPECT_TRUE(found[1].device);
    EXPECT_EQ(found[2].range.end, 0x7ffffffff000u);
  }
}

TEST(Smaps, NamesAndOtherLinesAreNoFlags) {
  EXPECT_TRUE(Parse(Mapping("1000-2000", " rd", "VmFlags: dd")).empty());
  EXPECT_TRUE(Parse(Mapping("1000-2000", " rd ddd", " dd ")).empty());
  EXPECT_TRUE(Parse("VmFlags: dd\n").empty());
  EXPECT_TRUE(Parse("1000-2000 rw-p\nVmFlags: dd").empty());  // no end of line
  EXPECT_TRUE(Parse("2000-1000 rw-p\nVmFlags: dd\n").empty());
  EXPECT_TRUE(Parse("\n\n-\n1-\n1000- \nVmFlags: dd\n").empty());
  // A name of any length.
  const std::string name(10000, 'x');
  EXPECT_EQ(Parse(Mapping("1000-2000", " rd dd", name)).size(), 1u);
}

}  // namespace
}  // namespace minicore
