#include "dump/safe/format.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace minicore::safe {
namespace {

std::string Decimal(uint64_t value) {
  char buffer[32];
  Text text(buffer, sizeof(buffer));
  text.Decimal(value);
  return buffer;
}

std::string Hex(uint64_t value) {
  char buffer[32];
  Text text(buffer, sizeof(buffer));
  text.Hex(value);
  return buffer;
}

TEST(FormatTest, WritesNumbersAsPrintfWould) {
  for (uint64_t value :
       {0ull, 1ull, 9ull, 10ull, 15ull, 16ull, 4095ull, 4096ull, 1234567890ull,
        1ull << 63, ~0ull, ~0ull - 1}) {
    char expected[32];
    snprintf(expected, sizeof(expected), "%llu",
             static_cast<unsigned long long>(value));
    EXPECT_EQ(Decimal(value), expected);
    snprintf(expected, sizeof(expected), "0x%llx",
             static_cast<unsigned long long>(value));
    EXPECT_EQ(Hex(value), expected);
  }
}

TEST(FormatTest, WritesOneAfterTheOther) {
  char buffer[64];
  Text text(buffer, sizeof(buffer));
  text.String("thread ").Decimal(12).Char(' ').String("at ").Hex(0xbeef);
  EXPECT_STREQ(buffer, "thread 12 at 0xbeef");
  EXPECT_EQ(text.length(), strlen(buffer));
  EXPECT_FALSE(text.truncated());
}

TEST(FormatTest, CutsWhatDoesNotFitAndSaysSo) {
  char buffer[12];
  memset(buffer, 'x', sizeof(buffer));
  Text text(buffer, 8);
  text.String("0123456789");
  EXPECT_STREQ(buffer, "0123456");
  EXPECT_TRUE(text.truncated());
  EXPECT_EQ(buffer[8], 'x');  // not a byte further
  text.Decimal(1);
  EXPECT_STREQ(buffer, "0123456");
}

TEST(FormatTest, WhatFitsExactlyIsNotTruncated) {
  char buffer[8];
  Text text(buffer, sizeof(buffer));
  text.String("0123456");
  EXPECT_FALSE(text.truncated());
  EXPECT_STREQ(buffer, "0123456");
}

TEST(FormatTest, ABufferWithoutRoomIsNotWrittenTo) {
  char bytes[2] = {'x', 'x'};
  char& byte = bytes[1];
  Text none(&byte, 0);
  none.String("text");
  EXPECT_EQ(byte, 'x');
  EXPECT_TRUE(none.truncated());
  Text one(&byte, 1);
  one.String("text");
  EXPECT_EQ(byte, '\0');
}

TEST(FormatTest, ComparesAsLibcDoes) {
  for (const char* a : {"", "a", "ab", "abc", "b"}) {
    EXPECT_EQ(Length(a), strlen(a));
    for (const char* b : {"", "a", "ab", "abc", "b"}) {
      EXPECT_EQ(Equal(a, b), strcmp(a, b) == 0) << a << " and " << b;
      EXPECT_EQ(StartsWith(a, b), strncmp(a, b, strlen(b)) == 0)
          << a << " and " << b;
    }
  }
}

}  // namespace
}  // namespace minicore::safe
