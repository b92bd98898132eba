#include "dump/handler/roots.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

// Real memory in the map, where a test puts what glibc would have.
class RootsTest : public testing::Test {
 protected:
  RootsTest() : process_(std::make_unique<MadeUpProcess>()) {
    InstallFaultHandler();
    memory_ =
        reinterpret_cast<Address>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ThreadLayout& layout = process_->runtime.facts.threads;
    layout.pthread_bytes = 2304;
    layout.dtv_offset = 24;
    layout.known = true;
  }
  ~RootsTest() override { munmap(reinterpret_cast<void*>(memory_), kBytes); }

  MadeUpProcess& process() { return *process_; }
  ThreadLayout& layout() { return process_->runtime.facts.threads; }
  static uint64_t& Word(Address at) { return *reinterpret_cast<uint64_t*>(at); }

  // The next `bytes` of the memory, as one mapping.
  AddressRange Map(ByteCount bytes, const char* permissions = "rw-p",
                   const char* name = "", unsigned inode = 0) {
    const AddressRange range = {memory_ + used_, memory_ + used_ + bytes};
    used_ += bytes + kPageSize;
    process_->Map(range, permissions, name, inode);
    return range;
  }

  // A thread that isn't the first one, on a stack of its own, with its control
  // block at `pointer`.
  void AddThread(Address pointer) {
    Thread thread;
    thread.tid = 4712;
    thread.registers.rsp = Map(kPageSize).begin + 1024;
    thread.registers.fs_base = pointer;
    ASSERT_TRUE(process_->threads.Push(thread));
  }

  void Collect() {
    roots_ = Roots();
    CollectRoots(process_->crash, process_->runtime, process_->map, images_,
                 process_->threads, process_->arena, roots_, process_->outcome);
  }

  bool Kept(Address address) const {
    for (const Piece& piece : roots_.pieces) {
      if (piece.range.Contains(address)) return true;
    }
    return false;
  }

  bool IsMetadata(Address address) const {
    for (Address other : roots_.metadata) {
      if (other == address) return true;
    }
    return false;
  }

  static constexpr ByteCount kBytes = 16 << 20;
  std::unique_ptr<MadeUpProcess> process_;
  Images images_;
  Roots roots_;
  Address memory_;
  ByteCount used_ = 0;
};

TEST_F(RootsTest, AControlBlockIsKeptAndItsDtvFoundWhereTheLayoutSays) {
  const AddressRange mapping = Map(64 * kPageSize);
  const Address pointer = mapping.begin + 32 * kPageSize;
  const Address dtv = process().heap.Allocate(512);
  Word(pointer) = pointer;
  Word(pointer + 24) = dtv + 16;
  AddThread(pointer);
  Collect();
  EXPECT_TRUE(Kept(pointer));
  EXPECT_TRUE(Kept(pointer + 2303));
  EXPECT_TRUE(IsMetadata(dtv + 16));
  EXPECT_FALSE(Kept(mapping.end - 1));
  EXPECT_FALSE(Kept(mapping.begin));
}

TEST_F(RootsTest,
       AControlBlockInAFormThatNobodyKnowsIsKeptWithItsSmallMapping) {
  for (bool known : {true, false}) {
    const AddressRange mapping = Map(64 * kPageSize);
    const AddressRange large = Map(65 * kPageSize);
    for (const AddressRange& range : {mapping, large}) {
      const Address pointer = range.begin + 32 * kPageSize;
      Word(pointer) = known ? pointer + 8 : pointer;
      AddThread(pointer);
    }
    layout().known = known;
    Collect();
    EXPECT_TRUE(Kept(mapping.begin));
    EXPECT_TRUE(Kept(mapping.end - 1));
    EXPECT_FALSE(Kept(large.end - 1));
  }
}

TEST_F(RootsTest, ADtvOutsideTheHeapIsKeptWithItsSmallMapping) {
  const AddressRange mapping = Map(64 * kPageSize);
  const AddressRange other = Map(2 * kPageSize);
  Word(mapping.begin) = mapping.begin;
  Word(mapping.begin + 24) = other.begin + 16;
  AddThread(mapping.begin);
  Collect();
  EXPECT_TRUE(Kept(other.begin + 16));
  EXPECT_TRUE(Kept(other.end - 1));
}

TEST_F(RootsTest, OfALargeMappingWhatIsAroundADtvIsKept) {
  const AddressRange mapping = Map(64 * kPageSize);
  const AddressRange other = Map(1024 * kPageSize);
  const Address dtv = other.begin + 512 * kPageSize - 64;
  Word(mapping.begin) = mapping.begin;
  Word(mapping.begin + 24) = dtv;
  AddThread(mapping.begin);
  Collect();
  EXPECT_TRUE(Kept(dtv));
  EXPECT_TRUE(Kept(dtv + kPageSize));
  EXPECT_FALSE(Kept(other.begin));
  EXPECT_FALSE(Kept(other.end - 1));
}

