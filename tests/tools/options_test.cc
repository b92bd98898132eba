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

TEST(OptionsTest, TakesTheDefaultOfEveryOption) {
#define MINICORE_OPTION(name, type, fallback, help) \
  EXPECT_EQ(CheckOption(#name "=" fallback), "");
#include "minicore/options.def"
#undef MINICORE_OPTION
  EXPECT_EQ(CheckOption("tag.cache=keep"), "");
  EXPECT_EQ(CheckOption("path=/a:b\\c=d"), "");
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
