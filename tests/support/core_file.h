// A core as a test asks about it: everything decoded once, memory by address,
// bytes searched for in the whole file. Reads with libelf by way of //tools,
// and shares no code with the writer.

#ifndef MINICORE_TESTS_SUPPORT_CORE_FILE_H_
#define MINICORE_TESTS_SUPPORT_CORE_FILE_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/core_reader.h"
#include "tools/minicore_notes.h"
#include "tools/process_notes.h"

namespace minicore {

class CoreFile {
 public:
  // Throws std::runtime_error with a sentence if there is no core at `path`: a
  // test that goes on without its core proves nothing.
  explicit CoreFile(const std::string& path);

  const CoreReader& reader() const { return *reader_; }
  const ProcessNotes& process() const { return process_; }
  const MinicoreNotes& notes() const { return notes_; }
  const std::vector<CoreThread>& threads() const { return process_.threads; }

  // All that `minicore verify` finds wrong; empty for a good core.
  std::vector<std::string> Faults() const;

  // `size` bytes at `address`; throws if any of them is not in the core.
  std::string Memory(uint64_t address, size_t size) const;
  bool Has(uint64_t address, size_t size) const;
  template <class T>
  T Value(uint64_t address) const {
    T value;
    Memory(address, sizeof(T)).copy(reinterpret_cast<char*>(&value), sizeof(T));
    return value;
  }

  // How often `bytes` occur anywhere in the file: headers, notes and memory.
  size_t Occurrences(std::string_view bytes) const;

  std::string Report(std::string_view key) const {
    return notes_.ReportValue(key);
  }

 private:
  std::unique_ptr<CoreReader> reader_;
  ProcessNotes process_;
  MinicoreNotes notes_;
};

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_CORE_FILE_H_
