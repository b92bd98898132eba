// The view of a core that other tests ask, and the file path of the reader
// below it.

#include "tests/support/core_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>

#include "tests/support/core_builder.h"

namespace minicore {
namespace {

std::string Written(const std::string& bytes) {
  const std::string path = testing::TempDir() + "core";
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(CoreFileTest, AnswersFromAFileWhatWasPutIntoIt) {
  const CoreFile core(Written(SmallCore().Build()));
  EXPECT_TRUE(core.Faults().empty());
  ASSERT_EQ(core.threads().size(), 2u);
  EXPECT_EQ(core.threads()[1].tid, kOtherTid);
  EXPECT_EQ(core.Memory(kStack, 4), "ssss");
  EXPECT_EQ(core.Value<uint64_t>(kLinker), 1u);
  EXPECT_EQ(core.Report("freeze_us"), "120");
  EXPECT_EQ(core.Report("nonsense"), "");
}

TEST(CoreFileTest, TellsWhatIsNotInTheCore) {
  const CoreFile core(Written(SmallCore().Build()));
  EXPECT_TRUE(core.Has(kHeap, 0x40));
  EXPECT_FALSE(core.Has(kHeap, 0x41));
  EXPECT_FALSE(core.Has(UINT64_MAX - 2, 8));
  EXPECT_THROW(core.Memory(0x1000, 1), std::runtime_error);
}

TEST(CoreFileTest, CountsBytesAcrossTheBordersOfItsReads) {
  CoreBuilder builder = SmallCore();
  std::string& bytes = builder.At("heap").bytes;
  bytes.resize(3 << 20, 'h');
  builder.At("heap").memory_bytes = bytes.size();
  const size_t offset = builder.Build().find("hhhh<ELIDED>") - 0x24;
  for (size_t at : {size_t{1} << 20, size_t{2} << 20}) {
    bytes.replace(at - offset - 3, 8, "needle!!");
  }
  const CoreFile core(Written(builder.Build()));
  EXPECT_EQ(core.Occurrences("needle!!"), 2u);
  EXPECT_EQ(core.Occurrences("absent"), 0u);
  EXPECT_THROW(core.Occurrences(""), std::runtime_error);
}

TEST(CoreFileTest, RefusesWhatIsNoCoreWithAReason) {
  EXPECT_THROW(CoreFile("/no/such/core"), std::runtime_error);
  EXPECT_THROW(CoreFile(Written("")), std::runtime_error);
  EXPECT_THROW(CoreFile("/"), std::runtime_error);
  // Nobody will ever write to this one: opening it must not hang.
  const std::string fifo = testing::TempDir() + "fifo";
  unlink(fifo.c_str());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_THROW(CoreFile{fifo}, std::runtime_error);
}

}  // namespace
}  // namespace minicore
