// The program and libraries that a core holds (option text=all), as ELF files:
// what a debugger reads where the real ones are not at hand.

#ifndef MINICORE_TOOLS_REBUILD_IMAGE_H_
#define MINICORE_TOOLS_REBUILD_IMAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/core_reader.h"
#include "tools/process_notes.h"

namespace minicore {

struct UnpackedImage {
  uint64_t base = 0;   // of its ELF header in the process
  std::string path;    // as the process had it
  std::string bytes;   // of the file; none unless it is whole
  bool whole = false;  // all of its segments were in the core
};

// Rebuilds the ELF file whose first page is at `base`: its segments as they
// were in memory, and section headers, which are never loaded: all of them where
// `debug_directory` has the image's debug file, which then fits it; else for what
// debuggers look for by section: code, frame information, dynamic symbols. Data
// has the values of the crash.
//
// Returns: nothing if there is no ELF image for this machine, or a segment that
// no file has.
std::optional<UnpackedImage> RebuildImage(const CoreReader& core, uint64_t base,
                                          const std::string& debug_directory);

// Every image that the notes of `core` name, each once.
std::vector<UnpackedImage> RebuildImages(const CoreReader& core,
                                         const ProcessNotes& process,
                                         const std::string& debug_directory);

}  // namespace minicore

#endif  // MINICORE_TOOLS_REBUILD_IMAGE_H_
