#include "tests/support/core_builder.h"

#include <signal.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include <cstring>
#include <stdexcept>

#include "alloc/index_format.h"

namespace minicore {
namespace {

std::string NoteBytes(const std::vector<BuiltNote>& notes) {
  std::string bytes;
  const auto pad = [&bytes] { bytes.resize((bytes.size() + 3) & ~size_t{3}); };
  for (const BuiltNote& note : notes) {
    Elf64_Nhdr header = {};
    header.n_namesz = static_cast<uint32_t>(note.owner.size() + 1);
    header.n_descsz = static_cast<uint32_t>(note.desc.size());
    header.n_type = note.type;
    bytes += BytesOf(header) + note.owner + '\0';
    pad();
    bytes += note.desc;
    pad();
  }
  return bytes;
}

Elf64_Phdr Header(uint32_t type, uint64_t offset, uint64_t bytes) {
  Elf64_Phdr header = {};
  header.p_type = type;
  header.p_offset = offset;
  header.p_filesz = bytes;
  return header;
}

std::string Status(uint32_t tid, uint64_t stack_pointer) {
  elf_prstatus status = {};
  status.pr_fpvalid = 1;
  status.pr_pid = static_cast<int>(tid);
  status.pr_cursig = SIGSEGV;
  user_regs_struct registers = {};
  registers.rip = kImage + 0x123;
  registers.rsp = stack_pointer;
  registers.rdi = kHeap + 16;
  std::memcpy(&status.pr_reg, &registers, sizeof(registers));
  return BytesOf(status);
}

std::string Xstate() {
  std::string bytes(832, '\0');
  Put(&bytes, 464, uint64_t{7});
  Put(&bytes, 512, uint64_t{7});
  return bytes;
}

std::string ProgramInfo() {
  elf_prpsinfo info = {};
  info.pr_pid = kCrashedTid;
  std::strcpy(info.pr_fname, "victim");
  std::strcpy(info.pr_psargs, "./victim --crash");
  return BytesOf(info);
}

std::string Signal() {
  std::string bytes(128, '\0');
  Put(&bytes, 0, int32_t{SIGSEGV});
  Put(&bytes, 8, int32_t{SEGV_MAPERR});
  Put(&bytes, 16, uint64_t{kFault});
  return bytes;
}

std::string Auxv() {
  std::string bytes;
  for (const auto& [type, value] : std::vector<std::pair<uint64_t, uint64_t>>{
           {AT_PHDR, kImage + sizeof(Elf64_Ehdr)},
           {AT_PHENT, sizeof(Elf64_Phdr)},
           {AT_PHNUM, 3},
           {AT_PAGESZ, 4096},
           {AT_NULL, 0}}) {
    bytes += BytesOf(type) + BytesOf(value);
  }
  return bytes;
}

std::string Files() {
  std::string bytes = BytesOf(uint64_t{2}) + BytesOf(uint64_t{4096});
  for (uint64_t word : {kImage, kImage + 0x1000, uint64_t{0}, kData,
                        kData + 0x1000, uint64_t{4}}) {
    bytes += BytesOf(word);
  }
  const char path[] = "/opt/victim";
  return bytes + std::string(path, sizeof(path)) +
         std::string(path, sizeof(path));
}

// First page of the program: ELF header, program headers, build id.
std::string Image() {
  std::string bytes(0x140, '\0');
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_type = ET_DYN;
  header.e_phoff = sizeof(header);
  header.e_phnum = 3;
  Put(&bytes, 0, header);
  Elf64_Phdr self = Header(PT_PHDR, sizeof(header), 3 * sizeof(Elf64_Phdr));
  self.p_vaddr = sizeof(header);
  Elf64_Phdr dynamic = Header(PT_DYNAMIC, 0x4000, 2 * sizeof(Elf64_Dyn));
  dynamic.p_vaddr = kData - kImage;
  dynamic.p_memsz = 2 * sizeof(Elf64_Dyn);
  Elf64_Phdr note = Header(PT_NOTE, 0x100, 36);
  Put(&bytes, sizeof(header), self);
  Put(&bytes, sizeof(header) + sizeof(self), dynamic);
  Put(&bytes, sizeof(header) + 2 * sizeof(self), note);
  std::string id;
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (int i = 0; i < 16 && id.size() < 20; ++i)
      id += static_cast<char>(i * 0x11);
  }
  const std::string build_id = NoteBytes({{"GNU", NT_GNU_BUILD_ID, id}});
  bytes.replace(0x100, build_id.size(), build_id);
  return bytes;
}

std::string Dynamic() {
  Elf64_Dyn debug = {};
  debug.d_tag = DT_DEBUG;
  debug.d_un.d_ptr = kLinker;
  return BytesOf(debug) + BytesOf(Elf64_Dyn{});
}

// r_debug, two nodes of 40 bytes, their names.
std::string Linker() {
  constexpr uint64_t kFirst = kLinker + 0x10;
  constexpr uint64_t kSecond = kLinker + 0x40;
  constexpr uint64_t kName = kLinker + 0x70;
  std::string bytes(0x80, '\0');
  Put(&bytes, 0, uint64_t{1});
  Put(&bytes, 8, kFirst);
  const uint64_t first[] = {kImage, kName + 15, kData, kSecond, 0};
  const uint64_t second[] = {kImage, kName, kData, 0, kFirst};
  Put(&bytes, 0x10, first);
  Put(&bytes, 0x40, second);
  bytes.replace(0x70, 7, "libx.so");
  return bytes;
}

BuiltSegment Segment(const char* name, uint64_t address, std::string bytes) {
  BuiltSegment segment;
  segment.name = name;
  segment.address = address;
  segment.memory_bytes = bytes.size();
  segment.bytes = std::move(bytes);
  return segment;
}

std::vector<BuiltNote> OwnNotes() {
  ThreadRow crashed = {};
  crashed.tid = kCrashedTid;
  crashed.source = ThreadSource::kCrashed;
  std::strcpy(crashed.name, "victim");
  ThreadRow other = crashed;
  other.tid = kOtherTid;
  other.source = ThreadSource::kSignal;
  std::strcpy(other.name, "worker");
  std::vector<SegmentRow> segments;
  const auto segment = [&segments](uint64_t begin, uint64_t size,
                                   SegmentKind kind, uint32_t tid) {
    segments.push_back({begin, begin + size, kind, {}, tid});
  };
  segment(kImage, 0x140, SegmentKind::kHeaders, 0);
  segment(kHeap, 0x40, SegmentKind::kHeap, 0);
  segment(kStack, 0x100, SegmentKind::kStack, kCrashedTid);
  HoleRow secret = {
      kHeap + 0x100, kHeap + 0x200, HoleReason::kSecret, 1, {}, 1};
  HoleRow copy = {
      kHeap + 0x28, kHeap + 0x33, HoleReason::kSecretCopy, 1, {}, 1};
  TagRow tag = {};
  tag.id = kTagSecret;
  tag.disposition = static_cast<uint8_t>(Disposition::kElide);
  tag.elided = 1;
  tag.bytes_out = 0x100;
  std::strcpy(tag.name, "secret");
  AnchorRow anchor = {};
  anchor.source = AnchorSource::kRegister;
  anchor.number = 14;  // rdi
  anchor.state = 2;    // freed
  anchor.value = kHeap + 16;
  anchor.begin = kHeap;
  anchor.size = 48;
  return {{kNoteOwner, kNoteReport, "version 1\nfreeze_us 120\n\n\n"},
          {kNoteOwner, kNoteThreads, RowNote<ThreadRow>({crashed, other})},
          {kNoteOwner, kNoteSegments, RowNote(segments)},
          {kNoteOwner, kNoteHoles, RowNote<HoleRow>({secret, copy})},
          {kNoteOwner, kNoteTags, RowNote<TagRow>({tag})},
          {kNoteOwner, kNoteAnchors, RowNote<AnchorRow>({anchor})}};
}

}  // namespace

