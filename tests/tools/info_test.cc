// What `minicore info` says of a core made in code.

#include "tools/info.h"

#include <gtest/gtest.h>
#include <sys/procfs.h>

#include <cstddef>
#include <nlohmann/json.hpp>

#include "tests/support/core_builder.h"
#include "tools/text.h"

namespace minicore {
namespace {

CoreInfo Collect(const CoreBuilder& core) {
  std::string error;
  const auto reader = CoreReader::FromBytes(core.Build(), &error);
  if (reader == nullptr) throw std::runtime_error(error);
  return CollectInfo(*reader, "core.victim.100");
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(InfoTest, SaysWhichThreadGotWhichSignalAndWhere) {
  EXPECT_EQ(CrashSentence(Collect(SmallCore())),
            "Thread 100 got SIGSEGV at 0x10: the address is not mapped, 16 "
            "bytes from null");
}

TEST(InfoTest, SaysThatARegisterPointsIntoAFreedAllocation) {
  const CoreInfo info = Collect(SmallCore());
  ASSERT_EQ(info.notes.anchors.rows.size(), 1u);
  EXPECT_EQ(AnchorSentence(info, info.notes.anchors.rows[0]),
            "rdi = 0x7e0000000010 points 16 bytes into a freed allocation of "
            "48 bytes at 0x7e0000000000");
}

TEST(InfoTest, TextHasEveryPartOnce) {
  const std::string text = InfoText(Collect(SmallCore()));
  for (const char* part :
       {"core.victim.100, ", "victim (process 100): ./victim --crash",
        "Threads: 2", "worker", "signal", "Modules: 1", kBuildId, "/opt/victim",
        "heap            64 bytes    1 range",
        "secret          elide   0 kept, 0 cut, 1 elided", "secret-copy",
        "freeze_us            120"}) {
    EXPECT_TRUE(Has(text, part)) << part << "\n" << text;
  }
}

TEST(InfoTest, JsonReadBackHasTheSameFacts) {
  const auto json =
      nlohmann::json::parse(InfoJson(Collect(SmallCore())).dump());
  EXPECT_EQ(json["signal"]["name"], "SIGSEGV");
  EXPECT_EQ(json["signal"]["address"], "0x10");
  EXPECT_EQ(json["pid"], 100);
  EXPECT_EQ(json["minicore"], true);
  ASSERT_EQ(json["threads"].size(), 2u);
  EXPECT_EQ(json["threads"][0]["tid"], 100);
  EXPECT_EQ(json["threads"][0]["source"], "crashed");
  EXPECT_EQ(json["threads"][1]["name"], "worker");
  EXPECT_EQ(json["threads"][1]["registers"]["rsp"], Hex(kThread + 0x80));
  EXPECT_EQ(json["threads"][0]["place"], "victim+0x123");
  EXPECT_EQ(json["anchors"][0]["of"], "rdi");
  EXPECT_EQ(json["anchors"][0]["state"], "freed");
  EXPECT_EQ(json["anchors"][0]["size"], 48);
  EXPECT_EQ(json["modules"][0]["build_id"], kBuildId);
  EXPECT_EQ(json["bytes_by_kind"]["heap"]["bytes"], 64);
  EXPECT_EQ(json["tags"]["secret"]["elided"], 1);
  EXPECT_EQ(json["holes_by_reason"]["secret"]["bytes"], 0x100);
  EXPECT_EQ(json["holes"][1]["reason"], "secret-copy");
  EXPECT_EQ(json["report"]["freeze_us"], 120);
  EXPECT_TRUE(json["faults"].empty());
}

TEST(InfoTest, OfAnotherDumpersCoreSaysSo) {
  CoreBuilder core = SmallCore();
  core.own_notes.clear();
  const CoreInfo info = Collect(core);
  EXPECT_TRUE(Has(InfoText(info), "another program wrote this core"));
  EXPECT_EQ(InfoJson(info)["minicore"], false);
}

TEST(InfoTest, NothingInACoreCanDisturbATerminalOrTheJson) {
  CoreBuilder core = SmallCore();
  elf_prpsinfo program = {};
  const char evil[] = "\x1b[2J\xff\xfe\n";
  std::copy(std::begin(evil), std::end(evil), program.pr_psargs);
  core.Note(NT_PRPSINFO).desc = BytesOf(program);
  core.OwnNote(kNoteReport).desc = "key\x1b \xc3\x28value\n";
  const CoreInfo info = Collect(core);
  for (char c : InfoText(info)) {
    EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  }
  const auto json = nlohmann::json::parse(InfoJson(info).dump());
  EXPECT_EQ(json["arguments"], "\x1b[2J\\xff\\xfe\n");
}

TEST(InfoTest, ByteTextIsShort) {
  EXPECT_EQ(ByteText(0), "0 bytes");
  EXPECT_EQ(ByteText(1), "1 byte");
  EXPECT_EQ(ByteText(9999), "9999 bytes");
  EXPECT_EQ(ByteText(10000), "10.0 kB");
  EXPECT_EQ(ByteText(1290000), "1.29 MB");
  EXPECT_EQ(ByteText(UINT64_MAX), "18446744.1 TB");
}

}  // namespace
}  // namespace minicore
