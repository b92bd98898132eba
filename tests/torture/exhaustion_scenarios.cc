// Crashes of programs that have run out of something, or run into a wall.

#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/e2e/facts.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/live.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

namespace torture {

#define NOINLINE __attribute__((noinline))

namespace {

// Not a page can be mapped any more.
void AddressSpaceFull(const Arguments& arguments) {
  CrashIn(arguments, [] {
    for (size_t size = size_t{1} << 46; size >= 4096;) {
      if (mmap(nullptr, size, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0) == MAP_FAILED) {
        size /= 2;
      }
    }
    CrashHere();
  });
}

// RLIMIT_AS is lowered to less than is in use.
void AddressSpaceLimited(const Arguments& arguments) {
  CrashIn(arguments, [] {
    const rlimit none = {1 << 20, 1 << 20};
    if (setrlimit(RLIMIT_AS, &none) != 0) Fail("setrlimit");
    CrashHere();
  });
}

// As many mappings as the kernel allows, no two of which it can merge.
void MappingsExhausted(const Arguments& arguments) {
  const long most =
      arguments.size() > 1 ? atol(arguments[1].c_str()) : LONG_MAX;
  StartBystanders(2);
  NameTheCrasher();
  long made = 0;
  char* reserved = static_cast<char*>(
      mmap(nullptr, size_t{1} << 40, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  while (made < most &&
         mprotect(reserved + made * 8192, 4096, PROT_READ | PROT_WRITE) == 0) {
    ++made;
  }
  victim::Fact("mappings", made);
  CrashHere();
}

// malloc until it answers no; every page touched.
void HeapFull(const Arguments& arguments) {
  CrashIn(arguments, [] {
    while (char* block = static_cast<char*>(malloc(1 << 20)))
      memset(block, 1, 1 << 20);
    while (char* block = static_cast<char*>(malloc(100))) memset(block, 1, 100);
    CrashHere();
  });
}

// Touches memory up to `arguments[1]` bytes, and crashes: for a limit that
// nobody tells the process about.
void Touch(const Arguments& arguments) {
  NameTheCrasher();
  const size_t size = strtoul(arguments.at(0).c_str(), nullptr, 10);
  auto* memory = static_cast<char*>(mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  for (size_t at = 0; at < size; at += 4096) memory[at] = 1;
  CrashHere();
}

void SmallestStacks(const Arguments&) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
  pthread_attr_setguardsize(&attributes, 0);
  pthread_t thread;
  StartBystanders(2);
  const int error = pthread_create(
      &thread, &attributes,
      [](void*) -> void* {
        NameTheCrasher();
        CrashHere();
      },
      nullptr);
  if (error != 0) Fail("pthread_create");
  pthread_join(thread, nullptr);
}

}  // namespace

// Each frame touches itself from its top down, so that the guard is hit, not
// jumped over.
NOINLINE int OverflowTheStack(int depth) {
  volatile char frame[1024];
  for (size_t i = sizeof(frame); i > 0; --i)
    frame[i - 1] = static_cast<char>(depth);
  if (depth < 0) return 0;
  return OverflowTheStack(depth + 1) + frame[depth % sizeof(frame)];
}

namespace {

void Overflow(const Arguments& arguments) {
  CrashIn(arguments, [] { OverflowTheStack(0); });
}

// The program had an alternate stack of its own, and is done with it.
void OverflowWithoutAlternateStack(const Arguments& arguments) {
  CrashIn(arguments, [] {
    static char stack[64 * 1024];
    const stack_t own = {stack, 0, sizeof(stack)};
    const stack_t off = {nullptr, SS_DISABLE, 0};
    if (sigaltstack(&own, nullptr) != 0) Fail("sigaltstack");
    if (sigaltstack(&off, nullptr) != 0) Fail("sigaltstack");
    OverflowTheStack(0);
  });
}

pthread_key_t g_key;
int g_rounds = 0;

// In the last round but one of the destructors of a thread's keys.
void OverflowInLateKeyDestructor(const Arguments&) {
  StartBystanders(2);
  g_rounds = PTHREAD_DESTRUCTOR_ITERATIONS - 1;
  pthread_key_create(&g_key, [](void* value) {
    if (--g_rounds > 0) {
      pthread_setspecific(g_key, value);
    } else {
      OverflowTheStack(0);
    }
  });
  pthread_join(victim::StartThread("crasher",
                                   [] { pthread_setspecific(g_key, &g_key); }),
               nullptr);
}

// In threads that pthread_create() knows nothing of: of C11, and libc's own.
void OverflowInThreadOf(const Arguments& arguments) {
  StartBystanders(2);
  const std::string& maker = arguments.at(0);
  if (maker == "thrd_create") {
    thrd_t thread;
    const auto body = [](void*) -> int {
      NameTheCrasher();
      return OverflowTheStack(0);
    };
    if (thrd_create(&thread, body, nullptr) != thrd_success) Fail("thrd_create");
    thrd_join(thread, nullptr);
  } else if (maker == "timer_create") {
    sigevent event = {};
    event.sigev_notify = SIGEV_THREAD;
    event.sigev_notify_function = [](sigval) {
      InitThread();
      NameTheCrasher();
      OverflowTheStack(0);
    };
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) Fail("timer_create");
    const itimerspec now = {{0, 0}, {0, 1}};
    if (timer_settime(timer, 0, &now, nullptr) != 0) Fail("timer_settime");
  }
  victim::Park();
}

// A fault in a function that libc calls in a thread of its own.
// fault_in_thread_of timer_create|mq_notify|aio_read|getaddrinfo_a [init]
void FaultInThreadOf(const Arguments& arguments) {
  StartBystanders(2);
  const std::string& maker = arguments.at(0);
  static sigevent event = {};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_value.sival_int = arguments.size() > 1;
  event.sigev_notify_function = [](sigval init) {
    if (init.sival_int != 0) InitThread();
    NameTheCrasher();
    CrashHere();
  };
  if (maker == "timer_create") {
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) Fail("timer_create");
    const itimerspec now = {{0, 0}, {0, 1}};
    if (timer_settime(timer, 0, &now, nullptr) != 0) Fail("timer_settime");
  } else if (maker == "mq_notify") {
    const std::string name = "/minicore_torture." + std::to_string(getpid());
    const mqd_t queue = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr);
    if (queue < 0) Fail("mq_open");
    mq_unlink(name.c_str());
    if (mq_notify(queue, &event) != 0 || mq_send(queue, "", 0, 0) != 0) Fail("mq_notify");
  } else if (maker == "aio_read") {
    static aiocb request = {};
    static char byte;
    request.aio_fildes = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    request.aio_buf = &byte;
    request.aio_nbytes = 1;
    request.aio_sigevent = event;
    if (aio_read(&request) != 0) Fail("aio_read");
  } else if (maker == "getaddrinfo_a") {
    static addrinfo hints = {};
    hints.ai_flags = AI_NUMERICHOST;
    static gaicb request = {};
    request.ar_name = "127.0.0.1";
    request.ar_request = &hints;
    static gaicb* list[] = {&request};
    if (getaddrinfo_a(GAI_NOWAIT, list, 1, &event) != 0) Fail("getaddrinfo_a");
  }
  victim::Park();
}

void NoDescriptors(const Arguments& arguments) {
  CrashIn(arguments, [] {
    while (open("/dev/null", O_RDONLY) >= 0) {
    }
    CrashHere();
  });
}

void NoDescriptorsAtAll(const Arguments& arguments) {
  CrashIn(arguments, [] {
    const rlimit none = {0, 0};
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) Fail("setrlimit");
    CrashHere();
  });
}

