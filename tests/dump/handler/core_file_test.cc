#include "dump/handler/core_file.h"

#include <elf.h>
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "dump/safe/syscalls.h"
#include "tests/support/filter_call.h"

namespace minicore {
namespace {

class CoreFileTest : public testing::Test {
 protected:
  CoreFileTest() {
    char name[] = "/tmp/core_file_test.XXXXXX";
    directory_ = mkdtemp(name);
    crash_.pid = crash_.tid = getpid();
    crash_.signal = 11;
    strcpy(runtime_->facts.host, "box.example.org");
    runtime_->policy.fd = -1;
    prctl(PR_GET_NAME, comm_);
  }
  ~CoreFileTest() {
    prctl(PR_SET_NAME, comm_);
    (void)!system(("rm -r '" + directory_ + "'").c_str());
  }

  std::string Expand(const char* pattern, size_t size = kMaxPath) {
    char path[kMaxPath];
    const ProgramName name = NameNow(crash_.pid);
    const bool fits = ExpandPath(pattern, crash_, runtime_->facts, name, path, size);
    return fits ? path : "(no room)";
  }

  int Open(const std::string& path) {
    strcpy(runtime_->policy.path, path.c_str());
    return file_->Open(crash_, *runtime_, NameNow(crash_.pid),
                       safe::NowMicroseconds() + 10'000'000);
  }

  std::string In(const std::string& name) { return directory_ + "/" + name; }
  static bool Exists(const std::string& path) {
    struct stat status;
    return lstat(path.c_str(), &status) == 0;
  }
  static std::string Contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string directory_;
  char comm_[16] = {};
  CrashContext crash_;
  std::unique_ptr<Runtime> runtime_ = std::make_unique<Runtime>();
  std::unique_ptr<CoreFile> file_ = std::make_unique<CoreFile>();
};

TEST_F(CoreFileTest, ExpandsWhatCore5Names) {
  prctl(PR_SET_NAME, "worker");
  EXPECT_EQ(Expand("core.%p"), "core." + std::to_string(getpid()));
  EXPECT_EQ(Expand("%e-%s"), "worker-11");
  EXPECT_EQ(Expand("/var/%h/c"), "/var/box.example.org/c");
  EXPECT_EQ(Expand("100%%"), "100%");
  EXPECT_EQ(Expand("plain"), "plain");
  EXPECT_EQ(Expand(""), "");
  const long before = time(nullptr);
  const long named = atol(Expand("%t").c_str());
  EXPECT_GE(named, before);
  EXPECT_LE(named, time(nullptr));
}

// Linux 6.1, fs/coredump.c, format_corename().
TEST_F(CoreFileTest, ExpandsTheRestOfThemAsTheKernelDoes) {
  crash_.tid = 4711;
  EXPECT_EQ(Expand("%i"), "4711");
  EXPECT_EQ(Expand("%u.%g"), std::to_string(getuid()) + "." + std::to_string(getgid()));
  EXPECT_EQ(Expand("%d"), std::to_string(prctl(PR_GET_DUMPABLE)));
  char path[4096] = {};
  ASSERT_GT(readlink("/proc/self/exe", path, sizeof(path) - 1), 0);
  std::string program = path;
  EXPECT_EQ(Expand("%f"), program.substr(program.rfind('/') + 1));
  for (char& c : program) c = c == '/' ? '!' : c;
  EXPECT_EQ(Expand("%E"), program);
  rlimit limit;
  getrlimit(RLIMIT_CORE, &limit);
  EXPECT_EQ(Expand("%c"), std::to_string(limit.rlim_cur));
}

// In a namespace of its own a process has another number outside, which only the /proc of
// outside shows; here the innermost is the outermost.
TEST_F(CoreFileTest, ExpandsNumbersOfTheOutermostNamespaceThatCanBeSeen) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line) && line.rfind("NSpid:\t", 0) != 0) {
  }
  ASSERT_FALSE(line.empty());
  const std::string outermost = line.substr(7, line.find('\t', 7) - 7);
  EXPECT_EQ(Expand("%P"), outermost);
  EXPECT_EQ(Expand("%I"), outermost);
}

