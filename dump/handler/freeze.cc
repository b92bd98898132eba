#include "dump/handler/freeze.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <errno.h>
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>

#include "dump/handler/proc_files.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

struct Slot {
  std::atomic<uint32_t> ready;
  int tid;
  const siginfo_t* info;
  const ucontext_t* context;
  uint64_t fs_base;
  uint64_t gs_base;
  char name[16];
};

Slot* g_slots = nullptr;
std::atomic<uint32_t> g_slots_taken{0};
std::atomic<uint32_t> g_parked{0};  // futex: the dumping thread waits for `g_expected`
std::atomic<uint32_t> g_expected{0};
const uint32_t g_forever = 0;  // futex that nobody wakes

// Thread ids go up to 4,194,304 (linux/threads.h, PID_MAX_LIMIT).
constexpr uint32_t kMaxTid = 4 * 1024 * 1024;

// A set of thread ids, one bit each, so that no step costs the square of the number of
// threads. Relaxed: membership is published by `g_parked`.
class TidSet {
 public:
  constexpr TidSet() = default;
  explicit TidSet(safe::Arena& arena)
      : words_(arena.AllocateArray<std::atomic<uint64_t>>(kMaxTid / 64)) {}

  // Returns false if it was in already, or can't be remembered.
  bool Insert(uint32_t tid) {
    if (words_ == nullptr || tid >= kMaxTid) return false;
    const uint64_t bit = 1ull << (tid % 64);
    return (words_[tid / 64].fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }
  bool Contains(uint32_t tid) const {
    return words_ != nullptr && tid < kMaxTid &&
           (words_[tid / 64].load(std::memory_order_relaxed) >> (tid % 64) & 1) != 0;
  }

 private:
  std::atomic<uint64_t>* words_ = nullptr;
};

TidSet g_answered;

void OnFreezeSignal(int, siginfo_t* info, void* context) {
  Park(info, static_cast<const ucontext_t*>(context));
}

// Segment registers as the signal frame packs them: arch/x86/include/uapi/asm/
// sigcontext.h, struct sigcontext_64: cs, gs, fs, ss, 16 bits each.
void CopyRegisters(const ucontext_t& context, uint64_t fs_base,
                   uint64_t gs_base, user_regs_struct* to) {
  const greg_t* from = context.uc_mcontext.gregs;
  const auto get = [&](int number) { return static_cast<uint64_t>(from[number]); };
  to->r15 = get(REG_R15);
  to->r14 = get(REG_R14);
  to->r13 = get(REG_R13);
  to->r12 = get(REG_R12);
  to->rbp = get(REG_RBP);
  to->rbx = get(REG_RBX);
  to->r11 = get(REG_R11);
  to->r10 = get(REG_R10);
  to->r9 = get(REG_R9);
  to->r8 = get(REG_R8);
  to->rax = get(REG_RAX);
  to->rcx = get(REG_RCX);
  to->rdx = get(REG_RDX);
  to->rsi = get(REG_RSI);
  to->rdi = get(REG_RDI);
  to->orig_rax = UINT64_MAX;  // not in a system call that is to be restarted
  to->rip = get(REG_RIP);
  to->cs = get(REG_CSGSFS) & 0xffff;
  to->eflags = get(REG_EFL);
  to->rsp = get(REG_RSP);
  to->ss = get(REG_CSGSFS) >> 48;
  to->fs_base = fs_base;
  to->gs_base = gs_base;
}

// The XSAVE image behind the legacy area: arch/x86/include/uapi/asm/sigcontext.h, struct
// _fpx_sw_bytes at byte 464, valid if its first word is FP_XSTATE_MAGIC1.
void FindExtendedState(const ucontext_t& context, Thread* thread) {
  constexpr uint32_t kMagic = 0x46505853;
  const auto* image =
      reinterpret_cast<const uint8_t*>(context.uc_mcontext.fpregs);
  if (image == nullptr) return;
  uint32_t software[5];  // magic1, extended_size, xfeatures (8 bytes), xstate_size
  if (!safe::GuardedRead(reinterpret_cast<Address>(image) + 464, &software)) {
    return;
  }
  thread->xstate = image;
  thread->xstate_bytes =
      software[0] == kMagic && software[4] < 16384
          ? static_cast<uint16_t>(software[4])
          : static_cast<uint16_t>(512);
}

void FillThread(int tid, ThreadSource source, const ucontext_t& context,
                uint64_t fs_base, uint64_t gs_base, const char* name,
                Thread* thread) {
  thread->tid = tid;
  thread->source = source;
  CopyRegisters(context, fs_base, gs_base, &thread->registers);
  FindExtendedState(context, thread);
  if ((context.uc_stack.ss_flags & SS_DISABLE) == 0) {
    const auto begin = reinterpret_cast<Address>(context.uc_stack.ss_sp);
    thread->alternate_stack = {begin, begin + context.uc_stack.ss_size};
  }
  for (unsigned i = 0; i + 1 < sizeof(thread->name) && name[i] != '\0'; ++i) {
    thread->name[i] = name[i];
  }
}

uint64_t BaseRegister(int which) {
  uint64_t base = 0;
  safe::Syscall(SYS_arch_prctl, which, safe::Word(&base));
  return base;
}

// Sends the freeze signal to every thread that has not had it.
// Returns: how many new ones there were; negative if the list can't be read.
int SignalNewThreads(const CrashContext& crash, TidSet& signalled,
                     safe::FixedVector<int>& sent) {
  const int fd = safe::Open("/proc/self/task", O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  int fresh = 0;
  alignas(8) char buffer[8192];
  // Bounded by the threads that can exist: each adds at most one entry to a pass.
  for (;;) {
    const long bytes =
        safe::Syscall(SYS_getdents64, fd, safe::Word(buffer), sizeof(buffer));
    if (bytes <= 0) break;
    for (long at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      at += entry->d_reclen;
      const uint32_t tid = static_cast<uint32_t>(ParseDecimal(entry->d_name));
      if (tid == 0 || static_cast<int>(tid) == crash.tid) continue;
      if (!signalled.Insert(tid)) continue;
      g_expected.fetch_add(1, std::memory_order_relaxed);
      ++fresh;
      // EAGAIN: RLIMIT_SIGPENDING is used up by signals that are on their way; they
      // leave the queue as threads park.
      for (int attempt = 0; attempt < 1000; ++attempt) {
        const long error =
            safe::TgKill(crash.pid, static_cast<int>(tid), kFreezeSignal);
        if (error != -EAGAIN) break;
        const timespec pause{0, 100000};
        safe::Syscall(SYS_nanosleep, safe::Word(&pause));
      }
      if (!sent.Push(static_cast<int>(tid))) break;
    }
  }
  safe::Close(fd);
  return fresh;
}

// Waits until all expected threads are parked, or until `until_us`.
// Returns: whether they are.
bool WaitForParked(uint64_t until_us) {
  for (;;) {
    const uint32_t parked = g_parked.load(std::memory_order_acquire);
    if (parked >= g_expected.load(std::memory_order_relaxed)) return true;
    const uint64_t now = safe::NowMicroseconds();
    if (now >= until_us) return false;
    // Short naps: a thread that ended before it got the signal never parks, and is only
    // noticed between them.
    uint64_t nap = until_us - now;
    if (nap > 10000) nap = 10000;
    const timespec timeout{0, static_cast<long>(nap * 1000)};
    if (safe::FutexWait(&g_parked, parked, &timeout) == -ETIMEDOUT) return false;
  }
}

// Takes those that are gone off the expectation.
void ForgetEndedThreads(const CrashContext& crash,
                        safe::FixedVector<int>& sent) {
  size_t kept = 0;
  for (size_t i = 0; i < sent.size(); ++i) {
    const int tid = sent[i];
    if (g_answered.Contains(tid)) continue;
    if (safe::TgKill(crash.pid, tid, 0) == -ESRCH) {
      g_expected.fetch_sub(1, std::memory_order_relaxed);
      continue;
    }
    sent[kept++] = tid;
  }
  sent.Truncate(kept);
}

// A silent thread in a system call still shows its stack and instruction pointer:
// fs/proc/base.c, proc_pid_syscall(): "nr arg0..arg5 sp pc", or "running".
void AddSilentThread(int tid, ThreadTable& threads) {
  Thread thread;
  thread.tid = tid;
  char text[256];
  TaskFile(tid, "syscall", text, sizeof(text));
  uint64_t words[9] = {};
  if (ParseWords(text, words, 9) == 9) {
    thread.source = ThreadSource::kProc;
    thread.registers.orig_rax = words[0];
    thread.registers.rax = static_cast<uint64_t>(-EINTR);
    thread.registers.rsp = words[7];
    thread.registers.rip = words[8];
    thread.registers.cs = 0x33;  // user code and stack segments, arch/x86
    thread.registers.ss = 0x2b;
  }
  TaskFile(tid, "comm", thread.name, sizeof(thread.name));
  (void)threads.Push(thread);
}

}  // namespace

void ReserveFreezeSlots(safe::Arena& arena) {
  g_slots = arena.AllocateArray<Slot>(kMaxThreads);
  g_answered = TidSet(arena);
}

void Park(const siginfo_t* info, const ucontext_t* context) {
  const uint32_t index = g_slots_taken.fetch_add(1, std::memory_order_relaxed);
  if (g_slots != nullptr && index < kMaxThreads) {
    Slot& slot = g_slots[index];
    slot.tid = safe::GetTid();
    slot.info = info;
    slot.context = context;
    slot.fs_base = BaseRegister(ARCH_GET_FS);
    slot.gs_base = BaseRegister(ARCH_GET_GS);
    safe::Syscall(SYS_prctl, PR_GET_NAME, safe::Word(slot.name));
    slot.ready.store(1, std::memory_order_release);
    g_answered.Insert(static_cast<uint32_t>(slot.tid));
  }
  // Release: pairs with the acquire in WaitForParked, after which the slot is read.
  const uint32_t parked = g_parked.fetch_add(1, std::memory_order_acq_rel) + 1;
  if (parked >= g_expected.load(std::memory_order_relaxed)) {
    safe::FutexWake(&g_parked, 1);
  }
  for (;;) safe::FutexWait(&g_forever, 0, nullptr);
}

void FreezeThreads(const CrashContext& crash, const Runtime& runtime,
                   safe::Arena& arena, ThreadTable& threads, Outcome& outcome) {
  threads.Reserve(arena, kMaxThreads);
  Thread crashed;
  char name[16] = {};
  safe::Syscall(SYS_prctl, PR_GET_NAME, safe::Word(name));
  FillThread(crash.tid, ThreadSource::kCrashed, *crash.context,
             BaseRegister(ARCH_GET_FS), BaseRegister(ARCH_GET_GS), name,
             &crashed);
  (void)threads.Push(crashed);

  const safe::KernelSigaction action = {
      reinterpret_cast<void*>(&OnFreezeSignal),
      SA_SIGINFO | SA_ONSTACK | SA_RESTART | safe::kSaRestorer,
      runtime.restorer, UINT64_MAX};
  safe::SigAction(kFreezeSignal, &action, nullptr);

  TidSet signalled(arena);
  safe::FixedVector<int> sent;
  sent.Reserve(arena, kMaxThreads);
  const uint64_t until = safe::NowMicroseconds() + runtime.policy.freeze_us;
  // A thread can start others until it is parked, so the list is taken again until it
  // shows nobody new and everybody is parked. Bounded by freeze_us.
  for (;;) {
    const int fresh = SignalNewThreads(crash, signalled, sent);
    const bool all_parked = WaitForParked(until);
    if (fresh <= 0 && all_parked) break;
    if (!all_parked) {
      ForgetEndedThreads(crash, sent);
      if (safe::NowMicroseconds() >= until) break;
    }
  }

  const uint32_t taken = g_slots_taken.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < taken && i < kMaxThreads; ++i) {
    const Slot& slot = g_slots[i];
    if (slot.ready.load(std::memory_order_acquire) == 0) continue;
    Thread thread;
    FillThread(slot.tid, ThreadSource::kSignal, *slot.context, slot.fs_base,
               slot.gs_base, slot.name, &thread);
    if (!threads.Push(thread)) break;
  }
  ForgetEndedThreads(crash, sent);
  if (g_parked.load(std::memory_order_acquire) <
      g_expected.load(std::memory_order_relaxed)) {
    for (int tid : sent) {
      if (g_answered.Contains(tid)) continue;
      AddSilentThread(tid, threads);
      ++outcome.threads_silent;
    }
  }
  if (threads.size() > 1) {
    std::sort(threads.begin() + 1, threads.end(),
              [](const Thread& a, const Thread& b) { return a.tid < b.tid; });
  }
  outcome.threads = static_cast<uint32_t>(threads.size());
}

}  // namespace minicore
