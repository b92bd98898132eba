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

}  // namespace minicore

#endif  // MINICORE_TOOLS_PRELOADABLE_H_