// What a register or a stack points to is looked at closely, even when it is
// freed.
TEST_F(RootsTest, ThreadLocalsAtTheEndOfAStackAreNoFrames) {
  images_.Reserve(process().arena, 1);
  Image image;
  image.tls_bytes = 256;
  ASSERT_TRUE(images_.Push(image));
  const AddressRange mapping = Map(64 * kPageSize);
  Thread thread;
  thread.tid = 4712;
  thread.registers.fs_base = mapping.end - kPageSize;
  thread.registers.rsp = mapping.end - 4 * kPageSize;
  Word(thread.registers.fs_base) = thread.registers.fs_base;
  ASSERT_TRUE(process().threads.Push(thread));
  Collect();
  ASSERT_EQ(roots_.stacks.size(), 1u);
  EXPECT_EQ(roots_.stacks[0].end, thread.registers.fs_base - 256);
  ASSERT_EQ(roots_.thread_data.size(), 1u);
  EXPECT_TRUE(roots_.thread_data[0].Contains(thread.registers.fs_base - 256));
  EXPECT_TRUE(Kept(thread.registers.fs_base - 8));
}

TEST_F(RootsTest, TheMiddleOfALongStackIsKnownAndAHole) {
  const AddressRange mapping = Map(128 * kPageSize);
  Thread thread;
  thread.tid = 4712;
  thread.registers.fs_base = mapping.end - kPageSize;
  thread.registers.rsp = mapping.begin + 8 * kPageSize;
  ASSERT_TRUE(process().threads.Push(thread));
  process().runtime.policy.stack_bytes = 4 * kPageSize;
  Collect();
  const Address middle = mapping.begin + 60 * kPageSize;
  EXPECT_FALSE(Kept(middle));
  EXPECT_TRUE(roots_.left_out_stacks.Contains(middle));
  EXPECT_TRUE(process().Hole(middle, HoleReason::kStackLimit));
  EXPECT_FALSE(roots_.left_out_stacks.Contains(thread.registers.rsp));
  EXPECT_FALSE(roots_.left_out_stacks.Contains(mapping.begin)) << "nothing is alive there";
}

TEST_F(RootsTest, EveryListOfModulesWithThreadLocalsIsFoundAndACircleEnds) {
  const AddressRange data = Map(kPageSize);
  const Address lists[] = {process().heap.Allocate(1024),
                           process().heap.Allocate(1024),
                           process().heap.Allocate(1024)};
  Word(data.begin + 64) = lists[0];
  Word(lists[0] + 8) = lists[1];
  Word(lists[1] + 8) = lists[2];
  layout().slot_list = data.begin + 64;
  layout().slot_next_offset = 8;
  Collect();
  for (Address list : lists) EXPECT_TRUE(IsMetadata(list));
  Word(lists[2] + 8) = lists[0];
  Collect();
  EXPECT_LE(roots_.metadata.size(), 100u);
}

TEST_F(RootsTest, AListThatCannotBeReadEnds) {
  layout().slot_list = 0x1000;
  Collect();
  EXPECT_TRUE(roots_.metadata.empty());
}

// Debuggers list modules, threads and thread-locals from it.
TEST_F(RootsTest, WithoutRoomForStaticDataTheDynamicSectionsAndListsAreKept) {
  const AddressRange data = Map(16 * kPageSize);
  images_.Reserve(process().arena, 1);
  Image image;
  image.base = data.begin - kPageSize;
  image.extent = {image.base, data.end};
  image.data[0] = data;
  image.data_ranges = 1;
  image.dynamic = {data.begin + 5 * kPageSize + 0x108, data.begin + 5 * kPageSize + 0x2f8};
  ASSERT_TRUE(images_.Push(image));
  __builtin_memset(reinterpret_cast<void*>(data.begin), 1, data.size());
  layout().slot_list = data.begin + 9 * kPageSize + 64;
  Word(layout().slot_list) = 0;
  process().runtime.policy.static_bytes = 0;
  Collect();
  EXPECT_TRUE(Kept(image.dynamic.begin));
  EXPECT_TRUE(Kept(image.dynamic.end - 1));
  EXPECT_TRUE(Kept(layout().slot_list));
  EXPECT_FALSE(Kept(data.begin));
  EXPECT_FALSE(Kept(data.end - 1));
  EXPECT_TRUE(process().Hole(data.begin, HoleReason::kStaticLimit));
}

