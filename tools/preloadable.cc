#include "tools/preloadable.h"

#include <fcntl.h>
#include <gelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string_view>

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

// Calls visit(name) for the libraries that the program needs and the symbols that it
// defines or looks for: DT_NEEDED of the dynamic section, and the dynamic symbols.
template <class Visit>
void ForEachName(Elf* elf, Visit visit) {
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(elf, section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr || header.sh_entsize == 0 ||
        (header.sh_type != SHT_DYNAMIC && header.sh_type != SHT_DYNSYM)) {
      continue;
    }
    Elf_Data* data = elf_getdata(section, nullptr);
    if (data == nullptr) continue;
    const int count = static_cast<int>(
        std::min<uint64_t>(header.sh_size / header.sh_entsize, INT_MAX));
    for (int i = 0; i < count; ++i) {
      size_t name = 0;
      if (header.sh_type == SHT_DYNSYM) {
        GElf_Sym symbol;
        if (gelf_getsym(data, i, &symbol) == nullptr) break;
        name = symbol.st_name;
      } else {
        GElf_Dyn entry;
        if (gelf_getdyn(data, i, &entry) == nullptr || entry.d_tag == DT_NULL) break;
        if (entry.d_tag != DT_NEEDED) continue;
        name = entry.d_un.d_val;
      }
      const char* text = elf_strptr(elf, header.sh_link, name);
      if (text != nullptr) visit(std::string_view(text));
    }
  }
}

// gcc's runtimes are libraries, clang's are within the program: both are told by a symbol
// that every program built so looks for or has. "" if there is none.
std::string SanitizerOf(Elf* elf) {
  std::string found;
  ForEachName(elf, [&found](std::string_view name) {
    if (name == "__asan_init" || name.substr(0, 10) == "libasan.so") {
      found = "AddressSanitizer";
    } else if (name == "__tsan_init" || name.substr(0, 10) == "libtsan.so") {
      found = "ThreadSanitizer";
    }
  });
  return found;
}

// What the kernel starts for a script: the first word behind "#!" (Linux 6.1,
// fs/binfmt_script.c, load_script()); "" for anything else.
std::string InterpreterOf(int fd) {
  char line[256] = {};
  const ssize_t size = pread(fd, line, sizeof(line) - 1, 0);
  if (size < 2 || line[0] != '#' || line[1] != '!') return "";
  std::istringstream words(std::string(line + 2, strcspn(line + 2, "\n")));
  std::string interpreter;
  words >> interpreter;
  return interpreter;
}

// What the ELF header says; other formats say nothing.
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
    } else if (const std::string sanitizer = SanitizerOf(elf); !sanitizer.empty()) {
      why = "is built with " + sanitizer +
            ", which has a malloc and handlers of its own and may refuse to start.";
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
  // O_NONBLOCK: opening a FIFO that nobody writes must not hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) {
    why = WhyNotByFormat(fd);
    const std::string interpreter = InterpreterOf(fd);
    close(fd);
    const int script =
        interpreter.empty()
            ? -1
            : open(interpreter.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (script >= 0) {
      // A script that interprets scripts is not looked into.
      why = WhyNotByFormat(script);
      close(script);
      if (!why.empty()) why = "is a script for " + interpreter + ", which " + why;
    }
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

std::string WhyNoLibrary(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return std::string("cannot be read: ") + std::strerror(errno);
  elf_version(EV_CURRENT);
  Elf* elf = elf_begin(fd, ELF_C_READ, nullptr);
  GElf_Ehdr header;
  const bool good = elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &header) != nullptr &&
                    header.e_type == ET_DYN && header.e_machine == EM_X86_64;
  bool is_ours = false;
  if (good) {
    ForEachName(elf, [&](std::string_view name) { is_ours |= name == "minicore_install"; });
  }
  elf_end(elf);
  close(fd);
  if (!good) return "is no shared library for x86-64";
  return is_ours ? "" : "is not minicore's";
}

}  // namespace minicore
