#include "tests/secrets/needles.h"

#include <elf.h>
#include <sys/procfs.h>

#include <algorithm>
#include <cstring>

namespace minicore {
namespace {

constexpr size_t kWindow = 16;
constexpr size_t kLeastBits = 1 << 22;

uint64_t Word(const uint8_t* at) {
  uint64_t word;
  memcpy(&word, at, sizeof(word));
  return word;
}

size_t Bit(uint64_t first, uint64_t second) {
  return ((first ^ second * 0x9e3779b97f4a7c15) * 0x2545f4914f6cdd1d) >> 32;
}

bool SaysNothing(const uint8_t* at, size_t size) {
  const size_t zeros = std::count(at, at + size, 0);
  const size_t same = std::count(at, at + size, at[0]);
  return same == size || zeros * 4 >= size * 3;
}

// The marker is in phase with addresses, and so with offsets.
bool IsMarker(const std::vector<uint8_t>& file, size_t at) {
  return at < file.size() && file[at] == static_cast<uint8_t>("<ELIDED>"[at % 8]);
}

// Takes the bytes off a stretch of [begin, end) that belong to a marker on either side of
// it: 15 bytes of a secret may stay, and what stands next to them may look like the 16th.
void TrimMarkers(const std::vector<uint8_t>& file, size_t* begin, size_t* end) {
  while (*end > *begin && IsMarker(file, *end) && IsMarker(file, *end - 1)) --*end;
  while (*end > *begin && *begin > 0 && IsMarker(file, *begin - 1) &&
         IsMarker(file, *begin)) {
    ++*begin;
  }
}

// Segments of a type that lie within the file.
std::vector<Elf64_Phdr> SegmentsOf(const std::vector<uint8_t>& file, uint32_t type) {
  std::vector<Elf64_Phdr> segments;
  Elf64_Ehdr header;
  if (file.size() < sizeof(header)) return segments;
  memcpy(&header, file.data(), sizeof(header));
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, file.data() + header.e_phoff + i * sizeof(segment), sizeof(segment));
    if (segment.p_type == type && segment.p_offset + segment.p_filesz <= file.size()) {
      segments.push_back(segment);
    }
  }
  return segments;
}

struct Note {
  uint32_t type;
  size_t offset;  // of its description in the file
  size_t size;
};
std::vector<Note> NotesOf(const std::vector<uint8_t>& file) {
  std::vector<Note> notes;
  for (const Elf64_Phdr& segment : SegmentsOf(file, PT_NOTE)) {
    for (size_t at = segment.p_offset; at < segment.p_offset + segment.p_filesz;) {
      Elf64_Nhdr note;
      memcpy(&note, file.data() + at, sizeof(note));
      const size_t description = at + sizeof(note) + (note.n_namesz + 3) / 4 * 4;
      at = description + (note.n_descsz + 3) / 4 * 4;
      notes.push_back({note.n_type, description, note.n_descsz});
    }
  }
  return notes;
}

}  // namespace

void Needles::Add(const std::string& name, const std::vector<uint8_t>& secret,
                  bool tagged) {
  names_.push_back(name);
  secrets_.push_back(secret);
  tagged_.push_back(tagged);
}

void Needles::Finish() {
  size_t bits = kLeastBits;
  for (const auto& secret : secrets_) {
    while (bits < 16 * secret.size()) bits *= 2;
  }
  maybe_.assign(bits, false);
  for (size_t i = 0; i < secrets_.size(); ++i) {
    const std::vector<uint8_t>& secret = secrets_[i];
    for (size_t at = 0; at + 8 <= secret.size(); ++at) {
      const uint8_t* bytes = secret.data() + at;
      // Small integers and the like.
      if (std::count(bytes, bytes + 8, 0) < 4) words_.push_back({Word(bytes), 0, i});
      if (at + kWindow > secret.size() || SaysNothing(bytes, kWindow)) continue;
      windows_.push_back({Word(bytes), Word(bytes + 8), i});
      maybe_[Bit(Word(bytes), Word(bytes + 8)) % maybe_.size()] = true;
    }
  }
  std::sort(windows_.begin(), windows_.end());
  std::sort(words_.begin(), words_.end());
}

