// Dumps of programs that go on, and must not notice.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <vector>

#include "tests/e2e/facts.h"
#include "tests/e2e/tags.h"
#include "tests/e2e/threads.h"
#include "tests/support/filter_call.h"
#include "tests/torture/crash.h"
#include "tests/torture/inside.h"
#include "tests/torture/live.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {

#define NOINLINE __attribute__((noinline))

namespace {

int Number(const Arguments& arguments, size_t index) {
  return atoi(arguments.at(index).c_str());
}

void MustDump(int result) {
  if (result == 0) return;
  errno = -result;
  Fail("minicore_dump");
}

// --- a busy program, whose results are known ---

std::atomic<bool> g_stop{false};
std::atomic<int> g_wrong{0};

// Integers, floating point and memory of its own; the same numbers each round.
uint64_t Round(uint64_t seed, std::vector<uint64_t>& memory) {
  Random random(seed);
  double sum = 0;
  for (uint64_t& word : memory) {
    word = random.Next();
    sum += 1.0 / static_cast<double>(1 + word % 1000);
  }
  uint64_t result = 0;
  memcpy(&result, &sum, sizeof(result));
  for (const uint64_t word : memory) result = result * 31 + word;
  return result;
}

void Calculate(uint64_t seed) {
  std::vector<uint64_t> memory(4096);
  const uint64_t expected = Round(seed, memory);
  victim::CountAsParked();
  while (!g_stop) {
    if (Round(seed, memory) != expected) g_wrong.fetch_add(1);
  }
}

// malloc and free, and what was written is what is read.
void Allocate(uint64_t seed) {
  Random random(seed);
  uint64_t* blocks[64] = {};
  victim::CountAsParked();
  while (!g_stop) {
    uint64_t*& block = blocks[random.Below(64)];
    if (block != nullptr && block[0] != reinterpret_cast<uint64_t>(block)) {
      g_wrong.fetch_add(1);
    }
    free(block);
    block = static_cast<uint64_t*>(malloc(8 + random.Below(2000)));
    block[0] = reinterpret_cast<uint64_t>(block);
  }
  for (uint64_t* block : blocks) free(block);
}

// Blocking calls that the kernel restarts: nobody sees EINTR, no byte is lost.
void PassOn(int from, int to, bool first) {
  victim::CountAsParked();
  uint64_t token = 0;
  if (first && write(to, &token, sizeof(token)) != sizeof(token)) g_wrong.fetch_add(1);
  for (uint64_t expected = first ? 1 : 0;; expected += 2) {
    if (read(from, &token, sizeof(token)) != sizeof(token)) break;
    if (token != expected) g_wrong.fetch_add(1);
    ++token;
    if (write(to, &token, sizeof(token)) != sizeof(token)) break;
  }
  if (!g_stop) g_wrong.fetch_add(1);
}

struct Busy {
  std::vector<pthread_t> threads;
  int there[2];
  int back[2];
};

Busy StartBusy() {
  Busy busy;
  signal(SIGPIPE, SIG_IGN);
  if (pipe(busy.there) != 0 || pipe(busy.back) != 0) Fail("pipe");
  const auto start = [&busy](const char* name, std::function<void()> body) {
    busy.threads.push_back(victim::StartThread(name, std::move(body)));
  };
  start("calculate", [] { Calculate(1); });
  start("allocate", [] { Allocate(2); });
  start("ping", [&busy] { PassOn(busy.back[0], busy.there[1], true); });
  start("pong", [&busy] { PassOn(busy.there[0], busy.back[1], false); });
  victim::AwaitParked(4);
  return busy;
}

void StopBusy(Busy& busy) {
  g_stop = true;
  // Whoever reads finds the end of the pipe; nobody is left to write.
  close(busy.there[1]);
  close(busy.back[1]);
  for (pthread_t thread : busy.threads) pthread_join(thread, nullptr);
  close(busy.there[0]);
  close(busy.back[0]);
  victim::Fact("wrong", static_cast<int>(g_wrong));
}

// --- what a dump must not leave behind ---

int CountEntries(const char* path) {
  DIR* const directory = opendir(path);
  int count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

// Outside of the heap and its index, which belong to the program's own work.
int CountMappings() {
  Range ours[16];
  unsigned parts = RangesOf("heap", ours);
  parts += RangesOf("index", ours + parts);
  int count = 0;
  for (int i = 0;; ++i) {
    const Mapping mapping = MappingNumber(i);
    if (mapping.begin == mapping.end) return count;
    bool within = false;
    for (unsigned j = 0; j < parts; ++j) {
      within |= mapping.begin < ours[j].end && ours[j].begin < mapping.end;
    }
    if (!within) ++count;
  }
}

struct Signals {
  uint64_t actions[64][4];  // as the kernel has them
  uint64_t mask;
  stack_t stack;
};

Signals LookAtSignals() {
  Signals signals;
  memset(&signals, 0, sizeof(signals));
  for (int number = 1; number <= 64; ++number) {
    syscall(SYS_rt_sigaction, number, nullptr, signals.actions[number - 1], 8);
  }
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, nullptr, &signals.mask, 8);
  sigaltstack(nullptr, &signals.stack);
  return signals;
}

// live_many DUMPS
void Many(const Arguments& arguments) {
  signal(SIGFPE, [](int) {});  // a handler of the program's own stays
  Busy busy = StartBusy();
  // What the first one leaves is there for all: the handler of signal 33.
  MustDump(DumpTo("core.first"));
  const int file = open("core.again", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const Signals before = LookAtSignals();
  const int descriptors = CountEntries("/proc/self/fd");
  const int threads = CountEntries("/proc/self/task");
  const int mappings = CountMappings();
  errno = 12345;
  for (int i = 0; i < Number(arguments, 0); ++i) {
    if (ftruncate(file, 0) != 0 || lseek(file, 0, SEEK_SET) != 0) Fail("core.again");
    MustDump(DumpToDescriptor(file));
  }
  const int error = errno;
  const Signals after = LookAtSignals();
  victim::Fact("errno", error);
  victim::Fact("signals", memcmp(&before, &after, sizeof(before)) == 0);
  victim::Fact("descriptors", CountEntries("/proc/self/fd") - descriptors);
  victim::Fact("threads", CountEntries("/proc/self/task") - threads);
  victim::Fact("mappings", CountMappings() - mappings);
  StopBusy(busy);
  _exit(0);
}

long StatusValue(const char* key) {
  FILE* const file = fopen("/proc/self/status", "r");
  if (file == nullptr) Fail("status");
  char line[4096];
  long value = -1;
  while (fgets(line, sizeof(line), file) != nullptr) {
    if (strncmp(line, key, strlen(key)) == 0) value = atol(line + strlen(key));
  }
  fclose(file);
  return value;
}

// Everything is locked into memory, now and in future.
void Locked(const Arguments&) {
  NameTheCrasher();
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    victim::Fact("locked", false);
    _exit(0);
  }
  victim::Fact("locked", true);
  const long before = StatusValue("VmHWM:");
  MustDump(DumpTo("core.live"));
  victim::Fact("kilobytes", StatusValue("VmHWM:") - before);
  _exit(0);
}

// --- from where ---

}  // namespace