BuiltNote& CoreBuilder::Note(uint32_t type, size_t nth) {
  for (BuiltNote& note : notes) {
    if (note.type == type && nth-- == 0) return note;
  }
  throw std::out_of_range("no such note");
}

BuiltNote& CoreBuilder::OwnNote(uint32_t type) {
  for (BuiltNote& note : own_notes) {
    if (note.type == type) return note;
  }
  throw std::out_of_range("no such note");
}

BuiltSegment& CoreBuilder::At(const std::string& name) {
  for (BuiltSegment& segment : segments) {
    if (segment.name == name) return segment;
  }
  throw std::out_of_range(name);
}

size_t CoreBuilder::HeaderOf(const std::string& name) const {
  for (size_t i = 0; i < segments.size(); ++i) {
    if (segments[i].name == name) return HeaderAt(i + 1);
  }
  throw std::out_of_range(name);
}

std::string CoreBuilder::Build() const {
  const size_t headers = segments.size() + 2;
  Elf64_Ehdr elf = {};
  std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
  elf.e_ident[EI_CLASS] = ELFCLASS64;
  elf.e_ident[EI_DATA] = ELFDATA2LSB;
  elf.e_ident[EI_VERSION] = EV_CURRENT;
  elf.e_type = ET_CORE;
  elf.e_machine = EM_X86_64;
  elf.e_version = EV_CURRENT;
  elf.e_phoff = sizeof(elf);
  elf.e_ehsize = sizeof(elf);
  elf.e_phentsize = sizeof(Elf64_Phdr);
  elf.e_phnum = static_cast<uint16_t>(headers);

  std::string body;
  const size_t body_at = HeaderAt(headers);
  std::string table;
  const auto append = [&](Elf64_Phdr header, const std::string& bytes) {
    body.resize(((body_at + body.size() + 15) & ~size_t{15}) - body_at);
    header.p_offset = body_at + body.size();
    header.p_filesz = bytes.size();
    body += bytes;
    table += BytesOf(header);
  };
  append(Header(PT_NOTE, 0, 0), NoteBytes(notes));
  for (const BuiltSegment& segment : segments) {
    Elf64_Phdr header = {};
    header.p_type = PT_LOAD;
    header.p_vaddr = segment.address;
    header.p_memsz = segment.memory_bytes;
    header.p_flags = segment.flags;
    header.p_align = segment.align;
    append(header, segment.bytes);
  }
  append(Header(PT_NOTE, 0, 0), NoteBytes(own_notes));
  return BytesOf(elf) + table + body;
}

