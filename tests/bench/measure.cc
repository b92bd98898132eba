// Runs a program and says what it cost: the benchmarks' stopwatch.
//
//   measure [--report-fd=N] [--preload=LIB] [--core=BYTES|unlimited]
//   [--stdin=FILE]
//           [--stdout=FILE] [--watch=DIR] [--repeat=N] [--timeout=S] -- PROGRAM
//           [ARG...]
//
// A process of its own, and a small one, because Linux 6.1 hands the peak
// resident size of a process on through execve (fs/exec.c, exec_mmap): a
// program started straight from a Python runner would never report less than
// the interpreter's own peak.
//
// Writes one JSON object per repetition to descriptor N (default 1):
//   status      as wait(2) gives it
//   wall_ns     from before fork() to after the child was reaped
//   user_us, sys_us, max_rss_kib   of the child and what it waited for
//   dead_ns     from the moment the child stored in the fault clock to reaped
//   file_ns     from that moment to the first file that was renamed in DIR
//   (--watch) timed_out   true when the child had to be killed
// The fault clock is a page that parent and child share: its descriptor is in
// the child's environment as MINICORE_BENCH_CLOCK_FD, and the child stores
// CLOCK_MONOTONIC there, in nanoseconds, right before it faults.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/bench/clock.h"

