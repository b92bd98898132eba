// `minicore verify --secrets` finds what a secret was turned into, and nothing else.

#include "tools/secret_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/secrets/keystream.h"

namespace minicore {
namespace {

std::string Random(size_t size, uint64_t seed) {
  std::string bytes(size, '\0');
  FillSecret(seed, 1, Alphabet::kBytes, bytes.data(), size);
  return bytes;
}

// By coreutils' definition, not by ours: three bytes, four characters.
std::string Base64(std::string bytes, const char* last) {
  const std::string alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" + std::string(last);
  bytes.resize((bytes.size() + 2) / 3 * 3);
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const unsigned word = static_cast<uint8_t>(bytes[i]) << 16 |
                          static_cast<uint8_t>(bytes[i + 1]) << 8 |
                          static_cast<uint8_t>(bytes[i + 2]);
    for (int shift = 18; shift >= 0; shift -= 6) text += alphabet[word >> shift & 63];
  }
  return text;
}

std::vector<SecretFinding> Find(const std::string& secret, const std::string& file) {
  return SecretSearch({{1, secret}}).FindIn(file);
}

testing::AssertionResult Found(const std::string& secret, const std::string& file,
                               const std::string& form) {
  for (const SecretFinding& finding : Find(secret, file)) {
    if (finding.form == form) return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << "not found " << form;
}

class SecretSearchTest : public testing::TestWithParam<size_t> {
 protected:
  // A piece of the secret as a program might have it, between other bytes.
  std::string Between(const std::string& text) const {
    return Random(101, 77) + text + Random(99, 78);
  }
  std::string secret_ = Random(GetParam(), 5);
};

TEST_P(SecretSearchTest, AsItIs) {
  EXPECT_TRUE(Found(secret_, Between(secret_), "as it is"));
}

TEST_P(SecretSearchTest, InHexadecimalOfEitherCase) {
  for (const char* digits : {"0123456789abcdef", "0123456789ABCDEF"}) {
    std::string text;
    for (const char c : secret_) {
      text += digits[static_cast<uint8_t>(c) >> 4];
      text += digits[c & 15];
    }
    EXPECT_TRUE(Found(secret_, Between(text), "in hexadecimal"));
  }
}

TEST_P(SecretSearchTest, InBase64WhereverItBeginsAndEnds) {
  for (const char* last : {"+/", "-_"}) {
    for (size_t before = 0; before < 6; ++before) {
      for (size_t behind = 0; behind < 4; ++behind) {
        const std::string text =
            Base64(Random(before, 9) + secret_ + Random(behind, 10), last);
        EXPECT_TRUE(Found(secret_, Between(text), "in base64")) << before << last;
      }
    }
  }
}

TEST_P(SecretSearchTest, InUtf16OfEitherByteOrder) {
  std::string little;
  std::string big;
  for (const char c : secret_) {
    little += c;
    little += '\0';
    big += '\0';
    big += c;
  }
  EXPECT_TRUE(Found(secret_, Between(little), "in UTF-16"));
  EXPECT_TRUE(Found(secret_, Between(big), "in UTF-16"));
}

TEST_P(SecretSearchTest, InSwappedWords) {
  for (const size_t word : {2, 4, 8}) {
    std::string text = secret_.substr(0, secret_.size() / word * word);
    if (text.size() < 6) continue;  // a short secret has no long words
    for (size_t at = 0; at < text.size(); at += word) {
      std::reverse(text.begin() + at, text.begin() + at + word);
    }
    EXPECT_TRUE(Found(secret_, Between(text), "in swapped words")) << word;
  }
}

TEST_P(SecretSearchTest, NotInOtherBytes) {
  for (uint64_t seed = 100; seed < 105; ++seed) {
    EXPECT_TRUE(Find(secret_, Random(100000, seed)).empty());
  }
}

TEST_P(SecretSearchTest, WithOneByteChangedOnlyTheRest) {
  std::string text = secret_;
  text[text.size() / 2] ^= 1;
  EXPECT_EQ(Find(secret_, text).empty(), secret_.size() / 2 < 16);
}

INSTANTIATE_TEST_SUITE_P(Sizes, SecretSearchTest,
                         testing::Values(6, 7, 8, 12, 15, 16, 17, 24, 33, 64, 500, 5000));

TEST(SecretSearch, AnySixteenBytesOfALongOneAreFound) {
  const std::string secret = Random(100, 3);
  for (size_t from = 0; from + 16 <= secret.size(); ++from) {
    EXPECT_FALSE(Find(secret, "x" + secret.substr(from, 16) + "y").empty()) << from;
    EXPECT_TRUE(Find(secret, "x" + secret.substr(from, 15) + "y").empty()) << from;
  }
}

// As iconv has them.
TEST(SecretSearch, TextBeyondAsciiIsFoundAsTheUtf16OfItsCharacters) {
  const std::string umlauts = "p\xc3\xa4ssw\xc3\xb6rt";
  EXPECT_TRUE(Found(umlauts, std::string("..p\0\xe4\0s\0s\0w\0\xf6\0r\0t\0..", 20),
                    "in UTF-16"));
  EXPECT_TRUE(Found(umlauts, std::string("..\0p\0\xe4\0s\0s\0w\0\xf6\0r\0t..", 20),
                    "in UTF-16"));
  // Three and four bytes each: U+20AC and U+1F511.
  const std::string signs = "\xe2\x82\xac\xf0\x9f\x94\x91\xe2\x82\xac";
  EXPECT_TRUE(Found(signs, "..\xac\x20\x3d\xd8\x11\xdd\xac\x20..", "in UTF-16"));
  EXPECT_TRUE(Found(signs, "..\x20\xac\xd8\x3d\xdd\x11\x20\xac..", "in UTF-16"));
}

// Cut off, too long, a half of a pair, beyond the last character: and each byte of what could
// be UTF-8 by chance, as programs widen bytes of which they know nothing.
TEST(SecretSearch, WhatIsNoUtf8IsFoundAsUtf16ByteByByte) {
  const auto widened = [](const std::string& bytes) {
    std::string text;
    for (const char c : bytes) text += std::string(1, c) + '\0';
    return text;
  };
  for (const std::string& secret :
       {std::string("secret\xc3"), std::string("secret\xe2\x82"), std::string("\x80secret"),
        std::string("secret\xc0\xaf"), std::string("secret\xe0\x80\x80"),
        std::string("secret\xed\xa0\xbd"), std::string("secret\xf4\x90\x80\x80"),
        std::string("secret\xff\xfe"), std::string("secret\xc3\xa4")}) {
    EXPECT_TRUE(Found(secret, ".." + widened(secret) + "..", "in UTF-16"));
  }
  // Only what is none of it.
  EXPECT_TRUE(Found("secret\xc3\xa4\xff", ".." + widened("secret\xe4\xff"), "in UTF-16"));
}

TEST(SecretSearch, AFindingSaysWhereAndHowMuchAndWhichLine) {
  const std::string secret = Random(40, 3);
  const auto findings =
      SecretSearch({{3, "something else"}, {7, secret}}).FindIn("12345" + secret + "6");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].line, 7u);
  EXPECT_EQ(findings[0].offset, 5u);
  EXPECT_EQ(findings[0].size, 40u);
}

