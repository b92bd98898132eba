#include "dump/handler/program_data.h"

#include <elf.h>

#include <algorithm>

#include "dump/safe/format.h"
#include "dump/safe/guarded.h"

namespace minicore {
namespace {

constexpr char kHarmless[] =
    "PATH\0HOME\0PWD\0LANG\0LC_*\0TERM\0SHELL\0USER\0TZ\0LD_*\0";

// Linux, include/uapi/linux/binfmts.h, MAX_ARG_STRLEN: no string that execve() passes is
// longer.
constexpr ByteCount kMaxString = 131072;
// ARG_MAX allows no more than this many strings of two bytes and a pointer each.
constexpr size_t kMaxStrings = 655360;
constexpr size_t kMaxNameBytes = 256;
constexpr size_t kPublicBytes = 4096;

// glibc 2.36, sysdeps/x86_64/nptl/tls.h, tcbhead_t.
constexpr uint64_t kSelfOffset = 0x10;
constexpr uint64_t kCanaryOffset = 0x28;
constexpr uint64_t kPointerGuardOffset = 0x30;
// Behind AT_RANDOM: Linux, fs/binfmt_elf.c, create_elf_tables().
constexpr size_t kRandomBytes = 16;
// In place; those of further threads are found as copies, since all have the same.
constexpr size_t kMaxThreadControlBlocks = 4096;

// Where the string at `begin` ends: at its NUL, at `limit`, or where reading fails.
Address EndOfString(Address begin, Address limit) {
  char block[256];
  for (Address at = begin; at < limit;) {
    const size_t wanted = std::min<ByteCount>(limit - at, sizeof(block));
    const size_t read = safe::GuardedCopy(block, at, wanted);
    for (size_t i = 0; i < read; ++i) {
      if (block[i] == '\0') return at + i;
    }
    at += read;
    if (read < wanted) return at;
  }
  return limit;
}

bool SameBytes(Address a, Address b, ByteCount size) {
  char of_a[256];
  char of_b[256];
  while (size != 0) {
    const size_t part = std::min<ByteCount>(size, sizeof(of_a));
    if (safe::GuardedCopy(of_a, a, part) != part || safe::GuardedCopy(of_b, b, part) != part ||
        __builtin_memcmp(of_a, of_b, part) != 0) {
      return false;
    }
    a += part;
    b += part;
    size -= part;
  }
  return true;
}

// The strings in [range), each of which ends with NUL. Calls add(begin, end) for each.
// Returns: false if there are too many, or no time.
template <typename Add>
bool ForEachString(AddressRange range, Outcome& outcome, Add add) {
  size_t count = 0;
  for (Address at = range.begin; at < range.end; ++at) {
    if (++count > kMaxStrings || outcome.Late()) return false;
    const Address end = EndOfString(at, range.end);
    add(at, end);
    at = end;
  }
  return true;
}

// The same for those that stood in [range) at install and don't any more.
template <typename Add>
bool ForEachOverwritten(const ProcessFacts& facts, AddressRange range, Outcome& outcome,
                        Add add) {
  const Address copy = CopyAtStart(facts, range.begin);
  if (copy == 0 || range.empty() || !facts.strings.Contains(range)) return true;
  const auto add_if_gone = [&](Address begin, Address end) {
    const Address then = range.begin + (begin - copy);
    if (!SameBytes(begin, then, end - begin + (end < copy + range.size()))) add(begin, end);
  };
  return ForEachString({copy, copy + range.size()}, outcome, add_if_gone);
}

class Environment {
 public:
  Environment(const Runtime& runtime, safe::Arena& arena, Redactor& redactor)
      : allowed_(runtime.policy.env_allowed), redactor_(redactor),
        public_(arena.AllocateArray<char>(kPublicBytes)) {}

  // "NAME=VALUE" in [begin, end).
  void AddVariable(Address begin, Address end);

