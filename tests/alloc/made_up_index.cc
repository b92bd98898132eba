#include "tests/alloc/made_up_index.h"

#include <cstring>

namespace minicore {

MadeUpIndex::MadeUpIndex(unsigned chunks)
    : bytes_(chunks * kChunkSize),
      shadow_(new std::atomic<uint8_t>[bytes_ >> kGranuleShift]),
      tags_(new std::atomic<uint8_t>[bytes_ >> kGranuleShift]),
      large_(new std::atomic<uint64_t>[bytes_ >> kPageShift]),
      chunks_(new ChunkEntry[chunks]) {
  state_.magic = kIndexMagic;
  state_.version = kIndexVersion;
  state_.region = kRegion;
  state_.region_bytes = 2 * bytes_;
  state_.committed = bytes_;
  state_.shadow = shadow_.get();
  state_.tags = tags_.get();
  state_.large = large_.get();
  state_.chunks = chunks_.get();
  Fill(0);
}

void MadeUpIndex::Fill(uint8_t byte) {
  const auto fill = [byte](void* plane, size_t size) {
    std::memset(plane, byte, size);
  };
  fill(shadow_.get(), bytes_ >> kGranuleShift);
  fill(tags_.get(), bytes_ >> kGranuleShift);
  fill(large_.get(), (bytes_ >> kPageShift) * sizeof(uint64_t));
  fill(chunks_.get(), (bytes_ >> kChunkShift) * sizeof(ChunkEntry));
}

}  // namespace minicore
