// A seccomp filter for one system call.

#ifndef MINICORE_TESTS_SUPPORT_FILTER_CALL_H_
#define MINICORE_TESTS_SUPPORT_FILTER_CALL_H_

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>
#include <cstdint>

namespace minicore {

// From now on the calling thread, and those that it starts, have `action`
// (SECCOMP_RET_...) for an answer to system call `number`.
// Returns: whether the kernel has the filter.
inline bool FilterCall(int number, uint32_t action) {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, action),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program = {4, filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace minicore

#endif  // MINICORE_TESTS_SUPPORT_FILTER_CALL_H_