TEST_F(CoreFileTest, DropsWhatItDoesNotKnowAsTheKernelDoes) {
  EXPECT_EQ(Expand("a%qb"), "ab");
  EXPECT_EQ(Expand("a%"), "a");
  EXPECT_EQ(Expand("%"), "");
}

// A thread may name itself so that its core lands elsewhere.
TEST_F(CoreFileTest, AProgramsNameIsOneNameWhateverItHolds) {
  prctl(PR_SET_NAME, "../../etc/x");
  EXPECT_EQ(Expand("core.%e"), "core...!..!etc!x");
  prctl(PR_SET_NAME, "..");
  EXPECT_EQ(Expand("/var/crash/%e"), "/var/crash/!.");
  prctl(PR_SET_NAME, "");
  EXPECT_EQ(Expand("/var/crash/%e/core"), "/var/crash/!/core");
  prctl(PR_SET_NAME, ".");
  EXPECT_EQ(Expand("/var/crash/%e"), "/var/crash/!");
}

TEST_F(CoreFileTest, TheNameAtTheStartIsThatOfTheFileThatWasExecuted) {
  static const char kThen[] = "argument\0/usr/bin/a-program-of-a-long-name";
  char now[sizeof(kThen)] = {};
  ProcessFacts& facts = runtime_->facts;
  facts.auxv[0] = AT_EXECFN;
  facts.auxv[1] = reinterpret_cast<Address>(now + 9);
  facts.auxv_words = 2;
  EXPECT_STREQ(NameAtStart(facts).text, "") << "there is no copy";
  facts.strings = {reinterpret_cast<Address>(now), reinterpret_cast<Address>(now + 27)};
  facts.strings_copy = reinterpret_cast<Address>(kThen);
  EXPECT_STREQ(NameAtStart(facts).text, "a-program") << "what is behind it is not ours";
  facts.strings.end = reinterpret_cast<Address>(now + sizeof(now));
  EXPECT_STREQ(NameAtStart(facts).text, "a-program-of-a-") << "as long as the kernel's";
}

TEST_F(CoreFileTest, ANameThatDoesNotFitIsRefusedNotCut) {
  EXPECT_EQ(Expand("123456789", 10), "123456789");
  EXPECT_EQ(Expand("1234567890", 10), "(no room)");
  EXPECT_EQ(Expand("%h", 10), "(no room)");
}

TEST_F(CoreFileTest, HasItsNameOnlyWhenItIsWhole) {
  ASSERT_EQ(Open(In("c")), 0);
  EXPECT_EQ(file_->Append("12345", 5), 0);
  EXPECT_FALSE(Exists(In("c")));
  EXPECT_TRUE(Exists(In("c.part")));
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_FALSE(Exists(In("c.part")));
  EXPECT_EQ(Contents(In("c")), "12345");
  EXPECT_EQ(file_->path(), In("c"));
}

