#include "tools/core_reader.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tools/text.h"

namespace minicore {
namespace {

// Enough for the process notes and ours many times over; a made-up file with
// 65,534 note segments over the same bytes must not cost minutes.
constexpr size_t kMaxNoteSegments = 16;
constexpr size_t kMaxNotes = 4u << 20;

uint64_t SaturatingAdd(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

CoreSegment SegmentFrom(const GElf_Phdr& header, size_t index) {
  CoreSegment segment;
  segment.type = header.p_type;
  segment.flags = header.p_flags;
  segment.offset = header.p_offset;
  segment.address = header.p_vaddr;
  segment.file_bytes = header.p_filesz;
  segment.memory_bytes = header.p_memsz;
  segment.align = header.p_align;
  segment.index = index;
  return segment;
}

bool AllZero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace

uint64_t CoreSegment::end() const {
  return SaturatingAdd(address, memory_bytes);
}

uint64_t CoreSegment::file_end() const {
  return SaturatingAdd(offset, file_bytes);
}

std::unique_ptr<CoreReader> CoreReader::Open(const std::string& path,
                                             std::string* error) {
  // O_NONBLOCK: opening a FIFO that nobody writes must not hang.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0) return FromDescriptor(fd, error);
  *error = std::string("cannot be opened: ") + std::strerror(errno);
  return nullptr;
}

std::unique_ptr<CoreReader> CoreReader::FromDescriptor(int fd, std::string* error) {
  std::unique_ptr<CoreReader> reader(new CoreReader);
  reader->fd_ = fd;
  struct stat status = {};
  if (fstat(fd, &status) != 0) {
    *error = std::string("cannot be read: ") + std::strerror(errno);
    return nullptr;
  }
  if (!S_ISREG(status.st_mode)) {
    *error = "is not a regular file";
    return nullptr;
  }
  reader->file_bytes_ = static_cast<uint64_t>(status.st_size);
  elf_version(EV_CURRENT);
  // Not ELF_C_READ_MMAP: a file that is cut off while we read would be a
  // SIGBUS.
  reader->elf_ = elf_begin(reader->fd_, ELF_C_READ, nullptr);
  return Finish(std::move(reader), error);
}

std::unique_ptr<CoreReader> CoreReader::FromBytes(std::string_view bytes,
                                                  std::string* error) {
  std::unique_ptr<CoreReader> reader(new CoreReader);
  reader->bytes_ = bytes;
  reader->file_bytes_ = bytes.size();
  elf_version(EV_CURRENT);
  if (!bytes.empty()) {
    reader->elf_ = elf_memory(reader->bytes_.data(), reader->bytes_.size());
  }
  return Finish(std::move(reader), error);
}

CoreReader::~CoreReader() {
  if (elf_ != nullptr) elf_end(elf_);
  if (fd_ >= 0) close(fd_);
}

std::unique_ptr<CoreReader> CoreReader::Finish(
    std::unique_ptr<CoreReader> reader, std::string* error) {
  Elf* elf = reader->elf_;
  if (reader->file_bytes_ == 0) {
    *error = "is empty";
    return nullptr;
  }
  if (elf == nullptr || elf_kind(elf) != ELF_K_ELF) {
    *error = "is not an ELF file";
    return nullptr;
  }
  const char* ident = elf_getident(elf, nullptr);
  if (ident == nullptr || ident[EI_CLASS] != ELFCLASS64 ||
      ident[EI_DATA] != ELFDATA2LSB) {
    *error = "is not a 64-bit little-endian ELF file";
    return nullptr;
  }
  GElf_Ehdr header;
  if (gelf_getehdr(elf, &header) == nullptr) {
    *error = "has no readable ELF header";
    return nullptr;
  }
  reader->header_ = header;
  if (header.e_type != ET_CORE) {
    *error = "is an ELF file, but not a core";
    return nullptr;
  }
  reader->ReadProgramHeaders();
  return reader;
}

void CoreReader::ReadProgramHeaders() {
  size_t count = 0;
  if (elf_getphdrnum(elf_, &count) != 0) count = 0;
  // libelf clips the count to what fits into the file.
  if (header_.e_phnum != PN_XNUM && count < header_.e_phnum) {
    faults_.push_back("The file is truncated: of " +
                      Count(header_.e_phnum, "program header") + " only " +
                      std::to_string(count) + " are in it.");
  }
  size_t note_segments = 0;
  for (size_t i = 0; i < count; ++i) {
    GElf_Phdr raw;
    if (gelf_getphdr(elf_, static_cast<int>(i), &raw) == nullptr) {
      faults_.push_back("Program header " + std::to_string(i) +
                        " cannot be read.");
      break;
    }
    const CoreSegment segment = SegmentFrom(raw, i);
    segments_.push_back(segment);
    if (segment.type == PT_LOAD && segment.memory_bytes > 0) {
      loads_.push_back(segment);
    }
    if (segment.type == PT_NOTE && ++note_segments <= kMaxNoteSegments) {
      ReadNotes(segment);
    }
  }
  if (note_segments > kMaxNoteSegments) {
    faults_.push_back("There are " + Count(note_segments, "note segment") +
                      "; only the first " + std::to_string(kMaxNoteSegments) +
                      " were read.");
  }
  std::stable_sort(loads_.begin(), loads_.end(),
                   [](const CoreSegment& a, const CoreSegment& b) {
                     return a.address < b.address;
                   });
  run_ends_.resize(loads_.size());
  for (size_t i = loads_.size(); i-- > 0;) {
    const bool goes_on =
        i + 1 < loads_.size() && loads_[i + 1].address == loads_[i].end();
    run_ends_[i] = goes_on ? run_ends_[i + 1] : loads_[i].end();
  }
}

void CoreReader::ReadNotes(const CoreSegment& segment) {
  if (segment.offset >= file_bytes_ || segment.file_bytes == 0) return;
  const size_t size = static_cast<size_t>(
      std::min(segment.file_bytes, file_bytes_ - segment.offset));
  Elf_Data* data =
      elf_getdata_rawchunk(elf_, static_cast<int64_t>(segment.offset), size,
                           segment.align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
  if (data == nullptr || data->d_buf == nullptr) {
    faults_.push_back("The notes at file offset " + Hex(segment.offset) +
                      " cannot be read.");
    return;
  }
  const std::string_view bytes(static_cast<const char*>(data->d_buf),
                               data->d_size);
  size_t at = 0;
  while (at < bytes.size() && notes_.size() < kMaxNotes) {
    GElf_Nhdr note;
    size_t name_at = 0;
    size_t desc_at = 0;
    const size_t next = gelf_getnote(data, at, &note, &name_at, &desc_at);
    if (next == 0 || next <= at) break;
    CoreNote found;
    found.owner = bytes.substr(name_at, note.n_namesz);
    if (!found.owner.empty() && found.owner.back() == '\0') {
      found.owner.remove_suffix(1);
    }
    found.type = note.n_type;
    found.desc = bytes.substr(desc_at, note.n_descsz);
    found.file_offset = segment.offset + at;
    found.segment = segment.index;
    notes_.push_back(found);
    at = next;
  }
  if (at < bytes.size() && !AllZero(bytes.substr(at))) {
    faults_.push_back("The note at file offset " + Hex(segment.offset + at) +
                      " does not fit into its segment.");
  }
}

const CoreSegment* CoreReader::FindLoad(uint64_t address) const {
  auto above = std::upper_bound(
      loads_.begin(), loads_.end(), address,
      [](uint64_t a, const CoreSegment& load) { return a < load.address; });
  if (above == loads_.begin()) return nullptr;
  const CoreSegment& load = *std::prev(above);
  return address - load.address < load.memory_bytes ? &load : nullptr;
}

const CoreSegment* CoreReader::NextLoad(uint64_t address) const {
  if (const CoreSegment* load = FindLoad(address)) return load;
  auto above = std::upper_bound(
      loads_.begin(), loads_.end(), address,
      [](uint64_t a, const CoreSegment& load) { return a < load.address; });
  return above == loads_.end() ? nullptr : &*above;
}

uint64_t CoreReader::CoveredUpTo(uint64_t address) const {
  const CoreSegment* load = FindLoad(address);
  if (load == nullptr) return address;
  return run_ends_[static_cast<size_t>(load - loads_.data())];
}

size_t CoreReader::ReadUpTo(uint64_t address, void* out, size_t size) const {
  char* to = static_cast<char*>(out);
  size_t done = 0;
  while (done < size) {
    const uint64_t at = address + done;
    if (at < address) break;
    const CoreSegment* load = FindLoad(at);
    if (load == nullptr) break;
    const uint64_t inside = at - load->address;
    uint64_t part =
        std::min<uint64_t>(size - done, load->memory_bytes - inside);
    if (inside < load->file_bytes) {
      part = std::min(part, load->file_bytes - inside);
      const uint64_t offset = SaturatingAdd(load->offset, inside);
      if (offset >= file_bytes_) break;
      part = std::min(part, file_bytes_ - offset);
      if (!ReadFile(offset, to + done, static_cast<size_t>(part))) break;
    } else if ((load->flags & PF_W) != 0) {
      std::memset(to + done, 0, static_cast<size_t>(part));
    } else {
      break;  // a file mapping whose bytes the debugger finds in the file
    }
    done += static_cast<size_t>(part);
  }
  return done;
}

bool CoreReader::Read(uint64_t address, void* out, size_t size) const {
  return ReadUpTo(address, out, size) == size;
}

bool CoreReader::ReadFile(uint64_t offset, void* out, size_t size) const {
  if (offset > file_bytes_ || size > file_bytes_ - offset) return false;
  if (fd_ < 0) {
    std::memcpy(out, bytes_.data() + offset, size);
    return true;
  }
  char* to = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = pread(fd_, to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
  return true;
}

uint64_t CoreReader::NextData(uint64_t offset) const {
  if (fd_ < 0 || offset >= file_bytes_) return std::min(offset, file_bytes_);
  const off_t data = lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
  // A file system that knows of no holes (EINVAL) has none.
  if (data < 0) return errno == ENXIO ? file_bytes_ : offset;
  return std::min(static_cast<uint64_t>(data), file_bytes_);
}

uint64_t CoreReader::PromisedBytes() const {
  uint64_t bytes = SaturatingAdd(header_.e_phoff, header_.e_phnum * sizeof(Elf64_Phdr));
  for (const CoreSegment& segment : segments_) {
    if (segment.file_bytes != 0) bytes = std::max(bytes, segment.file_end());
  }
  return bytes;
}

std::optional<std::string> CoreReader::ReadString(uint64_t address,
                                                  size_t limit) const {
  std::string text;
  char piece[64];
  while (text.size() < limit) {
    const size_t want = std::min(sizeof(piece), limit - text.size());
    const size_t got = ReadUpTo(address + text.size(), piece, want);
    const size_t length = strnlen(piece, got);
    text.append(piece, length);
    if (length < got) return text;
    if (got < want) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace minicore
