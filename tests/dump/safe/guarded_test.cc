#include "dump/safe/guarded.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "tests/support/fault_handler.h"

namespace minicore::safe {
namespace {

// Three pages, of which the middle one can't be read.
class GuardedTest : public testing::Test {
 protected:
  GuardedTest() {
    InstallFaultHandler();
    pages_ = static_cast<uint8_t*>(mmap(nullptr, 3 * kPageSize,
                                        PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t i = 0; i < 3 * kPageSize; ++i)
      pages_[i] = static_cast<uint8_t>(i * 7);
    mprotect(pages_ + kPageSize, kPageSize, PROT_NONE);
  }
  ~GuardedTest() { munmap(pages_, 3 * kPageSize); }

  Address at(size_t offset) {
    return reinterpret_cast<Address>(pages_ + offset);
  }

  uint8_t* pages_;
  uint8_t copy_[3 * kPageSize] = {};
};

TEST_F(GuardedTest, CopiesWhatIsThere) {
  EXPECT_EQ(GuardedCopy(copy_, at(0), kPageSize), kPageSize);
  EXPECT_EQ(memcmp(copy_, pages_, kPageSize), 0);
  EXPECT_EQ(GuardedCopy(copy_, at(0), 0), 0u);
}

TEST_F(GuardedTest, CopiesUpToTheByteThatIsGone) {
  for (size_t before : {1u, 7u, 8u, 63u, 4096u}) {
    memset(copy_, 0, sizeof(copy_));
    EXPECT_EQ(GuardedCopy(copy_, at(kPageSize - before), 2 * kPageSize),
              before);
    EXPECT_EQ(memcmp(copy_, pages_ + kPageSize - before, before), 0);
    EXPECT_EQ(copy_[before], 0);
  }
}

TEST_F(GuardedTest, CopiesNothingOfWhatIsGone) {
  EXPECT_EQ(GuardedCopy(copy_, at(kPageSize), 8), 0u);
  EXPECT_EQ(GuardedCopy(copy_, at(2 * kPageSize - 1), 8), 0u);
  EXPECT_EQ(GuardedCopy(copy_, 0, 8), 0u);
}

// A general protection fault instead of a page fault: the kernel knows no
// address.
TEST_F(GuardedTest, SurvivesAddressesThatNobodyCanHave) {
  EXPECT_EQ(GuardedCopy(copy_, 0x3e444544494c453c, 8), 0u);
  EXPECT_EQ(GuardedCopy(copy_, ~Address{0} - 3, 8), 0u);
  EXPECT_EQ(GuardedCopy(copy_, 0xffff800000000000, 8), 0u);
}

// SIGBUS: a file that was cut while it was mapped.
TEST_F(GuardedTest, SurvivesAFileThatBecameShorter) {
  char path[] = "/tmp/guarded_test.XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  unlink(path);
  ASSERT_EQ(ftruncate(fd, 2 * kPageSize), 0);
  void* const file = mmap(nullptr, 2 * kPageSize, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(file, MAP_FAILED);
  ASSERT_EQ(ftruncate(fd, kPageSize), 0);
  EXPECT_EQ(GuardedCopy(copy_, reinterpret_cast<Address>(file), 2 * kPageSize),
            kPageSize);
  munmap(file, 2 * kPageSize);
  close(fd);
}

TEST_F(GuardedTest, ReadsAWholeValueOrNone) {
  uint64_t value = 0;
  EXPECT_TRUE(GuardedRead(at(kPageSize - 8), &value));
  EXPECT_EQ(memcmp(&value, pages_ + kPageSize - 8, 8), 0);
  EXPECT_FALSE(GuardedRead(at(kPageSize - 4), &value));
}

struct Stage {
  volatile int reached = 0;
  volatile int* fault_at = nullptr;
  size_t copied = 1;
  Address unreadable = 0;
};

void RunStage(void* argument) {
  Stage& stage = *static_cast<Stage*>(argument);
  stage.reached = 1;
  if (stage.unreadable != 0) {
    uint8_t byte;
    stage.copied = GuardedCopy(&byte, stage.unreadable, 1);
    stage.reached = 2;
  }
  if (stage.fault_at != nullptr) *stage.fault_at = 1;
  stage.reached = 3;
}

TEST_F(GuardedTest, AStageThatEndsIsTrue) {
  Stage stage;
  EXPECT_TRUE(RunGuarded(&RunStage, &stage));
  EXPECT_EQ(stage.reached, 3);
}

TEST_F(GuardedTest, AStageThatFaultsKeepsWhatItHadStored) {
  Stage stage;
  stage.fault_at = reinterpret_cast<volatile int*>(at(kPageSize));
  EXPECT_FALSE(RunGuarded(&RunStage, &stage));
  EXPECT_EQ(stage.reached, 1);
}

TEST_F(GuardedTest, AFaultInACopyDoesNotEndTheStage) {
  Stage stage;
  stage.unreadable = at(kPageSize);
  EXPECT_TRUE(RunGuarded(&RunStage, &stage));
  EXPECT_EQ(stage.reached, 3);
  EXPECT_EQ(stage.copied, 0u);
}

TEST_F(GuardedTest, StagesFollowEachOther) {
  for (int i = 0; i < 3; ++i) {
    Stage bad;
    bad.fault_at = reinterpret_cast<volatile int*>(at(kPageSize));
    EXPECT_FALSE(RunGuarded(&RunStage, &bad));
    Stage good;
    EXPECT_TRUE(RunGuarded(&RunStage, &good));
  }
}

// The registers that a function must preserve survive a stage that is abandoned
// in the middle of a function that uses them all.
TEST_F(GuardedTest, AnAbandonedStageLeavesItsCallersRegistersAlone) {
  uint64_t words[6] = {1, 2, 3, 4, 5, 6};
  const auto fault = [](void* address) {
    asm volatile(
        "mov $-1, %%rbx\n mov $-1, %%r12\n mov $-1, %%r13\n mov $-1, %%r14\n"
        "mov $-1, %%r15\n movl $1, (%0)\n"
        :
        : "r"(address)
        : "rbx", "r12", "r13", "r14", "r15", "memory");
  };
  for (uint64_t& word : words) word *= static_cast<uint64_t>(getpid());
  uint64_t a = words[0], b = words[1], c = words[2], d = words[3], e = words[4];
  asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
  EXPECT_FALSE(RunGuarded(fault, pages_ + kPageSize));
  asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
  EXPECT_EQ(a, words[0]);
  EXPECT_EQ(b, words[1]);
  EXPECT_EQ(c, words[2]);
  EXPECT_EQ(d, words[3]);
  EXPECT_EQ(e, words[4]);
}

TEST_F(GuardedTest, AFaultOutsideBothIsNotItsOwn) {
  EXPECT_EXIT(*reinterpret_cast<volatile int*>(at(kPageSize)) = 1,
              testing::KilledBySignal(SIGSEGV), "");
  ucontext_t context{};
  context.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(&RunStage);
  EXPECT_FALSE(FixupFault(&context));
}

TEST_F(GuardedTest, RunsAFunctionOnAnotherStack) {
  const size_t bytes = 64 * 1024;
  auto* const stack =
      static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  struct Seen {
    Address local;
    Address aligned;
  } seen{};
  // An odd end: the ABI's 16-byte alignment is the callee's, not the caller's,
  // to see to.
  RunOnStack(
      stack + bytes - 3,
      [](void* argument) {
        alignas(16) volatile char local[16] = {};
        static_cast<Seen*>(argument)->local = reinterpret_cast<Address>(&local);
        static_cast<Seen*>(argument)->aligned =
            reinterpret_cast<Address>(__builtin_frame_address(0)) % 16;
      },
      &seen);
  EXPECT_GT(seen.local, reinterpret_cast<Address>(stack));
  EXPECT_LT(seen.local, reinterpret_cast<Address>(stack + bytes));
  EXPECT_EQ(seen.aligned, 0u);
  munmap(stack, bytes);
}

}  // namespace
}  // namespace minicore::safe
