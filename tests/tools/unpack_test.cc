// This test's own image and libc's, as a core made with text=all would hold them.

#include "tools/unpack.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "tests/support/core_builder.h"
#include "tools/rebuild_image.h"

namespace minicore {
namespace {

constexpr char kOwnFile[] = "/proc/self/exe";
constexpr char kLibc[] = "/lib/x86_64-linux-gnu/libc.so.6";

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

struct MadeUpImage {
  uint64_t base = kImage;
  std::vector<BuiltSegment> segments;
};

// As if nothing in it were relocated.
MadeUpImage ReadImage(const std::string& path) {
  MadeUpImage image;
  const std::string file = Contents(path);
  Elf64_Ehdr header;
  memcpy(&header, file.data(), sizeof(header));
  const uint64_t bias = header.e_type == ET_DYN ? kImage : 0;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr load;
    memcpy(&load, &file[header.e_phoff + i * sizeof(load)], sizeof(load));
    if (load.p_type != PT_LOAD) continue;
    BuiltSegment segment;
    segment.address = bias + load.p_vaddr;
    segment.bytes = file.substr(load.p_offset, load.p_filesz);
    segment.memory_bytes = load.p_filesz;
    segment.flags = load.p_flags;
    if (image.segments.empty()) image.base = segment.address;
    image.segments.push_back(segment);
  }
  return image;
}

std::string FileNote(uint64_t base, const std::string& path) {
  const uint64_t head[] = {1, 4096, base, base + 4096, 0};
  return std::string(reinterpret_cast<const char*>(head), sizeof(head)) + path +
         '\0';
}

class UnpackTest : public testing::Test {
 protected:
  UnpackTest() : image_(ReadImage(kOwnFile)) {}

  std::string Core(const std::string& path) const {
    CoreBuilder builder;
    builder.segments = image_.segments;
    builder.notes.push_back({"CORE", NT_FILE, FileNote(image_.base, path)});
    return builder.Build();
  }

  static std::optional<UnpackedImage> Rebuild(const std::string& core, uint64_t base,
                                              const std::string& debug_directory = "") {
    std::string error;
    const auto reader = CoreReader::FromBytes(core, &error);
    if (reader == nullptr) return std::nullopt;
    return RebuildImage(*reader, base, debug_directory);
  }

  // Unpacks into a directory of its own. Returns: the exit status.
  int UnpackTo(const std::string& directory, const std::string& path) const {
    const std::string core = testing::TempDir() + "core";
    std::ofstream(core, std::ios::binary) << Core(path);
    std::filesystem::remove_all(directory);
    return Unpack(core, directory);
  }

