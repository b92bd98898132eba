// libdwfl on the threads of a core. See backtrace.h, which runs it in a process of its own.

#ifndef MINICORE_TOOLS_UNWINDER_H_
#define MINICORE_TOOLS_UNWINDER_H_

#include <memory>
#include <string>
#include <vector>

#include "tools/backtrace.h"

namespace minicore {

class Unwinder {
 public:
  // Keeps: `core` and `process`, which outlive this.
  Unwinder(const CoreReader& core, const ProcessNotes& process,
           const std::vector<ModuleInfo>& modules, const std::string& sysroot);
  ~Unwinder();

  // Of the thread at `index` of the notes.
  Backtrace Unwind(size_t index);

  // A sentence about modules without a file; "" if all have theirs.
  std::string Missing() const;

 private:
  class Session;
  std::unique_ptr<Session> session_;
};

}  // namespace minicore

#endif  // MINICORE_TOOLS_UNWINDER_H_
