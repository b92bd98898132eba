// A shadow index over addresses that do not exist, for the reader and the
// writer.

#ifndef MINICORE_TESTS_ALLOC_MADE_UP_INDEX_H_
#define MINICORE_TESTS_ALLOC_MADE_UP_INDEX_H_

#include <initializer_list>
#include <memory>
#include <utility>

#include "alloc/index_format.h"

namespace minicore {

class MadeUpIndex {
 public:
  static constexpr Address kRegion = Address{0x5000} << 32;

  // `chunks` chunks are committed, of a region of twice as many. The planes are
  // exactly as large as the committed part: AddressSanitizer sees a look
  // beyond.
  explicit MadeUpIndex(unsigned chunks = 4);

  IndexState& state() { return state_; }
  ByteCount bytes() const { return bytes_; }
  Address at(uint64_t offset) const { return kRegion + offset; }

  // Plain bytes, without the help of the writer that is under test.
  void SetShadow(uint64_t offset, uint64_t byte) {
    state_.shadow[offset >> kGranuleShift].store(static_cast<uint8_t>(byte));
  }
  uint8_t Shadow(uint64_t offset) const {
    return state_.shadow[offset >> kGranuleShift].load();
  }
  void SetTag(uint64_t offset, uint8_t tag) {
    state_.tags[offset >> kGranuleShift].store(tag);
  }
  // All that the index has of a tag, but for the mark: the bit of the group, the
  // tag, and the check of an allocation above 16 bytes.
  void SetTagAndCheck(uint64_t offset, uint8_t tag) {
    SetTag(offset, tag);
    SetTag(offset + kGranuleSize, static_cast<uint8_t>(~tag));
    SetTaggedGroup(offset);
  }
  void SetTaggedGroup(uint64_t offset) {
    std::atomic<uint64_t>& tags = state_.chunks[offset >> kChunkShift].tags;
    tags = ChunkTags(TaggedGroups(tags) | 1u << (offset >> 16) % 32,
                     ExtentTag(tags));
  }
  void SetLarge(uint64_t offset, uint64_t word) {
    state_.large[offset >> kPageShift].store(word);
  }
  ChunkEntry& chunk(unsigned number) { return state_.chunks[number]; }

  // Every byte of every plane.
  void Fill(uint8_t byte);

 private:
  ByteCount bytes_;
  std::unique_ptr<std::atomic<uint8_t>[]> shadow_;
  std::unique_ptr<std::atomic<uint8_t>[]> tags_;
  std::unique_ptr<std::atomic<uint64_t>[]> large_;
  std::unique_ptr<ChunkEntry[]> chunks_;
  IndexState state_ = {};
};

}  // namespace minicore

#endif  // MINICORE_TESTS_ALLOC_MADE_UP_INDEX_H_
