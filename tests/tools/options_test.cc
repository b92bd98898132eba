// The command line and the library read options by code of their own, from one
// table. Both must say the same of each.

#include "tools/options.h"

#include <gtest/gtest.h>

#include "dump/config.h"

namespace minicore {
namespace {

std::string g_reported;

// What the library says of MINICORE_OPTIONS=`text`; "" if it takes all of it.
std::string LibraryOn(const std::string& text, minicore_config* config) {
  static char storage[kMaxOptionText];
  static TagRules rules;
  rules = {};
  *config = minicore_default_config();
  g_reported.clear();
  ParseOptions(text.c_str(), storage, config, &rules,
               [](const OptionError& error) { g_reported += error.text; });
  return g_reported;
}

TEST(OptionsTest, CommandLineAndLibraryAgreeOnEveryValue) {
  const char* values[] = {"",   "0",   "1",    "2",    "-1", "-2",  "8",
                          "8K", "8M",  "8G",   "8k",   "8T", "8KB", "K",
                          "5s", "5ms", "5 ms", "200",  "5m", "yes", "keep",
                          "no", "x",   "1.5",  "0x10", "+1", " 1",  "1 "};
  unsigned good = 0;
  unsigned bad = 0;
#define MINICORE_OPTION(name, type, fallback, help)                     \
  for (const char* value : values) {                                    \
    const std::string option = std::string(#name "=") + value;          \
    minicore_config config;                                             \
    const bool library_takes_it = LibraryOn(option, &config).empty();   \
    EXPECT_EQ(CheckOption(option).empty(), library_takes_it) << option; \
    ++(library_takes_it ? good : bad);                                  \
  }
#include "minicore/options.def"
#undef MINICORE_OPTION
  EXPECT_GT(good, 50u);
  EXPECT_GT(bad, 50u);
}

TEST(OptionsTest, CommandLineAndLibraryAgreeOnTagsAndOnKeys) {
  for (const char* option :
       {"tag.x=keep", "tag.x=label", "tag.x=cut", "tag.x=elide", "tag.x=burn",
        "tag.=keep", "tag.a_b-c.d=keep",
        "tag.1234567890123456789012345678901=keep",
        "tag.12345678901234567890123456789012=keep", "nonsense=1", "hops"}) {
    minicore_config config;
    EXPECT_EQ(CheckOption(option).empty(), LibraryOn(option, &config).empty())
        << option;
  }
}

TEST(OptionsTest, TheLibraryReadsBackWhatTheCommandLineJoined) {
  minicore_config config;
  const std::string joined =
      JoinOptions("hops=3:max_bytes=1M",
                  {"path=/a:b=c:hops=9/\\d", "max_bytes=2M", "env=allow:A,B"});
  EXPECT_EQ(LibraryOn(joined, &config), "");
  EXPECT_STREQ(config.path, "/a:b=c:hops=9/\\d");
  EXPECT_STREQ(config.env, "allow:A,B");
  EXPECT_EQ(config.hops, 3u);
  EXPECT_EQ(config.max_bytes, 2u << 20);
}

TEST(OptionsTest, SetsKeyFindsKeysAndNotValues) {
  EXPECT_TRUE(SetsKey("verbose=0", "verbose"));
  EXPECT_TRUE(SetsKey("hops=1:verbose=0", "verbose"));
  EXPECT_FALSE(SetsKey("path=/verbose=1", "verbose"));
  EXPECT_FALSE(SetsKey("path=/a\\:verbose=1", "verbose"));
  EXPECT_FALSE(SetsKey("", "verbose"));
}

}  // namespace
}  // namespace minicore
