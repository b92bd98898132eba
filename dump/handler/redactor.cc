#include "dump/handler/redactor.h"

#include <algorithm>

#include "alloc/index_format.h"
#include "dump/safe/guarded.h"
#include "dump/safe/syscalls.h"

namespace minicore {
namespace {

// Blocks of zeros are no secret: this much of a secret at once is looked at, and the rest
// of a large, mostly empty one costs nothing.
constexpr size_t kBlockBytes = 4096;
// Beyond this much memory of secrets, zeros and holes included, reading takes too long.
constexpr ByteCount kMostRead = 64 * 1024 * 1024;
// The smallest size class: what was asked for may be 1 to 16 bytes.
constexpr size_t kSmallestAllocation = 16;

// The reason of a copy of what is elided for `reason`.
HoleReason ReasonOfCopy(HoleReason reason) {
  return reason == HoleReason::kSecret ? HoleReason::kSecretCopy : reason;
}

// Of bytes that are the marker now, those that `report` asks for.
void CountElided(AddressRange range, HoleReason reason, uint8_t tag, AddressRange report,
                 Place place, Outcome& outcome) {
  const AddressRange hole = range.Clip(report);
  if (hole.empty()) return;
  if (place == Place::kRegisters || place == Place::kNotes) {
    outcome.CountHole(hole.size(), reason);
  } else {
    outcome.AddHole(hole.begin, hole.end, reason, tag);
  }
  outcome.AddElided(place, hole.size());
}

bool AllZero(const uint8_t* bytes, size_t size) {
  uint64_t any = 0;
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t word;
    __builtin_memcpy(&word, bytes + at, sizeof(word));
    any |= word;
  }
  for (; at < size; ++at) any |= bytes[at];
  return any == 0;
}

}  // namespace

void Redactor::Reserve(safe::Arena& arena, ByteCount most) {
  secrets_.Reserve(arena, kMaxSecrets);
  block_ = arena.AllocateArray<uint8_t>(kBlockBytes);
  marks_ = arena.AllocateArray<Mark>(kMaxMarks);
  // Each secret may be told three times (as a text, and as all that is not zero), and each
  // gap of zeros ends a part.
  const size_t parts = 3 * kMaxSecrets + most / kBlockBytes;
  if (secrets_.capacity() == 0 || block_ == nullptr || marks_ == nullptr ||
      most > UINT32_MAX / 2 || !index_.Reserve(arena, most, parts, kMaxPublicBytes)) {
    uncertain_ = true;
  }
}

void Redactor::AddSecret(AddressRange range, HoleReason reason, uint8_t tag,
                         bool copies, Length length) {
  if (range.empty()) return;
  has_tagged_ = has_tagged_ || reason == HoleReason::kSecret;
  if (!secrets_.Push({range, 0, reason, tag, copies, length})) uncertain_ = true;
}

void Redactor::AddContents(const uint8_t* bytes, size_t size, HoleReason reason) {
  if (!index_.Append(bytes, size) || !index_.EndPart(reason)) uncertain_ = true;
}

void Redactor::SortSecrets() {
  std::sort(secrets_.begin(), secrets_.end(), [](const Secret& a, const Secret& b) {
    return a.range.begin < b.range.begin;
  });
  Address reach = 0;
  for (Secret& secret : secrets_) {
    reach = std::max(reach, secret.range.end);
    secret.reach = reach;
  }
}

void Redactor::GiveUp() {
  uncertain_ = true;
  index_.Wipe();
  SortSecrets();
}

void Redactor::Build(safe::Arena& arena) {
  SortSecrets();
  if (uncertain_) return;
  ByteCount read = 0;
  for (const Secret& secret : secrets_) {
    if (!secret.copies) continue;
    const ByteCount size = secret.range.size();
    if (size > kMostRead - read || !Learn(secret)) {
      uncertain_ = true;
      break;
    }
    read += size;
  }
  CloseMemory();
  // Even if not all copies can be found, those that can are.
  if (!index_.Build(arena)) {
    uncertain_ = true;
    index_.Wipe();
  }
}

// What may be all of a secret though its range is larger. `used`: from the first byte in it
// that is not zero to the last.
bool Redactor::LearnShort(const Secret& secret, AddressRange used) {
  if (secret.length == Length::kExact || used.empty()) return true;
  const HoleReason reason = ReasonOfCopy(secret.reason);
  const AddressRange range = secret.range;
  uint8_t bytes[kWindowBytes] = {};
  Read(bytes, range.begin, std::min<ByteCount>(range.size(), kWindowBytes));
  // 6 to 16 bytes, and what lies behind, even of a string with its end, may be of an
  // earlier allocation. Pointers are left out: an object of 16 bytes that begins with one
  // is longer than that.
  uint64_t word;
  __builtin_memcpy(&word, bytes, sizeof(word));
  if (secret.length == Length::kAllocation && range.size() == kSmallestAllocation &&
      !sanitizer_.Harmless(word)) {
    return index_.Append(bytes, used.end - range.begin) &&
           index_.EndPart(reason, kShortestSecret);
  }
  size_t text = 0;
  while (text < kWindowBytes && text < range.size() && bytes[text] != 0) ++text;
  if (text >= kShortestSecret && text < kWindowBytes) {
    if (!index_.Append(bytes, text) || !index_.EndPart(reason)) return false;
  }
  // Nothing else was ever written: what is there is the secret. It may begin with zeros.
  if (used.size() < kShortestSecret) used.begin = range.begin;
  if (used.size() < kShortestSecret || used.size() >= kWindowBytes) return true;
  if (used.begin == range.begin && used.size() == text) return true;
  return index_.Append(bytes, Read(bytes, used.begin, used.size())) &&
         index_.EndPart(reason);
}