namespace minicore {
namespace {

struct Options {
  int report_fd = 1;
  const char* preload = nullptr;
  const char* core = nullptr;
  const char* stdin_path = "/dev/null";
  const char* stdout_path = nullptr;
  const char* watch = nullptr;
  long repeat = 1;
  long timeout_s = 600;
  char** program = nullptr;
};

struct Outcome {
  int status = 0;
  bool timed_out = false;
  int64_t wall_ns = 0;
  int64_t dead_ns = 0;
  int64_t file_ns = 0;
  struct rusage usage = {};
};

[[noreturn]] void Die(const char* what) {
  fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
  exit(125);
}

const char* ValueOf(const char* argument, const char* key) {
  size_t length = strlen(key);
  return strncmp(argument, key, length) == 0 ? argument + length : nullptr;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const char* value;
    if (strcmp(argv[i], "--") == 0) {
      options.program = argv + i + 1;
      break;
    }
    if ((value = ValueOf(argv[i], "--report-fd="))) {
      options.report_fd = atoi(value);
    } else if ((value = ValueOf(argv[i], "--preload="))) {
      options.preload = value;
    } else if ((value = ValueOf(argv[i], "--core="))) {
      options.core = value;
    } else if ((value = ValueOf(argv[i], "--stdin="))) {
      options.stdin_path = value;
    } else if ((value = ValueOf(argv[i], "--stdout="))) {
      options.stdout_path = value;
    } else if ((value = ValueOf(argv[i], "--watch="))) {
      options.watch = value;
    } else if ((value = ValueOf(argv[i], "--repeat="))) {
      options.repeat = atol(value);
    } else if ((value = ValueOf(argv[i], "--timeout="))) {
      options.timeout_s = atol(value);
    } else {
      fprintf(stderr, "measure: unknown argument %s\n", argv[i]);
      exit(125);
    }
  }
  if (options.program == nullptr || options.program[0] == nullptr) {
    fprintf(stderr, "measure: no program\n");
    exit(125);
  }
  return options;
}

void Redirect(const char* path, int flags, int fd) {
  int opened = open(path, flags, 0600);
  if (opened < 0 || dup2(opened, fd) < 0) Die(path);
  close(opened);
}

[[noreturn]] void BecomeProgram(const Options& options, int clock_fd) {
  Redirect(options.stdin_path, O_RDONLY, 0);
  if (options.stdout_path != nullptr) {
    Redirect(options.stdout_path, O_WRONLY | O_CREAT | O_TRUNC, 1);
  }
  if (options.core != nullptr) {
    rlim_t bytes = strcmp(options.core, "unlimited") == 0
                       ? RLIM_INFINITY
                       : strtoull(options.core, nullptr, 10);
    struct rlimit limit = {bytes, bytes};
    if (setrlimit(RLIMIT_CORE, &limit) != 0) Die("setrlimit");
  }
  char text[16];
  snprintf(text, sizeof(text), "%d", clock_fd);
  setenv("MINICORE_BENCH_CLOCK_FD", text, 1);
  if (options.preload != nullptr) setenv("LD_PRELOAD", options.preload, 1);
  execvp(options.program[0], options.program);
  Die(options.program[0]);
}

// Time of the first IN_MOVED_TO that is waiting in `watch_fd`, as now.
void DrainWatch(int watch_fd, int64_t* moved_ns) {
  alignas(struct inotify_event) char buffer[4096];
  if (read(watch_fd, buffer, sizeof(buffer)) > 0 && *moved_ns == 0) {
    *moved_ns = MonotonicNanoseconds();
  }
}

// Returns when the child has become a zombie, or was killed for taking too
// long.
bool AwaitExit(int pidfd, int watch_fd, long timeout_s, int64_t* moved_ns) {
  int64_t end = MonotonicNanoseconds() + timeout_s * 1'000'000'000;
  struct pollfd fds[2] = {{pidfd, POLLIN, 0}, {watch_fd, POLLIN, 0}};
  for (;;) {
    int64_t left_ms = (end - MonotonicNanoseconds()) / 1'000'000;
    if (left_ms <= 0) return false;
    int ready = poll(fds, 2, static_cast<int>(left_ms));
    if (ready < 0 && errno != EINTR) Die("poll");
    if (fds[1].revents != 0) DrainWatch(watch_fd, moved_ns);
    if (fds[0].revents != 0) return true;
  }
}

Outcome RunOnce(const Options& options, int clock_fd,
                std::atomic<int64_t>* clock) {
  Outcome outcome;
  int watch_fd = -1;  // poll() ignores negative descriptors
  if (options.watch != nullptr) {
    watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (inotify_add_watch(watch_fd, options.watch, IN_MOVED_TO) < 0) {
      Die(options.watch);
    }
  }
  clock->store(0);
  int64_t start = MonotonicNanoseconds();
  pid_t child = fork();
  if (child < 0) Die("fork");
  if (child == 0) BecomeProgram(options, clock_fd);
  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  if (pidfd < 0) Die("pidfd_open");
  int64_t moved_ns = 0;
  if (!AwaitExit(pidfd, watch_fd, options.timeout_s, &moved_ns)) {
    outcome.timed_out = true;
    kill(child, SIGKILL);
  }
  if (wait4(child, &outcome.status, 0, &outcome.usage) != child) Die("wait4");
  int64_t reaped = MonotonicNanoseconds();
  close(pidfd);
  if (watch_fd >= 0) {
    DrainWatch(watch_fd, &moved_ns);
    close(watch_fd);
  }
  outcome.wall_ns = reaped - start;
  if (int64_t fault = clock->load(); fault != 0) {
    outcome.dead_ns = reaped - fault;
    if (moved_ns != 0) outcome.file_ns = moved_ns - fault;
  }
  return outcome;
}

int64_t Microseconds(const struct timeval& time) {
  return time.tv_sec * int64_t{1'000'000} + time.tv_usec;
}

int Main(int argc, char** argv) {
  Options options = Parse(argc, argv);
  if (options.report_fd != 1) fcntl(options.report_fd, F_SETFD, FD_CLOEXEC);
  int clock_fd = static_cast<int>(syscall(SYS_memfd_create, "fault_clock", 0));
  if (clock_fd < 0 || ftruncate(clock_fd, 4096) != 0) Die("memfd_create");
  void* page =
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, clock_fd, 0);
  if (page == MAP_FAILED) Die("mmap");
  auto* clock = static_cast<std::atomic<int64_t>*>(page);
  for (long i = 0; i < options.repeat; ++i) {
    Outcome o = RunOnce(options, clock_fd, clock);
    dprintf(options.report_fd,
            "{\"status\": %d, \"wall_ns\": %" PRId64 ", \"user_us\": %" PRId64
            ", \"sys_us\": %" PRId64
            ", \"max_rss_kib\": %ld, \"dead_ns\": %" PRId64
            ", \"file_ns\": %" PRId64 ", \"timed_out\": %s}\n",
            o.status, o.wall_ns, Microseconds(o.usage.ru_utime),
            Microseconds(o.usage.ru_stime), o.usage.ru_maxrss, o.dead_ns,
            o.file_ns, o.timed_out ? "true" : "false");
  }
  return 0;
}

}  // namespace
}  // namespace minicore

int main(int argc, char** argv) { return minicore::Main(argc, argv); }
