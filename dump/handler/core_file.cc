#include "dump/handler/core_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "dump/handler/proc_files.h"
#include "dump/handler/thread_status.h"
#include "dump/handler/waiting_crash.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

constexpr char kManyThere[] =
    "100 of that name are there: remove some, or put %p or %t into path";

void AppendNumbered(const char* name, unsigned number, safe::Text& text) {
  text.String(name);
  if (number != 0) text.Char('.').Decimal(number);
}

// Whether there shall be no core. That says the program, or the kernel of one that was
// started with more rights than its user has (fs/exec.c, begin_new_exec()): the memory is
// not for him to read, unless the program allows it. The kernel says the same of one that
// has changed its user (kernel/cred.c, commit_creds()): such a one has a core. 2 is what
// fs.suid_dumpable=2 makes the kernel say, and no program can (kernel/sys.c, prctl()).
bool IsForbidden(const ProcessFacts& facts) {
  if (safe::g_basic_calls_only) return false;
  const long dumpable = safe::Syscall(SYS_prctl, PR_GET_DUMPABLE);
  if (!facts.dumpable) return dumpable == 0 || dumpable == 2;
  return dumpable == 0 &&
         safe::Syscall(SYS_geteuid) == static_cast<long>(facts.user) &&
         safe::Syscall(SYS_getegid) == static_cast<long>(facts.group);
}

// As whom files are reached. A change makes the kernel forget whether the process may be
// dumped, and what it gets when its parent ends (kernel/cred.c, commit_creds()).
void ChangeFileUser(long user, long group, long* old_user, long* old_group) {
  const long dumpable = safe::Syscall(SYS_prctl, PR_GET_DUMPABLE);
  int signal = 0;
  safe::Syscall(SYS_prctl, PR_GET_PDEATHSIG, safe::Word(&signal));
  // They return the former one, and so they do for one that is not allowed.
  const long former_group = safe::Syscall(SYS_setfsgid, group);
  const long former_user = safe::Syscall(SYS_setfsuid, user);
  if (old_user != nullptr) *old_user = former_user;
  if (old_group != nullptr) *old_group = former_group;
  if (former_group == group && former_user == user) return;
  if (dumpable == 1) safe::Syscall(SYS_prctl, PR_SET_DUMPABLE, 1);
  if (signal != 0) safe::Syscall(SYS_prctl, PR_SET_PDEATHSIG, signal);
}

bool IsInGroup(gid_t group) {
  gid_t groups[256];  // of more than these it is in none
  const long count =
      safe::Syscall(SYS_getgroups, static_cast<long>(std::size(groups)), safe::Word(groups));
  for (long i = 0; i < count; ++i) {
    if (groups[i] == group) return true;
  }
  return group == static_cast<gid_t>(safe::Syscall(SYS_getgid));
}

// Who else can write to the directory of `path`: see WhoElseWrites().
const char* WhoElseReaches(const char* path) {
  char directory[kMaxPath];
  size_t length = safe::Length(path);
  while (length != 0 && path[length - 1] != '/') --length;
  if (length == 0) {
    directory[length++] = '.';
  } else {
    __builtin_memcpy(directory, path, length);
  }
  directory[length] = '\0';
  struct stat status;
  if (safe::Syscall(SYS_stat, safe::Word(directory), safe::Word(&status)) != 0) {
    return nullptr;  // then open() fails too, and says why
  }
  return WhoElseWrites(status);
}

// The kind of file that a path leads to; 0 if there is none.
mode_t KindOf(const char* path) {
  struct stat status;
  return safe::Syscall(SYS_stat, safe::Word(path), safe::Word(&status)) == 0
             ? status.st_mode & S_IFMT
             : 0;
}

// Whether anything has that name, if only a link.
bool IsTaken(const char* path) {
  struct stat status;
  return safe::Syscall(SYS_lstat, safe::Word(path), safe::Word(&status)) == 0;
}