TEST(SecretSearch, AtTheVeryEndOfAFileAndInAnEmptyOne) {
  const std::string secret = Random(16, 3);
  EXPECT_EQ(Find(secret, secret).size(), 1u);
  EXPECT_TRUE(Find(secret, "").empty());
  EXPECT_TRUE(Find(secret, secret.substr(1)).empty());
}

TEST(SecretSearch, ZerosWithinASecretAreNoSecret) {
  const std::string secret = Random(20, 3) + std::string(40, '\0') + Random(20, 4);
  EXPECT_TRUE(Find(secret, std::string(1000, '\0')).empty());
  EXPECT_FALSE(Find(secret, Random(20, 4)).empty());
}

TEST(SecretSearch, APatternThatIsNothingButARunIsLookedForAllTheSame) {
  EXPECT_FALSE(Find(std::string(20, 'a'), std::string(30, 'a')).empty());
}

// Pieces of any size, and zeros that are only counted, are no other file.
TEST(SecretSearch, AFileThatComesInPiecesIsSearchedLikeOneThatComesAtOnce) {
  const std::string secret = Random(40, 3);
  const std::string short_one = "tokens";
  const std::string at_zeros = Random(8, 4) + std::string(12, '\0');
  const std::string zeros(100, '\0');
  const std::string file = Random(70, 5) + secret + Random(30, 6) + short_one + zeros + secret +
                           zeros + at_zeros.substr(0, 8) + zeros + secret.substr(9, 20);
  const SecretSearch search({{1, secret}, {2, short_one}, {3, at_zeros}});
  const auto whole = search.FindIn(file);
  ASSERT_EQ(whole.size(), 5u);
  for (size_t piece = 1; piece < 50; ++piece) {
    SecretScan scan(search);
    for (size_t at = 0; at < file.size();) {
      const size_t end = std::min(file.find_first_not_of('\0', at), file.size());
      if (end - at > 10) {
        scan.AddZeros(end - at);
        at = end;
      } else {
        scan.Add(file.substr(at, piece));
        at += std::min(piece, file.size() - at);
      }
    }
    scan.Finish();
    ASSERT_EQ(scan.findings().size(), whole.size()) << piece;
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(scan.findings()[i].line, whole[i].line) << piece;
      EXPECT_EQ(scan.findings()[i].offset, whole[i].offset) << piece;
      EXPECT_EQ(scan.findings()[i].size, whole[i].size) << piece;
    }
  }
}

