// Whether a core is what every debugger can read and what docs/FORMAT.md
// promises.

#ifndef MINICORE_TOOLS_VERIFY_H_
#define MINICORE_TOOLS_VERIFY_H_

#include <string>
#include <vector>

#include "tools/core_reader.h"
#include "tools/minicore_notes.h"
#include "tools/process_notes.h"

namespace minicore {

struct Verdict {
  // One sentence each; the core is good if there is none.
  Faults faults;
  // What is unusual, but can be so after an honest dump: a thread whose
  // registers could not be had, a stack pointer that points nowhere.
  std::vector<std::string> remarks;
};

Verdict VerifyCore(const CoreReader& core);

// The parts, each over one subject. All append to `verdict`.

// ELF header, program headers, their order in memory and in the file.
void VerifyLayout(const CoreReader& core, Verdict* verdict);

// The notes of other consumers: which, in which order, of which size; ours
// last.
void VerifyNoteOrder(const CoreReader& core, Verdict* verdict);

// Vector registers as gdb 13 takes them: the note's size and its feature words.
void VerifyXstate(const CoreNote& note, Verdict* verdict);

// Stacks and module list are readable.
void VerifyProcess(const CoreReader& core, const ProcessNotes& process,
                   const MinicoreNotes& notes, Verdict* verdict);

// minicore's notes agree with the rest of the file.
void VerifyMinicoreNotes(const CoreReader& core, const ProcessNotes& process,
                         const MinicoreNotes& notes, Verdict* verdict);

}  // namespace minicore

#endif  // MINICORE_TOOLS_VERIFY_H_
