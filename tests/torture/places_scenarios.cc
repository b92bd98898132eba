// Crashes in the places where programs are neither here nor there: handlers,
// constructors, destructors, the dynamic linker, other people's stacks.

#include <alloca.h>
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/live.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {

#define NOINLINE __attribute__((noinline))
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

// --- signal handlers ---

NOINLINE void CrashInHandler(int) { CrashHere(); }
NOINLINE void OuterHandler(int) { raise(SIGUSR2); }

namespace {

void Handle(int signal, void (*handler)(int), int flags = 0,
            bool block_all = false) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  if (block_all) sigfillset(&action.sa_mask);
  if (sigaction(signal, &action, nullptr) != 0) Fail("sigaction");
}

void UseAlternateStack() {
  static char stack[64 * 1024];
  const stack_t ours = {stack, 0, sizeof(stack)};
  if (sigaltstack(&ours, nullptr) != 0) Fail("sigaltstack");
}

void InHandler(const Arguments& arguments) {
  CrashIn(arguments, [] {
    Handle(SIGUSR1, CrashInHandler);
    raise(SIGUSR1);
  });
}

void InHandlerOnAlternateStack(const Arguments& arguments) {
  CrashIn(arguments, [] {
    UseAlternateStack();
    Handle(SIGUSR1, CrashInHandler, SA_ONSTACK);
    raise(SIGUSR1);
  });
}

void InNestedHandler(const Arguments& arguments) {
  CrashIn(arguments, [] {
    Handle(SIGUSR1, OuterHandler);
    Handle(SIGUSR2, CrashInHandler);
    raise(SIGUSR1);
  });
}

void InNestedHandlerOnAlternateStack(const Arguments& arguments) {
  CrashIn(arguments, [] {
    UseAlternateStack();
    Handle(SIGUSR1, OuterHandler, SA_ONSTACK);
    Handle(SIGUSR2, CrashInHandler, SA_ONSTACK);
    raise(SIGUSR1);
  });
}

// sigfillset(&action.sa_mask) is what most programs write; it blocks SIGSEGV,
// too, and the kernel ends a process whose thread faults with the fault's
// signal blocked.
void InHandlerWithAllBlocked(const Arguments& arguments) {
  CrashIn(arguments, [] {
    Handle(SIGUSR1, CrashInHandler, 0, true);
    raise(SIGUSR1);
  });
}

// The kernel has the signal blocked for the second fault.
void InHandlerOfTheSame(const Arguments& arguments) {
  CrashIn(arguments, [] {
    Handle(SIGSEGV, CrashInHandler);
    CrashHere();
  });
}

sigjmp_buf g_before_handler;

void BehindHandlerThatWasLeft(const Arguments& arguments) {
  CrashIn(arguments, [] {
    Handle(SIGSEGV, [](int) { siglongjmp(g_before_handler, 1); });
    if (sigsetjmp(g_before_handler, 0) == 0) CrashHere();
    Handle(SIGSEGV, SIG_DFL);
    CrashHere();
  });
}

// A call that sets a mask for its own time, in which the signal of the crashing
// handler is the only one that is not blocked: it is pending.
void InHandlerOfWait(const Arguments& arguments) {
  static std::string call;
  call = arguments.at(1);
  CrashIn(arguments, [] {
    Handle(SIGUSR1, CrashInHandler);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    raise(SIGUSR1);
    sigfillset(&mask);
    sigdelset(&mask, SIGUSR1);
    epoll_event event;
    if (call == "sigsuspend") sigsuspend(&mask);
    if (call == "pselect") {
      pselect(0, nullptr, nullptr, nullptr, nullptr, &mask);
    }
    if (call == "ppoll") ppoll(nullptr, 0, nullptr, &mask);
    if (call == "epoll_pwait") epoll_pwait(epoll_create1(0), &event, 1, -1, &mask);
    if (call == "epoll_pwait2") {
      epoll_pwait2(epoll_create1(0), &event, 1, nullptr, &mask);
    }
  });
}

// A stack of SIGSTKSZ bytes as it was for twenty years.
void UseSmallAlternateStack() {
  alignas(16) static char stack[8192];
  const stack_t small = {stack, 0, sizeof(stack)};
  if (sigaltstack(&small, nullptr) != 0) Fail("sigaltstack");
}

}  // namespace

