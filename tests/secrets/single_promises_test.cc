// Single promises of docs/SECURITY.md: nothing but secrets is elided, their neighbours are
// whole, and whatever the dumper runs out of, no secret is in the file.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "alloc/index_format.h"
#include "tests/secrets/keystream.h"
#include "tests/secrets/needles.h"
#include "tests/secrets/single.h"
#include "tests/support/command.h"
#include "tests/support/core_file.h"

namespace minicore {
namespace {

struct Fact {
  std::string what;
  uint64_t address;
  std::vector<uint8_t> bytes;
};

struct Death {
  std::vector<Fact> facts;
  std::vector<uint8_t> file;
  std::vector<uint8_t> of_gcore;
  std::unique_ptr<CoreFile> core;  // null: none was left

  std::string Report(const char* key) const {
    return core == nullptr ? "" : core->Report(key);
  }
};

std::vector<uint8_t> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Runs a scenario of the victim to its end.
Death Play(const std::string& scenario, const std::string& options = "",
           const std::string& prepare = ":", size_t secret_size = 0) {
  char directory[] = "/tmp/single.XXXXXX";
  if (mkdtemp(directory) == nullptr) abort();
  const std::string path = std::string(directory) + "/core";
  const std::string facts_path = std::string(directory) + "/facts";
  RunCommand({"/bin/sh", "-c", prepare + "; exec \"$0\" \"$1\" 9 \"$3\" 9>\"$2\"",
              Runfile("tests/secrets/single_victim"), scenario, facts_path,
              std::to_string(secret_size)},
             {{"MINICORE_OPTIONS", "path=" + path + ":env=allow:*" + options}});
  Death death;
  std::ifstream facts(facts_path);
  Fact fact;
  uint64_t id;
  size_t size;
  while (facts >> fact.what >> fact.address >> id >> size) {
    fact.bytes.resize(size);
    FillSecret(kSingleSeed, id, Alphabet::kBytes, fact.bytes.data(), size);
    death.facts.push_back(fact);
  }
  death.file = ReadAll(path);
  death.of_gcore = ReadAll(std::string(directory) + "/gcore");
  if (!death.file.empty()) death.core = std::make_unique<CoreFile>(path);
  std::filesystem::remove_all(directory);
  EXPECT_FALSE(death.facts.empty()) << scenario;
  return death;
}

Needles Of(const Death& death, const char* what) {
  Needles needles;
  for (const Fact& fact : death.facts) {
    if (fact.what == what) {
      needles.Add("what is at " + std::to_string(fact.address), fact.bytes);
    }
  }
  needles.Finish();
  return needles;
}

void ExpectNoSecretIn(const Death& death) {
  const Needles needles = Of(death, "secret");
  for (const auto& finding : needles.FindIn(death.file)) {
    ADD_FAILURE() << finding.size << " bytes of " << finding.name << " at offset "
                  << finding.offset;
  }
  for (const auto& finding : needles.FindInRegisters(death.file)) {
    ADD_FAILURE() << finding.name << " in registers";
  }
}

void ExpectInnocentsWhole(const Death& death) {
  ASSERT_NE(death.core, nullptr);
  for (const Fact& fact : death.facts) {
    if (fact.what != "innocent") continue;
    std::vector<uint8_t> bytes(fact.bytes.size());
    const bool there =
        death.core->reader().Read(fact.address, bytes.data(), bytes.size());
    EXPECT_TRUE(there) << std::hex << fact.address;
    EXPECT_TRUE(bytes == fact.bytes) << std::hex << fact.address;
  }
}

bool IsElision(HoleReason reason) {
  return reason == HoleReason::kSecret || reason == HoleReason::kSecretCopy ||
         reason == HoleReason::kEnvironment || reason == HoleReason::kSanitized ||
         reason == HoleReason::kArguments || reason == HoleReason::kCanary;
}

// The words of the memory in the core that are the marker.
std::set<uint64_t> MarkedWords(const CoreFile& core) {
  std::set<uint64_t> words;
  for (const CoreSegment& load : core.reader().loads()) {
    std::string bytes(load.file_bytes, '\0');
    core.reader().ReadFile(load.offset, bytes.data(), bytes.size());
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      if (bytes.compare(at, 8, kElidedMarker) == 0) words.insert(load.address + at);
    }
  }
  return words;
}

TEST(Innocents, NothingButThreadControlWordsIsElidedIfNothingIsTagged) {
  const Death death = Play("nothing tagged");
  ExpectInnocentsWhole(death);
  EXPECT_EQ(death.Report("uncertain"), "0");
  uint64_t canaries = 0;
  std::set<uint64_t> marked = MarkedWords(*death.core);
  for (const HoleRow& hole : death.core->notes().holes.rows) {
    if (!IsElision(hole.reason)) continue;
    EXPECT_EQ(hole.reason, HoleReason::kCanary) << std::hex << hole.begin;
    canaries += hole.end - hole.begin;
    marked.erase(marked.lower_bound(hole.begin), marked.lower_bound(hole.end));
  }
  EXPECT_EQ(death.core->notes().holes.dropped, 0u);
  // Every marker stands for one of them: AT_RANDOM, and of each thread the canary and the
  // pointer guard, with the canary's copies in frames; or for a gap.
  uint64_t filler = 0;
  for (const SegmentRow& row : death.core->notes().segments.rows) filler += row.filler;
  EXPECT_EQ(marked.size() * 8, filler);
  EXPECT_GE(canaries, 16 + 16 * death.core->threads().size());
  EXPECT_LE(canaries, 16 + 16 * death.core->threads().size() + 1024);
}

TEST(Innocents, WhatIsAllowedOfTheEnvironmentIsThere) {
  const Death death = Play("nothing tagged");
  EXPECT_GE(death.core->Occurrences("correct-horse-battery-staple"), 1u);
}

TEST(Innocents, AThreadThatRunsOnCostsNothingIfNothingIsTagged) {
  const Death death = Play("nothing tagged", "", "export SINGLE_RUNS_ON=1");
  ExpectInnocentsWhole(death);
  EXPECT_EQ(death.Report("threads_running"), "1");
  EXPECT_EQ(death.Report("uncertain"), "0");
}

constexpr size_t kSecretSizes[] = {6, 7, 8, 15, 16, 33, 120};

TEST(Innocents, ANeighbourOfASecretIsWhole) {
  for (const size_t size : kSecretSizes) {
    SCOPED_TRACE(size);
    const Death death = Play("neighbours", "", ":", size);
    ExpectInnocentsWhole(death);
    ExpectNoSecretIn(death);
    EXPECT_EQ(death.Report("uncertain"), "0");
  }
}

TEST(Innocents, ASecretBetweenThemIsTheMarkerInPhase) {
  for (const size_t size : kSecretSizes) {
    const Death death = Play("neighbours", "", ":", size);
    size_t seen = 0;
    for (const Fact& fact : death.facts) {
      if (fact.what != "secret") continue;
      for (size_t i = 0; i < fact.bytes.size(); ++i) {
        char byte;
        if (!death.core->reader().Read(fact.address + i, &byte, 1)) continue;
        ASSERT_EQ(byte, kElidedMarker[(fact.address + i) % 8]);
        ++seen;
      }
    }
    EXPECT_GE(seen, 10 * size);
  }
}

// What the dumper runs out of. Each must end in less in the core, and no secret.
struct Shortage {
  const char* scenario;
  const char* options;
  const char* uncertain;  // nullptr: either
  const char* prepare = ":";  // a command of the shell
};

class FailsClosed : public testing::TestWithParam<Shortage> {};

TEST_P(FailsClosed, NoSecretIsInTheFile) {
  const Death death = Play(GetParam().scenario, GetParam().options, GetParam().prepare);
  ASSERT_NE(death.core, nullptr);
  ExpectNoSecretIn(death);
  EXPECT_EQ(death.core->Faults(), std::vector<std::string>());
  EXPECT_FALSE(death.core->threads().empty());
  if (GetParam().uncertain != nullptr) {
    EXPECT_EQ(death.Report("uncertain"), GetParam().uncertain);
  }
  // Even then it says of what there was too much.
  for (const TagRow& row : death.core->notes().tags.rows) {
    if (row.id == kTagSecret) {
      EXPECT_STREQ(row.name, "secret");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shortages, FailsClosed,
    testing::Values(Shortage{"spread", "", "0"}, Shortage{"full names", "", nullptr},
                    Shortage{"full ranges", "", "1"}, Shortage{"many secrets", "", "1"},
                    Shortage{"in an image", "", "0"},
                    Shortage{"in an image, full ranges", "", "1"},
                    Shortage{"large secrets", "", "1"},
                    Shortage{"large secrets", ":secret_bytes=8M", "0"},
                    Shortage{"large secrets", ":secret_bytes=8M:max_bytes=256K", "0"},
                    Shortage{"spread", ":secret_bytes=100", "1"},
                    Shortage{"overwritten index", "", "1"},
                    Shortage{"forgotten marks", "", "1"},
                    Shortage{"unmapped index", "", "1"},
                    Shortage{"spread", "", "1", "export SINGLE_RUNS_ON=1"},
                    Shortage{"dont dump", "", "1", "export SINGLE_RUNS_ON=1"},
                    Shortage{"little memory", "", "1", "ulimit -v 262144"},
                    Shortage{"little memory", ":deadline=1ms", "1", "export SINGLE_SLOW=1"},
                    Shortage{"spread", ":deadline=1ms", nullptr, "export SINGLE_SLOW=1"}),
    [](const testing::TestParamInfo<Shortage>& param) {
      std::string name = param.param.scenario + std::string(param.param.options) +
                         std::string(param.param.prepare);
      for (char& c : name) {
        if (isalnum(c) == 0) c = '_';
      }
      return name;
    });

// Whatever else keeps the memory that a frame lies in: windows below it, its allocation,
// its module's data.
class Frames : public testing::TestWithParam<const char*> {};

TEST_P(Frames, HaveNoWordOfASecret) {
  for (const char* options : {"", ":stack_bytes=4K"}) {
    const Death death = Play(std::string("spilled on ") + GetParam(), options);
    ASSERT_NE(death.core, nullptr);
    const std::vector<uint8_t>& secret = death.facts.front().bytes;
    for (size_t at = 0; at + 8 <= secret.size(); ++at) {
      const std::string word(secret.begin() + at, secret.begin() + at + 8);
      EXPECT_EQ(death.core->Occurrences(word), 0u) << at << options;
    }
    EXPECT_EQ(death.core->Faults(), std::vector<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Stacks, Frames,
                         testing::Values("the stack", "a heap stack", "a freed stack",
                                         "a static stack", "a large heap stack"),
                         [](const testing::TestParamInfo<const char*>& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST(Extents, OfSecretsAreInNoCoreOfGcoreEither) {
  const Death death = Play("gcore", "", "cd \"${2%/*}\"");
  ExpectNoSecretIn(death);
  ASSERT_FALSE(death.of_gcore.empty()) << "gcore cannot attach";
  EXPECT_TRUE(Of(death, "secret").FindIn(death.of_gcore).empty());
  // It is a core of this heap.
  EXPECT_GE(Of(death, "innocent").FindIn(death.of_gcore).size(), 4u);
}

TEST(Extents, OfTheProgramsOwnMadvDontdumpAreInNoCore) {
  for (const char* scenario : {"dont dump", "dont dump, moved", "dont dump, often"}) {
    const Death death = Play(scenario);
    ExpectNoSecretIn(death);
    ExpectInnocentsWhole(death);
    EXPECT_EQ(death.Report("uncertain"), "0") << scenario;
  }
}

// The file is made before the crash or in it; the same is asked of its directory.
TEST(File, IsNotPutWhereEverybodyCanReplaceIt) {
  for (const char* options : {"", ":preopen=1"}) {
    EXPECT_NE(Play("spread", options).core, nullptr) << options;
    EXPECT_EQ(Play("spread", options, "chmod 0777 \"${2%/*}\"").core, nullptr) << options;
    EXPECT_NE(Play("spread", options, "chmod 1777 \"${2%/*}\"").core, nullptr) << options;
    // A planted link is passed by.
    EXPECT_NE(Play("spread", options, "ln -s /dev/null \"${2%/*}/core.part\"").core,
              nullptr);
  }
}

// The default path has the program's name in it, and so has the line on standard error.
TEST(File, IsNotCalledByASecret) {
  char secret[kNameLength + 1] = {};
  FillSecret(kSingleSeed, kNameId, Alphabet::kText, secret, kNameLength);
  for (const char* scenario : {"secret name", "secret name, many secrets"}) {
    for (const char* options : {"verbose=1", "verbose=1:preopen=1", "verbose=1:path=%e-%e"}) {
      char directory[] = "/tmp/single.XXXXXX";
      ASSERT_NE(mkdtemp(directory), nullptr);
      const CommandResult result = RunCommand(
          {"/bin/sh", "-c", "cd $1 && exec \"$0\" \"$2\" 9 9>/dev/null",
           std::filesystem::absolute(Runfile("tests/secrets/single_victim")), directory,
           scenario},
          {{"MINICORE_OPTIONS", options}});
      std::string name;
      for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        EXPECT_EQ(name, "");
        name = entry.path().filename();
      }
      std::filesystem::remove_all(directory);
      EXPECT_EQ(result.errors.find("minicore: wrote " + name), 0u) << result.errors;
      // As the kernel called it at first.
      EXPECT_NE(name.find("single_victim"), std::string::npos) << name;
      EXPECT_EQ(result.errors.find(secret), std::string::npos) << result.errors;
    }
  }
}

// Crashes a copy of the victim that is root's and that anybody may start, as another user
// does it, in a directory for all.
class OfASetuidProgram : public testing::Test {
 protected:
  void SetUp() override {
    struct statvfs mount;
    if (geteuid() != 0 || statvfs("/tmp", &mount) != 0 || (mount.f_flag & ST_NOSUID) != 0) {
      GTEST_SKIP() << "SKIPPED: no setuid program can be made here";
    }
    char name[] = "/tmp/single.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
  }
  ~OfASetuidProgram() override {
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  // What it says; its core is in cores_.
  CommandResult Crash(const char* scenario) {
    const CommandResult result = RunCommand(
        {"/bin/sh", "-c",
         "chmod 1777 $1 && cp $0 $1/v && chmod 4755 $1/v && cd $1 && exec setpriv "
         "--reuid=65534 --regid=65534 --clear-groups ./v \"$2\" 9 9>/dev/null",
         std::filesystem::absolute(Runfile("tests/secrets/single_victim")), directory_,
         scenario},
        {{"MINICORE_OPTIONS", "path=" + directory_ + "/named"}});
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().filename() != "v") cores_.push_back(entry.path());
    }
    return result;
  }

  std::string directory_;
  std::vector<std::filesystem::path> cores_;
};

TEST_F(OfASetuidProgram, NothingGoesToWhoHasStartedIt) {
  const CommandResult result = Crash("spread");
  if (!WIFSIGNALED(result.status)) {
    GTEST_SKIP() << "SKIPPED: no other user can be had here";
  }
  EXPECT_EQ(cores_.size(), 0u);
  EXPECT_NE(result.errors.find("it may not be dumped (PR_SET_DUMPABLE)"), std::string::npos)
      << result.errors;
}

TEST_F(OfASetuidProgram, ThatAllowsItTheFileIsItsUsersAndTheEnvironmentHasNoSay) {
  const CommandResult result = Crash("spread, dumpable");
  if (!WIFSIGNALED(result.status)) {
    GTEST_SKIP() << "SKIPPED: no other user can be had here";
  }
  ASSERT_EQ(cores_.size(), 1u);
  EXPECT_EQ(cores_[0].filename().string().rfind("core.v.", 0), 0u) << cores_[0];
  struct stat status;
  ASSERT_EQ(stat(cores_[0].c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 65534u);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST(Innocents, WithoutRulesTheVictimsSecretIsSeen) {
  const Death death = Play("spread", ":tag.secret=label");
  ASSERT_NE(death.core, nullptr);
  const auto& bytes = death.facts.front().bytes;
  const std::string secret(bytes.begin(), bytes.end());
  EXPECT_GE(death.core->Occurrences(secret), 4u);
}

}  // namespace
}  // namespace minicore