NOINLINE void DumpHere(const char* path) { MustDump(DumpTo(path)); }

NOINLINE void DumpInHandler(int) { DumpHere("core.live"); }

namespace {

void FromAnywhere(const Arguments& arguments) {
  StartBystanders(2);
  const std::string& place = arguments.at(0);
  if (place == "main") {
    NameTheCrasher();
    DumpHere("core.live");
  } else if (place == "worker") {
    pthread_join(victim::StartThread("crasher", [] { DumpHere("core.live"); }), nullptr);
  } else if (place == "handler") {
    NameTheCrasher();
    signal(SIGUSR1, DumpInHandler);
    raise(SIGUSR1);
  } else if (place == "blocked") {
    NameTheCrasher();
    const uint64_t all = UINT64_MAX;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
    DumpHere("core.live");
  } else {
    Fail("place?");
  }
  _exit(0);
}

}  // namespace

struct Link {
  Link* next;
  char text[200];
};

// What its frame holds must be in the core whole, and so must a chain that
// only its first link leads to; but not the secret, of which
// there is a copy on the stack and one in the heap.
NOINLINE void DumpHoldingThings() {
  char* held[32];
  for (int i = 0; i < 32; ++i) {
    held[i] = static_cast<char*>(malloc(300));
    memset(held[i], 'A' + i % 26, 300);
    victim::Fact("held." + std::to_string(i), reinterpret_cast<uintptr_t>(held[i]));
  }
  Link* chain = nullptr;
  for (int i = 0; i < 100; ++i) {
    Link* const link = static_cast<Link*>(malloc(sizeof(Link)));
    link->next = chain;
    memset(link->text, '0' + i % 10, sizeof(link->text));
    chain = link;
    victim::Fact("link." + std::to_string(i), reinterpret_cast<uintptr_t>(link->text));
  }
  victim::Keep(chain);
  char* secret = static_cast<char*>(malloc(40));
  char on_stack[40];
  char* in_heap = static_cast<char*>(malloc(40));
  for (int i = 0; i < 40; ++i) secret[i] = static_cast<char>((i * 37 + 11) ^ 0x55);
  memcpy(on_stack, secret, 40);
  memcpy(in_heap, secret, 40);
  victim::Tag(secret, "secret");
  victim::Keep(held), victim::Keep(on_stack), victim::Keep(in_heap);
  DumpHere("core.live");
  victim::Keep(held), victim::Keep(on_stack), victim::Keep(in_heap);
  victim::Keep(chain);
}

