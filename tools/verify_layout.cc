#include <algorithm>

#include "tools/text.h"
#include "tools/verify.h"

namespace minicore {
namespace {

// Below a word of memory per segment, elfutils 0.188 rounds addresses to the
// smallest p_align above 1 (to a page where there is none) and then misses
// neighbours.
constexpr uint64_t kGranularity = 16;

std::string Name(const CoreSegment& segment) {
  return "Program header " + std::to_string(segment.index);
}

void VerifyHeader(const CoreReader& core, Verdict* verdict) {
  const Elf64_Ehdr& header = core.header();
  const auto expect = [verdict](const char* what, uint64_t is, uint64_t must) {
    if (is == must) return;
    verdict->faults.push_back("The ELF header's " + std::string(what) + " is " +
                              std::to_string(is) + ", not " +
                              std::to_string(must) + ".");
  };
  expect("e_machine", header.e_machine, EM_X86_64);
  expect("e_version", header.e_version, EV_CURRENT);
  expect("e_ehsize", header.e_ehsize, sizeof(Elf64_Ehdr));
  expect("e_phentsize", header.e_phentsize, sizeof(Elf64_Phdr));
  // Even a table with only section 0 makes eu-readelf -n print no notes.
  if (header.e_shnum != 0 || header.e_shoff != 0) {
    verdict->faults.push_back("The file has section headers.");
  }
  if (header.e_phnum == PN_XNUM) {
    verdict->faults.push_back(
        "The file has more than 65534 program headers (PN_XNUM).");
  } else if (header.e_phnum == 0) {
    verdict->faults.push_back("The file has no program headers.");
  }
}

// One sentence for them all: of a file that is cut short hardly one fits.
void VerifyLength(const CoreReader& core, Verdict* verdict) {
  const CoreSegment* first = nullptr;
  size_t others = 0;
  for (const CoreSegment& segment : core.segments()) {
    if (segment.file_end() <= core.file_bytes()) continue;
    if (first == nullptr) {
      first = &segment;
    } else {
      ++others;
    }
  }
  if (first == nullptr) return;
  verdict->faults.push_back(
      "The file is truncated: program header " + std::to_string(first->index) +
      " ends at file offset " + Hex(first->file_end()) + ", the file at " +
      Hex(core.file_bytes()) +
      (others == 0 ? "." : "; " + std::to_string(others) + " more end behind it."));
}

void VerifySegment(const CoreSegment& segment, Verdict* verdict) {
  Faults& faults = verdict->faults;
  if (segment.type == PT_NOTE) return;
  if (segment.type != PT_LOAD) {
    faults.push_back(Name(segment) + " is of type " +
                     std::to_string(segment.type) +
                     ", neither PT_LOAD nor PT_NOTE.");
    return;
  }
  if (segment.memory_bytes == 0) {
    faults.push_back(Name(segment) + " covers no memory.");
  }
  if (segment.address > UINT64_MAX - segment.memory_bytes) {
    faults.push_back(Name(segment) + " wraps around the address space.");
  }
  if (segment.file_bytes > segment.memory_bytes) {
    faults.push_back(Name(segment) +
                     " has more bytes in the file than in memory.");
  }
  if (segment.align != kGranularity) {
    faults.push_back(Name(segment) + " has p_align " +
                     std::to_string(segment.align) + ", not 16.");
  }
  if ((segment.address | segment.memory_bytes | segment.file_bytes |
       segment.offset) %
          kGranularity !=
      0) {
    faults.push_back(Name(segment) + " is not made of whole 16-byte units: " +
                     HexRange(segment.address, segment.end()) +
                     " at file offset " + Hex(segment.offset) + ".");
  }
}

// As they stand in the table: eu-stack searches it front to back.
void VerifyMemoryOrder(const CoreReader& core, Verdict* verdict) {
  const CoreSegment* before = nullptr;
  for (const CoreSegment& segment : core.segments()) {
    if (segment.type != PT_LOAD) continue;
    const CoreSegment* previous = before;
    before = &segment;
    if (previous == nullptr) continue;
    const std::string pair =
        Name(segment) + ", " + HexRange(segment.address, segment.end()) + ", ";
    const std::string other = "program header " +
                              std::to_string(previous->index) + ", " +
                              HexRange(previous->address, previous->end());
    if (segment.address < previous->address) {
      verdict->faults.push_back(pair + "stands behind " + other +
                                ": not sorted by address.");
    } else if (segment.address < previous->end()) {
      verdict->faults.push_back(pair + "overlaps " + other + ".");
    } else if (segment.address == previous->end() && segment.file_bytes > 0 &&
               previous->file_bytes == previous->memory_bytes &&
               (segment.flags & previous->flags & PF_W) != 0 &&
               segment.offset != previous->file_end()) {
      // No object crosses the border of read-only memory. Of writable memory, lldb reads
      // the second half of what crosses the border as zeros.
      verdict->faults.push_back(pair + "touches " + other +
                                " in memory, but not in the file.");
    }
  }
}

void VerifyFileOrder(const CoreReader& core, Verdict* verdict) {
  struct Part {
    uint64_t begin;
    uint64_t end;
    std::string name;
  };
  const Elf64_Ehdr& header = core.header();
  std::vector<Part> parts = {
      {0, sizeof(Elf64_Ehdr), "the ELF header"},
      {header.e_phoff,
       header.e_phoff + core.segments().size() * sizeof(Elf64_Phdr),
       "the program headers"}};
  for (const CoreSegment& segment : core.segments()) {
    if (segment.file_bytes == 0) continue;
    parts.push_back({segment.offset, segment.file_end(),
                     "program header " + std::to_string(segment.index)});
  }
  std::stable_sort(
      parts.begin(), parts.end(),
      [](const Part& a, const Part& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].begin >= parts[i - 1].end) continue;
    verdict->faults.push_back("In the file, " + parts[i].name + " overlaps " +
                              parts[i - 1].name + ".");
  }
  if (core.file_bytes() > core.PromisedBytes()) {
    verdict->faults.push_back("The file goes on for " +
                              Count(core.file_bytes() - core.PromisedBytes(), "byte") +
                              " behind its last part.");
  }
}

}  // namespace

void VerifyLayout(const CoreReader& core, Verdict* verdict) {
  VerifyHeader(core, verdict);
  VerifyLength(core, verdict);
  for (const CoreSegment& segment : core.segments()) {
    VerifySegment(segment, verdict);
  }
  VerifyMemoryOrder(core, verdict);
  VerifyFileOrder(core, verdict);
}

}  // namespace minicore
