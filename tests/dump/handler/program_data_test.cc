#include "dump/handler/program_data.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

// ARG_MAX and MAX_ARG_STRINGS of Linux allow fewer.
constexpr size_t kTooMany = 700'000;

AddressRange RangeOf(const std::string& bytes) {
  const auto begin = reinterpret_cast<Address>(bytes.data());
  return {begin, begin + bytes.size()};
}

class ProgramDataTest : public testing::Test {
 protected:
  ProgramDataTest() { InstallFaultHandler(); }

  // The strings at the top of the main stack, each with its NUL.
  void SetInitial(const std::string& strings) {
    initial_ = strings;
    process_.runtime.facts.environment_begin = RangeOf(initial_).begin;
    process_.runtime.facts.environment_end = RangeOf(initial_).end;
  }
  // What environ points to now.
  void SetList(std::vector<const char*> list) {
    list_ = std::move(list);
    list_.push_back(nullptr);
    environ_ = list_.data();
    process_.runtime.facts.environ_address = reinterpret_cast<Address>(&environ_);
  }
  void SetArguments(const std::string& strings) {
    arguments_ = strings;
    process_.runtime.facts.arguments_begin = RangeOf(arguments_).begin;
    process_.runtime.facts.arguments_end = RangeOf(arguments_).end;
    process_.runtime.policy.elide_argv = true;
  }

  // As install does.
  void Keep() {
    ProcessFacts& facts = process_.runtime.facts;
    const std::string& strings = arguments_.empty() ? initial_ : arguments_;
    copy_ = strings;
    facts.strings = RangeOf(strings);
    facts.strings_copy = RangeOf(copy_).begin;
  }

  void AddAll() {
    AddArguments(process_.runtime, process_.redactor, process_.outcome);
    AddEnvironment(process_.runtime, process_.arena, process_.redactor, process_.outcome);
  }
  // `text` as it is written, wherever it stands.
  std::string Written(std::string text) {
    process_.redactor.Build(process_.arena);
    process_.redactor.RedactBytes(text.data(), text.size(), Place::kHeap,
                                  process_.outcome);
    return text;
  }

  MadeUpProcess process_;
  std::string initial_;
  std::string copy_;
  std::vector<const char*> list_;
  const char* const* environ_ = nullptr;
  std::string arguments_;
};

TEST_F(ProgramDataTest, ValuesAreElidedAsTheyWereAndAsTheyAre) {
  SetInitial(std::string("API_TOKEN=tttttoken\0PATH=/usr/bin/\0", 36));
  SetList({initial_.data(), "NEW_TOKEN=nnnnntoken"});
  AddAll();
  EXPECT_EQ(Written("API_TOKEN=tttttoken NEW_TOKEN=nnnnntoken PATH=/usr/bin/"),
            "API_TOKEN=LIDED><EL NEW_TOKEN=D><ELIDED> PATH=/usr/bin/");
  EXPECT_FALSE(process_.redactor.uncertain());
}

TEST_F(ProgramDataTest, ArgumentsAreElidedButTheProgramsName) {
  SetArguments(std::string("program\0--token=123456\0", 23));
  AddAll();
  EXPECT_EQ(Written("program --token=123456"), "program <ELIDED><ELIDE");
}

TEST_F(ProgramDataTest, MoreVariablesThanExecveCanPassAreAReasonToGiveUp) {
  SetInitial(std::string(kTooMany, '\0'));
  AddAll();
  EXPECT_TRUE(process_.redactor.uncertain());
}

TEST_F(ProgramDataTest, AListOfVariablesWithoutEndIsAReasonToGiveUp) {
  SetList(std::vector<const char*>(kTooMany, "A=1"));
  AddAll();
  EXPECT_TRUE(process_.redactor.uncertain());
}

// A token is taken from the environment and wiped there, or a title written over it.
TEST_F(ProgramDataTest, ValuesThatWereOverwrittenAreElidedAsTheyWere) {
  SetInitial(std::string("API_TOKEN=tttttoken\0OTHER=oooother\0", 35));
  Keep();
  std::fill_n(initial_.begin() + 10, 9, 'x');
  AddAll();
  EXPECT_EQ(Written("tttttoken oooother xxxxxxxxx "), "<ELIDED>< LIDED><E xxxxxxxxx ");
}

TEST_F(ProgramDataTest, ArgumentsThatWereOverwrittenAreElidedAsTheyWere) {
  SetArguments(std::string("program\0--token=123456\0", 23));
  Keep();
  std::fill_n(arguments_.begin(), 20, 't');
  AddAll();
  EXPECT_EQ(Written("program --token=123456"), "program <ELIDED><ELIDE");
}

// A thread that runs with a thread pointer of its own shows no control block.
TEST_F(ProgramDataTest, TheCanaryAndThePointerGuardAreKnownWithoutAControlBlock) {
  const std::string random = "xanary..guarded!";
  ProcessFacts& facts = process_.runtime.facts;
  facts.auxv[0] = AT_RANDOM;
  facts.auxv[1] = RangeOf(random).begin;
  facts.auxv_words = 2;
  AddCanaries(process_.runtime, process_.threads, process_.redactor);
  EXPECT_EQ(Written(std::string("of random:\0anary..; guarded!; xanary", 36)),
            "of random:LIDED><E; DED><ELI; xanary");
}

// What they were set to since nobody knows then.
TEST_F(ProgramDataTest, VariablesThatCannotBeReadAreAReasonToGiveUp) {
  SetList({"A=1", reinterpret_cast<const char*>(0x10)});
  AddAll();
  EXPECT_TRUE(process_.redactor.uncertain());
}

TEST_F(ProgramDataTest, AListOfVariablesThatCannotBeReadIsAReasonToGiveUp) {
  SetList({});
  environ_ = reinterpret_cast<const char* const*>(0x3e444544494c453c);
  AddAll();
  EXPECT_TRUE(process_.redactor.uncertain());
}

TEST_F(ProgramDataTest, AnEmptyListOfVariablesIsNone) {
  SetList({});
  AddAll();
  environ_ = nullptr;  // clearenv()
  AddAll();
  EXPECT_FALSE(process_.redactor.uncertain());
}

TEST_F(ProgramDataTest, AVariableLongerThanAnyCanBeIsAReasonToGiveUp) {
  const std::string variable = "A=" + std::string(200'000, 'x');
  SetList({variable.c_str()});
  AddAll();
  EXPECT_TRUE(process_.redactor.uncertain());
}

// What was not looked at may be secret.
TEST_F(ProgramDataTest, VariablesForWhichThereIsNoTimeAreAReasonToGiveUp) {
  process_.outcome.past_deadline = true;
  SetInitial(std::string("API_TOKEN=tttttoken\0", 20));
  AddAll();
  EXPECT_TRUE(process_.redactor.uncertain());
}

TEST_F(ProgramDataTest, ArgumentsForWhichThereIsNoTimeAreAReasonToGiveUp) {
  process_.outcome.past_deadline = true;
  SetArguments(std::string("program\0--token=123456\0", 23));
  AddAll();
  EXPECT_TRUE(process_.redactor.uncertain());
}

}  // namespace
}  // namespace minicore