// Answers the calls of another process: so many bytes of files, and not one more. What is
// overwritten or cut off needs room as well then; it comes back with the file's end.
[[noreturn]] void ServeQuota(int listener, uint64_t limit) {
  uint64_t left = limit;
  for (;;) {
    pollfd wait = {listener, POLLIN, 0};
    if (poll(&wait, 1, -1) == 1 && (wait.revents & POLLHUP) != 0) _exit(0);
    seccomp_notif call = {};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) continue;
    seccomp_notif_resp answer = {};
    answer.id = call.id;
    const bool writes = call.data.nr == SYS_write;
    if (call.data.nr == SYS_unlinkat) left = limit;
    if (call.data.nr == SYS_unlinkat || (writes ? call.data.args[2] <= left : left != 0)) {
      if (writes) left -= call.data.args[2];
      answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    } else {
      left = 0;
      answer.error = -EDQUOT;
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
}

// Sends a descriptor to the process at the other end.
void SendDescriptor(int socket, int fd) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {nullptr, 0, &data, 1, control, sizeof(control), 0};
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  if (sendmsg(socket, &message, 0) != 1) Fail("sendmsg");
}

int ReceiveDescriptor(int socket) {
  char byte;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {nullptr, 0, &data, 1, control, sizeof(control), 0};
  int fd = -1;
  if (recvmsg(socket, &message, 0) != 1) _exit(1);
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
  return fd;
}

// A file system's quota without a file system: another process counts what is
// written. quota BYTES [cow]: with cow, a full one lets nothing be changed either.
void Quota(const Arguments& arguments) {
  const bool copies = arguments.size() > 1;
  StartBystanders(2);
  NameTheCrasher();
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0) Fail("socketpair");
  if (fork() == 0) {
    close(sockets[0]);
    ServeQuota(ReceiveDescriptor(sockets[1]), strtoull(arguments.at(0).c_str(), nullptr, 10));
  }
  // Nor is room found in advance. The standard streams are no files.
  const uint32_t changes = copies ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ALLOW;
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 7, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwrite64, 8, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ftruncate, 7, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unlinkat, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 2, 2, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDQUOT),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, changes)};
  const sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Fail("no_new_privs");
  const auto listener = static_cast<int>(syscall(
      SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
  if (listener < 0) Fail("seccomp");
  SendDescriptor(sockets[0], listener);
  close(listener);
  close(sockets[1]);
  CrashHere();
}

void DirectoryRemoved(const Arguments& arguments) {
  CrashIn(arguments, [] {
    char path[4096];
    if (getcwd(path, sizeof(path)) == nullptr || rmdir(path) != 0)
      Fail("rmdir");
    CrashHere();
  });
}

constexpr Scenario kScenarios[] = {
    {"address_space_full", AddressSpaceFull},
    {"address_space_limited", AddressSpaceLimited},
    {"mappings_exhausted", MappingsExhausted},
    {"heap_full", HeapFull},
    {"touch", Touch},
    {"smallest_stacks", SmallestStacks},
    {"overflow", Overflow},
    {"overflow_stack_off", OverflowWithoutAlternateStack},
    {"overflow_late", OverflowInLateKeyDestructor},
    {"overflow_in_thread_of", OverflowInThreadOf},
    {"fault_in_thread_of", FaultInThreadOf},
    {"no_descriptors", NoDescriptors},
    {"no_descriptors_at_all", NoDescriptorsAtAll},
    {"directory_removed", DirectoryRemoved},
    {"quota", Quota},
};

}  // namespace

const Theme kExhaustionTheme = MakeTheme(kScenarios);

}  // namespace torture
