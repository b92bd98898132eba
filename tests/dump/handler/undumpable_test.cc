#include "dump/handler/undumpable.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

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

std::vector<AddressRange> RangesOf(const AdvisedRanges& advised) {
  std::vector<AddressRange> ranges;
  advised.ForEach([&](AddressRange range) { ranges.push_back(range); });
  return ranges;
}

TEST(AdvisedRangesTest, WhatIsAdvisedIsThereUntilItIsTakenBack) {
  AdvisedRanges advised;
  EXPECT_FALSE(advised.Remove({0x1000, 0x9000}));
  advised.Add({0x1000, 0x3000});
  advised.Add({0x7fff'ffff'e000, 0x7fff'ffff'f000});
  EXPECT_EQ(RangesOf(advised),
            (std::vector<AddressRange>{{0x1000, 0x3000}, {0x7fff'ffff'e000, 0x7fff'ffff'f000}}));
  EXPECT_TRUE(advised.Covers({0x2000, 0x3000}));
  EXPECT_FALSE(advised.Covers({0x2000, 0x4000}));
  EXPECT_TRUE(advised.Remove({0x1000, 0x9000}));
  EXPECT_EQ(RangesOf(advised).size(), 1u);
  EXPECT_FALSE(advised.lost());
}

// A program that forgets to take back what it unmaps, as most do.
TEST(AdvisedRangesTest, WhatIsAdvisedAgainTakesOnePlace) {
  AdvisedRanges advised;
  for (size_t i = 0; i < 3 * AdvisedRanges::kMost; ++i) {
    advised.Add({0x10000, 0x20000});
    advised.Add({0x12000, 0x13000});
    advised.Add({0x40000 + i % 4 * 0x1000, 0x48000});
  }
  EXPECT_FALSE(advised.lost());
  EXPECT_LE(RangesOf(advised).size(), 4u);
}

TEST(AdvisedRangesTest, TooManyAreLostAndStayLost) {
  AdvisedRanges advised;
  for (Address i = 1; i <= AdvisedRanges::kMost; ++i) {
    advised.Add({i * 0x2000, i * 0x2000 + 0x1000});
  }
  EXPECT_FALSE(advised.lost());
  EXPECT_EQ(RangesOf(advised).size(), AdvisedRanges::kMost);
  advised.Add({0x7000'0000'0000, 0x7000'0000'1000});
  EXPECT_TRUE(advised.lost());
  advised.Remove({0, 0x8000'0000'0000});
  EXPECT_TRUE(advised.lost());
}

TEST(AdvisedRangesTest, WhatIsTakenBackInPartIsLost) {
  AdvisedRanges advised;
  advised.Add({0x10000, 0x20000});
  EXPECT_TRUE(advised.Remove({0x10000, 0x11000}));
  EXPECT_TRUE(advised.lost());
}

TEST(AdvisedRangesTest, WhatDoesNotFitInAWordIsLost) {
  AdvisedRanges advised;
  advised.Add({0x1000, 0x1000 + (ByteCount{1} << 41)});
  EXPECT_TRUE(advised.lost());
  AdvisedRanges high;
  high.Add({Address{1} << 52, (Address{1} << 52) + 0x1000});
  EXPECT_TRUE(high.lost());
}

TEST(AdvisedRangesTest, AnAdviceIsAboutWholePages) {
  EXPECT_EQ(AdvisedRanges::Pages(0x1000, 1), (AddressRange{0x1000, 0x2000}));
  EXPECT_EQ(AdvisedRanges::Pages(0x1000, 0x1001), (AddressRange{0x1000, 0x3000}));
  EXPECT_TRUE(AdvisedRanges::Pages(0x1000, 0).empty());
  EXPECT_TRUE(AdvisedRanges::Pages(0x1001, 0x1000).empty());  // the kernel says EINVAL
  EXPECT_TRUE(AdvisedRanges::Pages(0x1000, ~0ull).empty());
  EXPECT_TRUE(AdvisedRanges::Pages(~0xfffull, 0x2000).empty());
}