// --- abort() ---

NOINLINE void AbortHere() { abort(); }

// Takes all of a small signal stack but a thousand bytes, and of a large one as much. With the
// frame of the kernel, AT_MINSIGSTKSZ bytes at the most.
NOINLINE void StandDeepInHandler(int) {
  const size_t size = 8192 - getauxval(AT_MINSIGSTKSZ) - 1000;
  auto* const deep = static_cast<volatile char*>(alloca(size));
  deep[0] = 1;
  victim::Park();
  deep[0] = 2;
}

NOINLINE void AbortDeepInHandler(int) {
  const size_t size = 8192 - getauxval(AT_MINSIGSTKSZ) - 1000;
  auto* const deep = static_cast<volatile char*>(alloca(size));
  deep[0] = 1;
  abort();
}

namespace {

void AbortWhenIgnored(const Arguments& arguments) {
  CrashIn(arguments, [] {
    signal(SIGABRT, SIG_IGN);
    AbortHere();
  });
}

void AbortWhenHandled(const Arguments& arguments) {
  CrashIn(arguments, [] {
    Handle(SIGABRT, [](int) {});
    AbortHere();
  });
}

void StandDeep() {
  UseSmallAlternateStack();
  Handle(SIGUSR1, StandDeepInHandler, SA_ONSTACK);
  raise(SIGUSR1);
}

void OtherIsDeepInSmallStack(const Arguments& arguments) {
  victim::StartThread("deep", StandDeep);
  victim::AwaitParked(1);
  NameTheCrasher();
  if (!arguments.empty() && arguments[0] == "live") {
    if (DumpTo("core.live") != 0) Fail("minicore_dump");
    _exit(0);
  }
  CrashHere();
}

void AbortsDeepInSmallStack(const Arguments& arguments) {
  CrashIn(arguments, [] {
    UseSmallAlternateStack();
    Handle(SIGUSR1, AbortDeepInHandler, SA_ONSTACK);
    raise(SIGUSR1);
  });
}

// The least that the kernel takes, with a guard page below; with "raw", behind libc's
// back, where nobody puts a larger one in its place.
void OnTheLeastAlternateStack(const Arguments& arguments) {
  static bool raw = arguments.size() > 1 && arguments[1] == "raw";
  CrashIn(arguments, [] {
    constexpr size_t kGuard = 4096;
    const size_t size = getauxval(AT_MINSIGSTKSZ);
    auto* memory = static_cast<char*>(mmap(nullptr, kGuard + size, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory, kGuard, PROT_NONE);
    const stack_t least = {memory + kGuard, 0, size};
    const long error =
        raw ? syscall(SYS_sigaltstack, &least, nullptr) : sigaltstack(&least, nullptr);
    if (error != 0) Fail("sigaltstack");
    CrashHere();
  });
}

}  // namespace

// --- before and after main, around threads ---

NOINLINE void CrashInAtexit() { CrashHere(); }

namespace {

void InAtexit(const Arguments&) {
  NameTheCrasher();
  StartBystanders(2);
  atexit(CrashInAtexit);
  exit(0);
}

}  // namespace

// Before main; the name of the scenario is of no matter then.
struct CrashesBeforeMain {
  NOINLINE CrashesBeforeMain() {
    if (getenv("TORTURE_BEFORE_MAIN") != nullptr) CrashHere();
  }
};
static CrashesBeforeMain g_before_main;

namespace {

struct CrashesWhenStatic {
  bool armed = false;
  ~CrashesWhenStatic() {
    if (armed) CrashHere();
  }
};
CrashesWhenStatic g_static;

void InStaticDestructor(const Arguments&) {
  NameTheCrasher();
  StartBystanders(2);
  g_static.armed = true;
  exit(0);
}

}  // namespace

struct CrashesWhenThreadEnds {
  bool armed = false;
  NOINLINE ~CrashesWhenThreadEnds() {
    if (armed) CrashHere();
  }
};
thread_local CrashesWhenThreadEnds t_crashes;

NOINLINE void CrashInKeyDestructor(void*) { CrashHere(); }

// The second round of destructors: after minicore's own key has been dealt
// with.
NOINLINE void CrashInLateKeyDestructor(void* value) {
  static pthread_key_t* key = static_cast<pthread_key_t*>(value);
  static int round = 0;
  if (round++ < 2) {
    pthread_setspecific(*key, value);
    return;
  }
  CrashHere();
}

NOINLINE void CrashInTimer(sigval) {
  NameTheCrasher();
  CrashHere();
}

namespace {

// In the thread that libc makes when a timer expires.
void RunByTimer(void (*function)(sigval)) {
  StartBystanders(2);
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_notify_function = function;
  timer_t timer;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) Fail("timer_create");
  const itimerspec at_once = {{0, 0}, {0, 1}};
  if (timer_settime(timer, 0, &at_once, nullptr) != 0) Fail("timer_settime");
  victim::Park();
}

void InTimer(const Arguments&) { RunByTimer(CrashInTimer); }

void InThreadLocalDestructor(const Arguments&) {
  StartBystanders(2);
  pthread_join(victim::StartThread("crasher", [] { t_crashes.armed = true; }),
               nullptr);
}

pthread_key_t g_key;

void InKeyDestructor(const Arguments&) {
  StartBystanders(2);
  pthread_key_create(&g_key, CrashInKeyDestructor);
  pthread_join(victim::StartThread("crasher",
                                   [] { pthread_setspecific(g_key, &g_key); }),
               nullptr);
}

void InLateKeyDestructor(const Arguments&) {
  StartBystanders(2);
  pthread_key_create(&g_key, CrashInLateKeyDestructor);
  pthread_join(victim::StartThread("crasher",
                                   [] { pthread_setspecific(g_key, &g_key); }),
               nullptr);
}

}  // namespace

