// Every sentence that `minicore verify` can say, provoked by one change to a
// good core.

#include "tools/verify.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include <cstddef>
#include <functional>

#include "tests/support/core_builder.h"

namespace minicore {
namespace {

Verdict Verify(const std::string& file) {
  std::string error;
  const auto core = CoreReader::FromBytes(file, &error);
  if (core == nullptr) return {{error}, {}};
  return VerifyCore(*core);
}

std::string Joined(const std::vector<std::string>& sentences) {
  std::string text;
  for (const std::string& sentence : sentences) text += sentence + "\n";
  return text;
}

TEST(VerifyTest, FindsNothingWrongWithAGoodCore) {
  const Verdict verdict = Verify(SmallCore().Build());
  EXPECT_EQ(Joined(verdict.faults), "");
  EXPECT_EQ(Joined(verdict.remarks), "");
}

TEST(VerifyTest, OfAnotherProgramsCoreSaysOneSentence) {
  CoreBuilder core = SmallCore();
  core.own_notes.clear();
  core.At("stack").align = 4096;
  EXPECT_EQ(Verify(core.Build()).faults.size(), 1u);
}

TEST(VerifyTest, OfACutCoreSaysThatItIsDamaged) {
  const std::string whole = SmallCore().Build();
  for (const size_t size : {size_t{100}, whole.size() / 2, whole.size() - 1}) {
    const std::string faults = Joined(Verify(whole.substr(0, size)).faults);
    EXPECT_EQ(faults.find("another program"), std::string::npos) << faults;
    EXPECT_NE(faults, "");
  }
}

struct Mutation {
  const char* name;
  // Before the file is put together, and after; either may be empty.
  std::function<void(CoreBuilder&)> change;
  std::function<void(const CoreBuilder&, std::string&)> patch;
  const char* sentence;
};

class VerifyFaultTest : public testing::TestWithParam<Mutation> {};

TEST_P(VerifyFaultTest, IsToldInASentence) {
  CoreBuilder core = SmallCore();
  if (GetParam().change) GetParam().change(core);
  std::string file = core.Build();
  if (GetParam().patch) GetParam().patch(core, file);
  EXPECT_NE(file, SmallCore().Build()) << "the mutation changes nothing";
  const std::string faults = Joined(Verify(file).faults);
  EXPECT_NE(faults.find(GetParam().sentence), std::string::npos) << faults;
}

template <class T>
std::function<void(const CoreBuilder&, std::string&)> Header(size_t at,
                                                             T value) {
  return [=](const CoreBuilder&, std::string& file) { Put(&file, at, value); };
}

template <class T>
std::function<void(const CoreBuilder&, std::string&)> Segment(const char* name,
                                                              size_t at,
                                                              T value) {
  return [=](const CoreBuilder& core, std::string& file) {
    Put(&file, core.HeaderOf(name) + at, value);
  };
}

const Mutation kLayout[] = {
    {"NotElf", {}, Header(0, 'x'), "is not an ELF file"},
    {"Class32", {}, Header(EI_CLASS, char{ELFCLASS32}), "64-bit little-endian"},
    {"BigEndian",
     {},
     Header(EI_DATA, char{ELFDATA2MSB}),
     "64-bit little-endian"},
    {"Executable",
     {},
     Header(offsetof(Elf64_Ehdr, e_type), uint16_t{ET_EXEC}),
     "but not a core"},
    {"OtherMachine",
     {},
     Header(offsetof(Elf64_Ehdr, e_machine), uint16_t{EM_ARM}),
     "The ELF header's e_machine is 40, not 62."},
    {"HeaderSize",
     {},
     Header(offsetof(Elf64_Ehdr, e_ehsize), uint16_t{60}),
     "The ELF header's e_ehsize is 60, not 64."},
    {"EntrySize",
     {},
     Header(offsetof(Elf64_Ehdr, e_phentsize), uint16_t{64}),
     "The ELF header's e_phentsize is 64, not 56."},
    {"Sections",
     {},
     Header(offsetof(Elf64_Ehdr, e_shoff), uint64_t{64}),
     "The file has section headers."},
    {"TooManySegments",
     {},
     Header(offsetof(Elf64_Ehdr, e_phnum), uint16_t{PN_XNUM}),
     "The file has more than 65534 program headers (PN_XNUM)."},
    {"NoSegments",
     {},
     Header(offsetof(Elf64_Ehdr, e_phnum), uint16_t{0}),
     "The file has no program headers."},
    {"HeadersCutOff",
     {},
     [](const CoreBuilder&, std::string& file) { file.resize(64 + 56 * 3); },
     "The file is truncated: of 8 program headers only 3 are in it."},
    {"BytesCutOff",
     {},
     [](const CoreBuilder&, std::string& file) {
       file.resize(file.size() - 100);
     },
     "The file is truncated: program header 7 ends at file offset"},
    {"MoreBehind",
     {},
     [](const CoreBuilder&, std::string& file) { file.append(1000, 'x'); },
     "The file goes on for 1000 bytes behind its last part."},
    {"OddType",
     {},
     Segment("heap", offsetof(Elf64_Phdr, p_type), uint32_t{PT_TLS}),
     "Program header 3 is of type 7, neither PT_LOAD nor PT_NOTE."},
    {"Empty",
     [](CoreBuilder& core) {
       core.At("heap").bytes.clear();
       core.At("heap").memory_bytes = 0;
     },
     {},
     "Program header 3 covers no memory."},
    {"Wraps",
     {},
     Segment("stack", offsetof(Elf64_Phdr, p_memsz), ~uint64_t{15}),
     "Program header 6 wraps around the address space."},
    {"MoreInFile",
     [](CoreBuilder& core) { core.At("heap").memory_bytes = 0x20; },
     {},
     "Program header 3 has more bytes in the file than in memory."},
    {"PageAligned",
     [](CoreBuilder& core) { core.At("heap").align = 4096; },
     {},
     "Program header 3 has p_align 4096, not 16."},
    {"OddAddress",
     [](CoreBuilder& core) { core.At("heap").address += 8; },
     {},
     "Program header 3 is not made of whole 16-byte units"},
    {"NotSorted",
     [](CoreBuilder& core) { std::swap(core.segments[2], core.segments[3]); },
     {},
     "not sorted by address"},
    {"Overlap",
     [](CoreBuilder& core) { core.At("data").address = kImage + 0x100; },
     {},
     "Program header 2, [0x555555554100, 0x555555554120), overlaps program "
     "header 1"},
    {"TouchesInMemoryOnly",
     [](CoreBuilder& core) { core.At("heap").address = kData + 0x20; },
     Segment("heap", offsetof(Elf64_Phdr, p_offset), uint64_t{64}),
     "in memory, but not in the file"},
    {"SharedBytes",
     {},
     Segment("heap", offsetof(Elf64_Phdr, p_offset), uint64_t{0}),
     "overlaps"},
};

const Mutation kNotes[] = {
    {"NoteTooLong",
     {},
     [](const CoreBuilder&, std::string& file) {
       Put(&file, CoreBuilder::HeaderAt(8) + 4, uint32_t{0x7fffffff});
     },
     "does not fit into its segment"},
    {"StatusSize",
     [](CoreBuilder& core) { core.Note(NT_PRSTATUS).desc.pop_back(); },
     {},
     "The note PRSTATUS at file offset 0x200 has 335 bytes, not 336."},
    {"FpregsetSize",
     [](CoreBuilder& core) { core.Note(NT_FPREGSET).desc += "x"; },
     {},
     "has 513 bytes, not 512."},
    {"SiginfoSize",
     [](CoreBuilder& core) { core.Note(NT_SIGINFO).desc.resize(80); },
     {},
     "has 80 bytes, not 128."},
    {"Owner",
     [](CoreBuilder& core) { core.Note(NT_X86_XSTATE).owner = "CORE"; },
     {},
     "belongs to \"CORE\", not to \"LINUX\"."},
    {"ProcessNotesSwapped",
     [](CoreBuilder& core) { std::swap(core.notes[1], core.notes[2]); },
     {},
     "Note 2 is SIGINFO where PRPSINFO must stand."},
    {"ProcessNotesMissing",
     [](CoreBuilder& core) { core.notes.resize(3); },
     {},
     "there are only 3 of PRSTATUS, PRPSINFO, SIGINFO, AUXV, FILE"},
    {"AuxvLate",
     [](CoreBuilder& core) { core.notes.push_back(core.Note(NT_AUXV)); },
     {},
     "is out of place."},
    {"XstateBeforeFpregset",
     [](CoreBuilder& core) { std::swap(core.notes[8], core.notes[9]); },
     {},
     "The note X86_XSTATE at file offset"},
    {"FpregsetTwice",
     [](CoreBuilder& core) { core.notes.push_back(core.Note(NT_FPREGSET)); },
     {},
     "The note FPREGSET at file offset"},
    {"XstateShort",
     [](CoreBuilder& core) { core.Note(NT_X86_XSTATE).desc.resize(512); },
     {},
     "is too short."},
    {"XstateRaw",
     [](CoreBuilder& core) { core.Note(NT_X86_XSTATE).desc.resize(2432); },
     {},
     "has 2432 bytes with features 0x7, which gdb does not know."},
    {"XstateFeatures",
     [](CoreBuilder& core) {
       Put(&core.Note(NT_X86_XSTATE).desc, 464, uint64_t{0xe7});
     },
     {},
     "has 832 bytes with features 0xe7"},
    {"XstateInUse",
     [](CoreBuilder& core) {
       Put(&core.Note(NT_X86_XSTATE).desc, 512, uint64_t{0x27});
     },
     {},
     "uses features 0x27 beyond its 0x7."},
    {"NoOwnNotes",
     [](CoreBuilder& core) { core.own_notes.clear(); },
     {},
     "another program wrote this core"},
    {"OwnNotesFirst",
     [](CoreBuilder& core) {
       core.notes.insert(core.notes.begin(), core.own_notes[0]);
       core.own_notes.erase(core.own_notes.begin());
     },
     {},
     "stands behind MINICORE's"},
    {"OwnNotesBeforeMemory",
     [](CoreBuilder& core) {
       core.notes.push_back(core.own_notes[0]);
       core.own_notes.erase(core.own_notes.begin());
     },
     {},
     "they have one of their own"},
    {"OwnTypeCollides",
     [](CoreBuilder& core) {
       core.own_notes.push_back({kNoteOwner, 0x400, "x"});
     },
     {},
     "which other consumers could take for theirs"},
    {"AuxvEnd",
     [](CoreBuilder& core) { core.Note(NT_AUXV).desc.resize(4 * 16); },
     {},
     "The auxiliary vector does not end with AT_NULL."},
    {"FilesCutOff",
     [](CoreBuilder& core) { core.Note(NT_FILE).desc.resize(40); },
     {},
     "The list of mapped files (NT_FILE) is cut off."},
    {"FilesHugeCount",
     [](CoreBuilder& core) { Put(&core.Note(NT_FILE).desc, 0, ~uint64_t{0}); },
     {},
     "The list of mapped files (NT_FILE) is cut off."},
    {"FilesNames",
     [](CoreBuilder& core) { core.Note(NT_FILE).desc.resize(16 + 48 + 12); },
     {},
     "has 2 rows but only 1 name."},
    {"FilesEmptyRow",
     [](CoreBuilder& core) { Put(&core.Note(NT_FILE).desc, 24, kImage); },
     {},
     "has an empty row"},
    {"FilesOrder",
     [](CoreBuilder& core) {
       Put(&core.Note(NT_FILE).desc, 16, kData + 0x5000);
       Put(&core.Note(NT_FILE).desc, 24, kData + 0x6000);
     },
     {},
     "is not sorted at"},
};

void SetStackPointer(CoreBuilder& core, uint64_t value) {
  Put(&core.Note(NT_PRSTATUS).desc,
      offsetof(elf_prstatus, pr_reg) + offsetof(user_regs_struct, rsp), value);
}

const Mutation kProcess[] = {
    {"NoThread",
     [](CoreBuilder& core) { core.notes.clear(); },
     {},
     "The core has no thread."},
    {"ThreadTwice",
     [](CoreBuilder& core) {
       core.Note(NT_PRSTATUS, 1).desc = core.Note(NT_PRSTATUS, 0).desc;
     },
     {},
     "Thread 100 is there twice."},
    {"NoFpregset",
     [](CoreBuilder& core) { core.notes.resize(8); },
     {},
     "Thread 101 has no FPREGSET."},
    {"StackMissing",
     [](CoreBuilder& core) { SetStackPointer(core, 0x7fff00000000); },
     {},
     "The stack pointer of thread 100, 0x7fff00000000, is not in the core."},
    {"StackFromMidPage",
     [](CoreBuilder& core) { core.At("stack").address += 0x10; },
     {},
     "is in the core, but not from the start of its page."},
    {"OtherSignal",
     [](CoreBuilder& core) {
       Put(&core.Note(NT_SIGINFO).desc, 0, int32_t{SIGBUS});
     },
     {},
     "The first thread's PRSTATUS says SIGSEGV, SIGINFO says SIGBUS."},
    {"NoProgramHeaders",
     [](CoreBuilder& core) {
       Put(&core.Note(NT_AUXV).desc, 0, uint64_t{AT_UID});
     },
     {},
     "The auxiliary vector has no AT_PHDR or no AT_PHNUM."},
    {"ImageMissing",
     [](CoreBuilder& core) { core.At("image").address -= 0x100000; },
     {},
     "The program headers of the program (AT_PHDR, 0x555555554040) are not in "
     "the core."},
    {"DynamicMissing",
     [](CoreBuilder& core) { core.At("data").address += 0x100000; },
     {},
     "The program's dynamic section at 0x555555558000 is not in the core."},
    {"DebugMissing",
     [](CoreBuilder& core) {
       Put(&core.At("data").bytes, 8, uint64_t{0x1000});
     },
     {},
     "The dynamic linker's r_debug at 0x1000 is not in the core."},
    {"NodeMissing",
     [](CoreBuilder& core) {
       Put(&core.At("linker").bytes, 0x10 + 24, uint64_t{0x1000});
     },
     {},
     "Node 1 of the module list at 0x1000 is not in the core."},
    {"NodeBackward",
     [](CoreBuilder& core) {
       Put(&core.At("linker").bytes, 0x40 + 32, uint64_t{0});
     },
     {},
     "does not point back to the one before it."},
    {"NodeNameMissing",
     [](CoreBuilder& core) {
       Put(&core.At("linker").bytes, 0x40 + 8, uint64_t{0x1000});
     },
     {},
     "The name of node 1 of the module list at 0x1000 is not in the core."},
    {"ModuleDynamicMissing",
     [](CoreBuilder& core) {
       Put(&core.At("linker").bytes, 0x40 + 16, uint64_t{0x1000});
     },
     {},
     "The dynamic section of module \"libx.so\" at 0x1000 is not in the core."},
    {"VdsoMissing",
     [](CoreBuilder& core) {
       std::string& auxv = core.Note(NT_AUXV).desc;
       auxv.insert(
           0, BytesOf(uint64_t{AT_SYSINFO_EHDR}) + BytesOf(uint64_t{0x1000}));
     },
     {},
     "The vdso at 0x1000 is not in the core."},
};

template <class Row>
void PutRow(CoreBuilder& core, uint32_t type, size_t row, const Row& value) {
  Put(&core.OwnNote(type).desc, sizeof(NoteRowHeader) + row * sizeof(Row),
      value);
}

const Mutation kOwn[] = {
    {"NoReport",
     [](CoreBuilder& core) { core.own_notes.erase(core.own_notes.begin()); },
     {},
     "There is no MINICORE note REPORT."},
    {"ReportTwice",
     [](CoreBuilder& core) { core.own_notes.push_back(core.own_notes[0]); },
     {},
     "There is more than one MINICORE note REPORT."},
    {"ReportEnd",
     [](CoreBuilder& core) { core.own_notes[0].desc += "tail x"; },
     {},
     "does not end with a line end"},
    {"ReportLine",
     [](CoreBuilder& core) { core.own_notes[0].desc += "lonely\n"; },
     {},
     "a line that is not \"key value\": \"lonely\""},
    {"Empty",
     [](CoreBuilder& core) { core.OwnNote(kNoteTags).desc.clear(); },
     {},
     "The MINICORE note TAGS is empty."},
    {"RowsTwice",
     [](CoreBuilder& core) {
       core.own_notes.push_back(core.OwnNote(kNoteHoles));
     },
     {},
     "There is more than one MINICORE note HOLES."},
    {"RowHeaderShort",
     [](CoreBuilder& core) { core.OwnNote(kNoteTags).desc.resize(12); },
     {},
     "The MINICORE note TAGS is too short for its header."},
    {"RowVersion",
     [](CoreBuilder& core) {
       Put(&core.OwnNote(kNoteTags).desc, 0, uint32_t{9});
     },
     {},
     "The MINICORE note TAGS is of version 9, not 1."},
    {"RowBytes",
     [](CoreBuilder& core) {
       Put(&core.OwnNote(kNoteTags).desc, 4, uint32_t{0});
     },
     {},
     "The rows of the MINICORE note TAGS have 0 bytes instead of 64."},
    {"RowCount",
     [](CoreBuilder& core) {
       Put(&core.OwnNote(kNoteTags).desc, 8, uint32_t{0xffffffff});
     },
     {},
     "but has room for 1."},
    {"StrangeThread",
     [](CoreBuilder& core) {
       ThreadRow row = {};
       row.tid = 777;
       row.source = ThreadSource::kSignal;
       PutRow(core, kNoteThreads, 1, row);
     },
     {},
     "The note THREADS has thread 777, for which there is no PRSTATUS."},
    {"MissingThread",
     [](CoreBuilder& core) { PutRow(core, kNoteThreads, 1, ThreadRow{}); },
     {},
     "Thread 101 is not in the note THREADS."},
    {"SegmentEmpty",
     [](CoreBuilder& core) {
       PutRow(core, kNoteSegments, 1,
              SegmentRow{kHeap, kHeap, SegmentKind::kHeap, {}, 0});
     },
     {},
     "is heap: that is an empty range."},
    {"SegmentMissing",
     [](CoreBuilder& core) {
       PutRow(core, kNoteSegments, 1,
              SegmentRow{0x1000, 0x2000, SegmentKind::kHeap, {}, 0});
     },
     {},
     "says that [0x1000, 0x2000) is heap, but it is not in the core."},
    {"SegmentShort",
     [](CoreBuilder& core) {
       PutRow(core, kNoteSegments, 1,
              SegmentRow{kHeap, kHeap + 0x50, SegmentKind::kHeap, {}, 0});
     },
     {},
     "but it is in the core only up to 0x7e0000000040."},
    {"HoleEmpty",
     [](CoreBuilder& core) {
       PutRow(core, kNoteHoles, 0,
              HoleRow{kHeap, kHeap, HoleReason::kSecret, 1, {}, 1});
     },
     {},
     "The hole [0x7e0000000000, 0x7e0000000000) (secret) is empty."},
    {"HoleLeaks",
     [](CoreBuilder& core) { core.At("heap").bytes[0x30] = 'S'; },
     {},
     "(secret_copy) is not one: the core has the byte at 0x7e0000000030."},
    {"HoleReadsAsZeros",
     [](CoreBuilder& core) { core.At("heap").memory_bytes = 0x200; },
     {},
     "(secret) is not one: the core has the byte at 0x7e0000000100."},
    {"TagTwice",
     [](CoreBuilder& core) {
       TagRow row = {};
       row.id = 1;
       row.name[0] = 'x';
       core.OwnNote(kNoteTags).desc = RowNote<TagRow>({row, row});
     },
     {},
     "The note TAGS has the tag id 1 twice."},
    {"TagName",
     [](CoreBuilder& core) {
       TagRow row = {};
       row.id = 1;
       PutRow(core, kNoteTags, 0, row);
     },
     {},
     "The note TAGS has the tag id 1 with no proper name."},
};

std::string NameOfMutation(const testing::TestParamInfo<Mutation>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Layout, VerifyFaultTest, testing::ValuesIn(kLayout),
                         NameOfMutation);
INSTANTIATE_TEST_SUITE_P(Notes, VerifyFaultTest, testing::ValuesIn(kNotes),
                         NameOfMutation);
INSTANTIATE_TEST_SUITE_P(Process, VerifyFaultTest, testing::ValuesIn(kProcess),
                         NameOfMutation);
INSTANTIATE_TEST_SUITE_P(Own, VerifyFaultTest, testing::ValuesIn(kOwn),
                         NameOfMutation);

TEST(VerifyTest, AcceptsAStackPointerInTheGuardBelowItsStack) {
  CoreBuilder core = SmallCore();
  SetStackPointer(core, kStack - 0x2000);
  EXPECT_EQ(Joined(Verify(core.Build()).faults), "");
}

TEST(VerifyTest, OnlyRemarksOnAStackPointerThatIsNoAddress) {
  CoreBuilder core = SmallCore();
  SetStackPointer(core, 0);
  const Verdict verdict = Verify(core.Build());
  EXPECT_EQ(Joined(verdict.faults), "");
  EXPECT_NE(Joined(verdict.remarks).find("is no address of a program"),
            std::string::npos);
}

TEST(VerifyTest, OnlyRemarksOnAWildStackPointerAtWhichTheThreadFaulted) {
  CoreBuilder core = SmallCore();
  SetStackPointer(core, 0x1234567890);
  Put(&core.Note(NT_SIGINFO).desc, 16, uint64_t{0x1234567888});
  const Verdict verdict = Verify(core.Build());
  EXPECT_EQ(Joined(verdict.faults), "");
  EXPECT_NE(Joined(verdict.remarks).find("points to no memory"),
            std::string::npos);
}

TEST(VerifyTest, OnlyRemarksOnAThreadThatDidNotStop) {
  CoreBuilder core = SmallCore();
  core.notes.resize(7);
  ThreadRow row = {};
  row.tid = kOtherTid;
  PutRow(core, kNoteThreads, 1, row);
  const Verdict verdict = Verify(core.Build());
  EXPECT_EQ(Joined(verdict.faults), "");
  EXPECT_NE(Joined(verdict.remarks).find("Thread 101 did not stop in time"),
            std::string::npos);
}

TEST(VerifyTest, OnlyRemarksOnBytesThatCameInAgainAfterTheBudgetCutThem) {
  CoreBuilder core = SmallCore();
  PutRow(core, kNoteHoles, 0,
         HoleRow{kHeap, kHeap + 0x10, HoleReason::kBudget, 0, {}, 1});
  const Verdict verdict = Verify(core.Build());
  EXPECT_EQ(Joined(verdict.faults), "");
  EXPECT_NE(Joined(verdict.remarks).find("1 hole can be read all the same"),
            std::string::npos);
}

TEST(VerifyTest, SkipsNoteTypesAndLongerRowsOfLaterVersions) {
  CoreBuilder core = SmallCore();
  core.own_notes.push_back({kNoteOwner, 0x4d430099, "something new"});
  NoteRowHeader header = {kFormatVersion, sizeof(TagRow) + 8, 1, 0};
  TagRow row = {};
  row.id = 9;
  row.name[0] = 'x';
  core.OwnNote(kNoteTags).desc = BytesOf(header) + BytesOf(row) + "newfield";
  EXPECT_EQ(Joined(Verify(core.Build()).faults), "");
}

TEST(VerifyTest, AcceptsAStaticProgramWithoutModules) {
  CoreBuilder core = SmallCore();
  Put(&core.At("data").bytes, 0, uint64_t{DT_NULL});
  EXPECT_EQ(Joined(Verify(core.Build()).faults), "");
}

}  // namespace
}  // namespace minicore