TEST(SecretSearch, GigabytesOfZerosCostNothing) {
  const std::string secret = Random(40, 3);
  const SecretSearch search({{1, secret}});
  SecretScan scan(search);
  scan.Add(secret);
  scan.AddZeros(uint64_t{1} << 50);
  scan.Add(secret);
  scan.Finish();
  ASSERT_EQ(scan.findings().size(), 2u);
  EXPECT_EQ(scan.findings()[1].offset, (uint64_t{1} << 50) + secret.size());
}

TEST(SecretSearch, APatternOfZerosIsFoundInAHole) {
  const SecretSearch search({{1, std::string(20, '\0')}});
  SecretScan scan(search);
  scan.Add("x");
  scan.AddZeros(1 << 30);
  scan.Finish();
  EXPECT_FALSE(scan.findings().empty());
}

TEST(SecretSearch, WhatOccursWithoutEndIsCounted) {
  const SecretSearch search({{1, "needle"}});
  SecretScan scan(search);
  for (size_t i = 0; i < SecretScan::kMostFindings + 3; ++i) scan.Add("needle, ");
  scan.Finish();
  EXPECT_EQ(scan.findings().size(), SecretScan::kMostFindings);
  EXPECT_EQ(scan.more(), 3u);
}

TEST(SecretSearch, AFindingTellsAPartFromTheWhole) {
  const std::string secret = Random(40, 3);
  const auto whole = Find(secret, secret);
  EXPECT_EQ(whole[0].size, whole[0].of);
  const auto part = Find(secret, secret.substr(3, 17));
  EXPECT_EQ(part[0].size, 17u);
  EXPECT_EQ(part[0].of, 40u);
}