  MadeUpImage image_;
};

// By their names.
std::map<std::string, Elf64_Shdr> SectionsOf(const std::string& file) {
  Elf64_Ehdr header;
  memcpy(&header, file.data(), sizeof(header));
  EXPECT_LE(header.e_shoff + header.e_shnum * sizeof(Elf64_Shdr), file.size());
  std::vector<Elf64_Shdr> sections(header.e_shnum);
  memcpy(sections.data(), &file[header.e_shoff], sections.size() * sizeof(Elf64_Shdr));
  std::map<std::string, Elf64_Shdr> by_name;
  for (const Elf64_Shdr& section : sections) {
    by_name[&file[sections[header.e_shstrndx].sh_offset + section.sh_name]] = section;
    if (section.sh_type != SHT_NULL && section.sh_type != SHT_NOBITS) {
      EXPECT_LE(section.sh_offset + section.sh_size, file.size());
    }
  }
  return by_name;
}

TEST_F(UnpackTest, AnImageHasTheSectionsThatDebuggersLookFor) {
  const auto image = Rebuild(Core("/bin/x"), image_.base);
  ASSERT_TRUE(image.has_value());
  EXPECT_TRUE(image->whole);
  auto by_name = SectionsOf(image->bytes);
  for (const char* name :
       {".text", ".data", ".eh_frame", ".eh_frame_hdr", ".dynamic"}) {
    EXPECT_GT(by_name[name].sh_size, 0u) << name;
  }
  EXPECT_NE(by_name[".text"].sh_flags & SHF_EXECINSTR, 0u);
}

TEST_F(UnpackTest, WithADebugFileEverySectionIsWhereItWas) {
  image_ = ReadImage(kLibc);
  const auto image = Rebuild(Core(kLibc), image_.base, "/usr/lib/debug");  // libc6-dbg
  ASSERT_TRUE(image.has_value());
  auto rebuilt = SectionsOf(image->bytes);
  size_t loaded = 0;
  for (const auto& [name, section] : SectionsOf(Contents(kLibc))) {
    if ((section.sh_flags & SHF_ALLOC) == 0) continue;
    ++loaded;
    ASSERT_EQ(rebuilt.count(name), 1u) << name;
    const Elf64_Shdr& found = rebuilt[name];
    EXPECT_EQ(found.sh_addr, section.sh_addr) << name;
    EXPECT_EQ(found.sh_size, section.sh_size) << name;
    constexpr uint64_t kFlags = SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR | SHF_TLS;
    EXPECT_EQ(found.sh_flags & kFlags, section.sh_flags & kFlags) << name;
    EXPECT_EQ(found.sh_type == SHT_NOBITS, section.sh_type == SHT_NOBITS) << name;
    if (section.sh_type != SHT_NOBITS) {
      EXPECT_EQ(found.sh_offset, section.sh_offset) << name;
    }
  }
  EXPECT_GT(loaded, 20u);
  EXPECT_EQ(rebuilt[".dynsym"].sh_type, SHT_DYNSYM);
  EXPECT_EQ(rebuilt[".note.gnu.build-id"].sh_type, SHT_NOTE);
}

// One would be relocated by the distance from the segment to its .text.
TEST_F(UnpackTest, WithoutADebugFileNothingLetsAnotherOneBeTaken) {
  image_ = ReadImage(kLibc);
  const auto image = Rebuild(Core(kLibc), image_.base, testing::TempDir());
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(SectionsOf(image->bytes).count(".note.gnu.build-id"), 0u);
}

TEST_F(UnpackTest, ADebugFileOfAnotherImageIsNotTaken) {
  image_ = ReadImage(kLibc);
  Elf64_Phdr last;
  std::string& first = image_.segments[0].bytes;
  const size_t at = sizeof(Elf64_Ehdr) + 3 * sizeof(last);  // a PT_LOAD
  memcpy(&last, &first[at], sizeof(last));
  last.p_memsz += 4096;
  Put(&first, at, last);
  const auto image = Rebuild(Core(kLibc), image_.base, "/usr/lib/debug");
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(SectionsOf(image->bytes).count(".note.gnu.build-id"), 0u);
}

TEST_F(UnpackTest, CodeIsWhatItWas) {
  const auto image = Rebuild(Core("/bin/x"), image_.base);
  ASSERT_TRUE(image.has_value());
  const std::string real = Contents(kOwnFile);
  Elf64_Ehdr header;
  memcpy(&header, real.data(), sizeof(header));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr load;
    memcpy(&load, &real[header.e_phoff + i * sizeof(load)], sizeof(load));
    if (load.p_type != PT_LOAD || (load.p_flags & PF_X) == 0 ||
        load.p_offset == 0)
      continue;
    EXPECT_EQ(image->bytes.compare(load.p_offset, load.p_filesz, real,
                                   load.p_offset, load.p_filesz),
              0);
  }
}

TEST_F(UnpackTest, WhatIsNotInTheCoreIsNotPassedOffAsIt) {
  for (BuiltSegment& segment : image_.segments) {
    if ((segment.flags & PF_X) == 0) continue;
    segment.bytes.resize(4096);
    segment.memory_bytes = 4096;
  }
  const auto image = Rebuild(Core("/bin/x"), image_.base);
  EXPECT_TRUE(!image.has_value() || !image->whole);
  EXPECT_FALSE(Rebuild(Core("/bin/x"), image_.base + 4096).has_value());
  EXPECT_FALSE(Rebuild(Core("/bin/x"), 0x1000).has_value());
}

