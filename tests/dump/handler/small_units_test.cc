// Headers of a few functions each.

#include <errno.h>
#include <gtest/gtest.h>
#include <string.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "dump/handler/error_text.h"
#include "dump/handler/memory_copy.h"
#include "dump/handler/proc_files.h"
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

TEST(MemoryCopyTest, HoldsWhatItHasReservedAndNoMore) {
  MemoryCopy copy;
  ASSERT_EQ(copy.Reserve(8), 0);
  EXPECT_EQ(copy.Append("12345", 5), 0);
  EXPECT_EQ(copy.Append("678", 3), 0);
  EXPECT_EQ(copy.size(), 8u);
  EXPECT_EQ(copy.WriteAt(1, "xy", 2), 0);
  EXPECT_EQ(memcmp(copy.data(), "1xy45678", 8), 0);
  EXPECT_EQ(copy.WriteAt(7, "ab", 2), -EINVAL);
  EXPECT_EQ(copy.WriteAt(~0ull, "a", 1), -EINVAL);
  volatile size_t huge = ~size_t{0} - 4;  // the compiler would warn
  EXPECT_EQ(copy.Append("9", huge), -ENOSPC);
  copy.Release();
  EXPECT_EQ(copy.Append("1", 1), -ENOSPC);
}

TEST(MemoryCopyTest, MemoryThatIsNotThereIsAnError) {
  MemoryCopy copy;
  EXPECT_EQ(copy.Reserve(ByteCount{1} << 62), -ENOMEM);
  EXPECT_EQ(copy.Append("1", 1), -ENOSPC);
  copy.Release();
}

}  // namespace
}  // namespace minicore
