#include "dump/handler/entry.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <atomic>

#include "dump/handler/error_text.h"
#include "dump/handler/freeze.h"
#include "dump/handler/pipeline.h"
#include "dump/handler/watchdog.h"
#include "dump/safe/format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {

// Constant-initialised: a constructor would run after the preloaded library has installed
// itself, and undo part of it.
__constinit Runtime g_runtime = {};

namespace {

constexpr size_t kLineBytes = 1024;

// Process and thread id of the dumper, 0 for none: the process too, since a child of
// vfork() shares this memory and has an election of its own.
std::atomic<uint64_t> g_dumper{0};

uint64_t Elector(int pid, int tid) {
  return static_cast<uint64_t>(pid) << 32 | static_cast<uint32_t>(tid);
}

// The dumper's memory is out of reach but for the time of a dump, and zero at its start.
void OpenMemory() {
  const auto begin = reinterpret_cast<Address>(g_runtime.dump_stack_end);
  const auto size = static_cast<long>(g_runtime.arena_range.end - begin);
  safe::Syscall(SYS_mprotect, static_cast<long>(begin), size, PROT_READ | PROT_WRITE);
  // MADV_DONTNEED fails on what mlockall() has locked (mm/madvise.c, since Linux 5.18
  // there is the other).
  constexpr long kDontNeedLocked = 24;  // MADV_DONTNEED_LOCKED
  if (safe::Syscall(SYS_madvise, static_cast<long>(begin), size, MADV_DONTNEED) != 0) {
    safe::Syscall(SYS_madvise, static_cast<long>(begin), size, kDontNeedLocked);
  }
}

void CloseMemory() {
  OpenMemory();  // gives it back
  const auto begin = reinterpret_cast<Address>(g_runtime.dump_stack_end);
  if (g_runtime.policy.preopen) return;
  safe::Syscall(SYS_mprotect, static_cast<long>(begin),
                static_cast<long>(g_runtime.arena_range.end - begin), PROT_NONE);
}

// Another process that dumps in this memory: the parent of our vfork(), or its child.
// (Or the parent whose memory we have a copy of: then waiting is in vain, but ends.)
void WaitForOtherProcess(uint64_t holder) {
  const uint64_t until = safe::NowMicroseconds() + g_runtime.policy.deadline_us;
  const int pid = static_cast<int>(holder >> 32);
  while (g_dumper.load(std::memory_order_acquire) == holder &&
         safe::Syscall(SYS_kill, pid, 0) != -ESRCH && safe::NowMicroseconds() < until) {
    const timespec pause{0, 1000000};
    safe::Syscall(SYS_nanosleep, safe::Word(&pause));
  }
}

// Acquire and release: what one dump leaves behind, the next one finds.
bool WinElection(int pid, int tid) {
  uint64_t holder = g_dumper.load(std::memory_order_acquire);
  if (holder != 0 && holder >> 32 != static_cast<uint64_t>(pid)) {
    WaitForOtherProcess(holder);
    holder = g_dumper.load(std::memory_order_acquire);
  }
  do {
    if (holder >> 32 == static_cast<uint64_t>(pid)) return false;
  } while (!g_dumper.compare_exchange_weak(holder, Elector(pid, tid),
                                           std::memory_order_acq_rel));
  // What another process left unfinished is in the way.
  if (holder != 0) ResetFreeze();
  return true;
}

void WaitForDumper() {
  const auto tid = static_cast<uint32_t>(g_dumper.load(std::memory_order_acquire));
  const timespec timeout{0, 1000000};
  if (tid != 0) safe::FutexWait(&g_dumper, tid, &timeout);
}

void EndDump() {
  g_dumper.store(0, std::memory_order_release);
  safe::FutexWake(&g_dumper, INT32_MAX);
}

// Linux clears DF, TF and RF before it calls a handler, but not AC (arch/x86/kernel/
// signal.c, handle_signal()); our code makes unaligned accesses.
__attribute__((always_inline)) inline void ClearAlignmentCheck() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\t"
      "pushfq\n\t"
      "andl $~0x40000, (%%rsp)\n\t"
      "popfq\n\t"
      "lea 128(%%rsp), %%rsp" ::
          : "cc", "memory");
}