namespace {

// A filter that containers have: reads by calls are refused.
void ForbidReadsByCalls() {
  if (!minicore::FilterCall(SYS_process_vm_readv, SECCOMP_RET_ERRNO | EPERM)) {
    Fail("seccomp");
  }
}

// live_holding [filter]
void HoldingThings(const Arguments& arguments) {
  NameTheCrasher();
  if (!arguments.empty()) ForbidReadsByCalls();
  Busy busy = StartBusy();
  DumpHoldingThings();
  StopBusy(busy);
  _exit(0);
}

// Signals of faults, for which the program has handlers of its own, sent all
// the time.
void SentMeanwhile(const Arguments& arguments) {
  static std::atomic<int> received{0};
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) {
    signal(number, [](int) { received.fetch_add(1); });
  }
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    while (getppid() == parent) {
      for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) {
        kill(parent, number);
      }
      usleep(100);
    }
    _exit(0);
  }
  Busy busy = StartBusy();
  const int file = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < Number(arguments, 0); ++i) MustDump(DumpToDescriptor(file));
  StopBusy(busy);
  kill(child, SIGKILL);
  victim::Fact("received", static_cast<int>(received));
  _exit(0);
}

// Two threads, each of them N times, and both at once: live_two N
void Two(const Arguments& arguments) {
  const int times = Number(arguments, 0);
  const auto dump = [times](const std::string& name) {
    for (int i = 0; i < times; ++i) {
      MustDump(DumpTo((name + std::to_string(i)).c_str()));
    }
  };
  const pthread_t one = victim::StartThread("one", [&] { dump("core.one."); });
  const pthread_t two = victim::StartThread("two", [&] { dump("core.two."); });
  pthread_join(one, nullptr);
  pthread_join(two, nullptr);
  _exit(0);
}

// Another thread crashes at some instant of a live dump: live_crash MICROSECONDS
void CrashMeanwhile(const Arguments& arguments) {
  static std::atomic<bool> go{false};
  const int instant = Number(arguments, 0);
  victim::StartThread("crasher", [instant] {
    while (!go) {
    }
    const long until = clock() + instant;  // of this process's time: some instant
    while (clock() < until) {
    }
    CrashHere();
  });
  const int file = open("/dev/null", O_RDWR | O_CLOEXEC);
  MustDump(DumpToDescriptor(file));
  go = true;
  for (;;) MustDump(DumpToDescriptor(file));
}