// Pages that the program has protected are read as a debugger reads them (fs/proc/base.c,
// mem_rw(), FOLL_FORCE): they could be read when copies were made.
size_t Redactor::Read(void* to, Address from, size_t size) {
  size_t read = safe::GuardedCopy(to, from, size);
  if (read == size) return read;
  if (memory_ == kNotOpen) memory_ = safe::Open("/proc/thread-self/mem", O_RDONLY);
  const long more = memory_ < 0 ? memory_
                                : safe::PRead(memory_, static_cast<char*>(to) + read,
                                              size - read, from + read);
  if (more > 0) read += static_cast<size_t>(more);
  return read;
}

// Reads a secret into the index. What isn't mapped can't have been copied from there; what
// lies behind it can.
bool Redactor::Learn(const Secret& secret) {
  const HoleReason reason = ReasonOfCopy(secret.reason);
  bool gap = true;  // nothing of the part yet
  AddressRange used;
  for (Address at = secret.range.begin; at < secret.range.end;) {
    const size_t size = std::min<ByteCount>(secret.range.end - at, kBlockBytes);
    const size_t read = Read(block_, at, size);
    if (!AllZero(block_, read)) {
      constexpr uint8_t kZeros[kWindowBytes] = {};
      if (gap && at != secret.range.begin && !index_.Append(kZeros, kWindowBytes)) {
        return false;
      }
      if (!index_.Append(block_, read)) return false;
      gap = false;
      size_t first = 0;
      size_t end = read;
      while (block_[first] == 0) ++first;
      while (block_[end - 1] == 0) --end;
      used = {used.empty() ? at + first : used.begin, at + end};
    } else if (!gap) {
      // Windows across the edge of the zeros hold up to 11 of them.
      if (!index_.Append(block_, std::min(read, kWindowBytes)) || !index_.EndPart(reason)) {
        return false;
      }
      gap = true;
    }
    at += read;
    if (read == size) continue;
    if (sanitizer_.IsProtected(at)) return false;
    if (!gap && !index_.EndPart(reason)) return false;
    gap = true;
    at = AlignDown(at, kPageSize) + kPageSize;
  }
  return (gap || index_.EndPart(reason)) && LearnShort(secret, used);
}

const Redactor::Secret* Redactor::FirstAbove(Address address) const {
  return std::upper_bound(
      secrets_.begin(), secrets_.end(), address,
      [](Address value, const Secret& secret) { return value < secret.reach; });
}

void Redactor::Blank(Address begin, uint64_t* words, size_t count) const {
  const AddressRange block = {begin, begin + count * 8};
  for (const Secret* secret = FirstAbove(begin);
       secret != secrets_.end() && secret->range.begin < block.end; ++secret) {
    if (!secret->range.Overlaps(block)) continue;
    const AddressRange part = secret->range.Clip(block);
    for (size_t i = (part.begin - begin) / 8; begin + i * 8 < part.end; ++i) words[i] = 0;
  }
}

// A copy in data[from, to), the bytes from `begin` on.
void Redactor::ElideCopy(Address begin, uint8_t* data, size_t from, size_t to,
                         HoleReason reason, AddressRange report, Place place,
                         Outcome& outcome) const {
  FillMarkers(begin + from, data + from, to - from);
  Address at = begin + from;
  const Address end = begin + to;
  for (const Secret* secret = FirstAbove(at);
       at < end && secret != secrets_.end() && secret->range.begin < end; ++secret) {
    CountElided({at, secret->range.begin}, reason, kNoTag, report, place, outcome);
    at = std::max(at, secret->range.end);
  }
  CountElided({at, end}, reason, kNoTag, report, place, outcome);
}

// Marks first, then overwrites: copies may overlap, and none may hide another.
void Redactor::ElideCopies(Address begin, uint8_t* data, size_t size,
                           AddressRange report, Place place, Outcome& outcome) const {
  size_t count = 0;
  index_.Find(data, size, [&](size_t from, size_t to, HoleReason reason) {
    if (count != 0) {
      Mark& last = marks_[count - 1];
      // Short ones come out of order by 3 bytes at most, and only overlapping.
      if ((from <= last.end && to >= last.begin && reason == last.reason) ||
          count == kMaxMarks) {
        last.begin = std::min(last.begin, static_cast<uint32_t>(from));
        last.end = std::max(last.end, static_cast<uint32_t>(to));
        return;
      }
    }
    marks_[count++] = {static_cast<uint32_t>(from), static_cast<uint32_t>(to), reason};
  });
  std::sort(marks_, marks_ + count,
            [](const Mark& a, const Mark& b) { return a.begin < b.begin; });
  size_t done = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t from = std::max<size_t>(marks_[i].begin, done);
    if (from >= marks_[i].end) continue;
    done = marks_[i].end;
    ElideCopy(begin, data, from, done, marks_[i].reason, report, place, outcome);
  }
}

