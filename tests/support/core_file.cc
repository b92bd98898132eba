#include "tests/support/core_file.h"

#include <algorithm>
#include <stdexcept>

#include "tools/text.h"
#include "tools/verify.h"

namespace minicore {

CoreFile::CoreFile(const std::string& path) {
  std::string error;
  reader_ = CoreReader::Open(path, &error);
  if (reader_ == nullptr) throw std::runtime_error(path + " " + error);
  std::vector<std::string> faults;
  process_ = DecodeProcessNotes(*reader_, &faults);
  notes_ = DecodeMinicoreNotes(*reader_, &faults);
}

std::vector<std::string> CoreFile::Faults() const {
  return VerifyCore(*reader_).faults;
}

std::string CoreFile::Memory(uint64_t address, size_t size) const {
  std::string bytes(size, '\0');
  if (!reader_->Read(address, bytes.data(), size)) {
    throw std::runtime_error(HexRange(address, address + size) +
                             " is not in the core");
  }
  return bytes;
}

bool CoreFile::Has(uint64_t address, size_t size) const {
  std::string bytes(size, '\0');
  return reader_->Read(address, bytes.data(), size);
}

size_t CoreFile::Occurrences(std::string_view bytes) const {
  if (bytes.empty()) throw std::runtime_error("nothing to search for");
  constexpr uint64_t kPiece = 1 << 20;
  size_t found = 0;
  std::string window;
  for (uint64_t at = 0; at < reader_->file_bytes(); at += kPiece) {
    // Each piece with the bytes after it that a match starting in it can reach.
    const uint64_t want = std::min<uint64_t>(kPiece + bytes.size() - 1,
                                             reader_->file_bytes() - at);
    window.resize(want);
    if (!reader_->ReadFile(at, window.data(), want)) {
      throw std::runtime_error("the core cannot be read");
    }
    for (size_t hit = window.find(bytes);
         hit != std::string::npos && hit < kPiece;
         hit = window.find(bytes, hit + 1)) {
      ++found;
    }
  }
  return found;
}

}  // namespace minicore