// Threads dump to pipes that nobody reads, over and over: live_unread THREADS
void CrashBehindUnread(const Arguments& arguments) {
  static int pipes[16][2];
  const int threads = Number(arguments, 0);
  for (int i = 0; i < threads; ++i) {
    if (pipe2(pipes[i], O_CLOEXEC) != 0) Fail("pipe");
    victim::StartThread(("dumper" + std::to_string(i)).c_str(), [i] {
      victim::CountAsParked();
      for (;;) DumpToDescriptor(pipes[i][1]);
    });
  }
  victim::AwaitParked(threads);
  // One is at it, and waits for its reader.
  for (bool begun = false; !begun; sched_yield()) {
    for (int i = 0; i < threads; ++i) {
      int bytes = 0;
      begun |= ioctl(pipes[i][0], FIONREAD, &bytes) == 0 && bytes > 0;
    }
  }
  NameTheCrasher();
  CrashHere();
}

// A page that somebody was to fill, and does not: one that the caller's frame leads to; or,
// live_unserved file, the first of a file, where an image has its header.
void Unserved(const Arguments& arguments) {
  NameTheCrasher();
  const int file = arguments.empty() ? -1 : memfd_create("unserved", MFD_CLOEXEC);
  if (file >= 0 && ftruncate(file, 4096) != 0) Fail("ftruncate");
  const int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  uffdio_api api = {};
  api.api = UFFD_API;
  char* const page =
      static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | (file >= 0 ? 0 : MAP_ANONYMOUS), file, 0));
  uffdio_register wanted = {};
  wanted.range.start = reinterpret_cast<uintptr_t>(page);
  wanted.range.len = 4096;
  wanted.mode = UFFDIO_REGISTER_MODE_MISSING;
  const bool unserved =
      fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0 && ioctl(fd, UFFDIO_REGISTER, &wanted) == 0;
  victim::Fact("unserved", unserved);
  if (unserved) {
    char* held = page + 64;
    victim::Keep(held);
    victim::Fact("result", DumpTo("core.live"));
    victim::Keep(held);
    victim::Fact("children", waitpid(-1, nullptr, __WALL) >= 0 || errno != ECHILD);
  }
  _exit(0);
}

// A crash after live dumps, as if there had been none: live_then_crash N
void ThenCrash(const Arguments& arguments) {
  const int file = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int i = 0; i < Number(arguments, 0); ++i) MustDump(DumpToDescriptor(file));
  StartBystanders(2);
  NameTheCrasher();
  CrashHere();
}

// When it returns, a dump has written its first bytes: the threads have been let go, and
// nobody reads on.
void DumpToFullPipe() {
  static int ends[2];
  static std::atomic<bool> begun{false};
  if (pipe(ends) != 0) Fail("pipe");
  victim::StartThread("dumper", [] {
    do {  // on a busy machine a short deadline may come first
      DumpToDescriptor(ends[1]);
    } while (!begun);
  });
  pollfd wait = {ends[0], POLLIN, 0};
  while (poll(&wait, 1, -1) != 1) {
  }
  begun = true;
}

// A child forked while the file of a live dump is written, which then crashes; with
// an argument, in two threads at once.
void ForkMeanwhile(const Arguments& arguments) {
  DumpToFullPipe();
  const pid_t child = fork();
  if (child == 0) {
    static std::atomic<bool> go{false};
    if (!arguments.empty()) {
      victim::StartThread("other", [] {
        go = true;
        CrashHere();
      });
      while (!go) {
      }
    }
    NameTheCrasher();
    CrashHere();
  }
  int status = 0;
  while (waitpid(child, &status, 0) != child) {
  }
  victim::Fact("child.status", status);
  _exit(0);
}

// What stands at no other place in the memory of the process, if nobody copies it.
constexpr size_t kSecretBytes = 64;
unsigned char SecretByte(size_t index) {
  return static_cast<unsigned char>(Random(index + 1).Next() >> 24);
}

bool HoldsSecret(const unsigned char* bytes, size_t size) {
  const unsigned char* const end = bytes + size;
  while (end - bytes >= static_cast<ptrdiff_t>(kSecretBytes)) {
    bytes = static_cast<const unsigned char*>(
        memchr(bytes, SecretByte(0), static_cast<size_t>(end - bytes) - kSecretBytes + 1));
    if (bytes == nullptr) return false;
    size_t same = 0;
    while (same < kSecretBytes && bytes[same] == SecretByte(same)) ++same;
    if (same == kSecretBytes) return true;
    ++bytes;
  }
  return false;
}

