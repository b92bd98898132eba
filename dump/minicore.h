// minicore: small, exact, redacted ELF core files, written by the crashing process.
//
//   #include <minicore/minicore.h>
//
//   int main() {
//     minicore_config config = MINICORE_CONFIG_INIT;
//     config.path = "/var/crash/core.%e.%p";
//     minicore_install(&config);
//     ...
//     minicore_tag(session_key, "secret");  // never leaves the process
//     minicore_tag(page_cache, "cache");    // first 256 bytes only
//   }
//
// Units.   Sizes are bytes, times are milliseconds, ranges are half open.
// Errors.  Functions return 0 or a negative errno value such as -EINVAL, unless said
//          otherwise. None throws, aborts, or changes errno, but for minicore_malloc, which
//          sets it as malloc does.
// Context. "ordinary": not from a signal handler. "any": also from one. All functions
//          may be called from any thread at any time.
// Strings. NUL-terminated bytes, copied before the call returns.

#ifndef MINICORE_MINICORE_H_
#define MINICORE_MINICORE_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MINICORE_API __attribute__((visibility("default")))

// The first argument is an address and nothing is read there: memory may be tagged before
// it is filled, without a warning of gcc's.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define MINICORE_ADDRESS __attribute__((access(none, 1)))
#else
#define MINICORE_ADDRESS
#endif

// The options of docs/OPTIONS.md, one field each, typed: text is `const char *` (NULL:
// the default), sizes are bytes, times milliseconds. MINICORE_CONFIG_INIT sets every
// field to its default. Environment MINICORE_OPTIONS, if set, overrides the fields.
//
// Programs and libraries of different versions understand each other: fields are only ever
// added at the end. Those that the program does not have keep their defaults; those that
// the library does not have must be as MINICORE_CONFIG_INIT left them.
#define MINICORE_FIELD_STRING const char *
#define MINICORE_FIELD_SIZE uint64_t
#define MINICORE_FIELD_TIME uint64_t
#define MINICORE_FIELD_NUMBER uint64_t
#define MINICORE_FIELD_FLAG uint64_t
#define MINICORE_FIELD_FD int64_t
typedef struct minicore_config {
  size_t size;       // sizeof(minicore_config) of the caller
  const char *tags;  // rules for tags: "cache=keep:session=elide"
#define MINICORE_OPTION(name, type, value, help) MINICORE_FIELD_##type name;
#include "minicore/options.def"
#undef MINICORE_OPTION
} minicore_config;

// Fills the `size` bytes of the caller's `config` with the defaults.
// MINICORE_CONFIG_INIT does the same in a declaration.
//
// Context: any.
MINICORE_API void minicore_init_config(minicore_config *config, size_t size);
static inline minicore_config minicore_default_config(void) {
  minicore_config config;
  minicore_init_config(&config, sizeof(config));
  return config;
}
#define MINICORE_CONFIG_INIT minicore_default_config()

// Makes minicore the default action of the signals in config->signals: where the kernel
// would dump core, minicore does, and the process then dies of the same signal with the
// same wait status. Handlers that the program has installed or installs later are left
// alone. NULL means the defaults. May be called again to change the options: all of them,
// also the rules for tags, and what `config` leaves at its default is that again.
// libminicore.so, preloaded or linked, has installed itself when main() begins: a program
// calls this only for options of its own.
//
// Context: ordinary.
// Returns: 0; -EINVAL if a field has no valid value (nothing is changed then, and a line on
//          standard error says which);
//          -ENOMEM if the dumper's memory could not be reserved, or with lock_secrets if
//          the extents of secrets could not be locked (RLIMIT_MEMLOCK): then there is no
//          minicore_malloc of secrets until an install without it.
MINICORE_API int minicore_install(const minicore_config *config);

// Writes a core of the running process to `path` (a pattern, as the option path is; NULL:
// that option), and goes on. The other threads stand still while memory is copied, a few
// milliseconds, and run while the file is written. Their system calls restart where the
// kernel restarts any (signal(7), SA_RESTART); nanosleep, usleep, poll, select, epoll_wait,
// sigtimedwait, sigsuspend, pause, msgrcv, msgsnd, semop, io_getevents, and semaphore waits
// and socket calls with a timeout return EINTR; sleep returns what is left; a read or write
// that has moved some bytes returns how many. The core shows no signal, and the caller as
// the crashed thread.
//
// Context: any. Takes no lock of the program's; may be called with any held.
// Returns: 0; -ENODEV if minicore is not installed (with libminicore.so: if that failed when
//          it was loaded); -EINVAL if a letter behind % stands for nothing, or `path` is a
//          device;
//          -ENAMETOOLONG; -EBUSY if another dump lasts longer than the deadline, or a
//          thread has not gone on since the last one; -ETIMEDOUT if a pipe or socket is not
//          read from until then; -EAGAIN or -EPERM if no signal can be sent to the calling
//          thread, or none be handled (a seccomp filter); else what open or write failed
//          with. On failure no file is left behind.
MINICORE_API int minicore_dump(const char *path);

