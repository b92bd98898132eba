// Keeps secrets out of what is written: the ranges that are tagged, and copies of their
// contents anywhere else.
//
// A copy is any 16 consecutive bytes of a secret, at any alignment; of a secret of 6 to
// 15 bytes, the whole of it. Runs of one repeated byte are no secret. The search is
// exact and linear: 16 bytes at any alignment hold one whole word of any 8-byte grid, so
// each word of that grid is looked up in a bitmap of all words of the secrets, and only
// on a hit are the nine windows around it compared with the secrets themselves.
//
// Context: handler. No allocation beyond the arena's.

#ifndef MINICORE_DUMP_HANDLER_REDACTOR_H_
#define MINICORE_DUMP_HANDLER_REDACTOR_H_

#include <cstddef>
#include <cstdint>

#include "alloc/address.h"
#include "dump/elf_core_format.h"
#include "dump/handler/outcome.h"
#include "dump/safe/arena.h"

namespace minicore {

// Secret bytes whose copies are looked for. With more, Build() says so and the plan
// drops every place that could hold one.
inline constexpr ByteCount kMaxSecretBytes = 1024 * 1024;
inline constexpr size_t kMaxSecrets = 65536;
inline constexpr size_t kWindowBytes = 16;
inline constexpr size_t kShortestSecret = 6;

class Redactor {
 public:
  void Reserve(safe::Arena& arena);

  // [range) must not be in the file. Its copies are looked for if `copies`.
  void AddSecret(AddressRange range, HoleReason reason, uint8_t tag, bool copies);

  // Reads the secrets and prepares the search; no AddSecret() after it.
  void Build(safe::Arena& arena);

  // Whether some secret could not be taken in: nothing that may hold a copy of it, or
  // the secret itself, may then be written.
  bool overflowed() const { return overflowed_; }

  // Overwrites secrets in data[0, size), the bytes of [begin, begin + size), with the
  // marker. To see copies that cross the ends of a block, blocks overlap by
  // kWindowBytes - 1; only holes within `report` are counted.
  void Redact(Address begin, uint8_t* data, size_t size, AddressRange report,
              Outcome& outcome) const;

  // Redacts `count` registers: whole words that are 8 consecutive bytes of a secret.
  void RedactWords(uint64_t* words, size_t count, Outcome& outcome) const;

  // Forgets the copies of the secrets that Build() made.
  void Wipe();

 private:
  struct Secret {
    AddressRange range;
    Address reach;    // end of this one and of all before it, whichever is higher
    uint32_t offset;  // in contents_
    uint32_t length;  // of its contents there
    HoleReason reason;
    uint8_t tag;
    bool copies;
  };

  bool IsWindow(const uint8_t* at) const;
  bool IsWord(uint64_t word) const;
  void AddWindow(uint32_t offset);
  void Mark(size_t begin, size_t end, HoleReason reason, Address address,
            uint8_t* data, AddressRange report, Outcome& outcome) const;
  template <typename Found>
  void FindCopies(const uint8_t* data, size_t size, Found found) const;

  safe::FixedVector<Secret> secrets_;
  uint8_t* contents_ = nullptr;
  ByteCount content_bytes_ = 0;
  uint64_t* filter_ = nullptr;  // bitmap of all 8-byte words of the secrets
  unsigned filter_shift_ = 0;
  uint32_t* windows_ = nullptr;  // offset + 1 of each distinct 16-byte window
  size_t window_mask_ = 0;
  uint64_t* pairs_ = nullptr;  // bitmap of the first two bytes of short secrets
  safe::FixedVector<uint32_t> shorts_;  // indices of short secrets
  bool overflowed_ = false;
};

}  // namespace minicore

#endif  // MINICORE_DUMP_HANDLER_REDACTOR_H_
