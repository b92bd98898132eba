#include "dump/handler/elf_core_writer.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

// Memory whose pieces a test chooses, and the file that is made of them.
class ElfCoreWriterTest : public testing::Test {
 protected:
  ElfCoreWriterTest() {
    InstallFaultHandler();
    memory_ = reinterpret_cast<Address>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    process_.Map({memory_, memory_ + kBytes});
    for (size_t i = 0; i < sizeof(secret_); ++i) {
      secret_[i] = static_cast<char>(0x80 | i * 37);
    }
    process_.runtime.policy.fd = fd_ = memfd_create("core", 0);
  }
  ~ElfCoreWriterTest() override {
    munmap(reinterpret_cast<void*>(memory_), kBytes);
    close(fd_);
  }

  void Keep(AddressRange range, SegmentKind kind) {
    ASSERT_TRUE(process_.roots.pieces.Push(
        {range, kind, FileGroup::kModuleData, Content::kMemory, false, 0}));
  }
  char* At(Address address) { return reinterpret_cast<char*>(address); }

  // The segments' bytes, one after the other.
  std::string Write() {
    process_.redactor.AddSecret({reinterpret_cast<Address>(secret_),
                                 reinterpret_cast<Address>(secret_) + sizeof(secret_)},
                                HoleReason::kSecret, 0, true);
    process_.redactor.Build(process_.arena);
    DumpPlan plan;
    BuildPlan(process_.runtime, process_.map, process_.roots, process_.scan,
              process_.redactor, process_.arena, plan, process_.outcome);
    NoteBuffer notes;
    notes.Reserve(process_.arena, 256);
    EXPECT_NE(notes.AddZeros("TEST", 1, 16), nullptr);
    LayOut(notes.size(), 0, plan);
    CoreFile file;
    EXPECT_EQ(file.Open(process_.crash, process_.runtime, {}, ~uint64_t{0}), 0);
    ElfCoreWriter writer(plan, process_.redactor, file, nullptr, process_.outcome);
    EXPECT_EQ(writer.WriteContents(notes, process_.arena), 0);
    const uint64_t begin = plan.segments[plan.file_order[0]].file_offset;
    std::string bytes(plan.file_bytes - begin, '\0');
    EXPECT_EQ(pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(begin)),
              static_cast<ssize_t>(bytes.size()));
    return bytes;
  }

  static std::string Markers(size_t size) {
    std::string markers;
    while (markers.size() < size) markers += kElidedMarker;
    return markers.substr(0, size);
  }

  static constexpr ByteCount kBytes = 1 << 20;
  MadeUpProcess process_;
  Address memory_;
  int fd_;
  alignas(16) char secret_[48];
};

TEST_F(ElfCoreWriterTest, AWordOfASecretIsElidedInAStackThatTouchesOtherMemory) {
  Keep({memory_, memory_ + 4096}, SegmentKind::kModuleData);
  Keep({memory_ + 4096, memory_ + 8192}, SegmentKind::kStack);
  Keep({memory_ + 8192, memory_ + 12288}, SegmentKind::kModuleData);
  for (Address at : {memory_ + 1024, memory_ + 5120, memory_ + 9216}) {
    memcpy(At(at), secret_ + 8, 8);
  }
  const std::string bytes = Write();
  ASSERT_EQ(bytes.size(), 12288u);
  EXPECT_EQ(bytes.substr(1024, 8), std::string(secret_ + 8, 8)) << "not a stack's";
  EXPECT_EQ(bytes.substr(5120, 8), Markers(8));
  EXPECT_EQ(bytes.substr(9216, 8), std::string(secret_ + 8, 8)) << "not a stack's";
}

// 24 bytes on each side would be found alone, 8 would not.
TEST_F(ElfCoreWriterTest, ACopyAcrossTheEndOfAStackIsElidedWhole) {
  Keep({memory_, memory_ + 4096}, SegmentKind::kModuleData);
  Keep({memory_ + 4096, memory_ + 8192}, SegmentKind::kStack);
  Keep({memory_ + 8192, memory_ + 8208}, SegmentKind::kModuleData);
  Keep({memory_ + 8208, memory_ + 12288}, SegmentKind::kStack);
  memcpy(At(memory_ + 4096 - 9), secret_, 40);
  memcpy(At(memory_ + 8192 - 10), secret_, 36);
  const std::string bytes = Write();
  EXPECT_EQ(bytes.substr(4096 - 8, 38), Markers(38));
  EXPECT_EQ(bytes[4096 - 9], '>');
  EXPECT_EQ(bytes.substr(8192 - 8, 32), Markers(32));
  EXPECT_EQ(bytes.find(std::string(secret_, 4)), std::string::npos);
  EXPECT_EQ(bytes.find(std::string(secret_ + 32, 4)), std::string::npos);
}

TEST_F(ElfCoreWriterTest, APageThatCannotBeReadIsOneHole) {
  Keep({memory_, memory_ + 4096}, SegmentKind::kModuleData);
  Keep({memory_ + 4096, memory_ + 8192}, SegmentKind::kStack);
  Keep({memory_ + 8192, memory_ + 200 * 1024}, SegmentKind::kModuleData);
  mprotect(At(memory_ + 4096), 4096, PROT_NONE);
  mprotect(At(memory_ + 72 * 1024), 4096, PROT_NONE);  // where a block begins
  const std::string bytes = Write();
  EXPECT_EQ(bytes.substr(4096, 4096), Markers(4096));
  const auto reason = static_cast<int>(HoleReason::kUnreadable);
  EXPECT_EQ(process_.outcome.hole_bytes[reason], 8192u);
  EXPECT_EQ(process_.outcome.hole_count[reason], 2u);
}

}  // namespace
}  // namespace minicore
