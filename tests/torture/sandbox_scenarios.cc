// Crashes of programs that have locked themselves in.

#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <vector>

#include "tests/e2e/facts.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {
namespace {

// Lets `calls` through and answers all others with `action`; for all threads.
void InstallFilter(const std::vector<int>& calls, uint32_t action,
                   bool allow_listed = true) {
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (size_t i = 0; i < calls.size(); ++i) {
    filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                              static_cast<uint32_t>(calls[i]),
                              static_cast<uint8_t>(calls.size() - i), 0));
  }
  const uint32_t allow = SECCOMP_RET_ALLOW;
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, allow_listed ? action : allow));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, allow_listed ? allow : action));
  const sock_fprog program = {static_cast<unsigned short>(filter.size()),
                              filter.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Fail("no_new_privs");
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
              &program) != 0) {
    Fail("seccomp");
  }
}

uint32_t ActionNamed(const std::string& name) {
  if (name == "kill") return SECCOMP_RET_KILL_PROCESS;
  if (name == "trap") return SECCOMP_RET_TRAP;
  return SECCOMP_RET_ERRNO | EPERM;
}

const std::vector<int> kStrictest = {
    SYS_read, SYS_write, SYS_exit, SYS_exit_group, SYS_futex, SYS_rt_sigreturn};

// read, write, exit, futex, sigreturn, and nothing else.
void StrictFilter(const Arguments& arguments) {
  const int threads = arguments.size() > 1 ? atoi(arguments[1].c_str()) : 0;
  StartBystanders(threads);
  NameTheCrasher();
  InstallFilter(kStrictest, ActionNamed(arguments.at(0)));
  CrashHere();
}

// The same in a process with so many groups that their list is longer than what stands
// before and behind it, after dumps without a filter; and eight threads fault together.
void StrictFilterWithManyGroups(const Arguments&) {
  std::vector<gid_t> groups(2000);
  for (size_t i = 0; i < groups.size(); ++i) groups[i] = static_cast<gid_t>(1000000000 + i);
  if (setgroups(groups.size(), groups.data()) != 0) Fail("setgroups");
  static std::atomic<bool> go{false};
  for (int i = 0; i < 8; ++i) {
    victim::StartThread(("crasher" + std::to_string(i)).c_str(), [] {
      victim::CountAsParked();
      while (!go) {
      }
      CrashHere();
    });
  }
  victim::AwaitParked(8);
  InstallFilter(kStrictest, SECCOMP_RET_KILL_PROCESS);
  go = true;
  for (;;) {
  }
}

// What Docker forbids by default and a dumper might want, and some more.
void ContainerFilter(const Arguments&) {
  StartBystanders(2);
  NameTheCrasher();
  InstallFilter(
      {SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_clone3,
       SYS_kcmp, SYS_perf_event_open, SYS_userfaultfd, SYS_pidfd_getfd},
      SECCOMP_RET_ERRNO | EPERM, false);
  CrashHere();
}

// No signal can be sent, and no action changed; one comes from outside.
void NoSignalsFilter(const Arguments&) {
  StartBystanders(2);
  NameTheCrasher();
  InstallFilter({SYS_rt_sigaction, SYS_rt_tgsigqueueinfo, SYS_rt_sigqueueinfo,
                 SYS_tgkill, SYS_tkill, SYS_kill},
                SECCOMP_RET_ERRNO | EPERM, false);
  victim::AnnounceReady();
  victim::Park();
}

// No signal can be sent: no_sending_filter ACTION
void NoSendingFilter(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  InstallFilter({SYS_rt_tgsigqueueinfo, SYS_rt_sigqueueinfo, SYS_tgkill, SYS_tkill, SYS_kill},
                ActionNamed(arguments.at(0)), false);
  CrashHere();
}

void Chroot(const Arguments& arguments) {
  const int threads = arguments.empty() ? 2 : atoi(arguments[0].c_str());
  StartBystanders(threads);
  NameTheCrasher();
  if (mkdir("root", 0755) != 0 || chroot("root") != 0 || chdir("/") != 0)
    Fail("chroot");
  CrashHere();
}

void ChangeUser(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  if (chmod(".", 01777) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
    Fail("setuid");
  if (!arguments.empty() && arguments[0] == "no_new_privs") {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  }
  CrashHere();
}

// A program with more rights than the user who has started it; the directory is his.
void MoreRights(const Arguments&) {
  constexpr uid_t kUser = 65534;
  constexpr uid_t kOwner = 65533;
  StartBystanders(2);
  NameTheCrasher();
  if (chown(".", kUser, kUser) != 0 || setresgid(kUser, kOwner, kOwner) != 0 ||
      setresuid(kUser, kOwner, kOwner) != 0) {
    Fail("setresuid");
  }
  CrashHere();
}

void NotDumpable(const Arguments&) {
  StartBystanders(2);
  NameTheCrasher();
  if (chmod(".", 01777) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
    Fail("setuid");
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  CrashHere();
}

constexpr Scenario kScenarios[] = {
    {"strict_filter", StrictFilter},
    {"strict_filter_many_groups", StrictFilterWithManyGroups},
    {"container_filter", ContainerFilter},
    {"no_signals_filter", NoSignalsFilter},
    {"no_sending_filter", NoSendingFilter},
    {"chroot", Chroot},
    {"change_user", ChangeUser},
    {"more_rights", MoreRights},
    {"not_dumpable", NotDumpable},
};

}  // namespace

const Theme kSandboxTheme = MakeTheme(kScenarios);

}  // namespace torture
