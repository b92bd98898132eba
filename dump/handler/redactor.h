// Keeps secrets out of what is written: the memory that is tagged or otherwise not to
// leave the process, and copies of its contents anywhere else.
//
// Where a secret lies inside something that is kept, the marker stands in its place. What
// is a copy, and how it is found: secret_index.h.
//
// When the secrets can't all be known (too many, too large, no time, a fault), the
// redactor is `uncertain`: anything may then be a copy, and only words that can be none
// are left of what debuggers need, see sanitizer.h; the plan drops the rest.
//
// Context: handler. No allocation beyond the arena's.

#ifndef MINICORE_DUMP_HANDLER_REDACTOR_H_
#define MINICORE_DUMP_HANDLER_REDACTOR_H_

#include <sys/user.h>

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/elf_core_format.h"
#include "dump/handler/outcome.h"
#include "dump/handler/sanitizer.h"
#include "dump/handler/secret_index.h"
#include "dump/safe/arena.h"

namespace minicore {

inline constexpr size_t kMaxSecrets = 65536;
// What everybody may know: names of files, allowed values of the environment.
inline constexpr ByteCount kMaxPublicBytes = 256 * 1024;

class Redactor {
 public:
  // Room for kMaxSecrets secrets of `most` bytes together.
  void Reserve(safe::Arena& arena, ByteCount most);

  // How much of its range a secret fills.
  enum class Length : uint8_t {
    kExact,
    // Perhaps no more than a text that it begins with, or than the only bytes in it that
    // are not zero.
    kBuffer,
    // The same; and what was asked for may be less than its size.
    kAllocation,
  };

  // [range) must not be in the file. Its copies are looked for if `copies`.
  void AddSecret(AddressRange range, HoleReason reason, uint8_t tag, bool copies,
                 Length length = Length::kExact);
  // Copies of these bytes are looked for. At most 64.
  void AddContents(const uint8_t* bytes, size_t size, HoleReason reason);
  // See SecretIndex::AddPublic().
  void AddPublic(const char* text) { index_.AddPublic(text); }

  // Reads the secrets and prepares the search; nothing can be added after it.
  void Build(safe::Arena& arena);

  // Whether anything was added that the program has asked to be left out.
  bool has_tagged() const { return has_tagged_; }

  // Makes it uncertain: not everything that must not be written is known.
  void GiveUp();
  bool uncertain() const { return uncertain_; }

  // Word-level sanitising: of everything, or when uncertain.
  Sanitizer& sanitizer() { return sanitizer_; }
  // Of code and headers the words are their files', and harmless, unless anything may be a
  // copy: then only what is known to be the format's.
  bool Sanitizes(Place place) const {
    return uncertain_ || (sanitizer_.wanted() && place != Place::kCode);
  }

  // Zeroes the words of the block at `begin` that lie in a secret, as far as one byte: what
  // they point to is not to be followed.
  void Blank(Address begin, uint64_t* words, size_t count) const;

  // Overwrites secrets in data[0, size), the bytes of [begin, begin + size), with the
  // marker. To see copies that cross the ends of a block, blocks overlap by
  // kWindowBytes - 1; only holes within `report` are counted, as found in `place`, each
  // byte once: as the secret that lies there rather than as a copy, of itself for one.
  void Redact(Address begin, uint8_t* data, size_t size, AddressRange report,
              Place place, Outcome& outcome) const;

  // The same for bytes that are no memory: names, notes.
  void RedactBytes(void* data, size_t size, Place place, Outcome& outcome) const {
    Redact(0, static_cast<uint8_t*>(data), size, {0, size}, place, outcome);
  }

  // The same for the name of a thread or a program, text of its own choice: when uncertain
  // all of it, up to its NUL.
  void RedactName(char* name, size_t size, Outcome& outcome) const;

  // Redacts `count` registers or parts of vector registers: whole words that are 8
  // consecutive bytes of a secret, and short secrets within them.
  void RedactWords(uint64_t* words, size_t count, Outcome& outcome) const;

  // The general registers. What a backtrace starts from stays where it can be an address,
  // and what no program can put data into stays as well.
  void RedactRegisters(const MemoryMap& map, user_regs_struct* registers,
                       Outcome& outcome) const;

  // Forgets the copies of the secrets that Build() made.
  void Wipe();

 private:
  struct Secret {
    AddressRange range;
    Address reach;  // end of this one and of all before it, whichever is higher
    HoleReason reason;
    uint8_t tag;
    bool copies;
    Length length;
  };
  struct Mark {
    uint32_t begin;
    uint32_t end;
    HoleReason reason;
  };
  static constexpr int kNotOpen = -1;
  // As many as there can be in a block of 64 KiB: copies of 6 bytes, side by side.
  static constexpr size_t kMaxMarks = 32768;

  void SortSecrets();
  const Secret* FirstAbove(Address address) const;
  void CloseMemory();
  size_t Read(void* to, Address from, size_t size);
  bool Learn(const Secret& secret);
  bool LearnShort(const Secret& secret, AddressRange used);
  void ElideCopy(Address begin, uint8_t* data, size_t from, size_t to, HoleReason reason,
                 AddressRange report, Place place, Outcome& outcome) const;
  void ElideSpills(Address begin, uint8_t* data, size_t size, AddressRange report,
                   Outcome& outcome) const;
  void ElideCopies(Address begin, uint8_t* data, size_t size, AddressRange report,
                   Place place, Outcome& outcome) const;
  void ElideSecrets(Address begin, uint8_t* data, size_t size, AddressRange report,
                    Place place, Outcome& outcome) const;

  safe::FixedVector<Secret> secrets_;
  SecretIndex index_;
  Sanitizer sanitizer_;
  uint8_t* block_ = nullptr;  // one page of a secret, as it is read
  int memory_ = kNotOpen;     // /proc/thread-self/mem, opened when needed
  Mark* marks_ = nullptr;
  bool has_tagged_ = false;
  bool uncertain_ = false;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_REDACTOR_H_