// Ended once after an hour, in a core of zeros.
TEST(SecretSearch, WindowsThatBeginAlikeOrRepeatAreNoBurden) {
  std::string sparse(24 * 1024, '\0');
  FillSecret(3, 1, Alphabet::kSparse, sparse.data(), sparse.size());
  std::string repeated;
  while (repeated.size() < sparse.size()) repeated += "abcdefgh";
  std::string file(1 << 20, '\0');
  file.replace(1 << 19, sparse.size(), sparse);
  file += repeated;
  const auto findings = SecretSearch({{1, sparse}, {2, repeated}}).FindIn(file);
  ASSERT_GE(findings.size(), 2u);
  EXPECT_EQ(findings.front().line, 1u);
  EXPECT_EQ(findings.back().line, 2u);
}

TEST(ReadPatterns, TakesTextAndHexadecimalDigits) {
  const std::string input = "plain text\n\ntext:hex:is not meant\nhex:00ff10AB7722\r\n";
  std::vector<SecretPattern> patterns;
  std::string error;
  ASSERT_TRUE(ReadPatterns(input, &patterns, &error)) << error;
  ASSERT_EQ(patterns.size(), 3u);
  EXPECT_EQ(patterns[0].bytes, "plain text");
  EXPECT_EQ(patterns[1].bytes, "hex:is not meant");
  EXPECT_EQ(patterns[1].line, 3u);
  EXPECT_EQ(patterns[2].bytes, std::string("\0\xff\x10\xab\x77\x22", 6));
}

// As some editors begin a file.
TEST(ReadPatterns, AByteOrderMarkIsNoPartOfThem) {
  std::vector<SecretPattern> patterns;
  std::string error;
  ASSERT_TRUE(ReadPatterns("\xef\xbb\xbfhex:00ff10AB7722\nsecret", &patterns, &error)) << error;
  ASSERT_EQ(patterns.size(), 2u);
  EXPECT_EQ(patterns[0].bytes.size(), 6u);
  patterns.clear();
  EXPECT_FALSE(ReadPatterns("\xef\xbb\xbf\n", &patterns, &error)) << "there is none";
}

// As text they would be looked for in vain, and the core pass for clean.
TEST(ReadPatterns, AsksWhatALineMeansThatNearlyBeginsAsItShould) {
  for (const char* line : {"HEX:00112233445566", "Hex:00112233445566",
                           " hex:00112233445566", "hex=00112233445566", "hex :00112233445566",
                           "TEXT:some secret", "Text: some secret", "\ttext:some secret"}) {
    std::vector<SecretPattern> patterns;
    std::string error;
    EXPECT_FALSE(ReadPatterns("first pattern\n" + std::string(line), &patterns, &error)) << line;
    EXPECT_EQ(error.find("Line 2 begins nearly like "), 0u) << error;
    EXPECT_EQ(error.find("0011"), std::string::npos);
    EXPECT_EQ(error.find("some"), std::string::npos);
    // That is how it is said.
    EXPECT_TRUE(ReadPatterns("text:" + std::string(line), &patterns, &error)) << line;
  }
  for (const char* line : {"hexadecimal", "hexagon", "texture", "text is: this", "hexed:1",
                           "the hex:00112233"}) {
    std::vector<SecretPattern> patterns;
    std::string error;
    EXPECT_TRUE(ReadPatterns(line, &patterns, &error)) << line << error;
  }
}

// What can't be looked for must not pass for "not found".
TEST(ReadPatterns, RefusesWhatCannotBeLookedForWithoutShowingIt) {
  for (const char* text : {"", "\n\n", "short", "hex:0011", "hex:00112233445", "hex:zz11223344556"}) {
    std::vector<SecretPattern> patterns;
    std::string error;
    EXPECT_FALSE(ReadPatterns(text, &patterns, &error)) << text;
    EXPECT_FALSE(error.empty());
    EXPECT_EQ(error.find("short\n"), std::string::npos);
    EXPECT_EQ(error.find("zz11"), std::string::npos);
  }
}

}  // namespace
}  // namespace minicore