// Words of a stack that are 8 consecutive bytes of something tagged: registers that a
// function had saved, or that memcpy() had used. Pointers are left to backtraces.
void Redactor::ElideSpills(Address begin, uint8_t* data, size_t size, AddressRange report,
                           Outcome& outcome) const {
  for (size_t at = AlignUp(begin, 8) - begin; at + 8 <= size; at += 8) {
    uint64_t word;
    __builtin_memcpy(&word, data + at, sizeof(word));
    HoleReason reason;
    if (word == 0 || !index_.FindWord(word, &reason)) continue;
    if (reason != HoleReason::kSecretCopy || sanitizer_.Harmless(word)) continue;
    ElideCopy(begin, data, at, at + 8, reason, report, Place::kStack, outcome);
  }
}

void Redactor::ElideSecrets(Address begin, uint8_t* data, size_t size,
                            AddressRange report, Place place, Outcome& outcome) const {
  AddressRange rest = {begin, begin + size};
  for (const Secret* secret = FirstAbove(begin);
       !rest.empty() && secret != secrets_.end() && secret->range.begin < rest.end;
       ++secret) {
    const AddressRange part = secret->range.Clip(rest);
    if (part.empty()) continue;
    FillMarkers(part.begin, data + (part.begin - begin), part.size());
    CountElided(part, secret->reason, secret->tag, report, place, outcome);
    rest.begin = part.end;
  }
}

void Redactor::Redact(Address begin, uint8_t* data, size_t size, AddressRange report,
                      Place place, Outcome& outcome) const {
  // In parts that can't have more copies than there are marks.
  constexpr size_t kPart = 64 * 1024 + 4 * kWindowBytes;
  for (size_t at = 0; at < size; at += kPart) {
    const size_t part = std::min(size - at, kPart + kWindowBytes - 1);
    ElideCopies(begin + at, data + at, part, report, place, outcome);
  }
  if (place == Place::kStack) ElideSpills(begin, data, size, report, outcome);
  ElideSecrets(begin, data, size, report, place, outcome);
  if (Sanitizes(place)) sanitizer_.Sanitize(begin, data, size, report, place, outcome);
}

void Redactor::RedactName(char* name, size_t size, Outcome& outcome) const {
  if (!uncertain_) return RedactBytes(name, size, Place::kNotes, outcome);
  size_t length = 0;
  while (length < size && name[length] != '\0') ++length;
  FillMarkers(0, reinterpret_cast<uint8_t*>(name), length);
}

void Redactor::RedactWords(uint64_t* words, size_t count, Outcome& outcome) const {
  for (size_t i = 0; i < count; ++i) {
    HoleReason reason = HoleReason::kSanitized;
    if (!index_.FindWord(words[i], &reason) &&
        !(uncertain_ && !sanitizer_.Harmless(words[i]))) {
      continue;
    }
    words[i] = kElidedMarkerWord;
    outcome.CountHole(sizeof(words[i]), reason);
    outcome.AddElided(Place::kRegisters, 8);
  }
  ElideCopies(0, reinterpret_cast<uint8_t*>(words), count * 8, {0, count * 8},
              Place::kRegisters, outcome);
}

void Redactor::CloseMemory() {
  if (memory_ >= 0) safe::Close(memory_);
  memory_ = kNotOpen;
}

void Redactor::Wipe() {
  CloseMemory();
  index_.Wipe();
  volatile uint8_t* bytes = block_;
  for (size_t i = 0; bytes != nullptr && i < kBlockBytes; ++i) bytes[i] = 0;
}

void Redactor::RedactRegisters(const MemoryMap& map, user_regs_struct* registers,
                               Outcome& outcome) const {
  // Below a stack that overflowed there is nothing mapped.
  constexpr ByteCount kOverflowReach = 16 * 1024 * 1024;
  const user_regs_struct old = *registers;
  RedactWords(reinterpret_cast<uint64_t*>(registers), sizeof(old) / 8, outcome);
  registers->eflags = old.eflags;
  registers->cs = old.cs;
  registers->ss = old.ss;
  registers->ds = old.ds;
  registers->es = old.es;
  registers->fs = old.fs;
  registers->gs = old.gs;
  if (map.Find(old.rip) != nullptr) registers->rip = old.rip;
  if (map.Find(old.fs_base) != nullptr) registers->fs_base = old.fs_base;
  if (map.Find(old.gs_base) != nullptr) registers->gs_base = old.gs_base;
  const Mapping* stack = map.FindAtOrAbove(old.rsp);
  if (stack != nullptr && (stack->range.Contains(old.rsp) ||
                           stack->range.begin - old.rsp < kOverflowReach)) {
    registers->rsp = old.rsp;
  }
}

}  // namespace minicore