// One component of a path, whatever it holds (fs/coredump.c, cn_esc_printf()).
void AppendComponent(char* name, safe::Text& text) {
  for (char* at = name; *at != '\0'; ++at) {
    if (*at == '/') *at = '!';
  }
  if (safe::Equal(name, ".") || safe::Equal(name, "..")) name[0] = '!';
  text.String(name[0] == '\0' ? "!" : name);
}
void AppendName(ProgramName name, safe::Text& text) { AppendComponent(name.text, text); }

char* LastComponent(char* path) {
  char* name = path;
  for (char* at = path; *at != '\0'; ++at) {
    if (*at == '/') name = at + 1;
  }
  return name;
}

// The path of the program, or its last component (fs/coredump.c, cn_print_exe_file()).
void AppendProgram(const ProgramName& name, bool whole, safe::Text& text) {
  char path[kMaxPath] = {};
  if (safe::Syscall(SYS_readlink, safe::Word("/proc/thread-self/exe"), safe::Word(path),
                    sizeof(path) - 1) <= 0) {
    AppendName(name, text);
    if (whole) text.String(" (path unknown)");
    return;
  }
  AppendComponent(whole ? path : LastComponent(path), text);
}

// The number of a thread in the outermost namespace that this /proc shows: the first of
// "NSpid:" (fs/proc/array.c, task_state()).
uint64_t OutermostNumber(int tid) {
  char text[kStatusBytes];
  ReadStatus(tid, text, sizeof(text));
  const uint64_t number = ParseDecimal(StatusValue(text, "NSpid"));
  return number != 0 ? number : static_cast<uint64_t>(tid);
}

uint64_t CoreLimit() {
  rlimit limit{};
  safe::Syscall(SYS_prlimit64, 0, RLIMIT_CORE, 0, safe::Word(&limit));
  return limit.rlim_cur;
}

void AppendDecimal(long number, safe::Text& text) {
  text.Decimal(number < 0 ? 0 : static_cast<uint64_t>(number));
}

}  // namespace

const char* WhoElseWrites(const struct stat& directory) {
  if ((directory.st_mode & S_ISVTX) != 0) return nullptr;
  if ((directory.st_mode & S_IWOTH) != 0) {
    return "everybody may write to its directory, which is not sticky";
  }
  if ((directory.st_mode & S_IWGRP) != 0 && !IsInGroup(directory.st_gid)) {
    return "another group may write to its directory, which is not sticky";
  }
  return nullptr;
}

int CreateCore(int directory, const char* path) {
  constexpr mode_t kOwnersOnly = 0600;
  const auto fd = static_cast<int>(
      safe::Syscall(SYS_openat, directory, safe::Word(path),
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kOwnersOnly));
  // Of a file system without modes, and under a filter, it stays what it is.
  if (fd >= 0) safe::Syscall(SYS_fchmod, fd, kOwnersOnly);
  return fd;
}

AsRealUser::AsRealUser() {
  ChangeFileUser(safe::Syscall(SYS_getuid), safe::Syscall(SYS_getgid), &user_, &group_);
}

AsRealUser::~AsRealUser() { ChangeFileUser(user_, group_, nullptr, nullptr); }

long AwaitRoom(int fd, uint64_t until_us) {
  const uint64_t now = safe::NowMicroseconds();
  if (now >= until_us) return -ETIMEDOUT;
  const timespec timeout = {static_cast<time_t>((until_us - now) / 1000000),
                            static_cast<long>((until_us - now) % 1000000 * 1000)};
  pollfd wait = {fd, POLLOUT, 0};
  const long ready = safe::Syscall(SYS_ppoll, safe::Word(&wait), 1, safe::Word(&timeout),
                                   0, sizeof(uint64_t));
  return ready == 0 ? -ETIMEDOUT : ready < 0 ? ready : 0;
}

ProgramName NameNow(int pid) {
  char text[32] = {};
  if (TaskFile(pid, "comm", text, sizeof(text)) < 0) {
    // No /proc: this thread's name, which is the program's more often than not.
    safe::Syscall(SYS_prctl, PR_GET_NAME, safe::Word(text));
  }
  ProgramName name;
  safe::Text(name.text, sizeof(name.text)).String(text);
  return name;
}

