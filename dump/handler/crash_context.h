// What the fatal signal brought, and what the process knew before it.

#ifndef MINICORE_DUMP_HANDLER_CRASH_CONTEXT_H_
#define MINICORE_DUMP_HANDLER_CRASH_CONTEXT_H_

#include <signal.h>
#include <ucontext.h>

#include <cstdint>

#include "alloc/address.h"
#include "alloc/index_format.h"
#include "dump/policy.h"

namespace minicore {

struct CrashContext {
  int signal = 0;
  int pid = 0;
  int tid = 0;
  const siginfo_t* info = nullptr;        // in the signal frame
  const ucontext_t* context = nullptr;    // likewise
};

inline constexpr unsigned kMaxAuxv = 64;

// glibc's struct pthread, which begins at the thread pointer, and its list of modules with
// thread-locals: what libthread_db reads. See dump/thread_layout.h.
struct ThreadLayout {
  uint32_t pthread_bytes;  // sizeof(struct pthread)
  uint32_t dtv_offset;     // in it, of the address of the thread's DTV
  uint32_t tid_offset;     // in it, of the thread's id; 0: not known
  uint32_t cancel_offset;  // in it, of the bits that say whether it ends; 0: not known
  bool known;              // from libc's own descriptors; else the defaults below
  Address slot_list;       // of the address of the first dtv_slotinfo_list; 0: not known
  uint32_t slot_next_offset;  // in one, of the address of the next
  uint32_t tls_offset_offset;  // in a link_map, of l_tls_offset; 0: not known
};

// struct pthread has 2,368 bytes in glibc 2.36; more is harmless.
inline constexpr uint32_t kDefaultPthreadBytes = 4096;
// glibc 2.36, sysdeps/x86_64/nptl/tls.h, tcbhead_t: its second word.
inline constexpr uint32_t kDefaultDtvOffset = 8;

// Learned in ordinary context, at install.
struct ProcessFacts {
  uint64_t auxv[2 * kMaxAuxv];  // /proc/self/auxv, AT_NULL included
  uint32_t auxv_words;
  int pid;  // of the process that installed; for one whose getpid() is refused
  ThreadLayout threads;
  char host[64];
  Address arguments_begin;  // strings at the top of the main stack
  Address arguments_end;
  Address environment_begin;  // likewise, "NAME=VALUE" each
  Address environment_end;
  AddressRange strings;       // all that execve() put there
  Address strings_copy;       // as it was at install, which a program may overwrite; 0: none
  Address environ_address;   // of the variable environ
  bool dumpable;             // PR_GET_DUMPABLE was 1, or not to be had
  uint32_t user;             // the effective one
  uint32_t group;
};

// The value that the kernel gave for `type` (AT_PHDR and the like); 0 if it gave none.
inline uint64_t AuxvValue(const uint64_t* auxv, unsigned words, uint64_t type) {
  for (unsigned i = 0; i + 1 < words; i += 2) {
    if (auxv[i] == type) return auxv[i + 1];
  }
  return 0;
}
inline uint64_t AuxvValue(const ProcessFacts& facts, uint64_t type) {
  return AuxvValue(facts.auxv, facts.auxv_words, type);
}

// The copy of the byte at `address` of the strings; 0 if there is none.
inline Address CopyAtStart(const ProcessFacts& facts, Address address) {
  if (facts.strings_copy == 0 || !facts.strings.Contains(address)) return 0;
  return facts.strings_copy + (address - facts.strings.begin);
}

// What preopen=1 opened, at high numbers; -1: not there. Belongs to one process: a child
// has its parent's descriptors, but not its memory.
struct Preopened {
  int pid;  // 0: nothing was opened
  int file;
  int directory;  // that holds it
  int maps;       // /proc/self/maps
  int tasks;      // /proc/self/task
  int status;     // /proc/self/status
  uint64_t device;  // of the file, to know that nobody took its number
  uint64_t inode;
  char path[kMaxPathPattern];  // as it will be called
  char name[256];       // the same within the directory
  char part_name[264];  // as it is called until then
};

// All that the handler works with besides the crash itself. Constant-initialised; the
// handler reads it, install.cc writes it before any handler is installed, and makes its
// pages read-only then: they hold nothing else.
struct alignas(kPageSize) Runtime {
  Policy policy;
  ProcessFacts facts;
  const IndexState* index;
  const TagState* tags;
  void* arena;
  ByteCount arena_bytes;
  void* dump_stack_end;
  // Signal stack for the dumper's own faults, apart from the one with the crash's frame,
  // which the kernel would overwrite; null: none, and then not even an overflow of the
  // dumper's stack is survived.
  stack_t fault_stack;
  void* restorer;  // libc's sa_restorer
  // 1, but 0 in a child of fork() until it has noticed (election.cc); null where the kernel
  // has no such memory.
  uint32_t* fork_mark;
  // BelievesBlocked() of dump/signal_mask.h, which is no code of the handler's.
  bool (*believes_blocked)(int signal, uint64_t kernel_mask);
  Preopened preopened;
  AddressRange arena_range;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_CRASH_CONTEXT_H_
