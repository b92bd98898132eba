#include "tools/preloadable.h"

#include <fcntl.h>
#include <gelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

namespace minicore {
namespace {

constexpr char kNoCore[] = " No core will be written when it crashes.";

bool HasInterpreter(Elf* elf) {
  size_t count = 0;
  if (elf_getphdrnum(elf, &count) != 0) return true;
  for (size_t i = 0; i < count; ++i) {
    GElf_Phdr header;
    if (gelf_getphdr(elf, static_cast<int>(i), &header) != nullptr &&
        header.p_type == PT_INTERP) {
      return true;
    }
  }
  return false;
}

// What the ELF header says; scripts and other formats say nothing.
std::string WhyNotByFormat(int fd) {
  elf_version(EV_CURRENT);
  Elf* elf = elf_begin(fd, ELF_C_READ, nullptr);
  std::string why;
  GElf_Ehdr header;
  if (elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &header) != nullptr) {
    if (header.e_machine != EM_X86_64) {
      why =
          "is not an x86-64 program, and minicore can't be preloaded into it.";
    } else if (!HasInterpreter(elf)) {
      why = "is statically linked, and nothing can be preloaded into it.";
    }
  }
  elf_end(elf);
  return why;
}

}  // namespace

std::string FindProgram(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* path = getenv("PATH");
  // execvp(3) without PATH: confstr(_CS_PATH), glibc 2.36, posix/execvpe.c.
  std::istringstream folders(path != nullptr ? path : "/bin:/usr/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string found = (folder.empty() ? "." : folder) + "/" + program;
    if (access(found.c_str(), X_OK) == 0) return found;
  }
  return "";
}

std::string WhyNotPreloaded(const std::string& path, uid_t user, gid_t group) {
  struct stat status;
  if (path.empty() || stat(path.c_str(), &status) != 0) return "";
  std::string why;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    why = WhyNotByFormat(fd);
    close(fd);
  }
  // AT_SECURE (ld.so(8), "secure-execution mode"): a name with a slash in
  // LD_PRELOAD is ignored.
  if (why.empty() &&
      (((status.st_mode & S_ISUID) != 0 && status.st_uid != user) ||
       ((status.st_mode & S_ISGID) != 0 && status.st_gid != group))) {
    why =
        "changes its user or group when it starts, and nothing is preloaded "
        "then.";
  }
  return why.empty() ? "" : path + " " + why + kNoCore;
}

}  // namespace minicore
