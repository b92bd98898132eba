// `minicore unpack`.

#ifndef MINICORE_TOOLS_UNPACK_H_
#define MINICORE_TOOLS_UNPACK_H_

#include <string>

namespace minicore {

// minicore unpack CORE DIRECTORY: writes them below DIRECTORY, which must not
// be there, under the names that the process and its dynamic linker had for
// them. A name that would lead out of it is left out. There is no DIRECTORY
// unless there is something to write.
//
// Returns: an exit status; 0 if at least one image was whole, 1 if none was, 2 if one
//          could not be written: nothing is left of that.
int Unpack(const std::string& core_path, const std::string& directory);

}  // namespace minicore

#endif  // MINICORE_TOOLS_UNPACK_H_