std::vector<Needles::Finding> Needles::FindIn(const std::vector<uint8_t>& file) const {
  std::vector<Finding> findings;
  const auto add = [&](size_t secret, size_t offset, size_t size) {
    if (!findings.empty()) {
      Finding& last = findings.back();
      if (last.name == names_[secret] && offset <= last.offset + last.size) {
        last.size = std::max(last.size, offset + size - last.offset);
        return;
      }
    }
    findings.push_back({names_[secret], offset, size});
  };
  for (size_t at = 0; at + kWindow <= file.size(); ++at) {
    const uint64_t first = Word(file.data() + at);
    const uint64_t second = Word(file.data() + at + 8);
    if (!maybe_[Bit(first, second) % maybe_.size()]) continue;
    const Window wanted = {first, second, 0};
    const auto window = std::lower_bound(windows_.begin(), windows_.end(), wanted);
    if (window == windows_.end() || wanted < *window) continue;
    add(window->secret, at, kWindow);
  }
  for (Finding& finding : findings) {
    size_t end = finding.offset + finding.size;
    TrimMarkers(file, &finding.offset, &end);
    finding.size = end - finding.offset;
  }
  findings.erase(std::remove_if(findings.begin(), findings.end(),
                                [](const Finding& f) { return f.size < kWindow; }),
                 findings.end());
  for (size_t i = 0; i < secrets_.size(); ++i) {
    const std::vector<uint8_t>& secret = secrets_[i];
    if (secret.size() >= kWindow || SaysNothing(secret.data(), secret.size())) continue;
    auto at = file.begin();
    while ((at = std::search(at, file.end(), secret.begin(), secret.end())) != file.end()) {
      add(i, static_cast<size_t>(at - file.begin()), secret.size());
      ++at;
    }
  }
  return findings;
}

// The secret of which `word` is 8 consecutive bytes, kNone if it is none.
size_t Needles::SecretOfWord(uint64_t word, bool tagged) const {
  auto found = std::lower_bound(words_.begin(), words_.end(), Window{word, 0, 0});
  for (; found != words_.end() && found->first == word; ++found) {
    if (!tagged || tagged_[found->secret]) return found->secret;
  }
  return kNone;
}

std::vector<Needles::Finding> Needles::FindInRegisters(
    const std::vector<uint8_t>& file) const {
  std::vector<Finding> findings;
  for (const Note& note : NotesOf(file)) {
    // Registers of every kind are whole words of these notes; so is what came with the
    // signal. The rest of them are numbers of the kernel's.
    size_t from = 0;
    size_t size = note.size;
    if (note.type == NT_PRSTATUS && size == sizeof(elf_prstatus)) {
      from = offsetof(elf_prstatus, pr_reg);
      size = from + ELF_NGREG * 8;
    } else if (note.type == NT_SIGINFO) {
      from = 8;
    } else if (note.type != NT_FPREGSET && note.type != NT_X86_XSTATE) {
      continue;
    }
    for (; from + 8 <= size; from += 8) {
      const size_t offset = note.offset + from;
      const size_t secret = SecretOfWord(Word(file.data() + offset), false);
      if (secret != kNone) findings.push_back({names_[secret], offset, 8});
    }
  }
  return findings;
}

std::vector<Needles::Finding> Needles::FindOnStacks(const std::vector<uint8_t>& file) const {
  // docs/FORMAT.md, "segments".
  constexpr uint32_t kSegments = 0x4d430003;
  constexpr uint8_t kStack = 6;
  constexpr size_t kRowsAt = 16;
  constexpr size_t kRow = 24;
  std::vector<Finding> findings;
  for (const Note& note : NotesOf(file)) {
    if (note.type != kSegments) continue;
    for (size_t row = kRowsAt; row + kRow <= note.size; row += kRow) {
      const uint8_t* at = file.data() + note.offset + row;
      if (at[16] != kStack) continue;
      for (const Elf64_Phdr& load : SegmentsOf(file, PT_LOAD)) {
        const uint64_t begin = std::max(Word(at), load.p_vaddr);
        const uint64_t end = std::min(Word(at + 8), load.p_vaddr + load.p_filesz);
        for (uint64_t word = (begin + 7) / 8 * 8; word + 8 <= end; word += 8) {
          const size_t offset = load.p_offset + (word - load.p_vaddr);
          const size_t secret = SecretOfWord(Word(file.data() + offset), true);
          if (secret != kNone) findings.push_back({names_[secret] + ", on a stack", offset, 8});
        }
      }
    }
  }
  return findings;
}

}  // namespace minicore