TEST_F(UnpackTest, AnyDamageEndsOrderly) {
  std::mt19937 random(1);
  const std::string good = Core("/bin/x");
  const size_t at = good.find(image_.segments[0].bytes.substr(0, 64));
  ASSERT_NE(at, std::string::npos);
  for (int turn = 0; turn < 60; ++turn) {
    std::string core = good;
    for (int i = 0; i < 8; ++i) {
      // In the headers, or anywhere: tables of the dynamic linker, frame
      // information.
      const size_t where = i % 2 == 0 ? at + random() % 1024
                                      : at + random() % (good.size() - at);
      core[where] = static_cast<char>(random());
    }
    (void)Rebuild(core, image_.base);
  }
}

TEST_F(UnpackTest, FilesLieBelowTheDirectoryOnly) {
  const std::string root = testing::TempDir() + "root";
  EXPECT_EQ(UnpackTo(root, "/usr/bin/x"), 0);
  EXPECT_TRUE(std::filesystem::exists(root + "/usr/bin/x"));
  for (const char* path :
       {"/../escaped", "/usr/../../escaped", "../escaped", "escaped"}) {
    EXPECT_EQ(UnpackTo(root, path), 2) << path;
    EXPECT_FALSE(std::filesystem::exists(testing::TempDir() + "escaped"))
        << path;
    EXPECT_FALSE(std::filesystem::exists(root)) << path;
  }
}

TEST_F(UnpackTest, ADirectoryThatIsThereIsLeftAlone) {
  const std::string root = testing::TempDir() + "root";
  EXPECT_EQ(UnpackTo(root, "/usr/bin/x"), 0);
  EXPECT_EQ(Unpack(testing::TempDir() + "core", root), 2);
  EXPECT_EQ(Unpack("/no/such/core", root + "2"), 2);
}

TEST_F(UnpackTest, AFileThatCannotBeWrittenWholeIsAFailureAndIsNotLeftBehind) {
  const std::string root = testing::TempDir() + "root";
  ASSERT_EQ(UnpackTo(root, "/usr/bin/x"), 0);  // there is a core now
  std::filesystem::remove_all(root);
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit small = {64 << 10, before.rlim_max};
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  testing::internal::CaptureStderr();
  setrlimit(RLIMIT_FSIZE, &small);
  const int status = Unpack(testing::TempDir() + "core", root);
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "minicore: " + root + "/usr/bin/x cannot be written: File too large.\n");
  EXPECT_EQ(status, 2);
  EXPECT_FALSE(std::filesystem::exists(root + "/usr/bin/x"));
}

TEST_F(UnpackTest, WhereThereIsNothingToUnpackItSaysWhyAndMakesNoDirectory) {
  const std::string root = testing::TempDir() + "root";
  const std::string core = testing::TempDir() + "core";
  const auto unpack = [&](const CoreBuilder& builder) {
    std::ofstream(core, std::ios::binary) << builder.Build();
    std::filesystem::remove_all(root);
    testing::internal::CaptureStderr();
    EXPECT_EQ(Unpack(core, root), 1);
    EXPECT_FALSE(std::filesystem::exists(root));
    return testing::internal::GetCapturedStderr();
  };
  CoreBuilder builder = SmallCore();
  EXPECT_EQ(unpack(builder),
            "minicore: " + core + " holds no whole program or library; a core made with the "
            "option text=all does.\n");
  builder.own_notes.clear();
  EXPECT_EQ(unpack(builder),
            "minicore: " + core + " was written by another program, and holds no whole "
            "program or library.\n");
}

TEST_F(UnpackTest, FilesAreNoNewerThanTheCore) {
  const std::string root = testing::TempDir() + "root";
  ASSERT_EQ(UnpackTo(root, "/usr/bin/x"), 0);
  struct stat core;
  struct stat file;
  ASSERT_EQ(stat((testing::TempDir() + "core").c_str(), &core), 0);
  ASSERT_EQ(stat((root + "/usr/bin/x").c_str(), &file), 0);
  EXPECT_EQ(file.st_mtim.tv_sec, core.st_mtim.tv_sec);
}

}  // namespace
}  // namespace minicore
