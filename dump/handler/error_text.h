// Error numbers in words, where strerror() may not be called.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_ERROR_TEXT_H_
#define MINICORE_DUMP_HANDLER_ERROR_TEXT_H_

#include <errno.h>

#include "dump/safe/format.h"

namespace minicore {

inline void AppendError(int error, safe::Text& text) {
  static constexpr struct {
    int number;
    const char* words;
  } kErrors[] = {
      {EACCES, "Permission denied"},
      {EBADF, "Bad file descriptor"},
      {EDQUOT, "Disk quota exceeded"},
      {EEXIST, "File exists"},
      {EFAULT, "Bad address"},
      {EFBIG, "File too large"},
      {EIO, "Input/output error"},
      {ELOOP, "A symbolic link is in the way"},
      {EMFILE, "Too many open files"},
      {ENAMETOOLONG, "File name too long"},
      {ENFILE, "Too many open files in system"},
      {ENOENT, "No such file or directory"},
      {ENOMEM, "Cannot allocate memory"},
      {ENOSPC, "No space left on device"},
      {ENOTDIR, "Not a directory"},
      {EPERM, "Operation not permitted"},
      {EPIPE, "Broken pipe"},
      {ETIMEDOUT, "Deadline exceeded"},
      {EROFS, "Read-only file system"},
  };
  for (const auto& entry : kErrors) {
    if (entry.number == error) {
      text.String(entry.words);
      return;
    }
  }
  text.String("error ").Decimal(static_cast<uint64_t>(error));
}

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_ERROR_TEXT_H_
