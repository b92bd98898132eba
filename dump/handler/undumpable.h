// Memory that the program itself has taken out of core files: MADV_DONTDUMP, as OpenSSL's
// secure heap and libsodium's allocations have it, and memfd_secret().
//
// The kernel says of the former only in /proc/thread-self/smaps, and reading that walks the
// page tables of the whole process (fs/proc/task_mmu.c, smap_gather_stats()): some
// milliseconds for each GiB that is resident. So what the program asks for is remembered,
// by way of libc's madvise(), which is interposed (advised_ranges.h), and held against the
// list of mappings: the kernel makes the advised pages mappings of their own. smaps is read
// only if the two don't agree, or if there were too many to remember.

#ifndef MINICORE_DUMP_HANDLER_UNDUMPABLE_H_
#define MINICORE_DUMP_HANDLER_UNDUMPABLE_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/handler/advised_ranges.h"
#include "dump/handler/crash_context.h"
#include "dump/handler/memory_map.h"
#include "dump/handler/outcome.h"
#include "dump/handler/redactor.h"

namespace minicore {

// The text of smaps, in pieces: Parse() calls `found(context, range, device)` for each
// mapping with the flag "dd"; `device`: looking at it may do something.
//
// Context: any. Pure; never trusts the text.
class SmapsParser {
 public:
  using Found = void (*)(void* context, AddressRange range, bool device);
  SmapsParser(Found found, void* context) : found_(found), context_(context) {}

  void Parse(const char* text, size_t size);

 private:
  void ParseLine();

  Found found_;
  void* context_;
  AddressRange range_ = {0, 0};
  // What is longer is the path of a file: nobody wants it.
  char line_[256];
  size_t length_ = 0;
};

// Tells `redactor` of all such memory but minicore's own. Copies of what is small, as keys
// are, are looked for too. If it can't be found out, the redactor gives up.
//
// Context: handler.
void AddUndumpable(const Runtime& runtime, const MemoryMap& map,
                   const AdvisedRanges& advised, safe::Arena& arena, Redactor& redactor,
                   Outcome& outcome);

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_UNDUMPABLE_H_
