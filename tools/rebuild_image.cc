#include "tools/rebuild_image.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "tools/debug_sections.h"

namespace minicore {
namespace {

constexpr uint64_t kPage = 4096;
// A core that claims more is not believed.
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;
constexpr unsigned kMaxProgramHeaders = 512;
constexpr size_t kMaxSymbols = 1 << 22;

// One image at work: where it was, and the file that it becomes.
class Rebuilder {
 public:
  Rebuilder(const CoreReader& core, uint64_t base) : core_(core), base_(base) {}

  bool ReadHeaders();
  bool CopySegments();
  void AddSections(const std::string& debug_directory);
  std::string TakeFile() { return std::move(file_); }
  bool whole() const { return whole_; }

 private:
  void AddSection(const std::string& name, uint32_t type, uint64_t flags,
                  uint64_t address, uint64_t bytes, uint64_t alignment = 8);
  bool TakeSections(const std::vector<DebugSection>& sections);
  void DeriveSections();
  void AddCode();
  void AddFrameInformation();
  void ReadDynamic();
  void DescribeDynamic();
  size_t CountSymbols(uint64_t gnu_hash);
  void GiveSymbolsTheirSections(uint64_t symbols, size_t count);
  const Elf64_Phdr* Find(uint32_t type) const;
  // The PT_LOAD that has `address` (as in the file's headers) in its file part.
  const Elf64_Phdr* Load(uint64_t address) const;
  // Where that stands in the file; 0 if nowhere.
  uint64_t Offset(uint64_t address) const;
  // What ld.so made of an address in PT_DYNAMIC is made undone.
  uint64_t Unrelocated(uint64_t address) const {
    return bias_ != 0 && address >= base_ && address - bias_ < end_
               ? address - bias_
               : address;
  }
  template <class T>
  T* InFile(uint64_t address, size_t count = 1) {
    const uint64_t offset = Offset(address);
    if (offset == 0 || offset % alignof(T) != 0 || offset > file_.size() ||
        count > (file_.size() - offset) / sizeof(T)) {
      return nullptr;
    }
    return reinterpret_cast<T*>(&file_[offset]);
  }