// Code that was patched, data that was protected: what the file says of it is not true.
class ModifiedTextTest : public RootsTest {
 protected:
  // A library of 16 pages, of which pages 3, 4 and 9 are not the file's.
  ModifiedTextTest() {
    text_ = Map(16 * kPageSize, "r-xp", "/lib/a.so", 7);
    const int fd = memfd_create("a.so", 0);
    EXPECT_EQ(ftruncate(fd, 16 * kPageSize), 0);
    void* const memory = reinterpret_cast<void*>(text_.begin);
    EXPECT_EQ(mmap(memory, text_.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                   fd, 0),
              memory);
    close(fd);
    for (const unsigned page : {3, 4, 9}) Word(Page(page)) = 4711;
    EXPECT_EQ(*reinterpret_cast<volatile char*>(Page(5)), 0);  // there, but the file's
    mprotect(memory, text_.size(), PROT_READ);
    images_.Reserve(process().arena, 1);
    Image image;
    image.base = text_.begin;
    image.extent = text_;
    EXPECT_TRUE(images_.Push(image));
  }
  Address Page(unsigned page) const { return text_.begin + page * kPageSize; }

  // The content of the piece that holds the page, but for the image's first.
  const Piece* PieceOf(unsigned page) const {
    const Piece* found = nullptr;
    for (const Piece& piece : roots_.pieces) {
      if (piece.kind == SegmentKind::kHeaders || !piece.range.Contains(Page(page))) continue;
      EXPECT_EQ(found, nullptr) << page;
      found = &piece;
    }
    return found;
  }

  AddressRange text_;
};

TEST_F(ModifiedTextTest, IsKeptAndOnlyTheRestIsReadFromTheFile) {
  Collect();
  for (unsigned page = 0; page < 16; ++page) {
    const bool modified = page == 3 || page == 4 || page == 9;
    ASSERT_NE(PieceOf(page), nullptr) << page;
    EXPECT_EQ(PieceOf(page)->content, modified ? Content::kMemory : Content::kAbsent)
        << page;
  }
}

TEST_F(ModifiedTextTest, IsMissingAndNotReadFromTheFileWithoutRoom) {
  process().runtime.policy.static_bytes = kPageSize;
  Collect();
  EXPECT_EQ(PieceOf(3)->content, Content::kMemory);
  EXPECT_EQ(PieceOf(4), nullptr);
  EXPECT_EQ(PieceOf(9), nullptr);
  EXPECT_TRUE(process().Hole(Page(4), HoleReason::kStaticLimit));
  EXPECT_EQ(PieceOf(10)->content, Content::kAbsent);
}

TEST_F(ModifiedTextTest, OfDataThatIsReadOnlyNowIsKeptAsData) {
  images_[0].data[0] = {Page(8), Page(10)};
  images_[0].data_ranges = 1;
  process().runtime.policy.static_bytes = kPageSize;
  Collect();
  EXPECT_EQ(PieceOf(7)->content, Content::kAbsent);
  EXPECT_EQ(PieceOf(9), nullptr) << "what static_bytes leaves out";
  EXPECT_TRUE(process().Hole(Page(9), HoleReason::kStaticLimit));
}

// So they may stay where anything else may be a secret.
TEST_F(ModifiedTextTest, HeadersAreTheFormatsOnlyInAPageThatIsTheFiles) {
  const auto header_of = [this](unsigned page) {
    images_[0].base = Page(page);
    images_[0].extent = {Page(page), text_.end};
    images_[0].format[0] = {Page(page), Page(page) + 64};
    images_[0].format[1] = {Page(page) + 64, Page(page) + 400};
    images_[0].format_ranges = 2;
  };
  header_of(0);
  Collect();
  ASSERT_EQ(roots_.formats.size(), 2u);
  EXPECT_EQ(roots_.formats[1], (AddressRange{Page(0) + 64, Page(0) + 400}));
  header_of(3);  // written to
  Collect();
  EXPECT_EQ(roots_.formats.size(), 0u);
}

TEST_F(RootsTest, ModuleDataBehindTheDeadlineIsListed) {
  const AddressRange data = Map(64 * kPageSize);
  images_.Reserve(process().arena, 1);
  Image image;
  image.base = data.begin - kPageSize;
  image.extent = {image.base, data.end};
  image.data[0] = data;
  image.data_ranges = 1;
  ASSERT_TRUE(images_.Push(image));
  __builtin_memset(reinterpret_cast<void*>(data.begin), 1, data.size());
  Collect();
  EXPECT_TRUE(Kept(data.begin));
  EXPECT_TRUE(Kept(data.end - 1));
  process().outcome.past_deadline = true;
  Collect();
  EXPECT_FALSE(Kept(data.begin));
  EXPECT_TRUE(process().Hole(data.begin, HoleReason::kDeadline));
  EXPECT_TRUE(process().Hole(data.end - 1, HoleReason::kDeadline));
}

}  // namespace
}  // namespace minicore
