#include "dump/safe/syscalls.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

namespace minicore::safe {
namespace {

class SyscallsTest : public testing::Test {
 protected:
  SyscallsTest() {
    char name[] = "/tmp/syscalls_test.XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~SyscallsTest() { (void)!system(("rm -r " + directory_).c_str()); }
  std::string File(const char* name) { return directory_ + "/" + name; }

  std::string directory_;
};

TEST_F(SyscallsTest, AnswerNegativeErrnoAndLeaveErrnoAlone) {
  errno = 4711;
  EXPECT_EQ(Open("/no/such/file", O_RDONLY), -ENOENT);
  EXPECT_EQ(Close(-1), -EBADF);
  EXPECT_EQ(Write(-1, "x", 1), -EBADF);
  EXPECT_EQ(TgKill(GetPid(), 1 << 30, 0), -ESRCH);
  EXPECT_EQ(errno, 4711);
}

// The program may start others after a live dump.
TEST_F(SyscallsTest, DescriptorsAreClosedOnExec) {
  const int fd = Open("/proc/self/maps", O_RDONLY);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  Close(fd);
}

TEST_F(SyscallsTest, ReadsAndWritesAtOffsets) {
  const int fd = Open(File("f").c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(Write(fd, "hello", 5), 5);
  EXPECT_EQ(PWrite(fd, "J", 1, 0), 1);
  char text[8] = {};
  EXPECT_EQ(PRead(fd, text, 8, 0), 5);
  EXPECT_STREQ(text, "Jello");
  EXPECT_EQ(Truncate(fd, 2), 0);
  struct stat status;
  fstat(fd, &status);
  EXPECT_EQ(status.st_size, 2);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  Close(fd);
}

TEST_F(SyscallsTest, RenameNoReplaceNeverReplaces) {
  Close(Open(File("a").c_str(), O_WRONLY | O_CREAT, 0600));
  Close(Open(File("b").c_str(), O_WRONLY | O_CREAT, 0600));
  EXPECT_EQ(RenameNoReplace(AT_FDCWD, File("a").c_str(), File("b").c_str()),
            -EEXIST);
  EXPECT_EQ(RenameNoReplace(AT_FDCWD, File("a").c_str(), File("c").c_str()), 0);
  EXPECT_EQ(access(File("a").c_str(), F_OK), -1);
  EXPECT_EQ(access(File("c").c_str(), F_OK), 0);
}

TEST_F(SyscallsTest, KnowsWhoItIs) {
  EXPECT_EQ(GetPid(), getpid());
  EXPECT_EQ(GetTid(), gettid());
}

TEST_F(SyscallsTest, AFutexThatHasChangedIsNotWaitedFor) {
  const uint32_t word = 1;
  EXPECT_EQ(FutexWait(&word, 0, nullptr), -EAGAIN);
  const timespec none = {0, 1000};
  EXPECT_EQ(FutexWait(&word, 1, &none), -ETIMEDOUT);
}

TEST_F(SyscallsTest, TimeGoesForward) {
  const uint64_t before = NowMicroseconds();
  EXPECT_GE(NowMicroseconds(), before);
  EXPECT_GT(before, 0u);
}

uint64_t Mask() {
  uint64_t mask = 0;
  SigProcMask(SIG_BLOCK, nullptr, &mask);
  return mask;
}

TEST_F(SyscallsTest, TheSignalMaskIsSet) {
  const uint64_t before = Mask();
  SetSignalMask(before | 1u << (SIGUSR1 - 1));
  EXPECT_EQ(Mask(), before | 1u << (SIGUSR1 - 1));
  SetSignalMask(before);
  EXPECT_EQ(Mask(), before);
}

TEST_F(SyscallsTest, TheSignalMaskIsSetWithoutTheCallForIt) {
  static char memory[64 * 1024];
  const stack_t stack = {memory, 0, sizeof(memory)};
  stack_t old;
  ASSERT_EQ(sigaltstack(&stack, &old), 0);
  const uint64_t before = Mask();
  // What must be the same behind the call lives in registers and on the stack.
  for (uint64_t i = 0; i < 10; ++i) {
    const uint64_t wanted = before | i << (SIGUSR1 - 1);
    g_basic_calls_only = true;
    SetSignalMask(wanted);
    g_basic_calls_only = false;
    EXPECT_EQ(Mask(), wanted);
  }
  SetSignalMask(before);
  stack_t now;
  ASSERT_EQ(sigaltstack(&old, &now), 0);
  EXPECT_EQ(now.ss_sp, memory);
  EXPECT_EQ(now.ss_flags, 0);
}

}  // namespace
}  // namespace minicore::safe
