#include "dump/handler/images.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <link.h>

#include <cstring>
#include <memory>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

// The first page of an ELF image, in memory that really is there.
class ImagesTest : public testing::Test {
 protected:
  ImagesTest() {
    InstallFaultHandler();
    memset(page_, 0, sizeof(page_));
    memcpy(header().e_ident, ELFMAG, SELFMAG);
    header().e_ident[EI_CLASS] = ELFCLASS64;
    header().e_machine = EM_X86_64;
    header().e_type = ET_DYN;
    header().e_phoff = sizeof(Elf64_Ehdr);
    header().e_phentsize = sizeof(Elf64_Phdr);
    header().e_phnum = 4;
    segment(0).p_type = PT_LOAD;
    segment(0).p_flags = PF_R;
    segment(0).p_memsz = 0x1800;
    segment(1).p_type = PT_LOAD;
    segment(1).p_flags = PF_R | PF_W;
    segment(1).p_vaddr = 0x3e10;
    segment(1).p_memsz = 0x2200;
    segment(2).p_type = PT_DYNAMIC;
    segment(2).p_vaddr = 0x3e20;
    segment(2).p_memsz = 0x1d0;
    segment(3).p_type = PT_TLS;
    segment(3).p_memsz = 0x30;
    segment(3).p_align = 8;
  }

  Elf64_Ehdr& header() { return *reinterpret_cast<Elf64_Ehdr*>(page_); }
  Elf64_Phdr& segment(unsigned i) {
    return reinterpret_cast<Elf64_Phdr*>(page_ + sizeof(Elf64_Ehdr))[i];
  }
  Address base() const { return reinterpret_cast<Address>(page_); }

  alignas(4096) static uint8_t page_[16 * 4096];
};
alignas(4096) uint8_t ImagesTest::page_[16 * 4096];

TEST_F(ImagesTest, ReadsWhereAnImageHasItsParts) {
  Image image;
  ASSERT_TRUE(ReadImage(base(), &image));
  EXPECT_EQ(image.base, base());
  EXPECT_EQ(image.bias, base());
  EXPECT_EQ(image.extent, (AddressRange{base(), base() + 0x7000}));
  ASSERT_EQ(image.data_ranges, 1u);
  EXPECT_EQ(image.data[0], (AddressRange{base() + 0x3000, base() + 0x7000}));
  EXPECT_EQ(image.dynamic, (AddressRange{base() + 0x3e20, base() + 0x3ff0}));
  EXPECT_EQ(image.tls_bytes, 0x38u);
}

TEST_F(ImagesTest, KnowsWhatOfTheFirstPageIsTheFormats) {
  header().e_phnum = 40;
  for (unsigned i = 4; i < 40; ++i) {
    segment(i).p_type = PT_NOTE;
    segment(i).p_offset = 4096 - 24;
    segment(i).p_filesz = i == 5 ? ~uint64_t{0} : 36;
  }
  segment(6).p_offset = 4096;
  segment(7).p_offset = ~uint64_t{0};
  Image image;
  ASSERT_TRUE(ReadImage(base(), &image));
  ASSERT_EQ(image.format_ranges, kMaxFormatRanges);
  EXPECT_EQ(image.format[0], (AddressRange{base(), base() + 64}));
  EXPECT_EQ(image.format[1], (AddressRange{base() + 64, base() + 64 + 40 * 56}));
  for (unsigned i = 2; i < kMaxFormatRanges; ++i) {
    EXPECT_EQ(image.format[i], (AddressRange{base() + 4096 - 24, base() + 4096})) << i;
  }
}

TEST_F(ImagesTest, AProgramLinkedToAFixedAddressHasItsBias) {
  header().e_type = ET_EXEC;
  segment(0).p_vaddr = 0x400000;
  segment(1).p_vaddr = 0x403e10;
  Image image;
  ASSERT_TRUE(ReadImage(base(), &image));
  EXPECT_EQ(image.bias, base() - 0x400000);
  EXPECT_EQ(image.data[0].begin, base() + 0x3000);
}

TEST_F(ImagesTest, OtherFilesAreNoImages) {
  Image image;
  EXPECT_FALSE(ReadImage(0x10, &image));
  const auto refused = [&] {
    Image none;
    return !ReadImage(base(), &none);
  };
  header().e_ident[0] = 'x';
  EXPECT_TRUE(refused());
  header().e_ident[0] = ELFMAG0;
  header().e_machine = EM_386;
  EXPECT_TRUE(refused());
  header().e_machine = EM_X86_64;
  header().e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_TRUE(refused());
  header().e_ident[EI_CLASS] = ELFCLASS64;
  header().e_type = ET_CORE;
  EXPECT_TRUE(refused());
  header().e_type = ET_REL;
  EXPECT_TRUE(refused());
  header().e_type = ET_DYN;
  header().e_phentsize = 32;
  EXPECT_TRUE(refused());
  header().e_phentsize = sizeof(Elf64_Phdr);
  header().e_phnum = kMaxProgramHeaders + 1;
  EXPECT_TRUE(refused());
  header().e_phnum = 0;
  EXPECT_TRUE(refused());
  header().e_phnum = 4;
  EXPECT_FALSE(refused());
}