ProgramName NameAtStart(const ProcessFacts& facts) {
  char path[kMaxPath] = {};
  const Address copy = CopyAtStart(facts, AuxvValue(facts, AT_EXECFN));
  if (copy != 0) {
    const ByteCount left = facts.strings_copy + facts.strings.size() - copy;
    safe::GuardedCopy(path, copy, std::min<ByteCount>(left, sizeof(path) - 1));
  }
  ProgramName name;
  safe::Text(name.text, sizeof(name.text)).String(LastComponent(path));
  return name;
}

bool ExpandPath(const char* pattern, const CrashContext& crash, const ProcessFacts& facts,
                const ProgramName& name, char* path, size_t size) {
  safe::Text text(path, size);
  for (const char* at = pattern; *at != '\0'; ++at) {
    if (*at != '%') {
      text.Char(*at);
      continue;
    }
    switch (*++at) {
      case '\0':
        return !text.truncated();
      case '%':
        text.Char('%');
        break;
      case 'p':
        AppendDecimal(crash.pid, text);
        break;
      case 'P':
        text.Decimal(OutermostNumber(crash.pid));
        break;
      case 'i':
        AppendDecimal(crash.tid, text);
        break;
      case 'I':
        text.Decimal(OutermostNumber(crash.tid));
        break;
      case 'u':
        AppendDecimal(safe::Syscall(SYS_getuid), text);
        break;
      case 'g':
        AppendDecimal(safe::Syscall(SYS_getgid), text);
        break;
      case 'd':
        AppendDecimal(safe::Syscall(SYS_prctl, PR_GET_DUMPABLE), text);
        break;
      case 's':
        AppendDecimal(crash.signal, text);
        break;
      case 't': {
        timespec now{};
        safe::Syscall(SYS_clock_gettime, CLOCK_REALTIME, safe::Word(&now));
        AppendDecimal(now.tv_sec, text);
        break;
      }
      case 'h':
        text.String(facts.host);
        break;
      case 'e':
        AppendName(name, text);
        break;
      case 'f':
        AppendProgram(name, false, text);
        break;
      case 'E':
        AppendProgram(name, true, text);
        break;
      case 'c':
        text.Decimal(CoreLimit());
        break;
      default:
        break;
    }
  }
  return !text.truncated();
}

int CoreFile::Open(const CrashContext& crash, const Runtime& runtime,
                   const ProgramName& name, uint64_t until_us) {
  until_us_ = until_us;
  gives_way_ = crash.signal == 0;
  path_[0] = name_[0] = part_[0] = '\0';
  written_ = start_ = 0;
  directory_ = AT_FDCWD;
  preopened_ = renumbered_ = unnamed_ = false;
  reason_ = nullptr;
  if (IsForbidden(runtime.facts)) {
    return Refuse(-EPERM, "it may not be dumped (PR_SET_DUMPABLE)");
  }
  if (runtime.policy.fd < 0) {
    if (TakePreopened(crash, runtime.preopened)) return 0;
    return OpenPath(crash, runtime, name);
  }
  fd_ = runtime.policy.fd;
  own_ = false;
  safe::Text(path_, sizeof(path_))
      .String("descriptor ")
      .Decimal(static_cast<uint64_t>(fd_));
  const long at = safe::Syscall(SYS_lseek, fd_, 0, SEEK_CUR);
  seekable_ = at >= 0 && !Appends(fd_);
  start_ = seekable_ ? static_cast<uint64_t>(at) : 0;
  return 0;
}

