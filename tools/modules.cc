#include <algorithm>

#include "tools/process_notes.h"
#include "tools/text.h"

namespace minicore {
namespace {

constexpr uint64_t kMaxProgramHeaders = 512;
constexpr size_t kMaxDynamic = 4096;
constexpr size_t kMaxModules = 65536;

// The public head of glibc's struct r_debug and struct link_map (<link.h>),
// with numbers for pointers.
struct DebugHead {
  int32_t version;
  int32_t padding;
  uint64_t map;
};
struct LinkMapHead {
  uint64_t base;
  uint64_t name;
  uint64_t dynamic;
  uint64_t next;
  uint64_t previous;
};

struct DynamicSection {
  uint64_t address = 0;  // 0: there is none
  uint64_t bytes = 0;
};

// The program's own PT_DYNAMIC, by its program headers in memory.
DynamicSection FindDynamic(const CoreReader& core, uint64_t headers,
                           uint64_t count, Faults* faults) {
  DynamicSection dynamic;
  uint64_t bias = 0;
  for (uint64_t i = 0; i < std::min(count, kMaxProgramHeaders); ++i) {
    const auto header =
        core.ReadAs<Elf64_Phdr>(headers + i * sizeof(Elf64_Phdr));
    if (!header) {
      faults->push_back("The program headers of the program (AT_PHDR, " +
                        Hex(headers) + ") are not in the core.");
      return {};
    }
    if (header->p_type == PT_PHDR) bias = headers - header->p_vaddr;
    if (header->p_type == PT_DYNAMIC) {
      dynamic = {header->p_vaddr, header->p_memsz};
    }
  }
  if (dynamic.address != 0) dynamic.address += bias;
  return dynamic;
}

}  // namespace

std::vector<ModuleInfo> FindModules(const CoreReader& core,
                                    const std::vector<FileMapping>& files) {
  std::vector<ModuleInfo> modules;
  for (const FileMapping& file : files) {
    const bool same = !modules.empty() && modules.back().path == file.path &&
                      file.file_offset != 0;
    if (same) {
      modules.back().end = std::max(modules.back().end, file.end);
      continue;
    }
    if (file.file_offset != 0) continue;
    const auto magic = core.ReadAs<uint32_t>(file.begin);
    if (magic != 0x464c457fu) continue;
    modules.push_back(
        {file.path, file.begin, file.end, BuildIdAt(core, file.begin)});
  }
  return modules;
}

std::vector<LinkedModule> WalkModules(const CoreReader& core,
                                      const ProcessNotes& process,
                                      Faults* faults) {
  const auto headers = process.auxv.find(AT_PHDR);
  const auto count = process.auxv.find(AT_PHNUM);
  if (headers == process.auxv.end() || count == process.auxv.end()) {
    faults->push_back("The auxiliary vector has no AT_PHDR or no AT_PHNUM.");
    return {};
  }
  const DynamicSection dynamic =
      FindDynamic(core, headers->second, count->second, faults);
  if (dynamic.address == 0) return {};

  uint64_t debug_address = 0;
  const size_t entries =
      std::min<uint64_t>(dynamic.bytes / sizeof(Elf64_Dyn), kMaxDynamic);
  for (size_t i = 0; i < entries; ++i) {
    const auto entry =
        core.ReadAs<Elf64_Dyn>(dynamic.address + i * sizeof(Elf64_Dyn));
    if (!entry) {
      faults->push_back("The program's dynamic section at " +
                        Hex(dynamic.address) + " is not in the core.");
      return {};
    }
    if (entry->d_tag == DT_NULL) break;
    if (entry->d_tag == DT_DEBUG) debug_address = entry->d_un.d_ptr;
  }
  if (debug_address == 0) return {};

  const auto debug = core.ReadAs<DebugHead>(debug_address);
  if (!debug) {
    faults->push_back("The dynamic linker's r_debug at " + Hex(debug_address) +
                      " is not in the core.");
    return {};
  }
  std::vector<LinkedModule> modules;
  uint64_t previous = 0;
  for (uint64_t node = debug->map; node != 0;) {
    const auto map = core.ReadAs<LinkMapHead>(node);
    if (!map) {
      faults->push_back("Node " + std::to_string(modules.size()) +
                        " of the module list at " + Hex(node) +
                        " is not in the core.");
      return modules;
    }
    if (map->previous != previous) {
      // gdb 13 stops here with "Corrupted shared library list".
      faults->push_back("Node " + std::to_string(modules.size()) +
                        " of the module list at " + Hex(node) +
                        " does not point back to the one before it.");
      return modules;
    }
    LinkedModule module{node, map->base, map->dynamic, ""};
    if (const auto name = core.ReadString(map->name)) {
      module.name = *name;
    } else {
      faults->push_back("The name of node " + std::to_string(modules.size()) +
                        " of the module list at " + Hex(map->name) +
                        " is not in the core.");
    }
    modules.push_back(std::move(module));
    if (modules.size() >= kMaxModules) {
      faults->push_back("The module list does not end.");
      return modules;
    }
    previous = node;
    node = map->next;
  }
  return modules;
}

std::string BuildIdAt(const CoreReader& core, uint64_t header) {
  const auto image = core.ReadAs<Elf64_Ehdr>(header);
  if (!image || std::string_view(reinterpret_cast<const char*>(image->e_ident),
                                 SELFMAG) != ELFMAG) {
    return "";
  }
  for (unsigned i = 0; i < std::min<unsigned>(image->e_phnum, 64); ++i) {
    const auto segment = core.ReadAs<Elf64_Phdr>(header + image->e_phoff +
                                                 i * sizeof(Elf64_Phdr));
    if (!segment || segment->p_type != PT_NOTE) continue;
    // The image is mapped from file offset 0 on at `header`, so a note in its
    // first segment is as far from there as it is from the start of the file.
    const uint64_t end = std::min<uint64_t>(segment->p_filesz, 4096);
    for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= end;) {
      const uint64_t note_at = header + segment->p_offset + at;
      const auto note = core.ReadAs<Elf64_Nhdr>(note_at);
      if (!note) break;
      const uint64_t name_bytes = (uint64_t{note->n_namesz} + 3) & ~3ull;
      const uint64_t desc_bytes = (uint64_t{note->n_descsz} + 3) & ~3ull;
      const auto owner = core.ReadAs<uint32_t>(note_at + sizeof(*note));
      if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
          owner == 0x00554e47u && note->n_descsz <= 64) {
        std::string id;
        for (uint64_t k = 0; k < note->n_descsz; ++k) {
          const auto byte =
              core.ReadAs<uint8_t>(note_at + sizeof(*note) + name_bytes + k);
          if (!byte) return "";
          constexpr char kDigits[] = "0123456789abcdef";
          id += kDigits[*byte >> 4];
          id += kDigits[*byte & 15];
        }
        return id;
      }
      at += sizeof(*note) + name_bytes + desc_bytes;
    }
  }
  return "";
}

}  // namespace minicore
