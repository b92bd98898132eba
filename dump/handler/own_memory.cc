#include "dump/handler/own_memory.h"

#include <errno.h>
#include <sys/mman.h>

#include "dump/handler/runtime.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// Whether it is shared memory: see OpenMemory().
bool g_shared = false;

void* Begin() { return g_runtime.dump_stack_end; }
ByteCount Size() {
  return g_runtime.arena_range.end - reinterpret_cast<Address>(g_runtime.dump_stack_end);
}

// In the place of what is there: zero.
void Map(int protection, int kind) {
  safe::Syscall(SYS_mmap, safe::Word(Begin()), static_cast<long>(Size()), protection,
                kind | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  HideMemory(Begin(), Size(), kOwnMemoryName);
  if (kind == MAP_PRIVATE) WipeOnFork(Begin(), Size());
  g_shared = kind == MAP_SHARED;
}

}  // namespace

void HideMemory(const void* begin, ByteCount bytes, const char* name) {
  safe::Syscall(SYS_madvise, safe::Word(begin), static_cast<long>(bytes), MADV_DONTDUMP);
  safe::NameMemory(begin, bytes, name);
}

bool WipeOnFork(const void* begin, ByteCount bytes) {
  return safe::Syscall(SYS_madvise, safe::Word(begin), static_cast<long>(bytes),
                       MADV_WIPEONFORK) == 0;
}

void OpenMemory() {
  const long begin = safe::Word(Begin());
  const auto size = static_cast<long>(Size());
  // What mlockall() has locked would be there all at once (mm/mprotect.c,
  // mprotect_fixup()), and could not be given back (mm/madvise.c).
  safe::Syscall(SYS_munlock, begin, size);
  if (g_shared ||
      safe::Syscall(SYS_mprotect, begin, size, PROT_READ | PROT_WRITE) == -ENOMEM) {
    // RLIMIT_DATA is used up. It does not count what is shared (mm/mmap.c, may_expand_vm()
    // and is_data_mapping()). Each dump has its own: a child of fork() has its parent's.
    Map(PROT_READ | PROT_WRITE, MAP_SHARED);
  } else {
    safe::Syscall(SYS_madvise, begin, size, MADV_DONTNEED);
  }
}

// With a new mapping: what was used is given back, and no child shares it.
void CloseMemory() {
  if (g_runtime.policy.preopen) return OpenMemory();
  Map(PROT_NONE, MAP_PRIVATE);
}

}  // namespace minicore