// How many writable mappings of this process it stands in.
int MappingsWithSecret() {
  constexpr size_t kBlock = 64 * 1024;
  unsigned char block[kBlock];
  const int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  FILE* const maps = fopen("/proc/self/maps", "re");
  char line[512];
  int found = 0;
  while (fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long begin, end;
    char rights[5];
    if (sscanf(line, "%lx-%lx %4s", &begin, &end, rights) != 3 || rights[1] != 'w') continue;
    if (end - begin > size_t{1} << 30) continue;  // the heap's index
    bool here = false;
    for (unsigned long at = begin; at < end && !here; at += kBlock) {
      const uintptr_t own = reinterpret_cast<uintptr_t>(block);
      if (at < own + kBlock && own < at + kBlock) continue;
      const ssize_t bytes = pread(memory, block, kBlock, static_cast<off_t>(at));
      here = bytes > 0 && HoldsSecret(block, static_cast<size_t>(bytes));
    }
    found += here;
  }
  fclose(maps);
  close(memory);
  return found;
}

// A child forked while a live dump knows a secret that no child is to have.
void ForkWithSecret(const Arguments&) {
  auto* const secret =
      static_cast<unsigned char*>(victim::AllocateTagged(kSecretBytes, "secret"));
  for (size_t i = 0; i < kSecretBytes; ++i) secret[i] = SecretByte(i);
  victim::Fact("before", MappingsWithSecret());
  DumpToFullPipe();
  const pid_t child = fork();
  if (child == 0) _exit(MappingsWithSecret());
  int status = 0;
  while (waitpid(child, &status, 0) != child) {
  }
  victim::Fact("child.status", status);
  _exit(0);
}

// Children forked at any instant of live dumps, which crash with something in their memory
// that their parent has not: live_forks N
long g_whose = 0;
void ForkAtAnyInstant(const Arguments& arguments) {
  static std::atomic<bool> stop{false};
  const pthread_t dumper = victim::StartThread("dumper", [] {
    const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (!stop) MustDump(DumpToDescriptor(nowhere));
  });
  victim::Fact("whose", reinterpret_cast<uintptr_t>(&g_whose));
  g_whose = -1;
  for (int i = 0; i < Number(arguments, 0); ++i) {
    const pid_t child = fork();
    if (child == 0) {
      g_whose = getpid();
      CrashHere();
    }
    int status = 0;
    while (waitpid(child, &status, 0) != child) {
    }
    victim::Fact(("child." + std::to_string(i)).c_str(), child);
    victim::Fact(("status." + std::to_string(i)).c_str(), status);
  }
  stop = true;
  pthread_join(dumper, nullptr);
  _exit(0);
}

// The deadline ends a live dump while it waits for a thread that no signal
// reaches; then a thread crashes while the next dump is written.
void AbandonedThenCrash(const Arguments&) {
  static std::atomic<int> deaf{0};
  static int ends[2];
  if (pipe(ends) != 0) Fail("pipe");
  const pthread_t parent = victim::StartThread("deaf", [] {
    deaf = gettid();
    char byte;
    if (vfork() == 0) {
      syscall(SYS_close, ends[1]);
      syscall(SYS_read, ends[0], &byte, 1);
      _exit(0);
    }
  });
  StartBystanders(2);
  while (deaf == 0) sched_yield();
  while (StateOf(deaf) != 'D') sched_yield();
  rlimit before;
  rlimit after;
  getrlimit(RLIMIT_SIGPENDING, &before);
  victim::Fact("result", DumpTo("core.abandoned"));
  getrlimit(RLIMIT_SIGPENDING, &after);
  victim::Fact("limit", before.rlim_cur == after.rlim_cur);
  close(ends[1]);
  pthread_join(parent, nullptr);
  // The tracer of silent threads is a child of ours, too, and would never end.
  siginfo_t info;
  while (waitid(P_ALL, 0, &info, WEXITED | __WALL) == 0) {
  }
  DumpToFullPipe();
  NameTheCrasher();
  CrashHere();
}

// Until nothing more fits.
void FillPipe(int fd) {
  fcntl(fd, F_SETFL, O_NONBLOCK);
  while (write(fd, "", 1) == 1) {
  }
  fcntl(fd, F_SETFL, 0);
}

