// The core that a command is given.

#ifndef MINICORE_TOOLS_OPEN_CORE_H_
#define MINICORE_TOOLS_OPEN_CORE_H_

#include <memory>
#include <string>

#include "tools/core_reader.h"

namespace minicore {

// Exit statuses of the commands that read a core.
inline constexpr int kNotAsAsked = 1;  // it is not what was asked for
inline constexpr int kFailed = 2;      // wrong usage; something cannot be read or written

// Opens the core at `path`, or the one on standard input for "-": a file as it is, anything
// else by way of a temporary file without a name.
//
// Returns: null after a sentence on standard error, and then `status` is kFailed if there
//          is no file that can be read, kNotAsAsked if it is no core.
std::unique_ptr<CoreReader> OpenCore(const std::string& path, int* status);

}  // namespace minicore

#endif  // MINICORE_TOOLS_OPEN_CORE_H_
