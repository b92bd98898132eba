#include "dump/initial_stack.h"

#include <elf.h>
#include <string.h>

// Where the stack pointer was when the program's first instruction ran, and the number of
// arguments lies (glibc 2.36, elf/rtld.c and csu/libc-start.c).
extern "C" void* __libc_stack_end;

namespace minicore {
namespace {

Address EndOfStrings(const uint64_t* last) {
  const char* text = reinterpret_cast<const char*>(*last);
  return reinterpret_cast<Address>(text + strlen(text) + 1);
}

}  // namespace

// The number of arguments, their addresses and a zero, those of the environment and a
// zero, the auxiliary vector (System V ABI for x86-64, 3.4.1). The strings lie above, in
// this order, and the program's path behind them (Linux 6.1, fs/exec.c, bprm_execve() and
// copy_strings()). The dynamic linker takes variables from the list in a program with more
// rights than its user: their strings are still there, so the list does not tell where the
// first begins.
void LearnInitialStack(ProcessFacts& facts) {
  const auto* word = static_cast<const uint64_t*>(__libc_stack_end);
  if (word == nullptr) return;
  const uint64_t* const arguments = word + 1;
  const uint64_t count = *word;
  word = arguments + count + 1;
  const uint64_t* const environment = word;
  while (*word != 0) ++word;
  ++word;
  Address path = 0;
  uint32_t words = 0;
  for (; words + 2 <= 2 * kMaxAuxv; words += 2) {
    facts.auxv[words] = word[words];
    facts.auxv[words + 1] = word[words + 1];
    if (word[words] == AT_EXECFN) path = word[words + 1];
    if (word[words] != AT_NULL) continue;
    words += 2;
    break;
  }
  facts.auxv_words = words;
  if (count != 0) {
    facts.arguments_begin = arguments[0];
    facts.arguments_end = EndOfStrings(&arguments[count - 1]);
  }
  facts.environment_begin = count != 0 ? facts.arguments_end : environment[0];
  facts.environment_end = path;
  if (facts.environment_end < facts.environment_begin) {
    facts.environment_end = facts.environment_begin;
  }
}

}  // namespace minicore