// Into what cannot be written: live_fails fd|directory|pipe|unread|stderr
void Fails(const Arguments& arguments) {
  const std::string& how = arguments.at(0);
  int result = 0;
  int ends[2];
  if (pipe(ends) != 0) Fail("pipe");
  if (how == "fd") result = DumpToDescriptor(777);
  if (how == "directory") result = DumpTo("no/such/directory/core");
  if (how == "pipe") {
    close(ends[0]);
    result = DumpToDescriptor(ends[1]);  // and no SIGPIPE
  }
  if (how == "unread") result = DumpToDescriptor(ends[1]);
  const int standard_error = dup(STDERR_FILENO);
  if (how == "stderr") {
    FillPipe(ends[1]);
    dup2(ends[1], STDERR_FILENO);
    result = DumpTo("core.told");
    dup2(standard_error, STDERR_FILENO);
  }
  victim::Fact("result", result);
  // And it can go on.
  MustDump(DumpTo("core.live"));
  _exit(0);
}

// live_again DUMPS, one after the other; and says what the kernel knows of the
// dumper's own memory before and after.
void Again(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  const std::string before = DescribeDumperMemory();
  for (int i = 0; i < Number(arguments, 0); ++i) {
    MustDump(DumpTo(("core." + std::to_string(i)).c_str()));
  }
  victim::Fact("memory.before", before);
  victim::Fact("memory.after", DescribeDumperMemory());
  exit(0);
}

// --- by signal ---

// live_signal TIMES [N]: SIGUSR2, or SIGRTMIN+N
void BySignal(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  const int times = Number(arguments, 0);
  const int number = arguments.size() > 1 ? SIGRTMIN + Number(arguments, 1) : SIGUSR2;
  for (int i = 0; i < times; ++i) raise(number);
  _exit(0);
}

// The parent sends them to the process, not to a thread: live_signal_wait
void WaitForSignals(const Arguments&) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  Busy busy = StartBusy();
  victim::AnnounceReady();
  int number = 0;
  while (sigwait(&set, &number) != 0) {
  }
  StopBusy(busy);
  _exit(0);
}

// --- which calls are interrupted ---

int g_ends[2];
int g_sockets[2];
pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;
sem_t g_semaphore;

