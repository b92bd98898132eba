// Seccomp filters that kill: with preopen=1, whether one is in force, asked by a call that
// every filter allows.
//
// Context: handler.

#ifndef MINICORE_DUMP_HANDLER_SECCOMP_FILTER_H_
#define MINICORE_DUMP_HANDLER_SECCOMP_FILTER_H_

namespace minicore {

// Whether proc(5)'s status file, read from where `fd` stands to its end, says so:
// "Seccomp:" followed by another mode than 0.
bool SaysFiltered(int fd);

// If one is, no call but the oldest is made from here on. By the first call of a handler.
void LearnFilter();

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_SECCOMP_FILTER_H_
