// Small files of /proc, read without libc, and their numbers.
//
// Context: handler. Everything is bounded by the caller's buffer.

#ifndef MINICORE_DUMP_HANDLER_PROC_FILES_H_
#define MINICORE_DUMP_HANDLER_PROC_FILES_H_

#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "dump/safe/format.h"
#include "dump/safe/syscalls.h"

namespace minicore {

// A descriptor of `path`, or where there is no /proc any more (chroot, a seccomp filter)
// the one that was opened before, at its beginning.
// Returns: it, or -errno. CloseProc() closes it unless it is `before`.
inline int OpenProc(const char* path, int flags, int before) {
  const int fd = safe::Open(path, flags);
  if (fd >= 0 || before < 0) return fd;
  const long error = safe::Syscall(SYS_lseek, before, 0, SEEK_SET);
  // With basic calls only there is one reading of it, from where it stands.
  return error < 0 && !safe::g_basic_calls_only ? static_cast<int>(error) : before;
}
inline void CloseProc(int fd, int before) {
  if (fd >= 0 && fd != before) safe::Close(fd);
}

// Reads at most `size` - 1 bytes of `path` and ends them with NUL.
// Returns: bytes read, or -errno; `text` is a valid string in either case.
inline long ReadFile(const char* path, char* text, size_t size) {
  text[0] = '\0';
  const int fd = safe::Open(path, O_RDONLY);
  if (fd < 0) return fd;
  size_t length = 0;
  while (length + 1 < size) {
    const long bytes = safe::Read(fd, text + length, size - 1 - length);
    if (bytes <= 0) break;
    length += static_cast<size_t>(bytes);
  }
  safe::Close(fd);
  text[length] = '\0';
  return static_cast<long>(length);
}

// Reads /proc/self/task/TID/NAME, without the newline at its end.
inline long TaskFile(int tid, const char* name, char* text, size_t size) {
  char path[64];
  safe::Text(path, sizeof(path))
      .String("/proc/self/task/")
      .Decimal(static_cast<uint64_t>(tid))
      .Char('/')
      .String(name);
  long length = ReadFile(path, text, size);
  if (length > 0 && text[length - 1] == '\n') text[--length] = '\0';
  return length;
}

// Decimal digits at the start of `text`; 0 if there are none.
inline uint64_t ParseDecimal(const char* text) {
  uint64_t value = 0;
  for (; *text >= '0' && *text <= '9'; ++text) {
    value = value * 10 + static_cast<uint64_t>(*text - '0');
  }
  return value;
}

// Reads a number, in digits of `base` (10 or 16), up to `end_char` and steps over it. False
// if there is none.
inline bool TakeNumber(const char*& at, unsigned base, char end_char, uint64_t* value) {
  const char* start = at;
  *value = 0;
  for (;; ++at) {
    unsigned digit;
    if (*at >= '0' && *at <= '9') {
      digit = static_cast<unsigned>(*at - '0');
    } else if (base == 16 && *at >= 'a' && *at <= 'f') {
      digit = static_cast<unsigned>(*at - 'a') + 10;
    } else {
      break;
    }
    if (at - start >= 20) return false;
    *value = *value * base + digit;
  }
  if (at == start || *at != end_char) return false;
  ++at;
  return true;
}

// Blank-separated numbers, decimal or 0x-hexadecimal.
// Returns: how many were read, `most` at the most.
inline unsigned ParseWords(const char* text, uint64_t* words, unsigned most) {
  unsigned count = 0;
  while (count < most) {
    while (*text == ' ') ++text;
    uint64_t value = 0;
    const char* start = text;
    if (text[0] == '0' && text[1] == 'x') {
      for (start = text += 2;; ++text) {
        const char c = *text;
        if (c >= '0' && c <= '9') {
          value = value * 16 + static_cast<uint64_t>(c - '0');
        } else if (c >= 'a' && c <= 'f') {
          value = value * 16 + static_cast<uint64_t>(c - 'a' + 10);
        } else {
          break;
        }
      }
    } else {
      value = ParseDecimal(text);
      while (*text >= '0' && *text <= '9') ++text;
    }
    if (text == start) break;
    words[count++] = value;
  }
  return count;
}

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_PROC_FILES_H_