CoreBuilder SmallCore() {
  CoreBuilder core;
  core.notes = {{"CORE", NT_PRSTATUS, Status(kCrashedTid, kStack + 0x80)},
                {"CORE", NT_PRPSINFO, ProgramInfo()},
                {"CORE", NT_SIGINFO, Signal()},
                {"CORE", NT_AUXV, Auxv()},
                {"CORE", NT_FILE, Files()},
                {"CORE", NT_FPREGSET, std::string(512, '\0')},
                {"LINUX", NT_X86_XSTATE, Xstate()},
                {"CORE", NT_PRSTATUS, Status(kOtherTid, kThread + 0x80)},
                {"CORE", NT_FPREGSET, std::string(512, '\0')},
                {"LINUX", NT_X86_XSTATE, Xstate()}};
  std::string object(0x40, 'h');
  object.replace(0x28, 11, "<ELIDED><EL");  // a copy of the secret stood here
  core.segments = {Segment("image", kImage, Image()),
                   Segment("data", kData, Dynamic()),
                   Segment("heap", kHeap, object),
                   Segment("other stack", kThread, std::string(0x100, 's')),
                   Segment("linker", kLinker, Linker()),
                   Segment("stack", kStack, std::string(0x100, 's'))};
  core.At("image").flags = PF_R;
  core.own_notes = OwnNotes();
  return core;
}

}  // namespace minicore
