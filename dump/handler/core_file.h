// Where the core goes: a file that only has its final name when it is whole, or a
// descriptor.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_CORE_FILE_H_
#define MINICORE_DUMP_HANDLER_CORE_FILE_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>

#include "dump/handler/crash_context.h"
#include "dump/policy.h"
#include "dump/safe/syscalls.h"

namespace minicore {

inline constexpr size_t kMaxPath = 4096;

// Cores of one name: NAME, NAME.1, and so on. With more of them somebody is not looking.
inline constexpr unsigned kMostOfOneName = 100;

// In a directory that is given for a path.
inline constexpr char kDefaultName[] = "core.%e.%p";

// A program's name, as the kernel has it, and NUL (linux/sched.h, TASK_COMM_LEN).
struct ProgramName {
  char text[16] = {};
};

// The name as it is now: text of the program's own choice.
ProgramName NameNow(int pid);

// The name that the kernel gave it at its start: of the file that was executed
// (fs/exec.c, begin_new_exec()). Empty where that is not known.
ProgramName NameAtStart(const ProcessFacts& facts);

// Expands the letters of core(5) behind % in `pattern`, as the kernel does (Linux 6.1,
// fs/coredump.c, format_corename()); unknown ones are dropped. What the kernel knows of the
// initial namespaces (%P, %I, %u, %g) is what this process can see of them. `name`: for %e.
// Returns: false if it does not fit.
bool ExpandPath(const char* pattern, const CrashContext& crash, const ProcessFacts& facts,
                const ProgramName& name, char* path, size_t size);

// What strangers can put something else in a directory in the place of a core: neither its
// owner, who is trusted with it, nor a group that the process is in.
// Returns: a sentence; null: none.
const char* WhoElseWrites(const struct stat& directory);

// Creates the file that is to be a core, in `directory` if `path` is relative: of mode 0600
// from the beginning, and whatever the program's mask takes from that.
// Returns: a descriptor or -errno.
int CreateCore(int directory, const char* path);

// Whether all that is written to a descriptor goes to the end of the file, pwrite()
// included (pwrite(2), "Bugs").
inline bool Appends(int fd) {
  const long flags = safe::Syscall(SYS_fcntl, fd, F_GETFL);
  return flags >= 0 && (flags & O_APPEND) != 0;
}

// Waits until a pipe or socket takes some bytes, at most until `until_us` on the monotonic
// clock. The kernel promises room for a page then (fs/pipe.c, pipe_poll();
// net/core/stream.c), and no more: a larger write would block where nothing ends it.
// Returns: 0; -ETIMEDOUT, -EINTR or why it can't be known.
long AwaitRoom(int fd, uint64_t until_us);

// While it lives, files are reached, created, named and removed as the process's real user:
// in a program that runs with more rights than its user, he must own the core, and must not
// reach with it where he could not. Nothing where the two are the same.
//
// Context: any. The calling thread only.
class AsRealUser {
 public:
  AsRealUser();
  ~AsRealUser();
  AsRealUser(const AsRealUser&) = delete;
  AsRealUser& operator=(const AsRealUser&) = delete;

 private:
  long user_;
  long group_;
};

// Requires, of what reaches for a path: AsRealUser, in a scope that no abandoned phase can
// leave.
class CoreFile {
 public:
  // Opens PATH.part, or takes the descriptor of the policy, or what preopen=1 opened. `name`
  // gets into the path.
  // Writing to a pipe or socket that nobody empties ends at `until_us` on the monotonic
  // clock, or if it is a live dump's and a crash waits.
  // Returns: 0 or -errno.
  int Open(const CrashContext& crash, const Runtime& runtime, const ProgramName& name,
           uint64_t until_us);

  // Asks for room for `bytes` from here on, all at once: half of the time that the kernel
  // needs to write them goes into finding it page by page. No promise, and none is needed.
  void Expect(uint64_t bytes);

  // Writes all of it at the end of what was written, whatever it takes.
  // Returns: 0 or -errno; written() says how far it came.
  int Append(const void* data, size_t size);

  // Overwrites. Only where seekable() holds.
  int WriteAt(uint64_t offset, const void* data, size_t size);
  int Truncate(uint64_t size);

  // Puts an empty file in the place of what was written, if that is a file of ours: some
  // file systems cannot even shorten one when they are full.
  // Returns: 0 or -errno.
  int StartOver();

  // Gives the file its final name, or if that is taken NAME.1, NAME.2 and so on: path()
  // then says which. What was opened in advance, and may not be named any more, stays as it
  // is.
  int Commit();
  // Removes what was written, if it is a file of ours.
  void Abandon();

  bool seekable() const { return seekable_; }
  uint64_t written() const { return written_; }
  const char* path() const { return path_; }
  bool renumbered() const { return renumbered_; }  // path() is not the one asked for
  bool unnamed() const { return unnamed_; }  // it has only its name until then

  // Of an error that its number does not explain: a sentence; else null.
  const char* reason() const { return reason_; }

 private:
  int OpenPath(const CrashContext& crash, const Runtime& runtime, const ProgramName& name);
  bool TakePreopened(const CrashContext& crash, const Preopened& preopened);

  int Refuse(int error, const char* reason);
  long Name(const char* name);
  bool HasPartName() const;
  long AwaitReader() const;
  long WriteSome(const char* data, size_t size);

  int fd_ = -1;
  uint64_t until_us_ = 0;
  bool gives_way_ = false;  // to a crash: this is a live dump
  bool own_ = false;       // we opened it
  int directory_ = AT_FDCWD;  // of name_ and part_
  bool seekable_ = false;
  bool preopened_ = false;
  bool renumbered_ = false;
  bool unnamed_ = false;
  const char* reason_ = nullptr;
  uint64_t start_ = 0;     // offset of the core in the descriptor
  uint64_t written_ = 0;
  char path_[kMaxPath] = {};  // for the user
  char name_[kMaxPath] = {};  // final name, relative to directory_
  char part_[kMaxPath] = {};  // likewise, until then
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_CORE_FILE_H_
