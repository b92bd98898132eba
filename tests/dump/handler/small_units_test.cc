// Headers of a few functions each.

#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "dump/handler/error_text.h"
#include "dump/handler/memory_copy.h"
#include "dump/handler/proc_files.h"
#include "dump/handler/seccomp_filter.h"
#include "dump/handler/thread_status.h"
#include "dump/handler/tid_set.h"
#include "tests/support/test_arena.h"

namespace minicore {
namespace {

std::vector<uint64_t> Words(const char* text, unsigned most = 16) {
  uint64_t words[16];
  const unsigned count = ParseWords(text, words, most);
  return {words, words + count};
}

TEST(ProcFilesTest, ReadsNumbersAsTheKernelWritesThem) {
  using V = std::vector<uint64_t>;
  EXPECT_EQ(Words("0 0x7f1 0xFF 12"), (V{0, 0x7f1}));  // no capitals there
  EXPECT_EQ(Words("202 0x7ffd1c 0x80 0x0 0x0 0x0 0x7ffd1c10 0x7f00a1"),
            (V{202, 0x7ffd1c, 0x80, 0, 0, 0, 0x7ffd1c10, 0x7f00a1}));
  EXPECT_EQ(Words("running"), V{});
  EXPECT_EQ(Words(""), V{});
  EXPECT_EQ(Words("   7   8"), (V{7, 8}));
  EXPECT_EQ(Words("1 2 3", 2), (V{1, 2}));
  EXPECT_EQ(Words("0x"), V{});
  EXPECT_EQ(Words("-1 2"), V{});
}

TEST(ProcFilesTest, ReadsDecimalDigitsAndStops) {
  EXPECT_EQ(ParseDecimal("4711"), 4711u);
  EXPECT_EQ(ParseDecimal("12abc"), 12u);
  EXPECT_EQ(ParseDecimal("x"), 0u);
  EXPECT_EQ(ParseDecimal(""), 0u);
}

TEST(ProcFilesTest, ReadsATasksNameWithoutItsNewline) {
  char text[32];
  const long length = TaskFile(gettid(), "comm", text, sizeof(text));
  EXPECT_EQ(length, static_cast<long>(strlen(text)));
  EXPECT_GT(length, 0);
  EXPECT_EQ(strchr(text, '\n'), nullptr);
}

TEST(ProcFilesTest, AFileThatIsNotThereIsAnEmptyString) {
  char text[8] = "before";
  EXPECT_EQ(ReadFile("/proc/self/no_such_file", text, sizeof(text)), -ENOENT);
  EXPECT_STREQ(text, "");
}

TEST(ProcFilesTest, AFileLongerThanItsRoomIsCut) {
  char text[8];
  EXPECT_EQ(ReadFile("/proc/self/maps", text, sizeof(text)), 7);
  EXPECT_EQ(strlen(text), 7u);
}

TEST(ErrorTextTest, NamesWhatAUserCanDoSomethingAbout) {
  for (int error :
       {EACCES, ENOSPC, EROFS, ENOENT, EDQUOT, ENAMETOOLONG, EFBIG}) {
    char line[64];
    safe::Text text(line, sizeof(line));
    AppendError(error, text);
    EXPECT_STREQ(line, strerror(error));
  }
}

TEST(ErrorTextTest, AnyOtherErrorIsItsNumber) {
  char line[64];
  safe::Text text(line, sizeof(line));
  AppendError(4711, text);
  EXPECT_STREQ(line, "error 4711");
}

TEST(TidSetTest, RemembersEachThreadOnce) {
  TestArena arena;
  TidSet set(arena);
  for (uint32_t tid : {1u, 63u, 64u, 4194303u}) {
    EXPECT_FALSE(set.Contains(tid));
    EXPECT_TRUE(set.Insert(tid));
    EXPECT_FALSE(set.Insert(tid));
    EXPECT_TRUE(set.Contains(tid));
  }
  EXPECT_FALSE(set.Contains(2));
}

TEST(TidSetTest, WhatItCannotRememberIsNotIn) {
  TestArena arena;
  TidSet set(arena);
  EXPECT_FALSE(set.Insert(kMaxTid));
  EXPECT_FALSE(set.Contains(kMaxTid));
  EXPECT_FALSE(set.Contains(~0u));
  TidSet empty;
  EXPECT_FALSE(empty.Insert(1));
  EXPECT_FALSE(empty.Contains(1));
}

// A segment of two pieces and a gap between them, at an offset of the file.
struct CopiedPlan {
  CopiedPlan(TestArena& arena, const uint8_t* memory) {
    const Address begin = reinterpret_cast<Address>(memory);
    plan.pieces.Reserve(arena, 2);
    plan.segments.Reserve(arena, 1);
    Piece piece{};
    piece.content = Content::kMemory;
    piece.range = {begin, begin + 16};
    (void)plan.pieces.Push(piece);
    piece.range = {begin + 32, begin + 64};
    (void)plan.pieces.Push(piece);
    Segment segment{};
    segment.range = {begin, begin + 64};
    segment.file_bytes = 48;  // the rest is not in the file
    segment.file_offset = 128;
    segment.piece_count = 2;
    (void)plan.segments.Push(segment);
    plan.file_bytes = 256;
  }
  DumpPlan plan;
};

TEST(MemoryCopyTest, EveryPieceStandsWhereItWillStandInTheFile) {
  TestArena arena;
  alignas(16) uint8_t memory[64];
  for (int i = 0; i < 64; ++i) memory[i] = static_cast<uint8_t>(i + 1);
  const CopiedPlan copied(arena, memory);
  MemoryCopy copy;
  Outcome outcome;
  outcome.deadline_us = ~uint64_t{0} / 2;
  ASSERT_EQ(copy.Reserve(copied.plan.file_bytes), 0);
  copy.Fill(copied.plan, outcome);
  EXPECT_EQ(memcmp(copy.At(128), memory, 16), 0);
  EXPECT_EQ(memcmp(copy.At(128 + 32), memory + 32, 16), 0);
  EXPECT_EQ(*copy.At(128 + 16), 0);  // neither the gap
  EXPECT_EQ(*copy.At(128 + 48), 0);  // nor what lies behind the segment's end
  copy.Release();
}

TEST(MemoryCopyTest, APlanThatDoesNotFitIsLeftOut) {
  TestArena arena;
  alignas(16) uint8_t memory[64] = {1};
  const CopiedPlan copied(arena, memory);
  MemoryCopy copy;
  Outcome outcome;
  ASSERT_EQ(copy.Reserve(100), 0);
  copy.Fill(copied.plan, outcome);
  EXPECT_EQ(*copy.At(99), 0);
  copy.Release();
}

TEST(MemoryCopyTest, MemoryThatIsNotThereIsAnError) {
  MemoryCopy copy;
  EXPECT_EQ(copy.Reserve(ByteCount{1} << 62), -ENOMEM);
  copy.Release();
}

// A file that holds `text`, at its beginning.
int FileOf(const std::string& text) {
  const int fd = memfd_create("status", 0);
  EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  lseek(fd, 0, SEEK_SET);
  return fd;
}

TEST(SeccompFilterTest, IsSeenBehindAnyNumberOfGroups) {
  for (const int groups : {0, 1, 90, 91, 92, 93, 94, 95, 500, 65536}) {
    std::string status = "Name:\tSeccomp:\t2\nSigBlk:\t0000000000000000\nGroups:\t";
    for (int i = 0; i < groups; ++i) status += std::to_string(4294967295u - i) + " ";
    for (const char* mode : {"0", "1", "2"}) {
      const int fd = FileOf(status + "\nNoNewPrivs:\t1\nSeccomp:\t" + mode +
                            "\nSeccomp_filters:\t" + mode + "\n");
      EXPECT_EQ(SaysFiltered(fd), *mode != '0') << groups << " groups, mode " << mode;
      close(fd);
    }
  }
}

TEST(SeccompFilterTest, IsNotSeenInWhatIsCutOrEmpty) {
  for (const char* text : {"", "\n", "\nSeccomp:", "\nSeccomp:\t", "Seccomp:\t2\n"}) {
    const int fd = FileOf(text);
    EXPECT_FALSE(SaysFiltered(fd)) << text;
    close(fd);
  }
  EXPECT_FALSE(SaysFiltered(-1));
}

TEST(ThreadStatusTest, SaysWhoRunsAndFromWhomASignalIsHeldBack) {
  constexpr char kStatus[] =
      "Name:\tState:\tR\nState:\tS (sleeping)\nSigQ:\t0/95\n"
      "SigPnd:\t0000000100000000\nShdPnd:\t0000000000000000\n"
      "SigBlk:\t0000000180000002\n";
  EXPECT_FALSE(Runs(kStatus));
  EXPECT_TRUE(Runs("Name:\tx\nState:\tR (running)\n"));
  EXPECT_FALSE(IsZombie(kStatus));
  EXPECT_TRUE(IsZombie("Name:\tx\nState:\tZ (zombie)\n"));
  EXPECT_TRUE(HoldsBack(kStatus, 33));
  EXPECT_FALSE(HoldsBack(kStatus, 32));  // blocked, and has not come
  EXPECT_TRUE(ShowsSignal(kStatus, "SigBlk", 2));
  EXPECT_FALSE(ShowsSignal(kStatus, "SigBlk", 34));
}

TEST(ThreadStatusTest, TellsTheKernelsThreadsFromTheProgramsWhateverTheyAreCalled) {
  EXPECT_TRUE(IsKernels("71 (iou-sqp-70) S 1 70 70 34816 70 4194384 0 0"));
  EXPECT_FALSE(IsKernels("71 (iou-sqp-70) S 1 70 70 34816 70 4194368 0 0"));
  EXPECT_TRUE(IsKernels("71 (:) S 1 2 3 4 5 0) R 1 70 70 34816 -1 80 0 0"));
  EXPECT_FALSE(IsKernels("71 (x) S 1 70 70 34816 70"));
  EXPECT_FALSE(IsKernels("71 (x"));
  EXPECT_FALSE(IsKernels(""));
}

TEST(ThreadStatusTest, IsReadWithoutTheGroupsHoweverManyThereAre) {
  std::string file = "Name:\tGroups:\nState:\tS (sleeping)\nGroups:\t";
  for (int i = 0; i < 65536; ++i) file += std::to_string(4'000'000'000 + i) + " ";
  file += "\nSigPnd:\t0000000100000000\nSigBlk:\t0000000100000000\n";
  for (const size_t part : {size_t{1}, size_t{1000}, size_t{1024}, file.size()}) {
    char text[kStatusBytes];
    StatusText status(text, sizeof(text));
    for (size_t at = 0; at < file.size(); at += part) {
      status.Add(file.data() + at, std::min(part, file.size() - at));
    }
    EXPECT_TRUE(HoldsBack(text, 33)) << part;
    EXPECT_EQ(StatusValue(text, "State")[0], 'S');
  }
  char small[20];
  StatusText status(small, sizeof(small));
  status.Add(file.data(), file.size());
  EXPECT_STREQ(small, file.substr(0, 19).c_str());
}

TEST(ThreadStatusTest, SaysNoToAllOfWhatIsCutOrEmpty) {
  for (const char* text : {"", "Sta", "State:", "State:\t", "SigPnd:\t00000001",
                           "SigBlk:\n", "XState:\tR"}) {
    EXPECT_FALSE(Runs(text)) << text;
    EXPECT_FALSE(IsZombie(text)) << text;
    EXPECT_FALSE(HoldsBack(text, 33)) << text;
  }
}

}  // namespace
}  // namespace minicore