// The same into an open descriptor, at its current offset: a file, pipe or socket. It stays
// open, and what a failed dump has written of it stays there.
//
// Context: any, as minicore_dump.
// Returns: as minicore_dump, but for what only a path can have; -EBADF if `fd` is not open
//          for writing.
MINICORE_API int minicore_dump_fd(int fd);

// Tags the whole live heap allocation that encloses `ptr`. The tag follows the
// allocation through realloc() and ends when it is freed. A new tag replaces the old.
// Built-in names: "secret" (never written, wiped on free), "cache" (cut to 256 bytes),
// "keep" (written whole, reached or not, before all else that max_bytes is for); any
// other name is a label, to which options can give a rule.
//
// Context: any. Lock-free, and never allocates.
// Keeps:   `tag` is interned: 247 names besides the built-in, of at most 31 bytes, for
//          ever.
// Returns: 0; -ENOENT if `ptr` is in no live allocation; -EINVAL for a bad name;
//          -ENOSPC if the name table is full: the allocation is then elided like a
//          secret, since a lost tag may cost detail, never a secret.
MINICORE_API int minicore_tag(const void *ptr, const char *tag)
    MINICORE_ADDRESS;

// Takes the tag from the allocation that encloses `ptr`. Memory of a tagged extent
// (minicore_malloc) keeps the tag of its extent.
//
// Context: any. Lock-free, and never allocates.
// Returns: 0; -ENOENT if `ptr` is in no live allocation.
MINICORE_API int minicore_untag(const void *ptr);

// A live heap allocation, as it was when it was looked for.
#define MINICORE_TAG_BYTES 32
typedef struct minicore_allocation {
  const void *begin;
  size_t size;                   // all that can be used: what was asked for, or more
  char tag[MINICORE_TAG_BYTES];  // its own or its extent's, the more protective; "": none
} minicore_allocation;

// Finds the live heap allocation that encloses `ptr`, and says what tag it has.
//
// Context: any. Lock-free, and never allocates.
// Returns: 0; -ENOENT if `ptr` is in no live allocation.
MINICORE_API int minicore_find_allocation(const void *ptr, minicore_allocation *found)
    MINICORE_ADDRESS;

// Tags [begin, begin + size) of any memory: a stack buffer, a field, a global. Ends with
// minicore_untag_range of the same begin, size and tag. Ranges may overlap; the most
// protective wins.
//
// Context: any. Lock-free, and never allocates.
// Bounds:  4,096 ranges. When they are used up, a new range is merged with the nearest of
//          the same tag into one that covers both and all between; with none of that tag,
//          with the nearest of any, and both are elided. So more is elided, never less,
//          and untagging either then answers -ENOENT.
// Returns: 0; -EINVAL for a bad name, an empty range or one that wraps; -ENOSPC if the
//          name table is full (the range is elided like a secret).
MINICORE_API int minicore_tag_range(const void *begin, size_t size,
                                    const char *tag) MINICORE_ADDRESS;

// Takes the tag from a range that was tagged with exactly this begin, size and tag, once if
// it was tagged so several times.
//
// Context: any. Lock-free, and never allocates.
// Returns: 0; -ENOENT if no such range is tagged, or if it was merged with another one.
MINICORE_API int minicore_untag_range(const void *begin, size_t size,
                                      const char *tag);

// Whether memory with this tag is left out of cores as things stand: its rule is elide.
//
// Context: any. Lock-free, and never allocates.
// Returns: 1 or 0; -EINVAL for a bad name.
MINICORE_API int minicore_tag_elides(const char *tag);

// Allocates from extents that hold memory of `tag` only: every allocation in them has
// that tag without a call of its own. For "secret" (or a tag with the rule elide) they
// are also left out of the kernel's core and of gcore (MADV_DONTDUMP), read as zeros in
// a forked child (MADV_WIPEONFORK), and are wiped when freed. Freed with free() or
// delete; realloc() stays within the tag.
//
// Context: ordinary.
// Returns: memory aligned to 16; NULL with errno ENOMEM when there is none, when `tag` is no
//          valid name, or when a tag with extents cannot be made (at most 16).
MINICORE_API void *minicore_malloc(size_t size, const char *tag)
    __attribute__((malloc, alloc_size(1), warn_unused_result));

// Gives the calling thread what every thread of pthread_create() and thrd_create() has: a
// stack for signals, so that an overflow of its own can be dumped; and the signals of
// faults, should all be blocked. For threads that are made elsewhere: by clone(), or inside
// libc for SIGEV_THREAD (timer_create, mq_notify, aio, getaddrinfo_a), whose function calls
// it first. Once is enough.
//
// Context: ordinary.
// Returns: 0; -ENODEV if minicore is not installed; -ENOMEM without memory for a stack.
MINICORE_API int minicore_thread_init(void);

// Version of the library, such as "0.1.0".
//
// Context: any.
MINICORE_API const char *minicore_version(void);

#ifdef __cplusplus
}
#endif

#endif  // MINICORE_MINICORE_H_