// --- fork handlers ---

NOINLINE void CrashBeforeFork() { CrashHere(); }
NOINLINE void CrashInParentAfterFork() { CrashHere(); }
NOINLINE void CrashInChildAfterFork() {
  NameTheCrasher();
  CrashHere();
}

namespace {

void InForkPrepare(const Arguments& arguments) {
  CrashIn(arguments, [] {
    pthread_atfork(CrashBeforeFork, nullptr, nullptr);
    fork();
  });
}

void InForkParent(const Arguments& arguments) {
  CrashIn(arguments, [] {
    pthread_atfork(nullptr, CrashInParentAfterFork, nullptr);
    if (fork() == 0) _exit(0);
  });
}

// The parent dies of it as well, so that the wait status is the child's.
void InForkChild(const Arguments&) {
  StartBystanders(2);
  pthread_atfork(nullptr, nullptr, CrashInChildAfterFork);
  const pid_t child = fork();
  int status = 0;
  if (waitpid(child, &status, 0) != child) Fail("waitpid");
  victim::Fact("child.status", status);
  _exit(0);
}

// --- the dynamic linker ---

std::string Library(const char* name) {
  const char* directory = getenv("TORTURE_LIBRARY");
  if (directory == nullptr) Fail("TORTURE_LIBRARY");
  return std::string(directory) + "/" + name;
}

std::atomic<int> g_rounds{0};

NOINLINE void OpenAndClose(const std::string& library) {
  for (;; g_rounds.fetch_add(1)) {
    void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) Fail(dlerror());
    dlclose(handle);
  }
}

// In the constructor of a library that dlopen() loads, with ld.so's lock held;
// another thread opens libraries all the time and soon waits for that lock.
void InConstructorOfLibrary(const Arguments& arguments) {
  victim::StartThread("opener", [] {
    victim::CountAsParked();
    OpenAndClose(Library("libtorture_idle.so"));
  });
  victim::AwaitParked(1);
  const auto crash = [] {
    NameTheCrasher();
    dlopen(Library("libtorture_crashing.so").c_str(), RTLD_NOW);
  };
  if (!arguments.empty()) {
    pthread_join(victim::StartThread("worker", crash), nullptr);
  } else {
    crash();
  }
}

// A fault anywhere while another thread is in the middle of dlopen() or
// dlclose(): libraries_opened ROUNDS
void WhileLibrariesAreOpened(const Arguments& arguments) {
  victim::StartThread("opener", [] {
    victim::CountAsParked();
    OpenAndClose(Library("libtorture_idle.so"));
  });
  victim::AwaitParked(1);
  NameTheCrasher();
  const int rounds = atoi(arguments.at(0).c_str());
  while (g_rounds < rounds) {
  }
  CrashHere();
}