 private:
  const char* allowed_;
  Redactor& redactor_;
  char* public_;
};

void Environment::AddVariable(Address begin, Address end) {
  char name[kMaxNameBytes];
  const size_t read = safe::GuardedCopy(
      name, begin, std::min<ByteCount>(end - begin, sizeof(name)));
  size_t length = 0;
  while (length < read && name[length] != '=') ++length;
  // Without a name it is no variable, but something in its place.
  const Address value = length < read ? begin + length + 1 : begin;
  if (value == begin || !IsAllowedVariable(name, length, allowed_)) {
    redactor_.AddSecret({value, end}, HoleReason::kEnvironment, kNoTag, true);
  } else if (public_ != nullptr) {
    const size_t size = safe::GuardedCopy(
        public_, value, std::min<ByteCount>(end - value, kPublicBytes - 1));
    public_[size] = '\0';
    redactor_.AddPublic(public_);
  }
}

}  // namespace

bool IsAllowedVariable(const char* name, size_t length, const char* allowed) {
  for (const char* list : {kHarmless, allowed}) {
    for (const char* item = list; *item != '\0';) {
      const size_t size = safe::Length(item);
      const bool prefix = item[size - 1] == '*';
      const size_t compared = prefix ? size - 1 : size;
      bool same = prefix ? compared <= length : compared == length;
      for (size_t i = 0; same && i < compared; ++i) same = item[i] == name[i];
      if (same) return true;
      item += size + 1;
    }
  }
  return false;
}

void AddEnvironment(const Runtime& runtime, safe::Arena& arena, Redactor& redactor,
                    Outcome& outcome) {
  const ProcessFacts& facts = runtime.facts;
  Environment environment(runtime, arena, redactor);
  const auto add = [&](Address begin, Address end) { environment.AddVariable(begin, end); };
  const AddressRange initial = {facts.environment_begin, facts.environment_end};
  if (!ForEachString(initial, outcome, add) ||
      !ForEachOverwritten(facts, initial, outcome, add)) {
    return redactor.GiveUp();
  }
  Address list;
  if (!safe::GuardedRead(facts.environ_address, &list) || list == 0) return;
  for (size_t count = 0;; ++count) {
    Address variable;
    if (!safe::GuardedRead(list + count * sizeof(variable), &variable) ||
        count > kMaxStrings || outcome.Late()) {
      return redactor.GiveUp();
    }
    if (variable == 0) return;
    if (initial.Contains(variable)) continue;
    // Of one that does not end there is more than is known.
    const Address end = EndOfString(variable, variable + kMaxString);
    char last;
    if (end == variable + kMaxString || !safe::GuardedRead(end, &last)) {
      return redactor.GiveUp();
    }
    add(variable, end);
  }
}

void AddArguments(const Runtime& runtime, Redactor& redactor, Outcome& outcome) {
  if (!runtime.policy.elide_argv) return;
  const ProcessFacts& facts = runtime.facts;
  AddressRange arguments = {facts.arguments_begin, facts.arguments_end};
  redactor.AddSecret(arguments, HoleReason::kArguments, kNoTag, false);
  const auto add = [&](Address begin, Address end) {
    redactor.AddSecret({begin, end}, HoleReason::kArguments, kNoTag, true);
  };
  // The program's own name is no secret, only its place is.
  const Address copy = CopyAtStart(facts, arguments.begin);
  if (copy != 0) {
    AddressRange others = arguments;
    others.begin += EndOfString(copy, copy + arguments.size()) - copy + 1;
    if (!ForEachOverwritten(facts, others, outcome, add)) return redactor.GiveUp();
  }
  arguments.begin = EndOfString(arguments.begin, arguments.end) + 1;
  if (!ForEachString(arguments, outcome, add)) redactor.GiveUp();
}

void AddCanaries(const Runtime& runtime, const ThreadTable& threads,
                 Redactor& redactor) {
  const ProcessFacts& facts = runtime.facts;
  const Address random = AuxvValue(facts, AT_RANDOM);
  if (random != 0) {
    redactor.AddSecret({random, random + kRandomBytes}, HoleReason::kCanary, kNoTag,
                       true);
    // The canary is the first half, with a zero for its first byte, and the pointer guard
    // the second (glibc 2.36, sysdeps/generic/dl-osinfo.h). So they are known even if
    // every thread runs with a thread pointer of its own.
    uint8_t bytes[kRandomBytes];
    if (safe::GuardedRead(random, &bytes)) {
      bytes[0] = 0;
      redactor.AddContents(bytes, 8, HoleReason::kCanary);
      redactor.AddContents(bytes + 8, 8, HoleReason::kCanary);
    }
  }
  bool copies = true;
  for (size_t i = 0; i < threads.size() && i < kMaxThreadControlBlocks; ++i) {
    const Address block = threads[i].registers.fs_base;
    Address self;
    if (block == 0 || !safe::GuardedRead(block + kSelfOffset, &self) || self != block) {
      continue;
    }
    for (const uint64_t offset : {kCanaryOffset, kPointerGuardOffset}) {
      redactor.AddSecret({block + offset, block + offset + 8}, HoleReason::kCanary,
                         kNoTag, copies);
    }
    copies = false;
  }
}

}  // namespace minicore