// Blocks, until the scenario ends it; -1 and errno as the call has them.
long CallNamed(const std::string& name) {
  char byte = 0;
  timespec long_time = {2, 0};
  pollfd wait = {g_ends[0], POLLIN, 0};
  if (name == "read") return read(g_ends[0], &byte, 1);
  if (name == "recv") return recv(g_sockets[0], &byte, 1, 0);
  if (name == "mutex") return pthread_mutex_lock(&g_mutex);
  if (name == "sem_wait") return sem_wait(&g_semaphore);
  if (name == "wait") return waitpid(-1, nullptr, 0);
  if (name == "flock") return flock(open("lock", O_RDWR | O_CLOEXEC), LOCK_EX);
  if (name == "open") return open("fifo", O_RDONLY | O_CLOEXEC);
  if (name == "write") return write(g_ends[1], &byte, 1);
  if (name == "partial") {
    const std::string bulk(1 << 20, 'x');
    return write(g_ends[1], bulk.data(), bulk.size());
  }
  if (name == "nanosleep") return nanosleep(&long_time, nullptr);
  if (name == "poll") return poll(&wait, 1, 2000);
  if (name == "ppoll") return ppoll(&wait, 1, &long_time, nullptr);
  if (name == "select") {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(g_ends[0], &set);
    timeval time = {2, 0};
    return select(g_ends[0] + 1, &set, nullptr, nullptr, &time);
  }
  if (name == "epoll_wait") {
    epoll_event event;
    return epoll_wait(epoll_create1(EPOLL_CLOEXEC), &event, 1, 2000);
  }
  if (name == "sigtimedwait") {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    return sigtimedwait(&set, nullptr, &long_time);
  }
  sigset_t none;
  sigemptyset(&none);
  if (name == "clock_nanosleep") {
    errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &long_time, nullptr);
    return -1;
  }
  if (name == "pselect") return pselect(0, nullptr, nullptr, nullptr, &long_time, &none);
  if (name == "epoll_pwait") {
    epoll_event event;
    return epoll_pwait(epoll_create1(EPOLL_CLOEXEC), &event, 1, 2000, &none);
  }
  if (name == "sigwaitinfo") {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    return sigwaitinfo(&set, nullptr);
  }
  if (name == "sigsuspend") return sigsuspend(&none);
  if (name == "io_uring_enter") {
    io_uring_params parameters = {};
    const long ring = syscall(SYS_io_uring_setup, 8, &parameters);
    if (ring < 0) return pause();  // not allowed here
    return syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, nullptr, 0);
  }
  if (name == "recv_timeout") {
    const timeval time = {2, 0};
    setsockopt(g_sockets[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
    return recv(g_sockets[0], &byte, 1, 0);
  }
  if (name == "msgrcv") {
    struct {
      long type;
      char text[8];
    } message;
    const int queue = msgget(IPC_PRIVATE, 0600);
    victim::Fact("queue", queue);
    const long got = msgrcv(queue, &message, 8, 0, 0);
    const int error = errno;
    msgctl(queue, IPC_RMID, nullptr);
    errno = error;
    return got;
  }
  if (name == "pause") return pause();
  Fail("call?");
}

// Ends what was restarted; what was interrupted has ended by itself.
void End(const std::string& name, pid_t child) {
  char byte = 1;
  if (name == "read" && write(g_ends[1], &byte, 1) != 1) Fail("pipe");
  if (name == "recv" && write(g_sockets[1], &byte, 1) != 1) Fail("socket");
  if (name == "mutex") pthread_mutex_unlock(&g_mutex);
  if (name == "sem_wait") sem_post(&g_semaphore);
  if (name == "wait") kill(child, SIGKILL);
  if (name == "flock") flock(child, LOCK_UN);
  if (name == "open") open("fifo", O_WRONLY | O_CLOEXEC);
  if (name == "write") {
    std::string bulk(1 << 20, 'x');
    if (read(g_ends[0], bulk.data(), bulk.size()) <= 0) Fail("read");
  }
}

// live_call NAME
void InterruptedCall(const Arguments& arguments) {
  const std::string& name = arguments.at(0);
  if (pipe(g_ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, g_sockets) != 0) {
    Fail("pipe");
  }
  pthread_mutex_lock(&g_mutex);
  sem_init(&g_semaphore, 0, 0);
  pid_t child = 0;
  if (name == "wait" && (child = fork()) == 0) {
    for (;;) pause();
  }
  if (name == "flock") {
    child = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);  // a descriptor
    flock(child, LOCK_EX);
  }
  if (name == "write") {
    FillPipe(g_ends[1]);
  }
  if (name == "open") mknod("fifo", S_IFIFO | 0600, 0);
  static std::atomic<int> tid{0};
  static long result;
  static int error;
  const pthread_t caller = victim::StartThread("caller", [&name] {
    tid = gettid();
    errno = 0;
    result = CallNamed(name);
    error = errno;
  });
  while (tid == 0) sched_yield();
  AwaitSleep(tid);
  MustDump(DumpTo("core.live"));
  End(name, child);
  pthread_join(caller, nullptr);
  victim::Fact("result", result);
  victim::Fact("error", result < 0 ? error : 0);
  _exit(0);
}

constexpr Scenario kScenarios[] = {
    {"live_many", Many},
    {"live_locked", Locked},
    {"live_from", FromAnywhere},
    {"live_holding", HoldingThings},
    {"live_sent", SentMeanwhile},
    {"live_two", Two},
    {"live_crash", CrashMeanwhile},
    {"live_unread", CrashBehindUnread},
    {"live_unserved", Unserved},
    {"live_then_crash", ThenCrash},
    {"live_fork", ForkMeanwhile},
    {"live_fork_secret", ForkWithSecret},
    {"live_forks", ForkAtAnyInstant},
    {"live_again", Again},
    {"live_abandoned_then_crash", AbandonedThenCrash},
    {"live_fails", Fails},
    {"live_signal", BySignal},
    {"live_signal_wait", WaitForSignals},
    {"live_call", InterruptedCall},
};

}  // namespace

const Theme kLiveTheme = MakeTheme(kScenarios);

}  // namespace torture