// --- stacks of coroutines ---

ucontext_t g_main_context;
ucontext_t g_coroutine;

}  // namespace

NOINLINE void CoroutineBody() { CrashHere(); }

NOINLINE int OverflowCoroutine(int depth) {
  volatile char frame[1024];
  for (size_t i = sizeof(frame); i > 0; --i)
    frame[i - 1] = static_cast<char>(depth);
  if (depth < 0) return 0;
  return OverflowCoroutine(depth + 1) + frame[depth % sizeof(frame)];
}

NOINLINE void OverflowingBody() { OverflowCoroutine(0); }

NOINLINE void SwitchTo(void* stack, size_t size, void (*body)()) {
  getcontext(&g_coroutine);
  g_coroutine.uc_stack.ss_sp = stack;
  g_coroutine.uc_stack.ss_size = size;
  g_coroutine.uc_link = &g_main_context;
  makecontext(&g_coroutine, body, 0);
  swapcontext(&g_main_context, &g_coroutine);
}

namespace {

constexpr size_t kCoroutineBytes = 128 * 1024;

void OnHeapCoroutine(const Arguments& arguments) {
  CrashIn(arguments, [] {
    SwitchTo(malloc(kCoroutineBytes), kCoroutineBytes, CoroutineBody);
  });
}

void OnMappedCoroutine(const Arguments& arguments) {
  CrashIn(arguments, [] {
    void* stack = mmap(nullptr, kCoroutineBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SwitchTo(stack, kCoroutineBytes, CoroutineBody);
  });
}

void OnCoroutineThatBlocks(const Arguments& arguments) {
  CrashIn(arguments, [] {
    static char stack[kCoroutineBytes];
    static ucontext_t coroutine;
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = stack;
    coroutine.uc_stack.ss_size = sizeof(stack);
    sigfillset(&coroutine.uc_sigmask);
    makecontext(&coroutine, CoroutineBody, 0);
    setcontext(&coroutine);
  });
}

void OverflowInTimer(const Arguments&) {
  RunByTimer([](sigval) {
    NameTheCrasher();
    OverflowingBody();
  });
}

void OnOverflowingCoroutine(const Arguments& arguments) {
  CrashIn(arguments, [] {
    auto* stack = static_cast<char*>(mmap(nullptr, kCoroutineBytes,
                                          PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(stack, 4096, PROT_NONE);
    SwitchTo(stack + 4096, kCoroutineBytes - 4096, OverflowingBody);
  });
}

constexpr Scenario kScenarios[] = {
    {"handler", InHandler},
    {"handler_alternate", InHandlerOnAlternateStack},
    {"handler_nested", InNestedHandler},
    {"handler_nested_alternate", InNestedHandlerOnAlternateStack},
    {"handler_all_blocked", InHandlerWithAllBlocked},
    {"handler_of_same", InHandlerOfTheSame},
    {"handler_left", BehindHandlerThatWasLeft},
    {"handler_of_wait", InHandlerOfWait},
    {"abort_ignored", AbortWhenIgnored},
    {"abort_handled", AbortWhenHandled},
    {"least_alternate", OnTheLeastAlternateStack},
    {"deep_in_small_stack", OtherIsDeepInSmallStack},
    {"aborts_deep_in_small_stack", AbortsDeepInSmallStack},
    {"atexit", InAtexit},
    {"static_destructor", InStaticDestructor},
    {"thread_local_destructor", InThreadLocalDestructor},
    {"key_destructor", InKeyDestructor},
    {"late_key_destructor", InLateKeyDestructor},
    {"timer", InTimer},
    {"timer_overflow", OverflowInTimer},
    {"fork_prepare", InForkPrepare},
    {"fork_parent", InForkParent},
    {"fork_child", InForkChild},
    {"library_constructor", InConstructorOfLibrary},
    {"libraries_opened", WhileLibrariesAreOpened},
    {"coroutine_heap", OnHeapCoroutine},
    {"coroutine_mapped", OnMappedCoroutine},
    {"coroutine_blocks", OnCoroutineThatBlocks},
    {"coroutine_overflow", OnOverflowingCoroutine},
};

}  // namespace

const Theme kPlacesTheme = MakeTheme(kScenarios);

}  // namespace torture