TEST_F(CoreFileTest, IsItsOwnersOnlyWhateverTheMask) {
  for (const mode_t mask : {0u, 022u, 0777u}) {
    const mode_t old = umask(mask);
    ASSERT_EQ(Open(In("c")), 0);
    umask(old);
    struct stat status;
    ASSERT_EQ(stat(In("c.part").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u) << std::oct << mask;
    umask(mask);
    ASSERT_EQ(file_->StartOver(), 0);
    umask(old);
    ASSERT_EQ(file_->Commit(), 0);
    ASSERT_EQ(stat(In("c").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u) << std::oct << mask;
    unlink(In("c").c_str());
  }
}

TEST_F(CoreFileTest, ADirectoryGetsTheDefaultName) {
  prctl(PR_SET_NAME, "worker");
  ASSERT_EQ(Open(directory_), 0);
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_TRUE(Exists(In("core.worker." + std::to_string(getpid()))));
}

TEST_F(CoreFileTest, ACoreThatIsThereStaysAndTheNextGetsANumber) {
  std::ofstream(In("c")) << "the first";
  ASSERT_EQ(Open(In("c")), 0);
  EXPECT_EQ(file_->Append("the second", 10), 0);
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_TRUE(file_->renumbered());
  EXPECT_EQ(file_->path(), In("c.1"));
  EXPECT_EQ(Contents(In("c")), "the first");
  EXPECT_EQ(Contents(In("c.1")), "the second");
  EXPECT_FALSE(Exists(In("c.part")));
}

TEST_F(CoreFileTest, WhenAHundredOfANameAreThereItSaysWhatToDo) {
  std::ofstream(In("c")) << "0";
  for (int i = 1; i < 99; ++i) std::ofstream(In("c." + std::to_string(i))) << i;
  ASSERT_EQ(Open(In("c")), 0);
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_EQ(file_->path(), In("c.99"));
  EXPECT_EQ(Open(In("c")), -EEXIST);
  EXPECT_STREQ(file_->reason(),
               "100 of that name are there: remove some, or put %p or %t into path");
  EXPECT_FALSE(Exists(In("c.part")));
}

TEST_F(CoreFileTest, ADeviceIsNoPlaceForACore) {
  EXPECT_EQ(Open("/dev/null"), -EINVAL);
  EXPECT_STREQ(file_->reason(), "it is a device");
  EXPECT_FALSE(Exists("/dev/null.part"));
}

// Anybody may have put it there, where everybody may write.
TEST_F(CoreFileTest, APipeOrSocketOfTheNameIsATakenName) {
  ASSERT_EQ(mkfifo(In("c").c_str(), 0600), 0);
  ASSERT_EQ(Open(In("c")), 0);
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_EQ(file_->path(), In("c.1"));
}

// In a directory that others can write to.
TEST_F(CoreFileTest, ALinkThatWaitsForTheCoreIsNotFollowed) {
  std::ofstream(In("victim")) << "precious";
  ASSERT_EQ(symlink(In("victim").c_str(), In("c.part").c_str()), 0);
  ASSERT_EQ(Open(In("c")), 0);
  EXPECT_EQ(file_->Append("core", 4), 0);
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_EQ(Contents(In("victim")), "precious");
  EXPECT_EQ(Contents(In("c")), "core");
}

TEST_F(CoreFileTest, ADirectoryThatEverybodyCanWriteIsRefusedUnlessItIsSticky) {
  chmod(directory_.c_str(), 0777);
  EXPECT_EQ(Open(In("core")), -EACCES);
  EXPECT_STREQ(file_->reason(),
               "everybody may write to its directory, which is not sticky");
  EXPECT_FALSE(Exists(In("core.part")));
  // By way of a link, too.
  const std::string link = directory_ + ".link";
  ASSERT_EQ(symlink(directory_.c_str(), link.c_str()), 0);
  EXPECT_EQ(Open(link + "/core"), -EACCES);
  unlink(link.c_str());
  chmod(directory_.c_str(), 01777);
  EXPECT_EQ(Open(In("core")), 0);
}

struct stat DirectoryOf(gid_t group, mode_t mode) {
  struct stat directory {};
  directory.st_uid = 1001;
  directory.st_gid = group;
  directory.st_mode = S_IFDIR | mode;
  return directory;
}

TEST_F(CoreFileTest, ADirectoryThatStrangersCanWriteIsRefusedUnlessItIsSticky) {
  constexpr gid_t kStrange = 0x7ffffff0;
  for (const gid_t group : {getgid(), kStrange}) {
    const auto refused = [group](mode_t mode) {
      return WhoElseWrites(DirectoryOf(group, mode)) != nullptr;
    };
    EXPECT_FALSE(refused(0700));
    EXPECT_FALSE(refused(0755));
    EXPECT_EQ(refused(0775), group == kStrange);
    EXPECT_EQ(refused(0770), group == kStrange);
    EXPECT_TRUE(refused(0777));
    EXPECT_FALSE(refused(01775));
    EXPECT_FALSE(refused(01777));
  }
}

TEST_F(CoreFileTest, AGroupThatTheProcessIsInIsNoStranger) {
  gid_t groups[NGROUPS_MAX];
  const int count = getgroups(NGROUPS_MAX, groups);
  ASSERT_GE(count, 0);
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(WhoElseWrites(DirectoryOf(groups[i], 0775)), nullptr) << groups[i];
  }
}

TEST_F(CoreFileTest, ADirectoryThatAnotherGroupCanWriteIsRefused) {
  if (chown(directory_.c_str(), 0, 65534) != 0) {
    GTEST_SKIP() << "SKIPPED: no other group can be had here";
  }
  chmod(directory_.c_str(), 0775);
  EXPECT_EQ(Open(In("core")), -EACCES);
  EXPECT_STREQ(file_->reason(),
               "another group may write to its directory, which is not sticky");
  EXPECT_FALSE(Exists(In("core.part")));
}

TEST_F(CoreFileTest, AProgramThatForbidsCoresHasNone) {
  runtime_->facts.dumpable = true;
  runtime_->facts.user = geteuid();
  runtime_->facts.group = getegid();
  EXPECT_EQ(Open(In("core")), 0);
  file_->Abandon();
  prctl(PR_SET_DUMPABLE, 0);
  EXPECT_EQ(Open(In("core")), -EPERM);
  EXPECT_STREQ(file_->reason(), "it may not be dumped (PR_SET_DUMPABLE)");
  runtime_->policy.fd = STDERR_FILENO;
  EXPECT_EQ(Open(In("core")), -EPERM);
  runtime_->policy.fd = -1;
  // But setuid() makes the kernel forbid them, of which the program knows nothing.
  ++runtime_->facts.user;
  EXPECT_EQ(Open(In("core")), 0);
  file_->Abandon();
  // Nor may who starts a program with more rights have its memory, unless that says so.
  runtime_->facts.dumpable = false;
  EXPECT_EQ(Open(In("core")), -EPERM);
  prctl(PR_SET_DUMPABLE, 1);
  EXPECT_EQ(Open(In("core")), 0);
}

constexpr uid_t kUser = 65534;
constexpr int kNoRights = 2;  // exit status: the test can't be made here

// Of the program `owner`, whom `kUser` has started.
bool RunAs(uid_t owner) {
  return setresgid(kUser, owner, owner) == 0 && setresuid(kUser, owner, owner) == 0;
}

// Opens, writes and names a core. Returns: 0 or -errno.
int Dump(const std::string& path) {
  auto runtime = std::make_unique<Runtime>();
  auto file = std::make_unique<CoreFile>();
  runtime->policy.fd = -1;
  runtime->facts.dumpable = true;
  strcpy(runtime->policy.path, path.c_str());
  const AsRealUser real_user;
  int error = file->Open(CrashContext(), *runtime, {}, UINT64_MAX);
  if (error == 0) error = file->Append("core", 4);
  if (error == 0) error = file->Commit();
  if (error != 0) file->Abandon();
  return error;
}

// Exit status of `body` in a child.
template <typename Body>
int StatusOf(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

// By a filter that is older than renameat2().
TEST_F(CoreFileTest, AFileThatMayNotBeRenamedIsLinked) {
  const int status = StatusOf([&] {
    if (!FilterCall(SYS_renameat2, SECCOMP_RET_ERRNO | EPERM)) return 1;
    return -Dump(In("core"));
  });
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Exists(In("core")));
  EXPECT_FALSE(Exists(In("core.part")));
  unlink(In("core").c_str());
}

class PrivilegedTest : public CoreFileTest {
 protected:
  // A directory of the user's own, and one that he can't reach.
  PrivilegedTest() {
    chmod(directory_.c_str(), 0755);
    mkdir(In("his").c_str(), 0700);
    mkdir(In("mine").c_str(), 0700);
    (void)!chown(In("his").c_str(), kUser, kUser);
  }
};

// Root's, and another user's.
constexpr uid_t kOwners[] = {0, 65533};

TEST_F(PrivilegedTest, TheFileIsTheUsersAndLiesWhereHeMayWrite) {
  for (const uid_t owner : kOwners) {
    const int status = StatusOf([&] {
      if (!RunAs(owner)) return kNoRights;
      if (Dump(In("mine/core")) != -EACCES) return 3;
      return Dump(In("his/core")) == 0 ? 0 : 1;
    });
    if (status == kNoRights) GTEST_SKIP() << "SKIPPED: no other user can be had here";
    EXPECT_EQ(status, 0) << owner;
    struct stat made;
    ASSERT_EQ(stat(In("his/core").c_str(), &made), 0) << owner;
    EXPECT_EQ(made.st_uid, kUser);
    EXPECT_EQ(made.st_gid, kUser);
    EXPECT_EQ(made.st_mode & 07777, 0600u);
    EXPECT_FALSE(Exists(In("his/core.part")));
    unlink(In("his/core").c_str());
  }
}

// What the user can put in the place of his directory must not be named or removed with
// more rights than his.
TEST_F(PrivilegedTest, NothingIsNamedOrRemovedBeyondTheUsersReach) {
  const std::string link = In("his/way");
  std::ofstream(In("mine/core.part")) << "precious";
  const int status = StatusOf([&] {
    if (!RunAs(0)) return kNoRights;
    auto runtime = std::make_unique<Runtime>();
    auto file = std::make_unique<CoreFile>();
    runtime->policy.fd = -1;
    strcpy(runtime->policy.path, (link + "/core").c_str());
    if (symlink(In("his").c_str(), link.c_str()) != 0) return 3;
    const AsRealUser real_user;
    if (file->Open(CrashContext(), *runtime, {}, UINT64_MAX) != 0) return 4;
    unlink(link.c_str());
    if (symlink(In("mine").c_str(), link.c_str()) != 0) return 5;
    return file->Commit() == -EACCES ? 0 : 1;
  });
  if (status == kNoRights) GTEST_SKIP() << "SKIPPED: no other user can be had here";
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Exists(In("mine/core.part")));
  EXPECT_FALSE(Exists(In("mine/core")));
}