// Whose kFreezeSignal was before us: glibc's, or nobody's.
safe::KernelSigaction g_other_owner{};

void OnFreezeSignal(int signal, siginfo_t* info, void* context);

safe::KernelSigaction OurAction(void (*handler)(int, siginfo_t*, void*),
                                unsigned long flags) {
  return {reinterpret_cast<void*>(handler),
          SA_SIGINFO | SA_ONSTACK | safe::kSaRestorer | flags, g_runtime.restorer,
          kFatalMask};
}

// glibc's use of the signal (setuid() and its kin tell all threads by it) is passed on.
// Without SA_RESTART, a tick of the watchdog ends a write that blocks.
void TakeFreezeSignal(unsigned long flags) {
  safe::KernelSigaction action = OurAction(&OnFreezeSignal, flags);
  action.mask = ~SignalBit(SIGSYS);  // a filter may refuse a call of the parked
  safe::KernelSigaction old;
  if (safe::SigAction(kFreezeSignal, &action, &old) == 0 &&
      old.handler != action.handler) {
    g_other_owner = old;
  }
}

void Tell(const DumpResult& result) {
  const bool ordinary = result.failed == nullptr && result.remark == nullptr;
  if (ordinary && g_runtime.policy.verbose == 0) return;
  char line[kLineBytes];
  safe::Text text(line, sizeof(line));
  if (result.failed != nullptr) {
    text.String("minicore: no core: cannot ").String(result.failed).Char(' ');
    text.String(result.path[0] != '\0' ? result.path : "the core").String(": ");
    AppendError(-result.error, text);
  } else {
    text.String("minicore: wrote ").String(result.path).String(" (");
    text.Decimal(result.file_bytes).String(" bytes, ");
    text.Decimal(result.microseconds / 1000).Char('.');
    text.Decimal(result.microseconds / 100 % 10).String(" ms");
    if (result.remark != nullptr) text.String(", ").String(result.remark);
    text.Char(')');
  }
  text.Char('\n');
  safe::Write(2, text.data(), text.length());
}

// As they were, while a dump needs them: two for its guarded copies, SIGSYS for calls
// that a seccomp filter answers with a signal, the others for what else a scribbled
// dumper may run into.
constexpr int kFaultSignals[] = {SIGSEGV, SIGBUS, SIGSYS, SIGILL, SIGFPE, SIGTRAP};
constexpr int kFaultSignalCount = 6;
safe::KernelSigaction g_old_faults[kFaultSignalCount];

void TakeFaultSignals() {
  const safe::KernelSigaction ours = OurAction(&OnFatalSignal, SA_NODEFER);
  for (int i = 0; i < kFaultSignalCount; ++i) {
    safe::SigAction(kFaultSignals[i], &ours, &g_old_faults[i]);
  }
}

// Between the copy and the file of a live dump.
bool g_thawed = true;
void GoOn() {
  for (int i = 0; i < kFaultSignalCount; ++i) {
    safe::SigAction(kFaultSignals[i], &g_old_faults[i], nullptr);
  }
  g_thawed = ThawThreads();
}

// The signal that the process is to die of, if the dumper itself faults beyond repair.
int g_first_signal = 0;
siginfo_t g_first_info;

struct Request {
  CrashContext crash;
  const Runtime* runtime;
  bool live;
  DumpResult result;
};

// A live dump's: the policy with another place for the file.
Runtime g_live_runtime = {};

void Dump(Request& request) {
  request.result = RunDump(request.crash, *request.runtime, request.live ? &GoOn : nullptr);
  if (!request.live || g_runtime.policy.verbose != 0) Tell(request.result);
}

void DumpOnOwnStack(void* argument) {
  Request& request = *static_cast<Request*>(argument);
  // A nested fault (GuardedCopy) must push its frame here: with SA_ONSTACK the kernel
  // would start at the top of the altstack again and overwrite the crash's own frame
  // (arch/x86/kernel/signal.c, get_sigframe()). The return from our handler restores it.
  const stack_t none = {nullptr, SS_DISABLE, 0};
  safe::Syscall(SYS_sigaltstack, safe::Word(&none), 0);
  Dump(request);
}

