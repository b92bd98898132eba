// What /proc/PID/task/TID/status and stat say of a thread (Linux 6.1, fs/proc/array.c,
// proc_pid_status() and do_task_stat()).
//
// Context: handler. All but ReadStatus() are pure functions over the text, which may be cut
// or empty: then no to all.

#ifndef MINICORE_DUMP_HANDLER_THREAD_STATUS_H_
#define MINICORE_DUMP_HANDLER_THREAD_STATUS_H_

#include <cstddef>
#include <cstdint>

#include "dump/handler/proc_files.h"
#include "dump/safe/format.h"

namespace minicore {

// Without the groups: some 60 lines.
inline constexpr size_t kStatusBytes = 2048;

// A status file that comes in parts, without the numbers behind "Groups:", of which there
// may be 65,536 (NGROUPS_MAX), before what is asked for.
class StatusText {
 public:
  // Requires: size > 0. The text is a valid string at any time.
  StatusText(char* text, size_t size) : text_(text), size_(size) { text_[0] = '\0'; }

  void Add(const char* part, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) {
      if (part[i] == '\n') skips_ = false;
      if (skips_ || length_ + 1 >= size_) continue;
      text_[length_++] = part[i];
      text_[length_] = '\0';
      skips_ = safe::Equal(text_ + line_, "Groups:");
      if (part[i] == '\n') line_ = length_;
    }
  }

 private:
  char* const text_;
  const size_t size_;
  size_t length_ = 0;
  size_t line_ = 0;  // where the last one begins
  bool skips_ = false;
};

// Reads `path`, such a file, into a string of `size` bytes at most.
inline void ReadStatus(const char* path, char* text, size_t size) {
  constexpr int kMostReads = 1024;
  StatusText status(text, size);
  const int fd = safe::Open(path, O_RDONLY);
  char part[1024];
  for (int i = 0; fd >= 0 && i < kMostReads; ++i) {
    const long bytes = safe::Read(fd, part, sizeof(part));
    if (bytes <= 0) break;
    status.Add(part, static_cast<size_t>(bytes));
  }
  if (fd >= 0) safe::Close(fd);
}

// That of a thread of this process.
inline void ReadStatus(int tid, char* text, size_t size) {
  char path[64];
  safe::Text(path, sizeof(path))
      .String("/proc/self/task/")
      .Decimal(static_cast<uint64_t>(tid))
      .String("/status");
  ReadStatus(path, text, size);
}

// What stands behind "KEY:\t" at the beginning of a line; "" if no line has it.
inline const char* StatusValue(const char* status, const char* key) {
  for (const char* at = status; *at != '\0'; ++at) {
    if (at != status && at[-1] != '\n') continue;
    if (!safe::StartsWith(at, key)) continue;
    const char* const value = at + safe::Length(key);
    if (safe::StartsWith(value, ":\t")) return value + 2;
  }
  return "";
}

// Whether the kernel has the thread on its list of those to run.
inline bool Runs(const char* status) { return StatusValue(status, "State")[0] == 'R'; }

// Whether the thread has ended, and only its entry is still there.
inline bool IsZombie(const char* status) {
  const char state = StatusValue(status, "State")[0];
  return state == 'Z' || state == 'X';
}

// Whether `signal` is in the set of `key`: 16 digits, the lowest bit last.
inline bool ShowsSignal(const char* status, const char* key, int signal) {
  const char* const digits = StatusValue(status, key);
  if (safe::Length(digits) < 16) return false;
  const int bit = signal - 1;
  const char digit = digits[15 - bit / 4];
  return ((digit <= '9' ? digit - '0' : digit - 'a' + 10) >> bit % 4 & 1) != 0;
}

// Whether `signal` has come and is blocked. A thread on its way through a handler blocks
// what it handles, too, but has it no longer pending.
inline bool HoldsBack(const char* status, int signal) {
  return ShowsSignal(status, "SigPnd", signal) && ShowsSignal(status, "SigBlk", signal);
}

// `stat`: whether the thread is one of io_uring's, which never runs a program's code. Its
// name, in parentheses, may hold anything; flags are the seventh word behind it.
inline bool IsKernels(const char* stat) {
  constexpr uint64_t kIoWorker = 0x10;  // PF_IO_WORKER, linux/sched.h, since Linux 5.12
  const char* at = stat + safe::Length(stat);
  while (at != stat && at[-1] != ')') --at;
  if (at == stat) return false;
  for (int word = 0; word < 7; ++word) {
    while (*at != ' ' && *at != '\0') ++at;
    if (*at == ' ') ++at;
  }
  uint64_t flags = 0;
  return TakeNumber(at, 10, ' ', &flags) && (flags & kIoWorker) != 0;
}

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_THREAD_STATUS_H_