TEST_F(PrivilegedTest, TheProcessIsAsItWasBehindIt) {
  const int status = StatusOf([&] {
    if (!RunAs(65533)) return kNoRights;
    prctl(PR_SET_DUMPABLE, 1);
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    if (Dump(In("his/core")) != 0) return 1;
    int signal = 0;
    prctl(PR_GET_PDEATHSIG, &signal);
    if (signal != SIGHUP || prctl(PR_GET_DUMPABLE) != 1) return 3;
    return syscall(SYS_setfsuid, -1) == 65533 && syscall(SYS_setfsgid, -1) == 65533 ? 0 : 4;
  });
  if (status == kNoRights) GTEST_SKIP() << "SKIPPED: no other user can be had here";
  EXPECT_EQ(status, 0);
}

// As dump/preopen.cc leaves it.
void FillPreopened(const std::string& directory, Preopened* preopened) {
  preopened->pid = getpid();
  strcpy(preopened->path, (directory + "/core").c_str());
  strcpy(preopened->name, "core");
  strcpy(preopened->part_name, "core.part");
  preopened->directory = open(directory.c_str(), O_RDONLY | O_DIRECTORY);
  preopened->file = openat(preopened->directory, "core.part",
                           O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  struct stat status;
  ASSERT_EQ(fstat(preopened->file, &status), 0);
  preopened->device = status.st_dev;
  preopened->inode = status.st_ino;
}

TEST_F(CoreFileTest, WhatWasOpenedInAdvanceIsUsed) {
  FillPreopened(directory_, &runtime_->preopened);
  EXPECT_EQ(Open(In("other")), 0);
  EXPECT_EQ(file_->Append("advance", 7), 0);
  EXPECT_EQ(file_->Commit(), 0);
  EXPECT_EQ(Contents(In("core")), "advance");
  EXPECT_FALSE(Exists(In("other")));
}

// The process has fewer rights than when it opened it.
TEST_F(PrivilegedTest, WhatWasOpenedInAdvanceAndMayNotBeNamedIsLeftAsItIs) {
  const int status = StatusOf([&] {
    FillPreopened(In("mine"), &runtime_->preopened);
    crash_.pid = getpid();
    runtime_->facts.dumpable = true;
    if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0) {
      return kNoRights;
    }
    if (Open(In("other")) != 0 || file_->Append("advance", 7) != 0) return 1;
    if (file_->Commit() != 0 || !file_->unnamed()) return 3;
    return file_->path() == In("mine/core.part") ? 0 : 4;
  });
  if (status == kNoRights) GTEST_SKIP() << "SKIPPED: no other user can be had here";
  EXPECT_EQ(status, 0);
  EXPECT_EQ(Contents(In("mine/core.part")), "advance");
}