// Whether a filter forbids DumpOnOwnStack(), so that all must happen on the signal stack.
bool MustKeepStack(const ucontext_t& context) {
  stack_t current;
  return (context.uc_stack.ss_flags & SS_DISABLE) == 0 &&
         safe::Syscall(SYS_sigaltstack, 0, safe::Word(&current)) != 0;
}

bool IsFault(const siginfo_t* info) { return info->si_code > 0; }

// Makes the kernel act on the signal as if we had not been there. The signal is sent
// again with its own siginfo; it is blocked until the handler returns, and then finds
// the default action and the registers of the fault. (For a fault, returning would be
// enough; but SIGTRAP is reported behind its instruction, and a fault's cause may be
// gone.)
void DieAsBefore(const CrashContext& crash) {
  const safe::KernelSigaction none = {nullptr, 0, nullptr, 0};
  safe::SigAction(crash.signal, &none, nullptr);
  // kFatalMask lets SIGSEGV and SIGBUS through: here they must wait, too.
  const uint64_t all = ~uint64_t{0};
  safe::SigProcMask(SIG_SETMASK, &all, nullptr);
  long error = safe::Syscall(SYS_rt_tgsigqueueinfo, crash.pid, crash.tid, crash.signal,
                             safe::Word(crash.info));
  if (error != 0) error = safe::TgKill(crash.pid, crash.tid, crash.signal);
  // A filter forbids both, and perhaps the change of the action: the fault happens again
  // with its signal blocked, and for that the kernel kills (kernel/signal.c,
  // force_sig_info_to_task()).
  if (error != 0 && IsFault(crash.info)) {
    auto* context = const_cast<ucontext_t*>(crash.context);
    sigset_t* mask = &context->uc_sigmask;
    mask->__val[0] |= 1ul << (crash.signal - 1);
  }
}

// Who we are; where a filter does not let us ask, the one thread that can be known.
int OwnPid() {
  const int pid = safe::GetPid();
  return pid > 0 ? pid : g_runtime.facts.pid;
}
int OwnTid() {
  const int tid = safe::GetTid();
  return tid > 0 ? tid : g_runtime.facts.pid;
}

CrashContext MakeContext(int signal, const siginfo_t* info, const void* context) {
  CrashContext crash;
  crash.signal = signal;
  crash.pid = OwnPid();
  crash.tid = OwnTid();
  crash.info = info;
  crash.context = static_cast<const ucontext_t*>(context);
  return crash;
}

// Runs the dump of the elected thread in its signal handler.
void Run(Request& request) {
  OpenMemory();
  TakeFaultSignals();
  // The threads of a crash never go on: nothing of theirs is to be restarted.
  TakeFreezeSignal(request.live ? SA_RESTART : 0);
  const uint64_t mask = kFatalMask;
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
  StartWatchdog(kFreezeSignal, g_runtime.policy.deadline_us);
  if (MustKeepStack(*request.crash.context)) {
    Dump(request);
  } else {
    safe::RunOnStack(g_runtime.dump_stack_end, &DumpOnOwnStack, &request);
  }
  StopWatchdog();
}

// What DumpLive() asks of its own thread, by kFreezeSignal with this value.
constexpr uint64_t kLiveCookie = 0x6d636c69;  // "mcli"
struct LiveRequest {
  const char* path;
  int fd;
  int result;
  bool done;
};
LiveRequest* g_live_request = nullptr;

// Signals that a write to a pipe or beyond RLIMIT_FSIZE leaves pending: the program has
// not written anything, and must not get them.
constexpr uint64_t kWriteSignals =
    uint64_t{1} << (SIGPIPE - 1) | uint64_t{1} << (SIGXFSZ - 1);

uint64_t PendingWriteSignals() {
  uint64_t pending = 0;
  safe::Syscall(SYS_rt_sigpending, safe::Word(&pending), sizeof(pending));
  return pending & kWriteSignals;
}

// Requires: they are blocked.
void TakePending(uint64_t signals) {
  const timespec now{0, 0};
  while (signals != 0 &&
         safe::Syscall(SYS_rt_sigtimedwait, safe::Word(&signals), 0, safe::Word(&now),
                       sizeof(signals)) > 0) {
    signals &= PendingWriteSignals();
  }
}

