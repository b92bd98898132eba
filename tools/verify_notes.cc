#include <sys/procfs.h>

#include <set>

#include "tools/text.h"
#include "tools/verify.h"

namespace minicore {
namespace {

// The order that every consumer reads (docs/FORMAT.md): PRSTATUS of the crashed
// thread, four notes of the process, its vector state, then the other threads.
struct Known {
  uint32_t type;
  const char* name;
  size_t bytes;  // 0: any
};

constexpr Known kKnown[] = {{NT_PRSTATUS, "PRSTATUS", 336},
                            {NT_PRPSINFO, "PRPSINFO", 136},
                            {NT_SIGINFO, "SIGINFO", 128},
                            {NT_AUXV, "AUXV", 0},
                            {NT_FILE, "FILE", 0},
                            {NT_FPREGSET, "FPREGSET", 512},
                            {NT_X86_XSTATE, "X86_XSTATE", 0}};

const Known* Find(uint32_t type) {
  for (const Known& known : kKnown) {
    if (known.type == type) return &known;
  }
  return nullptr;
}

// "PRSTATUS PRPSINFO ..." of the first `count` notes that are not ours.
class OrderCheck {
 public:
  explicit OrderCheck(Verdict* verdict) : verdict_(verdict) {}

  void Take(const CoreNote& note, const Known& known) {
    static constexpr uint32_t kHead[] = {NT_PRSTATUS, NT_PRPSINFO, NT_SIGINFO,
                                         NT_AUXV, NT_FILE};
    if (position_ < std::size(kHead)) {
      const Known& must = *Find(kHead[position_++]);
      if (known.type != must.type) {
        Complain("Note " + std::to_string(position_) + " is " + known.name +
                 " where " + must.name + " must stand.");
      }
    } else if (known.type == NT_PRSTATUS) {
      thread_has_fpregset_ = thread_has_xstate_ = false;
    } else if (known.type == NT_FPREGSET) {
      if (thread_has_fpregset_ || thread_has_xstate_) Misplaced(note, known);
      thread_has_fpregset_ = true;
    } else if (known.type == NT_X86_XSTATE) {
      if (!thread_has_fpregset_ || thread_has_xstate_) Misplaced(note, known);
      thread_has_xstate_ = true;
    } else {
      Misplaced(note, known);
    }
  }

  void Finish() {
    if (position_ < 5 && !complained_) {
      Complain("The notes of the process are not complete: there are only " +
               std::to_string(position_) +
               " of PRSTATUS, PRPSINFO, SIGINFO, AUXV, FILE.");
    }
  }

 private:
  void Misplaced(const CoreNote& note, const Known& known) {
    Complain("The note " + std::string(known.name) + " at file offset " +
             Hex(note.file_offset) + " is out of place.");
  }
  // One sentence is enough: after the first, everything else is off as well.
  void Complain(std::string sentence) {
    if (!complained_) verdict_->faults.push_back(std::move(sentence));
    complained_ = true;
  }

  Verdict* verdict_;
  size_t position_ = 0;
  bool thread_has_fpregset_ = false;
  bool thread_has_xstate_ = false;
  bool complained_ = false;
};

void VerifyKnown(const CoreNote& note, const Known& known, Verdict* verdict) {
  if (known.bytes != 0 && note.desc.size() != known.bytes) {
    verdict->faults.push_back("The note " + std::string(known.name) +
                              " at file offset " + Hex(note.file_offset) +
                              " has " + Count(note.desc.size(), "byte") +
                              ", not " + std::to_string(known.bytes) + ".");
  }
  // The kernel's names: elfutils 0.188 looks at them (libebl, ebl_core_note).
  const bool is_linux = note.type == NT_X86_XSTATE;
  const char* owner = is_linux ? "LINUX" : "CORE";
  if (note.owner != owner) {
    verdict->faults.push_back("The note " + std::string(known.name) +
                              " at file offset " + Hex(note.file_offset) +
                              " belongs to \"" + Printable(note.owner) +
                              "\", not to \"" + owner + "\".");
  }
  if (note.type == NT_X86_XSTATE) VerifyXstate(note, verdict);
}

void VerifyOwnSegment(const CoreReader& core, const CoreNote& first_own,
                      Verdict* verdict) {
  if (core.notes().empty() || core.notes()[0].segment != first_own.segment) return;
  if (&core.notes()[0] == &first_own) return;
  verdict->faults.push_back(
      "MINICORE's notes stand in the segment of the debuggers' notes; they have one of "
      "their own.");
}

}  // namespace

void VerifyXstate(const CoreNote& note, Verdict* verdict) {
  // XCR0 stands in the part of the legacy area that is software's to use
  // (Linux 6.1, arch/x86/kernel/fpu/regset.c, xstateregs_get()), XSTATE_BV
  // behind it.
  constexpr size_t kXcr0At = 464;
  constexpr size_t kXstateBvAt = 512;
  constexpr uint64_t kAvx = 7;
  const auto features = DescAs<uint64_t>(note.desc, kXcr0At);
  const auto in_use = DescAs<uint64_t>(note.desc, kXstateBvAt);
  const std::string name =
      "The note X86_XSTATE at file offset " + Hex(note.file_offset);
  if (!features || !in_use) {
    verdict->faults.push_back(name + " is too short.");
    return;
  }
  // The layouts that gdb 14 and later can tell by features and size. gdb 13
  // takes 832.
  const size_t size = note.desc.size();
  const uint64_t avx512 = kAvx | 0xe0;
  const bool known = (size == 832 && *features == kAvx) ||
                     (size == 1088 && *features == (kAvx | 0x18)) ||
                     (size == 2688 && *features == avx512) ||
                     ((size == 2696 || size == 2440) &&
                      (*features & ~0x18ull) == (avx512 | 0x200));
  if (!known) {
    verdict->faults.push_back(name + " has " + Count(size, "byte") +
                              " with features " + Hex(*features) +
                              ", which gdb does not know.");
  } else if ((*in_use & ~*features) != 0) {
    verdict->faults.push_back(name + " uses features " + Hex(*in_use) +
                              " beyond its " + Hex(*features) + ".");
  }
}

void VerifyNoteOrder(const CoreReader& core, Verdict* verdict) {
  OrderCheck order(verdict);
  const CoreNote* first_own = nullptr;
  std::set<uint32_t> strangers;
  for (const CoreNote& note : core.notes()) {
    if (IsMinicoreNote(note)) {
      if (first_own == nullptr) first_own = &note;
      if (note.type <= 0x4d430000) {
        verdict->faults.push_back(
            "The MINICORE note at file offset " + Hex(note.file_offset) +
            " has type " + Hex(note.type) +
            ", which other consumers could take for theirs.");
      }
      continue;
    }
    const Known* known = Find(note.type);
    if (known == nullptr) {
      if (strangers.insert(note.type).second) {
        verdict->remarks.push_back("There is a note of type " + Hex(note.type) +
                                   " by \"" + Printable(note.owner) + "\".");
      }
      continue;
    }
    if (first_own != nullptr) {
      verdict->faults.push_back("The note " + std::string(known->name) +
                                " at file offset " + Hex(note.file_offset) +
                                " stands behind MINICORE's.");
    }
    order.Take(note, *known);
    VerifyKnown(note, *known, verdict);
  }
  order.Finish();
  if (first_own == nullptr) {
    verdict->faults.push_back(
        "There are no MINICORE notes: the file is damaged or cut short.");
  } else {
    VerifyOwnSegment(core, *first_own, verdict);
  }
}

}  // namespace minicore