TEST_F(ImagesTest, HeadersThatAreNotThereAreNotFollowed) {
  header().e_phoff = ~0ull - 64;
  Image image;
  EXPECT_FALSE(ReadImage(base(), &image));
  header().e_phoff = 1ull << 46;
  EXPECT_FALSE(ReadImage(base(), &image));
}

TEST_F(ImagesTest, MoreDataSegmentsThanItHasRoomForAreLeftOut) {
  header().e_phnum = 40;
  for (unsigned i = 1; i < 40; ++i) {
    segment(i).p_type = PT_LOAD;
    segment(i).p_flags = PF_R | PF_W;
    segment(i).p_vaddr = i * 0x10000;
    segment(i).p_memsz = 0x1000;
  }
  Image image;
  ASSERT_TRUE(ReadImage(base(), &image));
  EXPECT_EQ(image.data_ranges, kMaxDataRanges);
}

// Ranges that wrap would read as small, or as nothing.
TEST_F(ImagesTest, SizesThatWrapSaturate) {
  segment(1).p_memsz = ~0ull;
  Image image;
  ASSERT_TRUE(ReadImage(base(), &image));
  for (unsigned i = 0; i < image.data_ranges; ++i) {
    EXPECT_GT(image.data[i].end, image.data[i].begin);
  }
  EXPECT_GE(image.extent.end, image.data[0].begin);
}

TEST_F(ImagesTest, FindsTheImageOfAnAddress) {
  MadeUpProcess process;
  process.Map({base(), base() + 0x2000}, "r--p", "/lib/a.so", 7);
  process.Map({base() + 0x3000, base() + 0x7000}, "rw-p", "/lib/a.so", 7);
  Images images;
  FindImages(process.map, process.arena, images);
  ASSERT_EQ(images.size(), 1u);
  EXPECT_EQ(images[0].data_ranges, 1u);
  EXPECT_EQ(FindImage(images, base()), &images[0]);
  EXPECT_EQ(FindImage(images, base() + 0x6fff), &images[0]);
  EXPECT_EQ(FindImage(images, base() + 0x7000), nullptr);
  EXPECT_EQ(FindImage(images, base() - 1), nullptr);
  EXPECT_EQ(FindImage(images, 0), nullptr);
}

// A symbolizer maps a library to read it: its data is not where its headers
// say.
TEST_F(ImagesTest, AFileThatIsOnlyReadHasNoData) {
  MadeUpProcess process;
  process.Map({base(), base() + 0x2000}, "r--p", "/lib/a.so", 7);
  process.Map({base() + 0x3000, base() + 0x7000}, "rw-p", "", 0);
  Images images;
  FindImages(process.map, process.arena, images);
  ASSERT_EQ(images.size(), 1u);
  EXPECT_EQ(images[0].data_ranges, 0u);
}

TEST_F(ImagesTest, AnonymousAndSharedMemoryIsNoImage) {
  MadeUpProcess process;
  process.Map({base(), base() + 0x1000}, "r--p");
  process.Map({base() + 0x1000, base() + 0x2000}, "r--s", "/tmp/x", 8);
  Images images;
  FindImages(process.map, process.arena, images);
  EXPECT_TRUE(images.empty());
}

// Of this process, all that ld.so knows.
TEST_F(ImagesTest, FindsEveryModuleOfThisProcess) {
  MadeUpProcess process;
  MemoryMap map;
  ReadMemoryMap(process.arena, -1, map, process.outcome);
  Images images;
  FindImages(map, process.arena, images);
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* argument) {
        const auto& found = *static_cast<Images*>(argument);
        for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
          const auto& part = info->dlpi_phdr[i];
          if (part.p_type != PT_LOAD ||
              strstr(info->dlpi_name, "vdso") != nullptr) {
            continue;
          }
          const Image* image = FindImage(found, info->dlpi_addr + part.p_vaddr);
          EXPECT_NE(image, nullptr) << info->dlpi_name;
          if (image == nullptr) continue;
          EXPECT_EQ(image->bias, info->dlpi_addr);
        }
        return 0;
      },
      &images);
}

}  // namespace
}  // namespace minicore
