// The threads of the frozen process.

#ifndef MINICORE_DUMP_HANDLER_THREAD_TABLE_H_
#define MINICORE_DUMP_HANDLER_THREAD_TABLE_H_

#include <sys/user.h>

#include <cstdint>

#include "alloc/address.h"
#include "dump/elf_core_format.h"
#include "dump/safe/arena.h"

namespace minicore {

// Linux allows 32,768 threads by default (kernel/fork.c, set_max_threads() on 4 GiB;
// pid_max on small machines); more than this are counted, but not stopped or dumped.
inline constexpr unsigned kMaxThreads = 32768;

struct Thread {
  int tid = 0;
  ThreadSource source = ThreadSource::kNone;
  uint16_t xstate_bytes = 0;       // 0: not known
  const uint8_t* xstate = nullptr;  // XSAVE image in the signal frame
  user_regs_struct registers{};
  AddressRange alternate_stack;  // empty: none
  AddressRange stack;            // live part; set by CollectRoots()
  char name[16] = {};

  Address stack_pointer() const { return registers.rsp; }
  Address program_counter() const { return registers.rip; }
};

// [0] is the crashed thread, the rest by tid.
using ThreadTable = safe::FixedVector<Thread>;

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_THREAD_TABLE_H_