TEST_F(CoreFileTest, WhatWasOpenedInAdvanceIsNotUsedOnceOthersCanReachIt) {
  FillPreopened(directory_, &runtime_->preopened);
  const std::string part = In("core.part");
  const auto uses_another = [&](const char* how) {
    EXPECT_EQ(Open(In("other")), 0) << how;
    EXPECT_EQ(file_->Append("another", 7), 0);
    EXPECT_EQ(file_->Commit(), 0);
    EXPECT_EQ(Contents(In("other")), "another") << how;
    EXPECT_FALSE(Exists(In("core")));
    unlink(In("other").c_str());
  };
  ASSERT_EQ(link(part.c_str(), In("planted").c_str()), 0);
  uses_another("a second name");
  unlink(In("planted").c_str());
  chmod(part.c_str(), 0640);
  uses_another("readable for the group");
  chmod(part.c_str(), 0600);
  unlink(part.c_str());
  uses_another("no name at all");
}

TEST_F(CoreFileTest, AnAbandonedFileLeavesNothing) {
  ASSERT_EQ(Open(In("c")), 0);
  EXPECT_EQ(file_->Append("123", 3), 0);
  file_->Abandon();
  EXPECT_FALSE(Exists(In("c")));
  EXPECT_FALSE(Exists(In("c.part")));
}

