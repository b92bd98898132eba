// Whether the dynamic linker will preload a library into a program.

#ifndef MINICORE_TOOLS_PRELOADABLE_H_
#define MINICORE_TOOLS_PRELOADABLE_H_

#include <sys/types.h>

#include <string>

namespace minicore {

// Where execvp() will find `program`; "" if nowhere.
std::string FindProgram(const std::string& program);

// A sentence that says why LD_PRELOAD has no effect on the program at `path`
// when `user` and `group` (effective ids) start it; "" if it has, or if nobody
// can say.
std::string WhyNotPreloaded(const std::string& path, uid_t user, gid_t group);

// The end of a sentence that begins with the file's name if it is not
// libminicore.so: "is no shared library for x86-64"; "" if it is.
std::string WhyNoLibrary(const std::string& path);

}  // namespace minicore

#endif  // MINICORE_TOOLS_PRELOADABLE_H_
