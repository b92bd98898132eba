#include "tools/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "tools/debug_sections.h"
#include "tools/minicore_notes.h"
#include "tools/open_core.h"
#include "tools/process_notes.h"
#include "tools/rebuild_image.h"
#include "tools/text.h"

namespace minicore {
namespace {

namespace fs = std::filesystem;

// Where below `directory` a file of that name goes; empty if nowhere: names are
// the crashed process's.
fs::path Below(const fs::path& directory, const std::string& name) {
  const fs::path path(name);
  if (!path.is_absolute() || name.find('\0') != std::string::npos) return {};
  for (const fs::path& part : path) {
    if (part == ".." || part == ".") return {};
  }
  return directory / path.relative_path();
}

// Returns: why there is no such file now; "" if there is. It gets the time of the core:
// gdb warns of a program that is newer.
std::string Write(const fs::path& path, const std::string& bytes, timespec time) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return error.message();
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return std::strerror(errno);
  size_t done = 0;
  int failed = 0;
  while (done < bytes.size() && failed == 0) {
    const ssize_t written = write(fd, bytes.data() + done, bytes.size() - done);
    if (written >= 0) {
      done += static_cast<size_t>(written);
    } else if (errno != EINTR) {
      failed = errno;
    }
  }
  const timespec times[2] = {time, time};
  (void)futimens(fd, times);
  if (close(fd) != 0 && failed == 0) failed = errno;
  if (failed == 0) return "";
  unlink(path.c_str());
  return std::strerror(failed);
}

std::string WhyNothing(const CoreReader& core, const std::string& path) {
  if (OriginOf(core) == Origin::kOther) {
    return Printable(path) +
           " was written by another program, and holds no whole program or library.";
  }
  return Printable(path) +
         " holds no whole program or library; a core made with the option text=all does.";
}

}  // namespace

int Unpack(const std::string& core_path, const std::string& directory) {
  int status = 0;
  const auto core = OpenCore(core_path, &status);
  if (core == nullptr) return status;
  struct stat core_file = {};
  (void)stat(core_path.c_str(), &core_file);
  std::error_code error;
  // Nothing in a new directory leads out of it.
  const auto cannot_make = [&](const std::string& reason) {
    Complain(Printable(directory) + " cannot be made: " + reason + ".");
    return kFailed;
  };
  if (fs::exists(fs::symlink_status(directory, error))) return cannot_make("it is there");
  Faults faults;
  const ProcessNotes process = DecodeProcessNotes(*core, &faults);
  const std::vector<LinkedModule> modules =
      WalkModules(*core, process, &faults);
  std::vector<std::string> incomplete;
  size_t whole = 0;
  bool failed = false;
  for (const UnpackedImage& image : RebuildImages(*core, process, kDebugDirectory)) {
    if (!image.whole) {
      incomplete.push_back(image.path);
      continue;
    }
    ++whole;
    const fs::path path = Below(directory, image.path);
    if (path.empty()) {
      Complain(Printable(image.path) + " would not lie below " + Printable(directory) +
               ".");
      failed = true;
      continue;
    }
    if (!fs::exists(directory, error) && !fs::create_directory(directory, error)) {
      return cannot_make(error.message());
    }
    const std::string wrong = Write(path, image.bytes, core_file.st_mtim);
    if (!wrong.empty()) {
      Complain(Printable(path.string()) + " cannot be written: " + wrong + ".");
      failed = true;
      continue;
    }
    std::cout << Printable(path.string()) << "\n";
    // The dynamic linker may have it under another name, and debuggers go by
    // that.
    for (const LinkedModule& module : modules) {
      if (module.base != image.base) continue;
      const fs::path other = Below(directory, module.name);
      if (other.empty() || fs::exists(other, error)) continue;
      fs::create_directories(other.parent_path(), error);
      fs::create_hard_link(path, other, error);
    }
  }
  if (failed) return kFailed;
  if (whole == 0) {
    Complain(WhyNothing(*core, core_path));
    return kNotAsAsked;
  }
  for (const std::string& path : incomplete) {
    Complain(Printable(path) + " is not whole in the core, and is left out.");
  }
  return 0;
}

}  // namespace minicore
