// An ELF core file as it lies on disk: program headers, notes, memory. Nothing
// of what the file says is believed: every access is checked, and any garbage
// as input gives an error or faults, never undefined behaviour.
//
// Built on libelf, which shares no code with the writer of the core.

#ifndef MINICORE_TOOLS_CORE_READER_H_
#define MINICORE_TOOLS_CORE_READER_H_

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

struct Elf;

namespace minicore {

// One program header.
struct CoreSegment {
  uint32_t type = 0;
  uint32_t flags = 0;
  uint64_t offset = 0;
  uint64_t address = 0;
  uint64_t file_bytes = 0;
  uint64_t memory_bytes = 0;
  uint64_t align = 0;
  size_t index = 0;  // in the table

  // Both saturate: a header that wraps is a fault, not a small segment.
  uint64_t end() const;
  uint64_t file_end() const;
};

struct CoreNote {
  std::string_view owner;  // without the NUL
  uint32_t type = 0;
  std::string_view desc;  // points into the reader
  uint64_t file_offset = 0;
  size_t segment = 0;  // index of its program header
};

class CoreReader {
 public:
  // All return null and set `error` to the end of a sentence that begins with
  // the file's name ("is not an ELF file") if there is nothing to read. A
  // damaged core is opened as far as it goes; see faults().
  static std::unique_ptr<CoreReader> Open(const std::string& path,
                                          std::string* error);
  // Takes the descriptor, also if there is nothing to read.
  static std::unique_ptr<CoreReader> FromDescriptor(int fd, std::string* error);
  static std::unique_ptr<CoreReader> FromBytes(std::string_view bytes,
                                               std::string* error);
  ~CoreReader();
  CoreReader(const CoreReader&) = delete;
  CoreReader& operator=(const CoreReader&) = delete;

  const Elf64_Ehdr& header() const { return header_; }
  uint64_t file_bytes() const { return file_bytes_; }
  const std::vector<CoreSegment>& segments() const { return segments_; }
  const std::vector<CoreNote>& notes() const { return notes_; }

  // The PT_LOADs that cover any memory, sorted by address.
  const std::vector<CoreSegment>& loads() const { return loads_; }

  // What was wrong with the tables themselves: sentences.
  const std::vector<std::string>& faults() const { return faults_; }

  // Copies `size` bytes of the process's memory. False, and `out` unspecified,
  // unless all of them are in the file or stand for zeros (a writable segment
  // whose memory is longer than its file part).
  bool Read(uint64_t address, void* out, size_t size) const;

  // As above, but how many of the bytes from `address` on are there.
  size_t ReadUpTo(uint64_t address, void* out, size_t size) const;

  // `size` bytes of the file itself.
  bool ReadFile(uint64_t offset, void* out, size_t size) const;

  // Where in the file, from `offset` on, bytes are stored again: what lies before is a
  // hole, and reads as zeros. At most file_bytes().
  uint64_t NextData(uint64_t offset) const;

  // How long the file is by its own headers.
  uint64_t PromisedBytes() const;

  template <class T>
  std::optional<T> ReadAs(uint64_t address) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    if (!Read(address, &value, sizeof(value))) return std::nullopt;
    return value;
  }

  // A NUL-terminated string of at most `limit` bytes.
  std::optional<std::string> ReadString(uint64_t address,
                                        size_t limit = 4096) const;

  // The PT_LOAD around `address`, or the next one above it; null if there is
  // none.
  const CoreSegment* FindLoad(uint64_t address) const;
  const CoreSegment* NextLoad(uint64_t address) const;

  // The end of the unbroken run of PT_LOADs around `address`; `address` itself
  // if no PT_LOAD covers it.
  uint64_t CoveredUpTo(uint64_t address) const;

 private:
  CoreReader() = default;
  static std::unique_ptr<CoreReader> Finish(std::unique_ptr<CoreReader> reader,
                                            std::string* error);
  void ReadProgramHeaders();
  void ReadNotes(const CoreSegment& segment);

  Elf* elf_ = nullptr;
  int fd_ = -1;        // or
  std::string bytes_;  // FromBytes
  uint64_t file_bytes_ = 0;
  Elf64_Ehdr header_ = {};
  std::vector<CoreSegment> segments_;
  std::vector<CoreSegment> loads_;
  std::vector<uint64_t> run_ends_;  // of loads_
  std::vector<CoreNote> notes_;
  std::vector<std::string> faults_;
};

// `desc` as a T, if it is long enough.
template <class T>
std::optional<T> DescAs(std::string_view desc, size_t offset = 0) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (desc.size() < sizeof(T) || offset > desc.size() - sizeof(T)) {
    return std::nullopt;
  }
  T value;
  __builtin_memcpy(&value, desc.data() + offset, sizeof(value));
  return value;
}

}  // namespace minicore

#endif  // MINICORE_TOOLS_CORE_READER_H_
