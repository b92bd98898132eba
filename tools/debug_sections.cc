#include "tools/debug_sections.h"

#include <fcntl.h>
#include <gelf.h>
#include <unistd.h>

namespace minicore {
namespace {

bool IsOf(Elf* elf, const std::vector<Elf64_Phdr>& image) {
  size_t count = 0;
  if (elf_getphdrnum(elf, &count) != 0 || count != image.size()) return false;
  for (size_t i = 0; i < count; ++i) {
    GElf_Phdr header;
    if (gelf_getphdr(elf, static_cast<int>(i), &header) == nullptr ||
        header.p_type != image[i].p_type || header.p_vaddr != image[i].p_vaddr ||
        header.p_memsz != image[i].p_memsz) {
      return false;
    }
  }
  return true;
}

std::vector<DebugSection> LoadedSections(Elf* elf) {
  std::vector<DebugSection> sections;
  size_t names = 0;
  if (elf_getshdrstrndx(elf, &names) != 0) return {};
  for (Elf_Scn* section = nullptr; (section = elf_nextscn(elf, section)) != nullptr;) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) return {};
    if ((header.sh_flags & SHF_ALLOC) == 0) continue;
    const char* name = elf_strptr(elf, names, header.sh_name);
    // Linkers put what is loaded first; symbols name their sections by number.
    if (name == nullptr || elf_ndxscn(section) != sections.size() + 1) return {};
    sections.push_back({name, header});
  }
  return sections;
}

}  // namespace

std::vector<DebugSection> ReadDebugSections(const std::string& directory,
                                            const std::string& build_id,
                                            const std::vector<Elf64_Phdr>& image) {
  if (build_id.size() < 4) return {};
  const std::string path = directory + "/.build-id/" + build_id.substr(0, 2) + "/" +
                           build_id.substr(2) + ".debug";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return {};
  elf_version(EV_CURRENT);
  Elf* elf = elf_begin(fd, ELF_C_READ, nullptr);
  std::vector<DebugSection> sections;
  if (elf_kind(elf) == ELF_K_ELF && gelf_getclass(elf) == ELFCLASS64 && IsOf(elf, image)) {
    sections = LoadedSections(elf);
  }
  elf_end(elf);
  close(fd);
  return sections;
}

}  // namespace minicore
