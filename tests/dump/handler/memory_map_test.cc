#include "dump/handler/memory_map.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <string>

#include "tests/support/test_arena.h"

namespace minicore {
namespace {

// Linux 6.1, with a name that holds blanks, one that is deleted, and none.
constexpr char kRealMaps[] =
    "555555554000-555555556000 r--p 00000000 fe:01 1835136                    "
    "/usr/bin/cat\n"
    "555555556000-55555555b000 r-xp 00002000 fe:01 1835136                    "
    "/usr/bin/cat\n"
    "55555555e000-55555555f000 rw-p 00009000 fe:01 1835136                    "
    "/usr/bin/cat\n"
    "55555555f000-555555580000 rw-p 00000000 00:00 0                          "
    "[heap]\n"
    "7ffff7c00000-7ffff7d00000 rw-s 00000000 00:01 3081                       "
    "/dev/shm/with two blanks (deleted)\n"
    "7ffff7dd0000-7ffff7dd3000 ---p 00000000 00:00 0 \n"
    "7ffff7fc9000-7ffff7fcd000 r--p 00000000 00:00 0                          "
    "[vvar]\n"
    "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          "
    "[stack]\n"
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  "
    "[vsyscall]\n";

class MemoryMapTest : public testing::Test {
 protected:
  MemoryMapTest() { map_.Reserve(arena_); }

  void Parse(const std::string& text) { map_.Parse(text.data(), text.size()); }
  size_t count() const { return map_.mappings().size(); }
  const Mapping& at(size_t i) const { return map_.mappings()[i]; }
  std::string name(size_t i) const { return map_.NameOf(at(i)); }

