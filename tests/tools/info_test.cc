// What `minicore info` says of a core made in code.

#include "tools/info.h"

#include <gtest/gtest.h>
#include <signal.h>
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

// A core whose crashed thread had `sp`, and a fault at `address`.
CoreInfo Faulted(uint64_t sp, uint64_t address, bool with_rows = true) {
  CoreBuilder core = SmallCore();
  auto& status = core.Note(NT_PRSTATUS).desc;
  Put(&status, offsetof(elf_prstatus, pr_reg) + offsetof(user_regs_struct, rsp), sp);
  Put(&core.Note(NT_SIGINFO).desc, 16, address);
  if (!with_rows) core.own_notes.clear();
  return Collect(core);
}

TEST(InfoTest, NamesAStackOverflow) {
  for (const bool with_rows : {true, false}) {
    for (const auto& [sp, address] : std::vector<std::pair<uint64_t, uint64_t>>{
             {kStack, kStack - 8},                    // a call
             {kStack - 0x500, kStack - 0x500},        // a frame
             {kStack - 0x500, kStack - 0x10},         // what lies in it
             {kStack - (1 << 20), kStack - 0x1000},   // a large one
         }) {
      EXPECT_EQ(CrashSentence(Faulted(sp, address, with_rows)),
                "Thread 100 got SIGSEGV at " + Hex(address) + ": stack overflow");
    }
    for (const auto& [sp, address] : std::vector<std::pair<uint64_t, uint64_t>>{
             {kStack + 0x40, kStack + 0x40},   // in the stack
             {kStack + 0x2000, kStack - 8},    // far below the frame
             {kStack - (1 << 30), kStack - (1 << 30)},  // anywhere
             {kStack, 0x10}}) {
      EXPECT_FALSE(Faulted(sp, address, with_rows).stack_overflow) << sp << " " << address;
    }
  }
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
        "secret          elide   0 kept, 0 cut, 1 elided", "secret_copy",
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
  EXPECT_EQ(json["holes"][1]["reason"], "secret_copy");
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

TEST(InfoTest, OfACutCoreDoesNotSayThatAnotherProgramWroteIt) {
  const std::string whole = SmallCore().Build();
  std::string error;
  size_t with_process = 0;
  for (size_t size = sizeof(Elf64_Ehdr); size < whole.size(); size += 40) {
    const auto reader = CoreReader::FromBytes(whole.substr(0, size), &error);
    ASSERT_NE(reader, nullptr) << size;
    const CoreInfo info = CollectInfo(*reader, "core");
    EXPECT_FALSE(Has(InfoText(info), "another program")) << size;
    with_process += HasProcess(info);
  }
  EXPECT_GT(with_process, 0u);
  const auto stump = CoreReader::FromBytes(whole.substr(0, 100), &error);
  EXPECT_FALSE(HasProcess(CollectInfo(*stump, "core")));
}

TEST(InfoTest, SaysThatTheFileIsShorterThanItsHeadersOrItsReportSay) {
  std::string error;
  const std::string whole = SmallCore().Build();
  const auto remarks = [&](const std::string& file) {
    return CollectInfo(*CoreReader::FromBytes(file, &error), "core").remarks;
  };
  EXPECT_TRUE(remarks(whole).empty());
  const auto cut = remarks(whole.substr(0, whole.size() - 16));
  ASSERT_EQ(cut.size(), 1u);
  EXPECT_EQ(cut[0], "The file is cut short: of " + std::to_string(whole.size()) +
                        " bytes it has " + std::to_string(whole.size() - 16) + ".");
  CoreBuilder core = SmallCore();
  core.OwnNote(kNoteReport).desc += "file_bytes 1000000\n";
  ASSERT_EQ(remarks(core.Build()).size(), 1u);
  EXPECT_TRUE(Has(remarks(core.Build())[0], "of 1000000 bytes it has"));
  core.OwnNote(kNoteReport).desc += "truncated 1\n";
  ASSERT_EQ(remarks(core.Build()).size(), 1u);
  EXPECT_FALSE(Has(remarks(core.Build())[0], "cut short"));
}

// The report of a core made in code, with one line more.
CoreInfo WithReport(const std::string& line) {
  CoreBuilder core = SmallCore();
  core.OwnNote(kNoteReport).desc += line + "\n";
  return Collect(core);
}

TEST(InfoTest, OfALiveDumpSaysThatNothingHadCrashed) {
  CoreBuilder core = SmallCore();
  core.OwnNote(kNoteReport).desc = "version 0.1.0\nsignal 0\n";
  const CoreInfo info = Collect(core);
  const std::string text = InfoText(info);
  EXPECT_EQ(text.find("Live dump, asked for by thread 100: nothing had crashed.\n"), 0u);
  EXPECT_FALSE(Has(text, "got")) << text;
  EXPECT_FALSE(Has(text, " crashed ")) << text;
  const nlohmann::json json = InfoJson(info);
  EXPECT_EQ(json["live"], true);
  EXPECT_EQ(json["threads"][0]["source"], "dumper");
  EXPECT_EQ(InfoJson(Collect(SmallCore()))["live"], false);
}

TEST(InfoTest, CountsWhatIsLeftOutAsTheReportDoesAndNotByTheRowsThatHadRoom) {
  const nlohmann::json json = InfoJson(WithReport("holes.secret 7 12345"));
  EXPECT_EQ(json["holes_by_reason"]["secret"]["count"], 7);
  EXPECT_EQ(json["holes_by_reason"]["secret"]["bytes"], 12345);
  EXPECT_EQ(json["report"]["holes"]["secret"]["count"], 7);
  EXPECT_EQ(json["report"]["holes"]["secret"]["bytes"], 12345);
  EXPECT_EQ(InfoJson(WithReport("elided.thread_data 3 32"))["report"]["elided"]["thread_data"],
            (nlohmann::json{{"count", 3}, {"bytes", 32}}));
}

TEST(InfoTest, TheReportAsJsonHasEveryLine) {
  const nlohmann::json report = InfoJson(WithReport(
      "option.max_bytes 64\npoints_to rdi points here\npoints_to rsi points there\n"
      "odd 1\nodd.one 2\npoints_to.x 3"))["report"];
  EXPECT_EQ(report["option"]["max_bytes"], 64);
  EXPECT_EQ(report["odd"]["one"], 2);
  EXPECT_EQ(report["points_to"]["x"], 3);  // damaged: no list any more
  const nlohmann::json points_to = InfoJson(WithReport(
      "points_to rdi points here\npoints_to rsi points there"))["report"]["points_to"];
  EXPECT_EQ(points_to, (nlohmann::json{"rdi points here", "rsi points there"}));
}

TEST(InfoTest, OfASignalWithoutAnAddressTheJsonHasNone) {
  CoreBuilder core = SmallCore();
  core.OwnNote(kNoteReport).desc = "version 0.1.0\nsignal 0\n";
  Put(&core.Note(NT_SIGINFO).desc, 0, 0);
  Put(&core.Note(NT_SIGINFO).desc, 8, 0);
  const nlohmann::json signal = InfoJson(Collect(core))["signal"];
  EXPECT_EQ(signal["number"], 0);
  EXPECT_EQ(signal["name"], "");
  EXPECT_EQ(signal.count("address"), 0u);
}

TEST(InfoTest, SaysInASentenceWhyLessIsThereThanWasReached) {
  EXPECT_TRUE(Collect(SmallCore()).remarks.empty());
  EXPECT_TRUE(WithReport("uncertain 0\npast_deadline 0\ntruncated 0").remarks.empty());
  for (const auto& [line, sentence] : std::vector<std::pair<std::string, std::string>>{
           {"holes.budget 12 40000", "The budget max_bytes was spent, and more was "
                                     "reachable: 40.0 kB were met and left out"},
           {"option.segments 64\nholes.segment_limit 1 100",
            "The program headers, segments (64), were used up: 100 bytes"},
           {"uncertain 1", "raise secret_bytes"},
           {"threads_running 2\nuncertain 1", "threads could not be stopped (2)"},
           {"truncated 1", "shorter than planned"},
           {"past_deadline 1", "ended at its deadline"}}) {
    const CoreInfo info = WithReport(line);
    ASSERT_EQ(info.remarks.size(), 1u) << line;
    EXPECT_TRUE(Has(info.remarks[0], sentence)) << info.remarks[0];
    EXPECT_TRUE(Has(InfoText(info), info.remarks[0]));
    EXPECT_EQ(InfoJson(info)["remarks"][0], info.remarks[0]);
  }
}

TEST(InfoTest, OfABreakpointInstructionSpeaksOfNoAddress) {
  SignalInfo signal;
  signal.present = true;
  signal.number = SIGTRAP;
  signal.code = SI_KERNEL;
  EXPECT_EQ(SignalCause(signal), "a breakpoint instruction (int3)");
  signal.number = SIGSEGV;
  EXPECT_TRUE(Has(SignalCause(signal), "not canonical"));
  signal.number = SIGILL;
  EXPECT_EQ(SignalCause(signal), "raised by the kernel");
}

TEST(InfoTest, NothingInACoreCanDisturbATerminalOrTheJson) {
  CoreBuilder core = SmallCore();
  elf_prpsinfo program = {};
  const char evil[] = "\x1b[2J\xff\xfe\n";
  std::copy(std::begin(evil), std::end(evil), program.pr_psargs);
  core.Note(NT_PRPSINFO).desc = BytesOf(program);
  core.OwnNote(kNoteReport).desc = "key\x1b \xc3\x28value\nholes.\x1b\xb9 3 40\n";
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