int RunLive(const siginfo_t* info, const void* context, const char* path, int fd) {
  Request request{};
  // No signal: what debuggers show of a process that did not crash.
  siginfo_t none;
  __builtin_memset(&none, 0, sizeof(none));
  request.crash = MakeContext(0, info != nullptr ? &none : nullptr, context);
  request.live = true;
  __builtin_memcpy(static_cast<void*>(&g_live_runtime), &g_runtime, sizeof(g_runtime));
  request.runtime = &g_live_runtime;
  Policy& policy = g_live_runtime.policy;
  g_live_runtime.preopened.pid = 0;  // that is for the crash
  if (path != nullptr) {
    safe::Text(policy.path, sizeof(policy.path)).String(path);
    policy.fd = -1;
  } else if (fd >= 0) {
    policy.fd = fd;
  }
  const uint64_t pending = PendingWriteSignals();
  Run(request);
  TakePending(PendingWriteSignals() & ~pending);
  CloseMemory();
  return request.result.failed != nullptr ? request.result.error : 0;
}

void OnFreezeSignal(int signal, siginfo_t* info, void* context_pointer) {
  ClearAlignmentCheck();
  auto* context = static_cast<ucontext_t*>(context_pointer);
  if (OnWatchdogTick(info, context)) return;
  if (ParkIfAsked(info, context)) return;
  const auto value = reinterpret_cast<uint64_t>(info->si_value.sival_ptr);
  if (info->si_code == SI_QUEUE && value == kLiveCookie && g_live_request != nullptr) {
    LiveRequest& request = *g_live_request;
    request.result = RunLive(info, context, request.path, request.fd);
    request.done = true;
    return;
  }
  void* const handler = g_other_owner.handler;
  if (handler == nullptr || handler == reinterpret_cast<void*>(SIG_IGN)) return;
  reinterpret_cast<void (*)(int, siginfo_t*, void*)>(handler)(signal, info, context);
}

// With preopen=1, if a filter is in force (proc(5), "Seccomp:\t2"), any call but the
// oldest may kill.
void LearnFilter() {
  const int fd = g_runtime.preopened.status;
  if (g_runtime.preopened.pid == 0 || fd < 0) return;
  static char text[4096];
  const long bytes = safe::Read(fd, text, sizeof(text) - 1);
  for (long i = 0; i < bytes; ++i) {
    if (text[i] == '\n' && safe::StartsWith(text + i + 1, "Seccomp:\t") &&
        text[i + 10] != '0') {
      safe::g_basic_calls_only = true;
    }
  }
}

// Ends the process by the signal that began it all, though the dumper has run into
// `signal`: it is pending when the handler returns, and taken before the faulting
// instruction is tried again. Should that fail, the fault repeats, blocked, and kills.
void DieOfFirst(int signal, ucontext_t* context) {
  const int first = g_first_signal != 0 ? g_first_signal : signal;
  const safe::KernelSigaction none = {nullptr, 0, nullptr, 0};
  safe::SigAction(signal, &none, nullptr);
  safe::SigAction(first, &none, nullptr);
  const uint64_t all = ~uint64_t{0};
  safe::SigProcMask(SIG_SETMASK, &all, nullptr);
  const long error = safe::Syscall(SYS_rt_tgsigqueueinfo, OwnPid(), OwnTid(), first,
                                   safe::Word(&g_first_info));
  context->uc_sigmask.__val[0] |= SignalBit(signal);
  if (error == 0) context->uc_sigmask.__val[0] &= ~SignalBit(first);
}

// A system call of ours that a filter answers with a signal: from then on, that it is
// not permitted.
bool FixupRefusedCall(int signal, const siginfo_t* info, ucontext_t* context) {
  constexpr int kSysSeccomp = 1;  // SYS_SECCOMP
  greg_t* registers = context->uc_mcontext.gregs;
  if (signal != SIGSYS || info->si_code != kSysSeccomp ||
      registers[REG_R12] != safe::kCallMark) {
    return false;
  }
  registers[REG_RAX] = -EPERM;
  return true;
}