  TestArena arena_;
  MemoryMap map_;
};

TEST_F(MemoryMapTest, ReadsWhatTheKernelWrites) {
  Parse(kRealMaps);
  ASSERT_EQ(count(), 9u);
  EXPECT_EQ(at(1).range, (AddressRange{0x555555556000, 0x55555555b000}));
  EXPECT_EQ(at(1).file_offset, 0x2000u);
  EXPECT_EQ(at(1).inode, 1835136u);
  EXPECT_TRUE(at(1).readable && !at(1).writable && at(1).executable &&
              !at(1).shared);
  EXPECT_TRUE(at(2).readable && at(2).writable && !at(2).executable);
  EXPECT_TRUE(at(4).shared);
  EXPECT_TRUE(!at(5).readable && !at(5).writable && !at(5).executable);
  EXPECT_EQ(at(8).range,
            (AddressRange{0xffffffffff600000, 0xffffffffff601000}));
}

TEST_F(MemoryMapTest, NamesMayHoldBlanksOrBeMissing) {
  Parse(kRealMaps);
  EXPECT_EQ(name(0), "/usr/bin/cat");
  EXPECT_EQ(name(3), "[heap]");
  EXPECT_EQ(name(4), "/dev/shm/with two blanks (deleted)");
  EXPECT_EQ(name(5), "");
  EXPECT_EQ(name(7), "[stack]");
}

TEST_F(MemoryMapTest, NeighboursOfOneFileShareItsName) {
  Parse(kRealMaps);
  EXPECT_EQ(at(0).name, at(2).name);
  EXPECT_NE(at(0).name, at(3).name);
}

// read() may end anywhere.
TEST_F(MemoryMapTest, TextMaySplitAtEveryByte) {
  const std::string text = kRealMaps;
  for (size_t split = 0; split <= text.size(); ++split) {
    arena_.Renew();
    MemoryMap map;
    map.Reserve(arena_);
    map.Parse(text.data(), split);
    map.Parse(text.data() + split, text.size() - split);
    ASSERT_EQ(map.mappings().size(), 9u) << split;
    ASSERT_STREQ(map.NameOf(map.mappings()[7]), "[stack]") << split;
  }
}

TEST_F(MemoryMapTest, FindsTheMappingOfAnAddress) {
  Parse(kRealMaps);
  EXPECT_EQ(map_.Find(0x555555554000), &at(0));
  EXPECT_EQ(map_.Find(0x555555555fff), &at(0));
  EXPECT_EQ(map_.Find(0x555555556000), &at(1));
  EXPECT_EQ(map_.Find(0x55555555c000), nullptr);  // between two
  EXPECT_EQ(map_.Find(0), nullptr);
  EXPECT_EQ(map_.Find(~0ull), nullptr);
  EXPECT_EQ(map_.FindAtOrAbove(0), &at(0));
  EXPECT_EQ(map_.FindAtOrAbove(0x55555555c000), &at(2));
  EXPECT_EQ(map_.FindAtOrAbove(~0ull), nullptr);
}

TEST_F(MemoryMapTest, EveryByteThatCanBeWrittenMayBeAndWhatIsFarFromItMayNot) {
  Parse("3ffff000-80001000 rw-p 00000000 00:00 0 \n"
        "200000000-200001000 r--p 00000000 00:00 0 \n"
        "7fffffffe000-7ffffffff000 rw-p 00000000 00:00 0 \n");
  for (const Address in : {0x3ffff000ul, 0x40000000ul, 0x7ffffffful, 0x80000ffful,
                           0x7fffffffe000ul, 0x7fffffffeffful}) {
    EXPECT_TRUE(map_.MayBeWritable(in)) << std::hex << in;
  }
  // Not writable; not mapped, as far from it as text and numbers are; kernel half.
  for (const Address out : {0x200000000ul, 0x1ffffffful + 0xa0000001ul, 0x202020202020ul,
                            0x7ffeffffffffUL - (1ul << 40), 0x800000000000ul,
                            UINT64_MAX}) {
    EXPECT_FALSE(map_.MayBeWritable(out)) << std::hex << out;
  }
}

TEST_F(MemoryMapTest, AnEmptyMapFindsNothing) {
  EXPECT_EQ(map_.Find(0x1000), nullptr);
  EXPECT_EQ(map_.FindAtOrAbove(0), nullptr);
}

TEST_F(MemoryMapTest, SkipsWhatIsNoMapping) {
  for (const char* line : {
           "\n",
           "garbage\n",
           "1000-2000\n",
           "1000-2000 \n",
           "1000-2000 rw\n",
           "1000-2000 rw-p\n",
           "1000-2000 rw-p 00000000\n",
           "1000-2000 rw-p 00000000 08:01\n",
           "1000-2000 rw-p 00000000 08:01 12",  // no blank, and no end
           "\n",
           "1000 2000 rw-p 00000000 08:01 12 \n",
           "-2000 rw-p 00000000 08:01 12 \n",
           "1000- rw-p 00000000 08:01 12 \n",
           "xyz-2000 rw-p 00000000 08:01 12 \n",
           "1000-2000 rw-p 00000000 08-01 12 \n",
           "1000-2000 rw-pp 00000000 08:01 12 \n",
           "1000000000000000000000-2000 rw-p 00000000 08:01 12 \n",
       }) {
    Parse(line);
    EXPECT_EQ(count(), 0u) << line;
  }
  Parse(std::string("1000-2000 r\0w-p 00000000 08:01 12 \n", 35));
  EXPECT_EQ(count(), 0u);
  // And goes on with the next line.
  Parse("3000-4000 rw-p 00000000 08:01 12 \n");
  EXPECT_EQ(count(), 1u);
}

TEST_F(MemoryMapTest, SkipsRangesThatAreEmptyOrRunBackwards) {
  Parse("2000-2000 rw-p 00000000 00:00 0 \n3000-1000 rw-p 00000000 00:00 0 \n");
  EXPECT_EQ(count(), 0u);
}

// Look-ups are a binary search: what is out of order must not come in.
TEST_F(MemoryMapTest, SkipsMappingsThatOverlapOrGoDown) {
  Parse(
      "5000-7000 rw-p 00000000 00:00 0 \n"
      "1000-2000 rw-p 00000000 00:00 0 \n"
      "6000-8000 rw-p 00000000 00:00 0 \n"
      "7000-8000 r--p 00000000 00:00 0 \n");
  ASSERT_EQ(count(), 2u);
  EXPECT_EQ(at(0).range, (AddressRange{0x5000, 0x7000}));
  EXPECT_EQ(at(1).range, (AddressRange{0x7000, 0x8000}));
}

TEST_F(MemoryMapTest, ALineLongerThanAnyPathLosesItsEndOnly) {
  const std::string path = "/" + std::string(10000, 'x');
  Parse("1000-2000 r-xp 00000000 08:01 12   " + path + "\n");
  Parse("3000-4000 rw-p 00000000 00:00 0   [stack]\n");
  ASSERT_EQ(count(), 2u);
  EXPECT_GT(name(0).size(), 4000u);
  EXPECT_EQ(path.compare(0, name(0).size(), name(0)), 0);
  EXPECT_EQ(name(1), "[stack]");
}

TEST_F(MemoryMapTest, ALineWithoutAnEndIsWaitedFor) {
  Parse("1000-2000 rw-p 00000000 00:00 0 ");
  EXPECT_EQ(count(), 0u);
  Parse("\n");
  EXPECT_EQ(count(), 1u);
}

TEST_F(MemoryMapTest, MoreMappingsThanItHasRoomForAreLeftOut) {
  std::string text;
  for (size_t i = 1; i <= kMaxMappings + 10; ++i) {
    char line[64];
    text.append(line, static_cast<size_t>(snprintf(
                          line, sizeof(line), "%zx-%zx r--p 0 0:0 0 \n",
                          i * 0x2000, i * 0x2000 + 0x1000)));
  }
  Parse(text);
  EXPECT_EQ(count(), kMaxMappings);
  EXPECT_NE(map_.Find(kMaxMappings * 0x2000), nullptr);
  EXPECT_EQ(map_.Find((kMaxMappings + 1) * 0x2000), nullptr);
}

TEST_F(MemoryMapTest, MoreNamesThanItHasRoomForBecomeEmpty) {
  std::string text;
  const size_t lines = kMaxNameBytes / 2000 + 10;
  for (size_t i = 1; i <= lines; ++i) {
    char line[64];
    text.append(line, static_cast<size_t>(snprintf(
                          line, sizeof(line), "%zx-%zx r--p 0 0:0 0 /%zu",
                          i * 0x2000, i * 0x2000 + 0x1000, i)));
    text += std::string(2000, 'n') + "\n";
  }
  Parse(text);
  ASSERT_EQ(count(), lines);
  EXPECT_EQ(name(0), "/1" + std::string(2000, 'n'));
  EXPECT_EQ(name(lines - 1), "");
}

TEST_F(MemoryMapTest, WithoutAnArenaItIsEmpty) {
  TestArena small(4096);
  ASSERT_NE(small.Allocate(4096), nullptr);
  MemoryMap map;
  map.Reserve(small);
  map.Parse(kRealMaps, sizeof(kRealMaps) - 1);
  EXPECT_TRUE(map.mappings().empty());
  EXPECT_EQ(map.Find(0x555555554000), nullptr);
}

TEST_F(MemoryMapTest, ReadsTheListOfThisProcess) {
  void* const page =
      mmap(nullptr, kPageSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  Outcome outcome;
  outcome.started_us = safe::NowMicroseconds();
  outcome.deadline_us = 60'000'000;
  MemoryMap map;
  ReadMemoryMap(arena_, -1, map, outcome);
  int local = 0;
  const Mapping* stack = map.Find(reinterpret_cast<Address>(&local));
  ASSERT_NE(stack, nullptr);
  EXPECT_TRUE(stack->readable && stack->writable);
  const Mapping* found = map.Find(reinterpret_cast<Address>(page));
  ASSERT_NE(found, nullptr);
  EXPECT_TRUE(found->readable && !found->writable);
  munmap(page, kPageSize);
}

}  // namespace
}  // namespace minicore