TEST_F(CoreFileTest, StartsOverWithAnEmptyFile) {
  ASSERT_EQ(Open(In("c")), 0);
  EXPECT_EQ(file_->Append("123", 3), 0);
  ASSERT_EQ(file_->StartOver(), 0);
  EXPECT_EQ(file_->written(), 0u);
  EXPECT_EQ(file_->Append("45", 2), 0);
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_EQ(Contents(In("c")), "45");
  // Nobody else's file is put in the place of another.
  const int fd = open(In("log").c_str(), O_RDWR | O_CREAT, 0600);
  runtime_->policy.fd = fd;
  ASSERT_EQ(Open("ignored"), 0);
  EXPECT_NE(file_->StartOver(), 0);
  EXPECT_TRUE(Exists(In("log")));
  close(fd);
}

TEST_F(CoreFileTest, SaysWhyItCannotBeOpened) {
  EXPECT_EQ(Open(In("no/such/directory/c")), -ENOENT);
  EXPECT_EQ(Open(In(std::string(300, 'n'))), -ENAMETOOLONG);
}

TEST_F(CoreFileTest, OverwritesAndShortens) {
  ASSERT_EQ(Open(In("c")), 0);
  EXPECT_TRUE(file_->seekable());
  EXPECT_EQ(file_->Append("0123456789", 10), 0);
  EXPECT_EQ(file_->written(), 10u);
  EXPECT_EQ(file_->WriteAt(2, "ab", 2), 0);
  EXPECT_EQ(file_->Truncate(6), 0);
  ASSERT_EQ(file_->Commit(), 0);
  EXPECT_EQ(Contents(In("c")), "01ab45");
}