// A signal that the program believes blocked (dump/signal_mask.h) was sent: from here on
// it is blocked in this thread, and pending, for it or for the process.
void Postpone(const CrashContext& crash, ucontext_t* context) {
  const uint64_t bit = SignalBit(crash.signal);
  safe::SigProcMask(SIG_BLOCK, &bit, nullptr);
  context->uc_sigmask.__val[0] |= bit;
  const int code = crash.info->si_code;
  const long info = safe::Word(crash.info);
  if (code == SI_TKILL) {
    safe::Syscall(SYS_rt_tgsigqueueinfo, crash.pid, crash.tid, crash.signal, info);
  } else if (code == SI_USER ||
             safe::Syscall(SYS_rt_sigqueueinfo, crash.pid, crash.signal, info) != 0) {
    // Who else sent it is lost: only the main thread may pass that on (kernel/signal.c,
    // do_rt_sigqueueinfo()).
    safe::Syscall(SYS_kill, crash.pid, crash.signal);
  }
}

}  // namespace

void OnFatalSignal(int signal, siginfo_t* info, void* context_pointer) {
  ClearAlignmentCheck();
  auto* context = static_cast<ucontext_t*>(context_pointer);
  if (FixupRefusedCall(signal, info, context)) return;
  LearnFilter();
  const int pid = OwnPid();
  const int tid = OwnTid();
  if (g_dumper.load(std::memory_order_acquire) == Elector(pid, tid)) {
    // In a guarded copy, in a phase, or else beyond repair.
    if (!safe::FixupFault(context)) DieOfFirst(signal, context);
    return;
  }
  // The kernel does not let a sent signal's default action reach a namespace's init
  // (kernel/signal.c, sig_task_ignored(), SIGNAL_UNKILLABLE).
  if (pid == 1 && !IsFault(info)) return;
  if (!IsFault(info) && g_runtime.believes_blocked != nullptr &&
      g_runtime.believes_blocked(signal, context->uc_sigmask.__val[0])) {
    Postpone(MakeContext(signal, info, context), context);
    return;
  }
  // Behind a fatal dump there is nothing to wait for: the process ends. Behind a live
  // one, this crash is the next to be dumped.
  while (!WinElection(pid, tid)) {
    ParkCrashed(info, context);
    WaitForDumper();
    // A fault happens again by itself, and then reaches whose it is: a live dump may
    // have stood in for a handler of the program.
    if (IsFault(info) && g_dumper.load(std::memory_order_acquire) == 0) return;
  }
  Request request{};
  request.crash = MakeContext(signal, info, context);
  request.runtime = &g_runtime;
  g_first_signal = signal;
  __builtin_memcpy(&g_first_info, info, sizeof(g_first_info));
  Run(request);
  DieAsBefore(request.crash);
}

void OnDumpSignal(int, siginfo_t* info, void* context) {
  if (WinElection(safe::GetPid(), safe::GetTid())) {
    RunLive(info, context, nullptr, -1);
    if (g_thawed) EndDump();
  }
}

int DumpLive(const char* path, int fd) {
  const int pid = safe::GetPid();
  const int tid = safe::GetTid();
  const uint64_t until = safe::NowMicroseconds() + g_runtime.policy.deadline_us;
  while (!WinElection(pid, tid)) {
    // The dumper itself asks from a handler of its own: it would wait for itself.
    const bool own = g_dumper.load(std::memory_order_acquire) == Elector(pid, tid);
    if (own || safe::NowMicroseconds() > until) return -EBUSY;
    WaitForDumper();
  }
  LiveRequest request = {path, fd, -ETIMEDOUT, false};
  g_live_request = &request;
  TakeFreezeSignal(SA_RESTART);
  siginfo_t info;
  __builtin_memset(&info, 0, sizeof(info));
  info.si_signo = kFreezeSignal;
  info.si_code = SI_QUEUE;
  info.si_pid = pid;
  info.si_value.sival_ptr = reinterpret_cast<void*>(kLiveCookie);
  const uint64_t only_freeze = uint64_t{1} << (kFreezeSignal - 1);
  uint64_t mask;
  safe::SigProcMask(SIG_UNBLOCK, &only_freeze, &mask);
  // Delivered before the system call returns, as it is sent to this very thread.
  safe::Syscall(SYS_rt_tgsigqueueinfo, pid, tid, kFreezeSignal, safe::Word(&info));
  safe::SigProcMask(SIG_SETMASK, &mask, nullptr);
  g_live_request = nullptr;
  // Threads that would not leave keep the memory: there can be no other dump.
  if (g_thawed) EndDump();
  return request.result;
}

}  // namespace minicore
