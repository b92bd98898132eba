#include "tools/open_core.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "tools/text.h"

namespace minicore {
namespace {

// A descriptor of standard input that can be read at any offset; -1 with errno if there is
// none.
int SeekableInput() {
  struct stat status;
  if (fstat(STDIN_FILENO, &status) != 0) return -1;
  if (S_ISREG(status.st_mode)) return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
  std::FILE* const copy = std::tmpfile();
  if (copy == nullptr) return -1;
  std::vector<char> piece(size_t{1} << 16);
  int error = 0;
  for (;;) {
    const ssize_t got = read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) error = errno;
    if (got <= 0) break;
    const auto size = static_cast<size_t>(got);
    if (std::fwrite(piece.data(), 1, size, copy) != size) {
      error = errno;
      break;
    }
  }
  if (error == 0 && std::fflush(copy) != 0) error = errno;
  const int fd = error == 0 ? fcntl(fileno(copy), F_DUPFD_CLOEXEC, 0) : -1;
  std::fclose(copy);
  errno = error;
  return fd;
}

}  // namespace

std::unique_ptr<CoreReader> OpenCore(const std::string& path, int* status) {
  const bool is_input = path == "-";
  // O_NONBLOCK: opening a FIFO that nobody writes must not hang.
  const int fd = is_input ? SeekableInput()
                          : open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  std::string error;
  std::unique_ptr<CoreReader> core;
  if (fd < 0) {
    *status = kFailed;
    error = std::string(is_input ? "cannot be read: " : "cannot be opened: ") +
            std::strerror(errno);
  } else {
    struct stat file = {};
    *status = fstat(fd, &file) == 0 && S_ISREG(file.st_mode) ? kNotAsAsked : kFailed;
    core = CoreReader::FromDescriptor(fd, &error);
  }
  if (core == nullptr) {
    Complain((is_input ? "Standard input" : Named(path)) + " " + error + ".");
  }
  return core;
}

}  // namespace minicore