  const CoreReader& core_;
  const uint64_t base_;
  uint64_t bias_ = 0;  // added to the headers' addresses
  uint64_t end_ = 0;   // of the headers' addresses
  Elf64_Ehdr header_ = {};
  std::vector<Elf64_Phdr> headers_;
  std::string file_;
  bool whole_ = true;
  // Of the dynamic section, as in the headers; 0 where it has none.
  uint64_t strings_ = 0;
  uint64_t string_bytes_ = 0;
  uint64_t symbols_ = 0;
  uint64_t gnu_hash_ = 0;
  std::vector<Elf64_Shdr> sections_ = {Elf64_Shdr{}};
  std::string names_ = std::string(1, '\0');
};

bool Rebuilder::ReadHeaders() {
  const auto header = core_.ReadAs<Elf64_Ehdr>(base_);
  if (!header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 ||
      header->e_machine != EM_X86_64 ||
      (header->e_type != ET_EXEC && header->e_type != ET_DYN) ||
      header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
      header->e_phnum > kMaxProgramHeaders || header->e_phoff > kPage) {
    return false;
  }
  header_ = *header;
  headers_.resize(header_.e_phnum);
  if (!core_.Read(base_ + header_.e_phoff, headers_.data(),
                  headers_.size() * sizeof(Elf64_Phdr))) {
    return false;
  }
  const Elf64_Phdr* first = Find(PT_LOAD);
  if (first == nullptr) return false;
  bias_ = base_ - first->p_vaddr / kPage * kPage;
  for (const Elf64_Phdr& load : headers_) {
    if (load.p_type != PT_LOAD) continue;
    if (load.p_filesz > kMaxFileBytes || load.p_offset > kMaxFileBytes ||
        load.p_vaddr > UINT64_MAX / 2 || load.p_memsz > UINT64_MAX / 4) {
      return false;
    }
    end_ = std::max(end_, load.p_vaddr + load.p_memsz);
  }
  return true;
}

const Elf64_Phdr* Rebuilder::Find(uint32_t type) const {
  for (const Elf64_Phdr& header : headers_) {
    if (header.p_type == type) return &header;
  }
  return nullptr;
}

const Elf64_Phdr* Rebuilder::Load(uint64_t address) const {
  for (const Elf64_Phdr& load : headers_) {
    if (load.p_type == PT_LOAD && address >= load.p_vaddr &&
        address - load.p_vaddr < load.p_filesz) {
      return &load;
    }
  }
  return nullptr;
}

uint64_t Rebuilder::Offset(uint64_t address) const {
  const Elf64_Phdr* load = Load(address);
  return load == nullptr ? 0 : load->p_offset + (address - load->p_vaddr);
}

bool Rebuilder::CopySegments() {
  uint64_t size = 0;
  for (const Elf64_Phdr& load : headers_) {
    if (load.p_type == PT_LOAD)
      size = std::max(size, load.p_offset + load.p_filesz);
  }
  if (size < sizeof(header_)) return false;
  // Between segments there is less than a page of nothing.
  if (size > core_.file_bytes() + headers_.size() * kPage) {
    whole_ = false;
    return true;
  }
  file_.assign(size, '\0');
  for (const Elf64_Phdr& load : headers_) {
    if (load.p_type != PT_LOAD || load.p_filesz == 0) continue;
    const size_t read = core_.ReadUpTo(bias_ + load.p_vaddr,
                                       &file_[load.p_offset], load.p_filesz);
    if (read < load.p_filesz) whole_ = false;
  }
  return true;
}

void Rebuilder::AddSection(const std::string& name, uint32_t type, uint64_t flags,
                           uint64_t address, uint64_t bytes, uint64_t alignment) {
  Elf64_Shdr section = {};
  section.sh_name = static_cast<uint32_t>(names_.size());
  section.sh_type = type;
  section.sh_flags = flags;
  section.sh_addr = address;
  section.sh_offset = Offset(address);
  section.sh_size = bytes;
  section.sh_addralign = alignment;
  names_.append(name).push_back('\0');
  sections_.push_back(section);
}

// Those of the debug file. It says of each where it was, but of most not what: in it they
// have no contents.
bool Rebuilder::TakeSections(const std::vector<DebugSection>& sections) {
  const Elf64_Phdr* tls = Find(PT_TLS);
  for (const DebugSection& section : sections) {
    const Elf64_Shdr& header = section.header;
    const Elf64_Phdr* load = Load(header.sh_addr);
    const bool is_tls_zeros = (header.sh_flags & SHF_TLS) != 0 && tls != nullptr &&
                              header.sh_addr - tls->p_vaddr >= tls->p_filesz;
    const bool has_bytes = load != nullptr && !is_tls_zeros && header.sh_size != 0;
    if (has_bytes && header.sh_size > load->p_filesz - (header.sh_addr - load->p_vaddr)) {
      return false;
    }
    const uint32_t type = !has_bytes                     ? SHT_NOBITS
                          : header.sh_type == SHT_NOTE ? SHT_NOTE
                                                         : SHT_PROGBITS;
    AddSection(section.name, type, header.sh_flags, header.sh_addr, header.sh_size,
               header.sh_addralign);
  }
  return !sections.empty();
}

// Without a debug file: what debuggers look for, as far as segments tell where it is.
//
// Where .text begins within its segment they do not tell, and a debug file that turns up
// later would be relocated by the wrong difference. So there is no section with the build
// id, by which gdb would find one.
void Rebuilder::DeriveSections() {
  sections_.resize(1);
  names_.resize(1);
  AddCode();
  AddFrameInformation();
  const size_t count = gnu_hash_ == 0 ? 0 : CountSymbols(gnu_hash_);
  if (count == 0 || InFile<Elf64_Sym>(symbols_, count) == nullptr ||
      InFile<char>(strings_, string_bytes_) == nullptr) {
    return;
  }
  GiveSymbolsTheirSections(symbols_, count);
  AddSection(".dynstr", SHT_PROGBITS, SHF_ALLOC, strings_, string_bytes_, 1);
  AddSection(".dynsym", SHT_PROGBITS, SHF_ALLOC, symbols_, count * sizeof(Elf64_Sym));
  const Elf64_Phdr* dynamic = Find(PT_DYNAMIC);
  AddSection(".dynamic", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, dynamic->p_vaddr,
             dynamic->p_memsz);
}

// Whole segments: debuggers ask which section a program counter is in.
void Rebuilder::AddCode() {
  for (const Elf64_Phdr& load : headers_) {
    if (load.p_type != PT_LOAD || load.p_filesz == 0) continue;
    if ((load.p_flags & PF_X) != 0) {
      AddSection(".text", SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, load.p_vaddr,
                 load.p_filesz);
    } else if ((load.p_flags & PF_W) != 0) {
      AddSection(".data", SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, load.p_vaddr,
                 load.p_filesz);
    }
  }
}

// Linux Standard Base, "Exception Frames": .eh_frame_hdr says where .eh_frame
// begins, which ends with a record of length 0.
void Rebuilder::AddFrameInformation() {
  const Elf64_Phdr* header = Find(PT_GNU_EH_FRAME);
  if (header == nullptr) return;
  constexpr uint8_t kPcRelative4 = 0x1b;  // DW_EH_PE_pcrel | DW_EH_PE_sdata4
  const auto* bytes = InFile<uint8_t>(header->p_vaddr, 8);
  if (bytes == nullptr || bytes[0] != 1 || bytes[1] != kPcRelative4) return;
  int32_t distance;
  memcpy(&distance, bytes + 4, sizeof(distance));
  const uint64_t begin =
      header->p_vaddr + 4 + static_cast<uint64_t>(int64_t{distance});
  uint64_t at = begin;
  // Each turn steps over a record.
  while (const auto* length = InFile<uint8_t>(at, 4)) {
    uint32_t value;
    memcpy(&value, length, sizeof(value));
    at += 4;
    if (value == 0 || value == UINT32_MAX) break;
    at += value;
  }
  if (at == begin) return;
  AddSection(".eh_frame_hdr", SHT_PROGBITS, SHF_ALLOC, header->p_vaddr,
             header->p_memsz);
  AddSection(".eh_frame", SHT_PROGBITS, SHF_ALLOC, begin, at - begin);
}

// Drepper, "How To Write Shared Libraries", 1.5.3: the last symbol of the
// fullest chain.
size_t Rebuilder::CountSymbols(uint64_t gnu_hash) {
  const auto* head = InFile<uint32_t>(gnu_hash, 4);
  if (head == nullptr) return 0;
  const uint32_t buckets = head[0];
  const uint32_t first = head[1];
  const uint64_t bucket_address = gnu_hash + 16 + uint64_t{head[2]} * 8;
  const auto* bucket = InFile<uint32_t>(bucket_address, buckets);
  if (bucket == nullptr || buckets > kMaxSymbols) return 0;
  uint32_t last = 0;
  for (uint32_t i = 0; i < buckets; ++i) last = std::max(last, bucket[i]);
  if (last < first) return first;
  const uint64_t chains = bucket_address + uint64_t{buckets} * 4;
  for (; last < kMaxSymbols; ++last) {
    const auto* chain = InFile<uint32_t>(chains + uint64_t{last - first} * 4);
    if (chain == nullptr) return 0;
    if ((*chain & 1) != 0) return last + 1;
  }
  return 0;
}

// Their section numbers are those of the real file.
void Rebuilder::GiveSymbolsTheirSections(uint64_t symbols, size_t count) {
  auto* symbol = InFile<Elf64_Sym>(symbols, count);
  for (size_t i = 0; symbol != nullptr && i < count; ++i) {
    if (symbol[i].st_shndx == SHN_UNDEF || symbol[i].st_shndx >= SHN_LORESERVE)
      continue;
    uint16_t found = 1;  // what is in none: read-only data
    for (size_t j = 1; j < sections_.size(); ++j) {
      const Elf64_Shdr& section = sections_[j];
      if (symbol[i].st_value - section.sh_addr < section.sh_size) {
        found = static_cast<uint16_t>(j);
      }
    }
    symbol[i].st_shndx = found;
  }
}

void Rebuilder::ReadDynamic() {
  const Elf64_Phdr* dynamic = Find(PT_DYNAMIC);
  if (dynamic == nullptr) return;
  const size_t entries = dynamic->p_memsz / sizeof(Elf64_Dyn);
  auto* entry = InFile<Elf64_Dyn>(dynamic->p_vaddr, entries);
  for (size_t i = 0; entry != nullptr && i < entries; ++i) {
    switch (entry[i].d_tag) {
      // What glibc 2.36 relocates in place (elf/get-dynamic-info.h).
      case DT_HASH:
      case DT_PLTGOT:
      case DT_RELA:
      case DT_JMPREL:
      case DT_VERSYM:
      case DT_STRTAB:
      case DT_SYMTAB:
      case DT_GNU_HASH:
        entry[i].d_un.d_ptr = Unrelocated(entry[i].d_un.d_ptr);
        break;
      default:
        break;
    }
    if (entry[i].d_tag == DT_STRTAB) strings_ = entry[i].d_un.d_ptr;
    if (entry[i].d_tag == DT_STRSZ) string_bytes_ = entry[i].d_un.d_val;
    if (entry[i].d_tag == DT_SYMTAB) symbols_ = entry[i].d_un.d_ptr;
    if (entry[i].d_tag == DT_GNU_HASH) gnu_hash_ = entry[i].d_un.d_ptr;
  }
}

// Which of the sections hold the dynamic symbols, their names, and the dynamic section.
void Rebuilder::DescribeDynamic() {
  const Elf64_Phdr* dynamic = Find(PT_DYNAMIC);
  const auto find = [this](uint64_t address) -> Elf64_Shdr* {
    for (Elf64_Shdr& section : sections_) {
      if (section.sh_type == SHT_PROGBITS && section.sh_addr == address) return &section;
    }
    return nullptr;
  };
  Elf64_Shdr* names = find(strings_);
  if (dynamic == nullptr || names == nullptr) return;
  names->sh_type = SHT_STRTAB;
  const auto describe = [&](uint64_t address, uint32_t type, uint64_t entry_bytes) {
    Elf64_Shdr* section = find(address);
    if (section == nullptr) return;
    section->sh_type = type;
    section->sh_entsize = entry_bytes;
    section->sh_link = static_cast<uint32_t>(names - sections_.data());
    section->sh_info = type == SHT_DYNSYM ? 1 : 0;
  };
  describe(symbols_, SHT_DYNSYM, sizeof(Elf64_Sym));
  describe(dynamic->p_vaddr, SHT_DYNAMIC, sizeof(Elf64_Dyn));
}

void Rebuilder::AddSections(const std::string& debug_directory) {
  ReadDynamic();
  const auto sections =
      ReadDebugSections(debug_directory, BuildIdAt(core_, base_), headers_);
  if (!TakeSections(sections)) DeriveSections();
  DescribeDynamic();
  file_.resize((file_.size() + 7) / 8 * 8);
  AddSection(".shstrtab", SHT_STRTAB, 0, 0, 0, 1);
  sections_.back().sh_offset = file_.size();
  sections_.back().sh_size = names_.size();
  file_ += names_;
  file_.resize((file_.size() + 7) / 8 * 8);
  header_.e_shoff = file_.size();
  header_.e_shentsize = sizeof(Elf64_Shdr);
  header_.e_shnum = static_cast<uint16_t>(sections_.size());
  header_.e_shstrndx = static_cast<uint16_t>(sections_.size() - 1);
  file_.append(reinterpret_cast<const char*>(sections_.data()),
               sections_.size() * sizeof(Elf64_Shdr));
  memcpy(&file_[0], &header_, sizeof(header_));
}

}  // namespace

std::optional<UnpackedImage> RebuildImage(const CoreReader& core, uint64_t base,
                                          const std::string& debug_directory) {
  Rebuilder rebuilder(core, base);
  if (!rebuilder.ReadHeaders() || !rebuilder.CopySegments())
    return std::nullopt;
  UnpackedImage image;
  image.base = base;
  image.whole = rebuilder.whole();
  if (image.whole) {
    rebuilder.AddSections(debug_directory);
    image.bytes = rebuilder.TakeFile();
  }
  return image;
}

std::vector<UnpackedImage> RebuildImages(const CoreReader& core,
                                         const ProcessNotes& process,
                                         const std::string& debug_directory) {
  std::vector<UnpackedImage> images;
  std::set<std::string> seen;
  for (const FileMapping& mapping : process.files) {
    if (mapping.file_offset != 0 || seen.count(mapping.path) != 0) continue;
    std::optional<UnpackedImage> image = RebuildImage(core, mapping.begin, debug_directory);
    if (!image) continue;
    image->path = mapping.path;
    seen.insert(mapping.path);
    images.push_back(*std::move(image));
  }
  return images;
}

}  // namespace minicore
