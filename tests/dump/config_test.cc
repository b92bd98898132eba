#include "dump/config.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <cstring>
#include <string>
#include <vector>

namespace minicore {
namespace {

std::vector<std::string> g_errors;

// Options as MINICORE_OPTIONS has them, on top of the defaults.
struct Parsed {
  explicit Parsed(const std::string& text) {
    g_errors.clear();
    bad = ParseOptions(
        text.c_str(), storage, &config, &rules,
        [](const OptionError& error) { g_errors.push_back(error.text); });
    EXPECT_EQ(static_cast<size_t>(bad), g_errors.size());
  }

  char storage[kMaxOptionText];
  minicore_config config = minicore_default_config();
  TagRules rules{};
  int bad;
};

struct Made {
  explicit Made(const minicore_config& config) {
    ok = MakePolicy(config, &policy, &rules, &error);
  }
  explicit Made(const std::string& options) {
    Parsed parsed(options);
    EXPECT_EQ(parsed.bad, 0) << g_errors[0];
    ok = MakePolicy(parsed.config, &policy, &rules, &error);
  }

  Policy policy{};
  TagRules rules{};
  OptionError error{};
  bool ok;
};

TEST(ParseOptionsTest, ALetterThatStandsForNothingInAPathIsAnError) {
  for (const char* path : {"core.%C", "core.%q", "core.%F", "%", "core.%p%", "%%%"}) {
    EXPECT_EQ(Parsed(std::string("path=") + path).bad, 1) << path;
    EXPECT_NE(g_errors[0].find("only the letters of core(5)"), std::string::npos);
  }
  EXPECT_EQ(Parsed("path=/%h/%t/%e.%s.%p.100%%").bad, 0);
  EXPECT_EQ(Parsed("path=/%P/%i/%I.%u.%g.%d.%f.%E.%c").bad, 0);
}

TEST(MakePolicyTest, AFlagOfTheCallerIs0Or1) {
  minicore_config config = minicore_default_config();
  config.preopen = 7;
  EXPECT_FALSE(Made(config).ok);
  config.preopen = 1;
  EXPECT_TRUE(Made(config).ok);
}

TEST(ParseOptionsTest, DefaultsAreThoseOfTheTable) {
  const Parsed parsed("");
  EXPECT_EQ(parsed.bad, 0);
  EXPECT_STREQ(parsed.config.path, "core.%e.%p");
  EXPECT_EQ(parsed.config.fd, -1);
  EXPECT_EQ(parsed.config.max_bytes, 8u << 20);
  EXPECT_EQ(parsed.config.root_bytes, 16u << 10);
  EXPECT_EQ(parsed.config.window_bytes, 1u << 10);
  EXPECT_EQ(parsed.config.deadline, 5000u);
  EXPECT_EQ(parsed.config.freeze_ms, 200u);
  EXPECT_EQ(parsed.config.size, sizeof(minicore_config));
}

// A default that its own reader refused would silently be zero.
TEST(ParseOptionsTest, EveryDefaultIsAValidValue) {
#define MINICORE_OPTION(name, type, fallback, help)         \
  {                                                         \
    const Parsed parsed(std::string(#name "=") + fallback); \
    EXPECT_EQ(parsed.bad, 0) << #name;                      \
  }
#include "minicore/options.def"
#undef MINICORE_OPTION
  EXPECT_TRUE(Made(minicore_default_config()).ok);
}

TEST(ParseOptionsTest, SizesHaveUnits) {
  const struct {
    const char* text;
    uint64_t bytes;
  } kSizes[] = {
      {"0", 0},           {"1", 1},           {"64k", 65536},
      {"64K", 65536},     {"3m", 3 << 20},    {"3M", 3 << 20},
      {"2g", 2ull << 30}, {"2G", 2ull << 30}, {"18446744073709551615", ~0ull}};
  for (const auto& size : kSizes) {
    const Parsed parsed(std::string("max_bytes=") + size.text);
    EXPECT_EQ(parsed.bad, 0) << size.text;
    EXPECT_EQ(parsed.config.max_bytes, size.bytes) << size.text;
  }
  for (const char* text : {"", "K", "8Q", "8MB", "8 M", "-1", "0x10", "1.5M",
                           "18446744073709551616", "17179869184G"}) {
    const Parsed parsed(std::string("max_bytes=") + text);
    EXPECT_EQ(parsed.bad, 1) << text;
    EXPECT_EQ(parsed.config.max_bytes, 8u << 20) << text << " left its trace";
  }
}

TEST(ParseOptionsTest, TimesAreMillisecondsOrSeconds) {
  EXPECT_EQ(Parsed("deadline=250").config.deadline, 250u);
  EXPECT_EQ(Parsed("deadline=250ms").config.deadline, 250u);
  EXPECT_EQ(Parsed("deadline=2s").config.deadline, 2000u);
  for (const char* text :
       {"", "s", "2m", "2 s", "-1", "18446744073709551615s"}) {
    EXPECT_EQ(Parsed(std::string("deadline=") + text).bad, 1) << text;
  }
}

TEST(ParseOptionsTest, FlagsAreZeroOrOne) {
  EXPECT_EQ(Parsed("preopen=1").config.preopen, 1u);
  EXPECT_EQ(Parsed("preopen=0").config.preopen, 0u);
  for (const char* text : {"2", "yes", "", "-1"}) {
    EXPECT_EQ(Parsed(std::string("preopen=") + text).bad, 1) << text;
  }
}

TEST(ParseOptionsTest, DescriptorsAreSmallNumbersOrNone) {
  EXPECT_EQ(Parsed("fd=7").config.fd, 7);
  EXPECT_EQ(Parsed("fd=-1").config.fd, -1);
  for (const char* text : {"-2", "", "x", "2147483648"}) {
    EXPECT_EQ(Parsed(std::string("fd=") + text).bad, 1) << text;
  }
}

TEST(ParseOptionsTest, OptionsFollowEachOther) {
  const Parsed parsed("path=/tmp/c:hops=3:verbose=1:");
  EXPECT_EQ(parsed.bad, 0);
  EXPECT_STREQ(parsed.config.path, "/tmp/c");
  EXPECT_EQ(parsed.config.hops, 3u);
  EXPECT_EQ(parsed.config.verbose, 1u);
}

TEST(ParseOptionsTest, TheLastOfTwoWins) {
  EXPECT_EQ(Parsed("hops=1:hops=2").config.hops, 2u);
}

TEST(ParseOptionsTest, AColonThatNoKeyFollowsBelongsToTheValue) {
  EXPECT_STREQ(Parsed("env=allow:PATH,LANG:hops=2").config.env,
               "allow:PATH,LANG");
  EXPECT_STREQ(Parsed("path=/a:b:hops=2").config.path, "/a:b");
  EXPECT_STREQ(Parsed("path=/a::hops=2").config.path, "/a:");
  EXPECT_STREQ(Parsed("env=allow::hops=2").config.env, "allow:");
}

TEST(ParseOptionsTest, ABackslashKeepsAColonInTheValue) {
  const Parsed parsed("path=/a\\:b=c:hops=2");
  EXPECT_EQ(parsed.bad, 0);
  EXPECT_STREQ(parsed.config.path, "/a:b=c");
  EXPECT_EQ(parsed.config.hops, 2u);
  EXPECT_STREQ(Parsed("path=a\\\\b").config.path, "a\\b");
  EXPECT_STREQ(Parsed("path=a\\b").config.path,
               "a\\b");  // before others it is itself
  EXPECT_STREQ(Parsed("path=a\\").config.path, "a\\");
}

TEST(ParseOptionsTest, OnlyTheFirstEqualsSignSeparates) {
  EXPECT_STREQ(Parsed("path=a=b").config.path, "a=b");
}

TEST(ParseOptionsTest, EveryBadOptionIsNamedAndTheRestCounts) {
  const Parsed parsed("paht=/tmp:hops=many:verbose:root_bytes=4K");
  // "verbose" has no '=' and so belongs to the value before it.
  EXPECT_EQ(parsed.bad, 2);
  EXPECT_NE(g_errors[0].find("'paht'"), std::string::npos) << g_errors[0];
  EXPECT_NE(g_errors[1].find("hops=many"), std::string::npos) << g_errors[1];
  EXPECT_EQ(parsed.config.root_bytes, 4096u);
}

TEST(ParseOptionsTest, AnOptionWithoutAValueIsBad) {
  EXPECT_EQ(Parsed("verbose").bad, 1);
  EXPECT_NE(g_errors[0].find("no value"), std::string::npos) << g_errors[0];
}

TEST(ParseOptionsTest, AKeyIsNotAPrefix) {
  EXPECT_EQ(Parsed("hop=1").bad, 1);
  EXPECT_EQ(Parsed("hopss=1").bad, 1);
  EXPECT_EQ(Parsed("HOPS=1").bad, 1);
  EXPECT_EQ(Parsed("=1").bad, 1);
}

TEST(ParseOptionsTest, TextLongerThanItsStorageIsRefusedAsAWhole) {
  std::string longest;
  while (longest.size() + 12 < kMaxOptionText) longest += "verbose=1:";
  longest += "path=" + std::string(kMaxOptionText - 6 - longest.size(), 'x');
  ASSERT_EQ(longest.size(), kMaxOptionText - 1);
  EXPECT_EQ(Parsed(longest).bad, 0);
  EXPECT_EQ(Parsed(longest + "x").bad, 1);
}

// Each option leaves one NUL byte in the storage: the shortest ones leave the
// most.
TEST(ParseOptionsTest, ManyTinyOptionsFitTheirStorage) {
  std::string text;
  while (text.size() + 3 < kMaxOptionText) text += "a=:";
  const Parsed parsed(text);
  EXPECT_GT(parsed.bad, 2000);
}

TEST(ParseOptionsTest, ErrorsWithEndlessValuesStaySentences) {
  const Parsed parsed("hops=" + std::string(5000, '9') +
                      "x:" + std::string(3000, 'k') + "=1");
  EXPECT_EQ(parsed.bad, 2);
  for (const std::string& error : g_errors)
    EXPECT_LT(error.size(), sizeof(OptionError));
}

TEST(TagRulesTest, EveryDispositionHasAName) {
  const Parsed parsed("tag.a=keep:tag.b=label:tag.c=cut:tag.d=elide");
  ASSERT_EQ(parsed.rules.count, 4u);
  EXPECT_STREQ(parsed.rules.rules[0].name, "a");
  EXPECT_EQ(parsed.rules.rules[0].disposition, Disposition::kKeepAlways);
  EXPECT_EQ(parsed.rules.rules[1].disposition, Disposition::kKeep);
  EXPECT_EQ(parsed.rules.rules[2].disposition, Disposition::kCut);
  EXPECT_EQ(parsed.rules.rules[3].disposition, Disposition::kElide);
}

TEST(TagRulesTest, BadRulesAreNamed) {
  EXPECT_EQ(Parsed("tag.=keep").bad, 1);
  EXPECT_EQ(Parsed("tag.x=drop").bad, 1);
  EXPECT_EQ(Parsed("tag.x=").bad, 1);
  EXPECT_EQ(Parsed("tag." + std::string(kMaxTagName, 'n') + "=cut").bad, 0);
  EXPECT_EQ(Parsed("tag." + std::string(kMaxTagName + 1, 'n') + "=cut").bad, 1);
}

// The rule for a tag; kKeep, as without one, if there is none.
Disposition RuleOf(const TagRules& rules, const std::string& name) {
  Disposition found = Disposition::kKeep;
  for (unsigned i = 0; i < rules.count; ++i) {
    if (rules.rules[i].name == name) found = rules.rules[i].disposition;
  }
  return found;
}

// A mistake in a rule must not cost more than detail.
TEST(TagRulesTest, ARuleThatCannotBeReadElides) {
  for (const char* text : {"tag.session=Elide", "tag.session=", "tag.session= elide",
                           "tag.session", "verbose=1:tag.session=cut!"}) {
    const Parsed parsed(text);
    EXPECT_EQ(parsed.bad, 1) << text;
    EXPECT_NE(g_errors[0].find("tag.session"), std::string::npos) << g_errors[0];
    EXPECT_NE(g_errors[0].find("is elided"), std::string::npos) << g_errors[0];
    EXPECT_EQ(RuleOf(parsed.rules, "session"), Disposition::kElide) << text;
  }
}

TEST(TagRulesTest, BlanksAroundANameAreNoneOfIt) {
  for (const char* text : {"tag.session =elide", " tag.session=elide", "tag. session=elide",
                           "path=/a:tag.session =elide", "path=/a: tag.session\t=elide"}) {
    const Parsed parsed(text);
    EXPECT_EQ(parsed.bad, 0) << text;
    EXPECT_EQ(RuleOf(parsed.rules, "session"), Disposition::kElide) << text;
    EXPECT_EQ(std::string(parsed.config.path).find(':'), std::string::npos);
  }
  const Parsed within("path=/a:tag.my session!=elide");
  EXPECT_EQ(RuleOf(within.rules, "my session!"), Disposition::kElide);
  minicore_config config = minicore_default_config();
  config.tags = "a=cut: session =elide";
  EXPECT_EQ(RuleOf(Made(config).rules, "session"), Disposition::kElide);
}

TEST(TagRulesTest, ThereIsRoomForARuleForEachNameThatThereCanBe) {
  std::string text;
  for (unsigned i = 0; i < kMaxTags; ++i) text += "tag.t" + std::to_string(i) + "=elide:";
  const Parsed parsed(text);
  EXPECT_EQ(parsed.bad, 0);
  for (unsigned i = 0; i < kMaxTags; ++i) {
    EXPECT_EQ(RuleOf(parsed.rules, "t" + std::to_string(i)), Disposition::kElide);
  }
  EXPECT_EQ(Parsed(text + "tag.more=elide").bad, 1);
  // One of the same name takes no room.
  const Parsed again(text + "tag.t7=cut");
  EXPECT_EQ(again.bad, 0);
  EXPECT_EQ(RuleOf(again.rules, "t7"), Disposition::kCut);
}

TEST(TagRulesTest, OptionsThatAreTooLongLoseNoRule) {
  const std::string text = "tag.a=elide:path=" + std::string(kMaxOptionText, 'p') +
                           ":tag.b=elide:verbose=1:tag." + std::string(kMaxOptionText, 'n') +
                           "=elide:tag.c=elide";
  const Parsed parsed(text);
  EXPECT_EQ(parsed.bad, 1);
  EXPECT_EQ(parsed.config.verbose, 0u);
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(RuleOf(parsed.rules, name), Disposition::kElide) << name;
  }
}

TEST(TagRulesTest, TheFieldTakesTheSameRules) {
  minicore_config config = minicore_default_config();
  config.tags = "cache=keep:session=elide";
  const Made made(config);
  ASSERT_TRUE(made.ok);
  ASSERT_EQ(made.rules.count, 2u);
  EXPECT_STREQ(made.rules.rules[1].name, "session");
  EXPECT_EQ(made.rules.rules[1].disposition, Disposition::kElide);
}

TEST(TagRulesTest, TheFieldRefusesWhatIsNoRule) {
  for (const char* text : {"cache", "cache=", "=keep", "cache=maybe",
                           "a=keep:b", "cache=keep-this-very-long-word",
                           "n23456789012345678901234567890123=cut"}) {
    minicore_config config = minicore_default_config();
    config.tags = text;
    EXPECT_FALSE(Made(config).ok) << text;
  }
}

TEST(MakePolicyTest, TurnsTextsIntoData) {
  const Made made(
      "text=all:argv=elide:signals=SEGV,SIGABRT:dump_signal=USR2:"
      "env=allow:PATH,,LANG:segments=100:verbose=1:fd=5:preopen=1");
  ASSERT_TRUE(made.ok) << made.error.text;
  const Policy& policy = made.policy;
  EXPECT_EQ(policy.text, TextPolicy::kAll);
  EXPECT_TRUE(policy.elide_argv);
  EXPECT_EQ(policy.signals, 1ull << (SIGSEGV - 1) | 1ull << (SIGABRT - 1));
  EXPECT_EQ(policy.dump_signal, SIGUSR2);
  EXPECT_EQ(memcmp(policy.env_allowed, "PATH\0LANG\0", 11), 0);
  EXPECT_EQ(policy.segments, 100u);
  EXPECT_EQ(policy.verbose, 1);
  EXPECT_EQ(policy.fd, 5);
  EXPECT_TRUE(policy.preopen);
}

TEST(MakePolicyTest, DefaultSignalsAreTheTenThatDumpCore) {
  uint64_t expected = 0;
  for (int signal : {SIGQUIT, SIGILL, SIGABRT, SIGFPE, SIGSEGV, SIGBUS, SIGSYS,
                     SIGTRAP, SIGXCPU, SIGXFSZ}) {
    expected |= 1ull << (signal - 1);
  }
  EXPECT_EQ(Made("").policy.signals, expected);
}

// Told of as options, and the others hold; refused as fields.
TEST(MakePolicyTest, ValuesThatMeanNothingAreRefused) {
  const std::string long_path(kMaxPathPattern, 'p');
  std::string names = "allow:";
  while (names.size() < kMaxNameList + 10) names += "LONG_NAME,";
  const struct {
    const char* minicore_config::*field;
    const char* option;
    const char* value;
  } kTexts[] = {
      {&minicore_config::text, "text", "some"},
      {&minicore_config::argv, "argv", "drop"},
      {&minicore_config::env, "env", "PATH"},
      {&minicore_config::env, "env", "deny:PATH"},
      {&minicore_config::env, "env", names.c_str()},
      {&minicore_config::sanitize, "sanitize", "all"},
      {&minicore_config::signals, "signals", ""},
      {&minicore_config::signals, "signals", ","},
      {&minicore_config::signals, "signals", "KILL"},
      {&minicore_config::signals, "signals", "SEGV,TERM"},
      {&minicore_config::dump_signal, "dump_signal", "SEGV"},
      {&minicore_config::dump_signal, "dump_signal", "RTMIN+31"},
      {&minicore_config::dump_signal, "dump_signal", "RTMIN+-1"},
      {&minicore_config::dump_signal, "dump_signal", "RTMIN+1x"},
      {&minicore_config::dump_signal, "dump_signal", "RTMAX-31"},
      {&minicore_config::dump_signal, "dump_signal", "RTMAX+1"},
      {&minicore_config::path, "path", ""},
      {&minicore_config::path, "path", long_path.c_str()},
  };
  for (const auto& text : kTexts) {
    minicore_config config = minicore_default_config();
    config.*text.field = text.value;
    const Made made(config);
    EXPECT_FALSE(made.ok) << text.option << "=" << text.value;
    EXPECT_STRNE(made.error.text, "") << text.option << "=" << text.value;
    const Parsed parsed("hops=1:" + std::string(text.option) + "=" +
                        text.value + ":verbose=1");
    EXPECT_EQ(parsed.bad, 1) << text.option << "=" << text.value;
    EXPECT_EQ(parsed.config.hops, 1u);
    EXPECT_EQ(parsed.config.verbose, 1u);
    EXPECT_TRUE(Made(parsed.config).ok) << text.option << "=" << text.value;
  }
  const struct {
    uint64_t minicore_config::*field;
    uint64_t value;
  } kNumbers[] = {
      {&minicore_config::segments, 63},
      {&minicore_config::segments, 65535},
      {&minicore_config::secret_bytes, kMaxSecretBytes + 1},
      {&minicore_config::window_bytes, kMaxWindowBytes + 1},
      {&minicore_config::preopen, 2},
      {&minicore_config::deadline, 0},
      {&minicore_config::freeze_ms, 0},
  };
  for (const auto& number : kNumbers) {
    minicore_config config = minicore_default_config();
    config.*number.field = number.value;
    const Made made(config);
    EXPECT_FALSE(made.ok) << number.value;
    // It says which, and what it was.
    EXPECT_NE(std::string(made.error.text).find("=" + std::to_string(number.value) + ": "),
              std::string::npos)
        << made.error.text;
  }
}

TEST(MakePolicyTest, ALiveDumpCanBeAskedForByARealTimeSignal) {
  EXPECT_EQ(Made("dump_signal=RTMIN").policy.dump_signal, SIGRTMIN);
  EXPECT_EQ(Made("dump_signal=SIGRTMIN+3").policy.dump_signal, SIGRTMIN + 3);
  EXPECT_EQ(Made("dump_signal=RTMIN+30").policy.dump_signal, SIGRTMAX);
  EXPECT_EQ(Made("dump_signal=RTMAX-1").policy.dump_signal, SIGRTMAX - 1);
  EXPECT_EQ(Made("dump_signal=RTMAX-30").policy.dump_signal, SIGRTMIN);
}

TEST(MakePolicyTest, SegmentsStayBelowWhatAnElfHeaderCounts) {
  EXPECT_TRUE(Made("segments=65534").ok);
  EXPECT_TRUE(Made("segments=64").ok);
}

TEST(MakePolicyTest, ANullTextIsTheDefault) {
  minicore_config config = minicore_default_config();
  config.path = config.text = config.env = config.argv = config.signals =
      nullptr;
  config.dump_signal = nullptr;
  const Made made(config);
  ASSERT_TRUE(made.ok) << made.error.text;
  EXPECT_STREQ(made.policy.path, "core.%e.%p");
  EXPECT_EQ(made.policy.text, TextPolicy::kProgramCounter);
}

// A program that was compiled against an older header has fewer fields, one against a
// newer header more.

TEST(ConfigVersions, WhatAnOlderProgramDoesNotHaveKeepsItsDefault) {
  minicore_config older = minicore_default_config();
  older.path = "mine";
  older.tags = "cache=keep";
  older.hops = 5;
  older.size = offsetof(minicore_config, hops);
  minicore_config config;
  ASSERT_TRUE(TakeFields(&older, &config));
  EXPECT_EQ(config.size, sizeof(config));
  EXPECT_STREQ(config.path, "mine");
  EXPECT_STREQ(config.tags, "cache=keep");
  EXPECT_EQ(config.hops, 0u);
  EXPECT_EQ(config.verbose, 0u);
}

struct Newer {
  minicore_config known;
  uint64_t unknown[2];
};

TEST(ConfigVersions, ANewerProgramMayLeaveWhatWeDoNotHaveAsItWas) {
  Newer newer;
  minicore_init_config(&newer.known, sizeof(newer));
  EXPECT_EQ(newer.known.size, sizeof(newer));
  newer.known.verbose = 1;
  minicore_config config;
  ASSERT_TRUE(TakeFields(&newer.known, &config));
  EXPECT_EQ(config.size, sizeof(config));
  EXPECT_EQ(config.verbose, 1u);
  newer.unknown[1] = 1;
  EXPECT_FALSE(TakeFields(&newer.known, &config));
}

TEST(ConfigVersions, OnlyTheCallersOwnBytesAreFilled) {
  for (const size_t size : {size_t{0}, sizeof(size_t), offsetof(minicore_config, hops)}) {
    minicore_config config;
    memset(&config, 0x5a, sizeof(config));
    minicore_init_config(&config, size);
    const auto* bytes = reinterpret_cast<const unsigned char*>(&config);
    for (size_t i = size; i < sizeof(config); ++i) ASSERT_EQ(bytes[i], 0x5a) << i;
    if (size == 0) continue;
    EXPECT_EQ(config.size, size);
  }
}

TEST(ConfigVersions, ASizeThatMakesNoSenseIsRefused) {
  for (const size_t size : {size_t{0}, sizeof(size_t) - 1, size_t{1} << 20}) {
    minicore_config config = minicore_default_config();
    config.size = size;
    minicore_config taken;
    EXPECT_FALSE(TakeFields(&config, &taken)) << size;
  }
}

// Programs were built with it: see options.def.
TEST(ConfigVersions, FieldsKeepTheirPlaces) {
  EXPECT_EQ(offsetof(minicore_config, size), 0u);
  EXPECT_EQ(offsetof(minicore_config, tags), 8u);
  EXPECT_EQ(offsetof(minicore_config, path), 16u);
  EXPECT_EQ(offsetof(minicore_config, verbose), 24 * 8u);
}

TEST(MakePolicyTest, APathOfFullLengthIsTaken) {
  EXPECT_TRUE(Made("path=" + std::string(kMaxPathPattern - 1, 'p')).ok);
}

// The default, as the documents write it: its colon is the last byte of all.
TEST(MakePolicyTest, NoNamesAtAllMayBeAllowed) {
  EXPECT_EQ(Made("env=allow:").policy.env_allowed[0], '\0');
  EXPECT_EQ(Made("env=allow::verbose=1").policy.env_allowed[0], '\0');
}

// Which somebody may take for "allow all".
TEST(MakePolicyTest, AllowWithoutAColonIsRefused) {
  minicore_config config = minicore_default_config();
  config.env = "allow";
  EXPECT_FALSE(Made(config).ok);
  EXPECT_EQ(Parsed("env=allow").bad, 1);
  EXPECT_EQ(Parsed("verbose=1:env=allow").bad, 1);
  EXPECT_EQ(Made("env=allow:verbose=1").policy.env_allowed[0], '\0');
}

TEST(MakePolicyTest, TimesAreMicrosecondsAndNeverWrap) {
  EXPECT_EQ(Made("deadline=5s").policy.deadline_us, 5'000'000u);
  EXPECT_EQ(Made("freeze_ms=1").policy.freeze_us, 1000u);
  // "For ever", in somebody's mind: not a few microseconds, nor now plus them.
  for (const char* time : {"18446744073709552", "18446744073709551615"}) {
    const Made ever(std::string("deadline=") + time + ":freeze_ms=" + time);
    EXPECT_GE(ever.policy.deadline_us, 1ull << 49) << time;
    EXPECT_LE(ever.policy.deadline_us, 1ull << 62) << time;
    EXPECT_GE(ever.policy.freeze_us, 1ull << 49) << time;
    EXPECT_LE(ever.policy.freeze_us, 1ull << 62) << time;
  }
}

TEST(MakePolicyTest, ADescriptorOutOfRangeIsRefused) {
  minicore_config config = minicore_default_config();
  config.fd = -2;
  EXPECT_FALSE(Made(config).ok);
  config.fd = 1ll << 32;
  EXPECT_FALSE(Made(config).ok);
}

}  // namespace
}  // namespace minicore
