// What /proc/PID/task/TID/status and stat say of a thread (Linux 6.1, fs/proc/array.c,
// proc_pid_status() and do_task_stat()).
//
// Context: any. Pure functions over the text, which may be cut or empty: then no to all.

#ifndef MINICORE_DUMP_HANDLER_THREAD_STATUS_H_
#define MINICORE_DUMP_HANDLER_THREAD_STATUS_H_

#include <cstddef>
#include <cstdint>

#include "dump/handler/proc_files.h"
#include "dump/safe/format.h"

namespace minicore {

inline constexpr size_t kStatusBytes = 2048;

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