// What was opened in advance is used if it is this process's, its number has not been
// taken by something else, and nobody else has a name for the file or a right to it.
bool CoreFile::TakePreopened(const CrashContext& crash, const Preopened& preopened) {
  if (preopened.pid != crash.pid) return false;
  struct stat status;
  const long error =
      safe::Syscall(SYS_fstat, preopened.file, safe::Word(&status));
  // A filter that forbids fstat() is trusted to forbid open() as well.
  if (error == 0 &&
      (status.st_dev != preopened.device || status.st_ino != preopened.inode ||
       status.st_nlink != 1 || (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)) {
    return false;
  }
  fd_ = preopened.file;
  directory_ = preopened.directory;
  own_ = seekable_ = preopened_ = true;
  safe::Text(path_, sizeof(path_)).String(preopened.path);
  safe::Text(name_, sizeof(name_)).String(preopened.name);
  safe::Text(part_, sizeof(part_)).String(preopened.part_name);
  return true;
}

int CoreFile::Refuse(int error, const char* reason) {
  reason_ = reason;
  return error;
}

int CoreFile::OpenPath(const CrashContext& crash, const Runtime& runtime,
                       const ProgramName& name) {
  char pattern[kMaxPath];
  safe::Text text(pattern, sizeof(pattern));
  text.String(runtime.policy.path);
  // A directory, with or without a slash at its end, gets the default name.
  if (!ExpandPath(pattern, crash, runtime.facts, name, path_, sizeof(path_))) {
    return -ENAMETOOLONG;
  }
  if (KindOf(path_) == S_IFDIR) {
    text.Char('/').String(kDefaultName);
    if (text.truncated() ||
        !ExpandPath(pattern, crash, runtime.facts, name, path_, sizeof(path_))) {
      return -ENAMETOOLONG;
    }
  }
  // Pipes and sockets are names that are taken: anybody could put them in the way.
  const mode_t kind = KindOf(path_);
  if (kind == S_IFCHR || kind == S_IFBLK) return Refuse(-EINVAL, "it is a device");
  if (const char* const others = WhoElseReaches(path_)) return Refuse(-EACCES, others);
  safe::Text(name_, sizeof(name_)).String(path_);
  fd_ = -EEXIST;
  for (unsigned number = 0; number < kMostOfOneName && fd_ == -EEXIST; ++number) {
    safe::Text part(part_, sizeof(part_));
    AppendNumbered(path_, number, part);
    if (part.truncated()) return -ENAMETOOLONG;
    if (IsTaken(part_)) continue;
    part.String(".part");
    if (part.truncated()) return -ENAMETOOLONG;
    // Taken: by another process that dumps to the same path, or by one that died doing it.
    fd_ = CreateCore(AT_FDCWD, part_);
  }
  if (fd_ < 0) {
    part_[0] = '\0';
    return fd_ == -EEXIST ? Refuse(-EEXIST, kManyThere) : fd_;
  }
  own_ = seekable_ = true;
  return 0;
}

void CoreFile::Expect(uint64_t bytes) {
  // What is not used in the end goes with Truncate(), of a file of ours.
  if (!own_ || !seekable_ || safe::g_basic_calls_only) return;
  safe::Syscall(SYS_fallocate, fd_, FALLOC_FL_KEEP_SIZE, static_cast<long>(written_),
                static_cast<long>(bytes));
}

long CoreFile::AwaitReader() const {
  if (!gives_way_) return AwaitRoom(fd_, until_us_);
  constexpr uint64_t kLookMicroseconds = 20000;
  for (;;) {
    const uint64_t next = safe::NowMicroseconds() + kLookMicroseconds;
    const long error = AwaitRoom(fd_, std::min(next, until_us_));
    if (error != -ETIMEDOUT || next >= until_us_ || CrashWaits()) return error;
  }
}

// A file is written at one go.
long CoreFile::WriteSome(const char* data, size_t size) {
  if (seekable_) return safe::Write(fd_, data, size);
  const long error = AwaitReader();
  if (error != 0) return error;
  if (size > PIPE_BUF) size = PIPE_BUF;
  const long sent = safe::Syscall(SYS_sendto, fd_, safe::Word(data),
                                  static_cast<long>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent == -ENOTSOCK ? safe::Write(fd_, data, size) : sent;
}

int CoreFile::Append(const void* data, size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  constexpr int kMostInterruptions = 1000000;  // by the clock, if there is one
  int interrupted = 0;
  while (size != 0) {
    const long count = WriteSome(bytes, size);
    if (count > 0) {
      bytes += count;
      size -= static_cast<size_t>(count);
      written_ += static_cast<uint64_t>(count);
      continue;
    }
    if (count == -EAGAIN && !seekable_) continue;  // until_us_ bounds it
    // The watchdog's tick means to end this, but signals of faults may be sent as well, and
    // glibc uses the watchdog's: it comes again.
    if (count == -EINTR && safe::NowMicroseconds() < until_us_ &&
        ++interrupted < kMostInterruptions) {
      continue;
    }
    return count == -EINTR ? -ETIMEDOUT
           : count == 0    ? -ENOSPC
                           : static_cast<int>(count);
  }
  return 0;
}

int CoreFile::WriteAt(uint64_t offset, const void* data, size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size != 0) {
    const long count = safe::PWrite(fd_, bytes, size, start_ + offset);
    if (count <= 0) return count == 0 ? -ENOSPC : static_cast<int>(count);
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<size_t>(count);
  }
  return 0;
}

int CoreFile::Truncate(uint64_t size) {
  return static_cast<int>(safe::Truncate(fd_, start_ + size));
}

int CoreFile::StartOver() {
  if (!own_) return -ENOSPC;
  safe::UnlinkAt(directory_, part_);
  safe::Close(fd_);
  fd_ = CreateCore(directory_, part_);
  if (fd_ < 0) own_ = false;
  written_ = 0;
  return fd_ < 0 ? fd_ : 0;
}

// Gives the part file the name `name`, unless that is taken.
long CoreFile::Name(const char* name) {
  const long error = safe::RenameNoReplace(directory_, part_, name);
  // A file system without the flag, or a kernel or filter that does not know the call:
  // rename() would replace a core that is there, a link never does.
  if (error != -EINVAL && error != -ENOSYS && error != -EPERM) return error;
  const long link_error = safe::LinkAt(directory_, part_, name);
  if (link_error == 0) safe::UnlinkAt(directory_, part_);
  return link_error;
}

// Whether the file still has a name: who may not look into its directory any more is not
// told which. A filter that does not let us ask does not let anybody here change it.
bool CoreFile::HasPartName() const {
  struct stat status;
  const long error = safe::Syscall(SYS_fstat, fd_, safe::Word(&status));
  return error == 0 ? status.st_nlink != 0 : safe::g_basic_calls_only;
}

int CoreFile::Commit() {
  if (!own_) return 0;
  long error = -EEXIST;
  char name[kMaxPath];
  for (unsigned number = 0; number < kMostOfOneName && error == -EEXIST; ++number) {
    safe::Text text(name, sizeof(name));
    AppendNumbered(name_, number, text);
    if (text.truncated()) break;
    error = Name(name);
    if (error == 0 && number != 0) {
      renumbered_ = true;
      safe::Text(name, sizeof(name)).String(path_);
      safe::Text path(path_, sizeof(path_));
      AppendNumbered(name, number, path);
    }
  }
  if (error != 0 && preopened_ && HasPartName()) {
    // Whole, but it may not be renamed: the line on standard error says where it is.
    unnamed_ = true;
    size_t length = safe::Length(path_);
    while (length != 0 && path_[length - 1] != '/') --length;
    safe::Text(path_ + length, sizeof(path_) - length).String(part_);
    error = 0;
  }
  if (error == -EEXIST) reason_ = kManyThere;
  if (error != 0) {
    Abandon();
  } else {
    own_ = false;
    safe::Close(fd_);
  }
  return static_cast<int>(error);
}

void CoreFile::Abandon() {
  if (!own_) return;
  own_ = false;  // once: the number may soon be another file's
  safe::Close(fd_);
  if (part_[0] != '\0') safe::UnlinkAt(directory_, part_);
}

}  // namespace minicore
