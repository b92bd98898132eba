#include "dump/install.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mutex>

#include "alloc/bad_pointer.h"
#include "alloc/hidden_extents.h"
#include "alloc/state.h"
#include "alloc/tag_table.h"
#include "dump/alt_stack.h"
#include "dump/default_action.h"
#include "dump/handler/dumper.h"
#include "dump/handler/dying.h"
#include "dump/handler/election.h"
#include "dump/handler/freeze.h"
#include "dump/handler/own_memory.h"
#include "dump/handler/runtime.h"
#include "dump/initial_stack.h"
#include "dump/preopen.h"
#include "dump/safe/arena.h"
#include "dump/signal_mask.h"
#include "dump/thread_layout.h"

namespace minicore {
namespace {

// Address space, not memory: only what a dump touches is ever there. Thread slots, maps,
// the queue and its set at their limits, the plan, the secrets' tables.
constexpr ByteCount kArenaBytes = 256 * 1024 * 1024;
// Under RLIMIT_AS the tables are smaller: down to this, and to an eighth of the limit.
constexpr ByteCount kLeastArenaBytes = 8 * 1024 * 1024;
constexpr ByteCount kDumpStackBytes = 256 * 1024;
// Three signal frames of the largest kind (11 KiB with AMX), one in the other: a fault, a
// refused system call, a tick of the watchdog.
constexpr ByteCount kFaultStackBytes = 64 * 1024;

std::mutex g_install_mutex;

void* Reserve(ByteCount bytes, const char* name, int protection = PROT_READ | PROT_WRITE) {
  void* memory = mmap(nullptr, bytes, protection,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  HideMemory(memory, bytes, name);
  return memory;
}

// A page that a child of fork() finds zeroed, and one of vfork() shares: who looks at the
// state of a dump learns by it whether that is of this process's memory, or a copy.
void* ReserveMark() {
  void* memory = Reserve(kPageSize, "minicore fork mark");
  if (memory == nullptr) return nullptr;
  if (!WipeOnFork(memory, kPageSize)) {
    munmap(memory, kPageSize);
    return nullptr;
  }
  *static_cast<uint32_t*>(memory) = 1;
  return memory;
}

// One mapping: guard page, signal stack, guard page, stack, thread slots, arena. The last
// two are out of reach until the crash, so that no wild write can spoil them, and
// mlockall() can't fill them with pages.
int ReserveMemory() {
  rlimit limit;
  const bool limited =
      getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  for (ByteCount bytes = kArenaBytes; bytes >= kLeastArenaBytes; bytes /= 2) {
    if (limited && bytes > limit.rlim_cur / 8 && bytes > kLeastArenaBytes) continue;
    const ByteCount all =
        kPageSize + kFaultStackBytes + kPageSize + kDumpStackBytes + bytes;
    // Out of reach, it does not count for RLIMIT_DATA.
    auto* memory = static_cast<char*>(Reserve(all, kOwnMemoryName, PROT_NONE));
    if (memory == nullptr) continue;
    WipeOnFork(memory, all);
    char* const fault_stack = memory + kPageSize;
    char* const stack = fault_stack + kFaultStackBytes + kPageSize;
    char* const stack_end = stack + kDumpStackBytes;
    if (mprotect(fault_stack, kFaultStackBytes, PROT_READ | PROT_WRITE) != 0 ||
        mprotect(stack, kDumpStackBytes, PROT_READ | PROT_WRITE) != 0) {
      munmap(memory, all);
      return -ENOMEM;
    }
    safe::Arena arena;
    arena.Reset(stack_end, bytes);
    ReserveFreezeSlots(arena);
    const ByteCount used = AlignUp(arena.used(), kPageSize);
    g_runtime.fault_stack = {fault_stack, 0, kFaultStackBytes};
    g_runtime.dump_stack_end = stack_end;
    g_runtime.arena = stack_end + used;
    g_runtime.arena_bytes = bytes - used;
    g_runtime.arena_range = {reinterpret_cast<Address>(memory),
                             reinterpret_cast<Address>(memory + all)};
    return 0;
  }
  return -ENOMEM;
}

// While it lives, what the handler relies on can be written; else it is out of a wild
// write's reach.
class WritableRuntime {
 public:
  WritableRuntime() { Protect(PROT_READ | PROT_WRITE); }
  ~WritableRuntime() { Protect(PROT_READ); }
  WritableRuntime(const WritableRuntime&) = delete;
  WritableRuntime& operator=(const WritableRuntime&) = delete;

 private:
  static void Protect(int protection) {
    mprotect(&g_runtime, AlignUp(sizeof(g_runtime), kPageSize), protection);
  }
};

// Where execve() put the strings: fields 48 to 51 of /proc/self/stat, counted from 1
// (Linux, fs/proc/array.c, do_task_stat()). The second one is the program's name, in
// parentheses, which may hold anything.
void LearnStrings(ProcessFacts& facts) {
  char text[2048];
  const int fd = open("/proc/thread-self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  const ssize_t bytes = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (bytes <= 0) return;
  text[bytes] = '\0';
  const char* at = strrchr(text, ')');
  if (at == nullptr) return;
  ++at;
  Address words[52] = {};
  for (unsigned field = 3; field < 52; ++field) {
    char* end;
    while (*at == ' ') ++at;
    words[field] = strtoull(at, &end, 10);
    at = end;
    while (*at != ' ' && *at != '\0') ++at;  // the state is a letter
  }
  facts.arguments_begin = words[48];
  facts.arguments_end = words[49];
  facts.environment_begin = words[50];
  facts.environment_end = words[51];
}

// The strings, and the path of the program behind them, as they are now. A title is written
// over them, tokens are wiped there: copies that were made before are looked for all the
// same, and what is written there later is not taken for the program's name.
void KeepStrings(ProcessFacts& facts) {
  constexpr ByteCount kMost = 8 * 1024 * 1024;  // fs/exec.c, bprm_stack_limits(): 6 MiB
  AddressRange strings = {facts.arguments_begin, facts.environment_end};
  const Address path = AuxvValue(facts, AT_EXECFN);
  if (path >= strings.end && path - strings.end < kPageSize) {
    strings.end = path + strlen(reinterpret_cast<const char*>(path)) + 1;
  }
  if (strings.begin == 0 || strings.empty() || strings.size() > kMost) return;
  void* copy = Reserve(strings.size(), "minicore strings");
  if (copy == nullptr) return;
  // By a call, which may fail: a program can have told the kernel that they are elsewhere.
  const int fd = open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
  ssize_t bytes = -1;
  if (fd >= 0) {
    bytes = pread(fd, copy, strings.size(), static_cast<off_t>(strings.begin));
    close(fd);
  } else {  // no /proc
    const iovec to{copy, strings.size()};
    const iovec from{reinterpret_cast<void*>(strings.begin), strings.size()};
    bytes = process_vm_readv(getpid(), &to, 1, &from, 1, 0);
  }
  if (bytes != static_cast<ssize_t>(strings.size()) ||
      mprotect(copy, strings.size(), PROT_READ) != 0) {
    munmap(copy, strings.size());
    return;
  }
  facts.strings = strings;
  facts.strings_copy = reinterpret_cast<Address>(copy);
}

void LearnFacts() {
  ProcessFacts& facts = g_runtime.facts;
  facts.pid = getpid();
  const int fd = open("/proc/thread-self/auxv", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    const ssize_t bytes = read(fd, facts.auxv, sizeof(facts.auxv));
    facts.auxv_words = bytes < 0 ? 0 : static_cast<uint32_t>(bytes) / 8;
    close(fd);
  }
  LearnStrings(facts);
  // Without /proc.
  if (facts.auxv_words == 0 || facts.environment_end == 0) LearnInitialStack(facts);
  KeepStrings(facts);
  facts.environ_address = reinterpret_cast<Address>(&environ);
  const int dumpable = prctl(PR_GET_DUMPABLE);
  facts.dumpable = dumpable != 0 && dumpable != 2;
  facts.user = geteuid();
  facts.group = getegid();
  gethostname(facts.host, sizeof(facts.host) - 1);
  facts.threads = LearnThreadLayout();
}

// What stays from the first installation on.
// Returns: 0 or -ENOMEM.
int InstallOnce() {
  static bool done = false;
  if (done) return 0;
  const int error = ReserveMemory();
  if (error != 0) return error;
  g_runtime.fork_mark = static_cast<uint32_t*>(ReserveMark());
  LearnFacts();
  g_runtime.index = &g_index_state;
  g_runtime.tags = &g_tag_state;
  g_runtime.believes_blocked = &BelievesBlocked;
  // Without memory for it, a child that is forked while we die may ignore signals.
  (void)pthread_atfork(nullptr, nullptr, &GiveActionsBack);
  done = true;
  return 0;
}

// What is installed already may be needed at any instant: the calling thread is the dumper
// for so long, and a thread that crashes meanwhile waits for it.
void ChangePolicy(const Policy& policy) {
  // No handler of the program's in between. Faults would kill if they were blocked, and
  // libc's own two wait for nobody.
  constexpr uint64_t kSent = ~(kFaultSignals | SignalBit(32) | SignalBit(33));
  uint64_t mask = 0;
  safe::SigProcMask(SIG_BLOCK, &kSent, &mask);
  const int pid = OwnPid();
  while (!WinElection(pid, OwnTid())) WaitForDumper();
  g_runtime.policy = policy;
  Preopen();
  SendKept(pid);
  EndDump();
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
}

bool IsNamed(const void* named, const char* tag) {
  const auto& rules = *static_cast<const TagRules*>(named);
  for (unsigned i = 0; i < rules.count; ++i) {
    if (strcmp(rules.rules[i].name, tag) == 0) return true;
  }
  return false;
}

// What no rule names has its default again, as every option that is not given. A tag goes
// from its former rule to the new one at once.
void SetTagRules(const TagRules& rules) {
  for (unsigned i = 0; i < rules.count; ++i) {
    SetTagRule(g_tag_state, rules.rules[i].name, rules.rules[i].disposition);
  }
  ResetTagRules(g_tag_state, &IsNamed, &rules);
}

}  // namespace

int Install(const Policy& policy, const TagRules& rules) {
  const std::lock_guard<std::mutex> lock(g_install_mutex);
  const WritableRuntime writable;
  int error = InstallOnce();
  if (error == 0) error = LockHiddenExtents(policy.lock_secrets);
  if (error != 0) return error;
  SetTagRules(rules);
  const uint64_t former_signals = g_runtime.policy.signals;
  const int former_dump_signal = g_runtime.policy.dump_signal;
  ChangePolicy(policy);
  CheckFrees(policy.check_free);
  // A program that locks itself in may not be allowed to open it up at the crash.
  if (policy.preopen) OpenMemory();
  EnsureAltStack();
  TakeSignals(former_signals);
  TakeDumpSignal(former_dump_signal);
  AdoptMask();
  return 0;
}

}  // namespace minicore