// Each thread works on its own pages, as with memory of its own: what it has advised is
// there, whatever the others do.
TEST(AdvisedRangesTest, NoThreadLosesARangeOfAnother) {
  const auto advised = std::make_unique<AdvisedRanges>();
  std::vector<std::thread> threads;
  std::atomic<int> missing{0};
  for (Address thread = 1; thread <= 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (Address i = 0; i < 2000; ++i) {
        const Address begin = thread << 32 | i % 50 << 16;
        advised->Add({begin, begin + 0x2000});
        missing += !advised->Covers({begin, begin + 0x2000});
        if (i % 3 != 0) advised->Remove({begin, begin + 0x2000});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(missing, 0);
  EXPECT_FALSE(advised->lost());
}

// Some pages, each with a key of its own.
class UndumpableTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 64;

  UndumpableTest() {
    InstallFaultHandler();
    memory_ = reinterpret_cast<Address>(mmap(nullptr, kPages * kPageSize,
                                             PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < kPages; ++i) {
      memcpy(reinterpret_cast<void*>(Page(i)), Key(i).data(), kKey);
    }
  }
  ~UndumpableTest() override {
    munmap(reinterpret_cast<void*>(memory_), kPages * kPageSize);
  }

  static constexpr size_t kKey = 32;
  Address Page(size_t i) const { return memory_ + i * kPageSize; }
  AddressRange Pages(size_t from, size_t to) const { return {Page(from), Page(to)}; }
  static std::string Key(size_t i) {
    std::mt19937_64 random(i);
    std::string key(kKey, '\0');
    for (char& byte : key) byte = static_cast<char>(random());
    return key;
  }

  void Add() {
    AddUndumpable(process_.runtime, process_.map, advised_, process_.arena,
                  process_.redactor, process_.outcome);
    process_.redactor.Build(process_.arena);
  }
  // Whether a byte of page i would be written.
  bool Written(size_t i) {
    uint8_t byte = 0x55;
    process_.redactor.Redact(Page(i) + 100, &byte, 1, {0, ~0ull}, Place::kForeign,
                             process_.outcome);
    return byte == 0x55;
  }
  bool CopyWritten(size_t i) {
    std::string copy = Key(i);
    process_.redactor.RedactBytes(copy.data(), copy.size(), Place::kHeap,
                                  process_.outcome);
    return copy == Key(i);
  }

  Address memory_;
  AdvisedRanges advised_;
  MadeUpProcess process_;
};

TEST_F(UndumpableTest, WithoutAdviceNothingIsASecret) {
  process_.Map(Pages(0, kPages));
  Add();
  EXPECT_TRUE(Written(0));
  EXPECT_TRUE(CopyWritten(0));
}

TEST_F(UndumpableTest, WhatWasAdvisedIsASecretAndItsCopiesAre) {
  process_.Map(Pages(0, 4));
  process_.Map(Pages(4, 6));
  process_.Map(Pages(6, 7), "---p");
  process_.Map(Pages(7, kPages));
  advised_.Add(Pages(4, 5));
  advised_.Add(Pages(5, 7));
  Add();
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(Written(i), i < 4 || i >= 7) << i;
    EXPECT_EQ(CopyWritten(i), i < 4 || i >= 7) << i;
  }
  EXPECT_FALSE(process_.redactor.uncertain());
}

// Keys that lie side by side are no large buffer.
TEST_F(UndumpableTest, HowMuchIsSearchedForIsCountedByAdvice) {
  process_.Map(Pages(0, 48));
  process_.Map(Pages(48, kPages));
  for (size_t i = 0; i < 48; i += 16) advised_.Add(Pages(i, i + 16));
  Add();
  for (size_t i = 0; i < 48; ++i) EXPECT_FALSE(CopyWritten(i)) << i;
}

TEST_F(UndumpableTest, OfTheHeapPagesCanBeAdvisedToo) {
  const Address block = process_.heap.Allocate(4 * kPageSize);
  const Address page = AlignUp(block, kPageSize);
  memcpy(reinterpret_cast<void*>(page), Key(3).data(), kKey);
  process_.Map(process_.heap.region());
  advised_.Add({page, page + kPageSize});
  Add();
  EXPECT_FALSE(CopyWritten(3));
  uint8_t byte = 0x55;
  process_.redactor.Redact(page + 200, &byte, 1, {0, ~0ull}, Place::kHeap,
                           process_.outcome);
  EXPECT_NE(byte, 0x55);
}

// The kernel tells in smaps what is there now: here, of this very process, nothing advised.
TEST_F(UndumpableTest, WhereSomethingElseIsMappedSinceTheKernelIsAsked) {
  process_.Map(Pages(0, kPages));
  advised_.Add(Pages(4, 5));
  Add();
  EXPECT_TRUE(Written(4));
  EXPECT_TRUE(CopyWritten(4));
}

TEST_F(UndumpableTest, WhenTheyAreLostTheKernelIsAsked) {
  ASSERT_EQ(madvise(reinterpret_cast<void*>(Page(9)), kPageSize, MADV_DONTDUMP), 0);
  process_.Map(Pages(0, kPages));
  advised_.Lose();
  Add();
  EXPECT_FALSE(Written(9));
  EXPECT_FALSE(CopyWritten(9));
  EXPECT_TRUE(Written(8));
  EXPECT_FALSE(process_.redactor.uncertain());
}

TEST_F(UndumpableTest, WhenTheKernelCannotBeAskedInTimeItGivesUp) {
  advised_.Lose();
  process_.outcome.past_deadline = true;
  Add();
  EXPECT_TRUE(process_.redactor.uncertain());
}

TEST_F(UndumpableTest, WhatIsGoneIsNoReasonToAsk) {
  munmap(reinterpret_cast<void*>(Page(8)), 4 * kPageSize);
  process_.Map(Pages(0, 8));
  process_.Map(Pages(12, kPages));
  advised_.Add(Pages(8, 12));
  process_.outcome.past_deadline = true;  // then it would give up
  Add();
  EXPECT_FALSE(process_.redactor.uncertain());
}

// The planes of the index are MADV_DONTDUMP as well, and full of addresses.
TEST_F(UndumpableTest, TheIndexIsNoSecret) {
  process_.heap.index().chunks = reinterpret_cast<ChunkEntry*>(Page(20));
  ASSERT_LT(process_.heap.index().region_bytes >> kChunkShift, 2 * 256u);
  ASSERT_EQ(madvise(reinterpret_cast<void*>(Page(20)), kPageSize, MADV_DONTDUMP), 0);
  advised_.Lose();
  Add();
  EXPECT_TRUE(CopyWritten(20));
}

TEST_F(UndumpableTest, SecretMemoryOfTheKernelIsASecretWithoutAdvice) {
  process_.Map(Pages(0, 1), "rw-s", "/secretmem (deleted)", 7);
  process_.Map(Pages(1, 2), "rw-s", "/secretmemories", 8);
  Add();
  EXPECT_FALSE(Written(0));
  EXPECT_FALSE(CopyWritten(0));
  EXPECT_TRUE(Written(1));
}

// Reading it might do something.
TEST_F(UndumpableTest, ADevicesMemoryIsNotSearchedFor) {
  process_.Map(Pages(0, 1), "rw-s", "/dev/device", 7);
  advised_.Add(Pages(0, 1));
  Add();
  EXPECT_FALSE(Written(0));
  EXPECT_TRUE(CopyWritten(0));
}

}  // namespace
}  // namespace minicore