// fd= may stand behind something that is there already.
TEST_F(CoreFileTest, WritesToADescriptorFromWhereItStands) {
  const int fd = open(In("log").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(write(fd, "header", 6), 6);
  runtime_->policy.fd = fd;
  ASSERT_EQ(Open("ignored"), 0);
  EXPECT_EQ(file_->Append("0123456789", 10), 0);
  EXPECT_EQ(file_->WriteAt(0, "X", 1), 0);
  EXPECT_EQ(file_->Truncate(4), 0);
  EXPECT_EQ(file_->Commit(), 0);
  EXPECT_EQ(Contents(In("log")), "headerX123");
  EXPECT_EQ(fcntl(fd, F_GETFD), 0) << "not ours to close";
  close(fd);
  EXPECT_FALSE(Exists("ignored"));
}

TEST_F(CoreFileTest, AnAbandonedDescriptorStaysItsOwners) {
  const int fd = open(In("log").c_str(), O_RDWR | O_CREAT, 0600);
  runtime_->policy.fd = fd;
  ASSERT_EQ(Open("ignored"), 0);
  file_->Abandon();
  EXPECT_GE(fcntl(fd, F_GETFD), 0);
  EXPECT_TRUE(Exists(In("log")));
  close(fd);
}

TEST_F(CoreFileTest, APipeIsNotSeekable) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  runtime_->policy.fd = ends[1];
  ASSERT_EQ(Open("ignored"), 0);
  EXPECT_FALSE(file_->seekable());
  EXPECT_EQ(file_->Append("12345", 5), 0);
  char text[8] = {};
  EXPECT_EQ(read(ends[0], text, sizeof(text)), 5);
  EXPECT_STREQ(text, "12345");
  close(ends[0]);
  close(ends[1]);
}

TEST_F(CoreFileTest, AFullPipeThatNobodyReadsEndsInTime) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  runtime_->policy.fd = ends[1];
  ASSERT_EQ(file_->Open(crash_, *runtime_, {}, safe::NowMicroseconds() + 50'000),
            0);
  const std::string much(1 << 20, 'x');
  EXPECT_LT(file_->Append(much.data(), much.size()), 0);
  EXPECT_LT(file_->written(), much.size());
  close(ends[0]);
  close(ends[1]);
}

// Signals of faults may be sent meanwhile, as many as one likes.
TEST_F(CoreFileTest, SignalsDoNotEndAWriteThatWaits) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer holds signals back until a call of libc's";
#endif
  static std::atomic<int> signals;
  signals = 0;
  struct sigaction count {};
  struct sigaction old;
  count.sa_handler = [](int) { signals.fetch_add(1); };
  sigaction(SIGUSR1, &count, &old);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  runtime_->policy.fd = ends[1];
  ASSERT_EQ(Open("ignored"), 0);
  const std::string much(1 << 20, 'x');
  const pthread_t writer = pthread_self();
  std::thread reader([&] {
    while (signals < 50) {
      pthread_kill(writer, SIGUSR1);
      sched_yield();
    }
    std::string all(much.size(), ' ');
    for (size_t at = 0; at < all.size();) {
      const ssize_t got = read(ends[0], &all[at], all.size() - at);
      ASSERT_GT(got, 0);
      at += static_cast<size_t>(got);
    }
  });
  EXPECT_EQ(file_->Append(much.data(), much.size()), 0);
  reader.join();
  sigaction(SIGUSR1, &old, nullptr);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(CoreFileTest, AFullDiskSaysHowFarItCame) {
  const int fd = open("/dev/full", O_WRONLY);
  if (fd < 0) GTEST_SKIP() << "no /dev/full here";
  runtime_->policy.fd = fd;
  ASSERT_EQ(Open("ignored"), 0);
  EXPECT_EQ(file_->Append("12345", 5), -ENOSPC);
  EXPECT_EQ(file_->written(), 0u);
  close(fd);
}

TEST_F(CoreFileTest, AClosedDescriptorIsAnErrorNotAFile) {
  runtime_->policy.fd = 987;
  const int error = Open("ignored");
  EXPECT_TRUE(error < 0 || file_->Append("x", 1) < 0);
}

}  // namespace
}  // namespace minicore
