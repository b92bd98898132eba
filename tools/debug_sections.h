// The section headers of an image as its separate debug file has them.
//
// A loaded image has no section headers. A debug file (dh_strip's, eu-strip's, objcopy
// --only-keep-debug's) has those of the image that it was taken from, with the same
// addresses and numbers. gdb relocates what a debug file says by the difference between
// the addresses of sections of the same name (13.1, gdb/symfile.c,
// addr_info_make_relative()), so only with these does it fit a rebuilt image.

#ifndef MINICORE_TOOLS_DEBUG_SECTIONS_H_
#define MINICORE_TOOLS_DEBUG_SECTIONS_H_

#include <elf.h>

#include <string>
#include <vector>

namespace minicore {

// Where Debian's packages put debug files, and where gdb looks.
inline constexpr char kDebugDirectory[] = "/usr/lib/debug";

struct DebugSection {
  std::string name;
  Elf64_Shdr header;
};

// The sections that are loaded into memory, in their order, from the second header on (the
// first is empty).
//
// Returns: none if `directory` has no file for the build id (in hexadecimal), or if what it
//          has was not taken from an image with the program headers `image`.
std::vector<DebugSection> ReadDebugSections(const std::string& directory,
                                            const std::string& build_id,
                                            const std::vector<Elf64_Phdr>& image);

}  // namespace minicore

#endif  // MINICORE_TOOLS_DEBUG_SECTIONS_H_
