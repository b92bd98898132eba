#include "dump/handler/redactor.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/test_arena.h"

namespace minicore {
namespace {

using Bytes = std::vector<uint8_t>;

Address AddressOf(const void* pointer) {
  return reinterpret_cast<Address>(pointer);
}

Bytes Random(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

// A secret has no byte in common with other memory, nor with the marker, so
// that what is expected of an edge is not a matter of luck.
Bytes RandomSecret(size_t size, uint64_t seed = 1) {
  Bytes bytes = Random(size, seed);
  for (uint8_t& byte : bytes) byte |= 0x80;
  return bytes;
}

Bytes RandomMemory(size_t size, uint64_t seed = 2) {
  Bytes bytes = Random(size, seed);
  for (uint8_t& byte : bytes) byte &= 0x1f;
  return bytes;
}

class RedactorTest : public testing::Test {
 protected:
  RedactorTest() {
    InstallFaultHandler();
    outcome_.holes.Reserve(arena_, 16384);
    redactor_.Reserve(arena_, kMost);
  }

  void AddSecret(const Bytes& secret) {
    redactor_.AddSecret(
        {AddressOf(secret.data()), AddressOf(secret.data() + secret.size())},
        HoleReason::kSecret, kTag, true);
  }
  void AddSecret(const Bytes& secret, Redactor::Length length) {
    redactor_.AddSecret(
        {AddressOf(secret.data()), AddressOf(secret.data() + secret.size())},
        HoleReason::kSecret, kTag, true, length);
  }
  // An allocation of this size, of which nobody knows how much was asked for.
  void AddAllocation(const Bytes& secret) {
    AddSecret(secret, Redactor::Length::kAllocation);
  }
  void Build() { redactor_.Build(arena_); }
  // Forgets all secrets.
  void Renew() {
    arena_.Renew();
    outcome_ = Outcome();
    outcome_.holes.Reserve(arena_, 16384);
    redactor_ = Redactor();
    redactor_.Reserve(arena_, kMost);
  }

  // Redacts `data` as if it stood at `address`.
  Bytes Redacted(Bytes data, Address address = kAddress) {
    redactor_.Redact(address, data.data(), data.size(),
                     {address, address + data.size()}, Place::kHeap, outcome_);
    return data;
  }

  // `data` with the marker at [begin, begin + size), as at kAddress.
  static Bytes Marked(Bytes data, size_t begin, size_t size) {
    for (size_t i = begin; i < begin + size; ++i) {
      data[i] = static_cast<uint8_t>("<ELIDED>"[(kAddress + i) % 8]);
    }
    return data;
  }

  static constexpr Address kAddress = 0x7000'0000'0000;
  static constexpr uint8_t kTag = 1;
  static constexpr ByteCount kMost = 1 << 20;

  TestArena arena_;
  Outcome outcome_;
  Redactor redactor_;
};

TEST_F(RedactorTest, ACopyIsFoundAtEveryAlignmentAndEnd) {
  const Bytes secret = RandomSecret(32);
  AddSecret(secret);
  Build();
  const Bytes around = RandomMemory(96);
  for (size_t at = 0; at + secret.size() <= around.size(); ++at) {
    Bytes data = around;
    std::copy(secret.begin(), secret.end(), data.begin() + at);
    EXPECT_EQ(Redacted(data), Marked(data, at, secret.size())) << at;
  }
}

TEST_F(RedactorTest, AnySixteenBytesOfASecretAreACopy) {
  const Bytes secret = RandomSecret(64);
  AddSecret(secret);
  Build();
  const Bytes around = RandomMemory(50);
  for (size_t from = 0; from + kWindowBytes <= secret.size(); ++from) {
    for (size_t at = 0; at < 9; ++at) {
      Bytes data = around;
      std::copy_n(secret.begin() + from, kWindowBytes, data.begin() + at);
      EXPECT_EQ(Redacted(data), Marked(data, at, kWindowBytes))
          << from << " at " << at;
    }
  }
}

TEST_F(RedactorTest, FifteenBytesOfALongSecretAreNotLookedFor) {
  const Bytes secret = RandomSecret(64);
  AddSecret(secret);
  Build();
  Bytes data = RandomMemory(64);
  std::copy_n(secret.begin() + 3, kWindowBytes - 1, data.begin() + 20);
  EXPECT_EQ(Redacted(data), data);
  EXPECT_TRUE(outcome_.holes.empty());
}

TEST_F(RedactorTest, WhatIsNoCopyStaysAsItIs) {
  const Bytes secret = RandomSecret(4096);
  AddSecret(secret);
  Build();
  const Bytes data = RandomMemory(1 << 20);
  EXPECT_EQ(Redacted(data), data);
}

TEST_F(RedactorTest, OneChangedByteEndsTheCopyAndNotTheSearch) {
  const Bytes secret = RandomSecret(100);
  AddSecret(secret);
  Build();
  for (size_t changed = 0; changed < secret.size(); ++changed) {
    Bytes data = secret;
    data[changed] ^= 1;
    Bytes expected = data;
    if (changed >= kWindowBytes) expected = Marked(expected, 0, changed);
    if (secret.size() - changed - 1 >= kWindowBytes) {
      expected = Marked(expected, changed + 1, secret.size() - changed - 1);
    }
    EXPECT_EQ(Redacted(data), expected) << changed;
  }
}

// The writer hands over blocks that overlap by a window less one byte.
TEST_F(RedactorTest, ACopyAcrossTheSeamOfTwoBlocksIsFound) {
  const Bytes secret = RandomSecret(24);
  AddSecret(secret);
  Build();
  constexpr size_t kBlock = 64;
  constexpr size_t kOverlap = kWindowBytes - 1;
  const Bytes around = RandomMemory(3 * kBlock);
  for (size_t at = 0; at + secret.size() <= around.size(); ++at) {
    Bytes memory = around;
    std::copy(secret.begin(), secret.end(), memory.begin() + at);
    Bytes file;
    for (size_t begin = 0; begin < memory.size(); begin += kBlock) {
      const size_t first = begin < kOverlap ? 0 : begin - kOverlap;
      const size_t last = std::min(begin + kBlock + kOverlap, memory.size());
      const Bytes block =
          Redacted(Bytes(memory.begin() + first, memory.begin() + last),
                   kAddress + first);
      file.insert(file.end(), block.begin() + (begin - first),
                  block.begin() + (begin - first) + kBlock);
    }
    EXPECT_EQ(file, Marked(memory, at, secret.size())) << at;
  }
}

TEST_F(RedactorTest, TheMarkerIsInPhaseWithAddressesNotWithBlocks) {
  const Bytes secret = RandomSecret(40);
  AddSecret(secret);
  Build();
  for (Address phase = 0; phase < 8; ++phase) {
    const Bytes redacted = Redacted(secret, kAddress + phase);
    const std::string text(redacted.begin(), redacted.end());
    EXPECT_EQ(text.find("<ELIDED>"), (8 - phase) % 8);
  }
}

TEST_F(RedactorTest, TheRangeItselfIsMarkedWhereverTheBlockBegins) {
  // No copies: the contents may be anywhere, the range may not.
  redactor_.AddSecret({kAddress + 100, kAddress + 200}, HoleReason::kSecret,
                      kTag, false);
  Build();
  const Bytes memory = RandomMemory(300);
  for (size_t begin = 0; begin < 300; begin += 7) {
    for (size_t end = begin + 1; end < 300; end += 31) {
      const Bytes block(memory.begin() + begin, memory.begin() + end);
      const Bytes redacted = Redacted(block, kAddress + begin);
      for (size_t i = begin; i < end; ++i) {
        const uint8_t expected = i >= 100 && i < 200
                                     ? static_cast<uint8_t>("<ELIDED>"[i % 8])
                                     : memory[i];
        ASSERT_EQ(redacted[i - begin], expected)
            << begin << " " << end << " " << i;
      }
    }
  }
}

// A tagged struct with tagged fields, and a range that begins first and ends
// last.
TEST_F(RedactorTest, NestedAndOverlappingRangesAreAllMarked) {
  std::vector<AddressRange> ranges = {{0, 1000},   {10, 20}, {30, 40},
                                      {900, 1100}, {50, 60}, {2000, 2010},
                                      {1500, 1600}};
  for (const AddressRange& range : ranges) {
    redactor_.AddSecret({kAddress + range.begin, kAddress + range.end},
                        HoleReason::kSecret, kTag, false);
  }
  Build();
  const Bytes memory = RandomMemory(2500);
  for (size_t begin = 0; begin < 2496; begin += 8) {
    const Bytes redacted =
        Redacted(Bytes(memory.begin() + begin, memory.begin() + begin + 8),
                 kAddress + begin);
    for (size_t i = 0; i < 8; ++i) {
      bool secret = false;
      for (const AddressRange& range : ranges)
        secret |= range.Contains(begin + i);
      ASSERT_EQ(redacted[i] != memory[begin + i], secret) << begin + i;
    }
  }
}

TEST_F(RedactorTest, OfAShortSecretTheWholeIsACopy) {
  for (size_t length = kShortestSecret; length < kWindowBytes; ++length) {
    arena_.Renew();
    outcome_.holes.Reserve(arena_, 1024);
    redactor_ = Redactor();
    redactor_.Reserve(arena_, kMost);
    const Bytes secret = RandomSecret(length);
    AddSecret(secret);
    Build();
    const Bytes around = RandomMemory(48);
    for (size_t at = 0; at + length <= around.size(); ++at) {
      Bytes data = around;
      std::copy(secret.begin(), secret.end(), data.begin() + at);
      EXPECT_EQ(Redacted(data), Marked(data, at, length))
          << length << " at " << at;
      data[at + length - 1] ^= 1;
      EXPECT_EQ(Redacted(data), data) << length << " at " << at;
    }
  }
}

// Of an allocation of 16 bytes nobody knows how many were asked for, nor what is old.
TEST_F(RedactorTest, OfTheSmallestAllocationAnyBeginningIsACopy) {
  for (const char* beginning : {"", "aaaaaa", "aaaaaaaaaa"}) {
    const size_t same = strlen(beginning);
    for (size_t length = std::max(kShortestSecret, same + 1); length < kWindowBytes;
         ++length) {
      arena_.Renew();
      outcome_.holes.Reserve(arena_, 1024);
      redactor_ = Redactor();
      redactor_.Reserve(arena_, kMost);
      alignas(16) uint8_t allocation[16];
      const Bytes old = RandomSecret(16, 5);
      const Bytes secret = RandomSecret(16, 6);
      memcpy(allocation, old.data(), 16);
      memcpy(allocation, secret.data(), length);
      memcpy(allocation, beginning, same);
      redactor_.AddSecret({AddressOf(allocation), AddressOf(allocation + 16)},
                          HoleReason::kSecret, kTag, true, Redactor::Length::kAllocation);
      Build();
      Bytes data = RandomMemory(48);
      std::copy(allocation, allocation + length, data.begin() + 20);
      EXPECT_EQ(Redacted(data), Marked(data, 20, length)) << length << beginning;
    }
  }
}

Bytes BytesOf(const std::string& text) { return Bytes(text.begin(), text.end()); }

// As strdup() leaves it in the smallest allocation that holds it.
Bytes Duplicated(const std::string& text) {
  Bytes bytes = BytesOf(text);
  bytes.resize(AlignUp(text.size() + 1, 16), 0);
  return bytes;
}

TEST_F(RedactorTest, ShortSecretsThatBeginAlikeAreEachACopy) {
  const std::string secrets[] = {"token_AAAAAAAA", "token_BBBBBBBB", "token_BBBBCC",
                                 "token_BBBBBBBD", "token_"};
  std::vector<Bytes> memory;
  for (const std::string& secret : secrets) memory.push_back(Duplicated(secret));
  for (const Bytes& bytes : memory) AddAllocation(bytes);
  Build();
  for (const std::string& secret : secrets) {
    Bytes data = RandomMemory(64);
    std::copy(secret.begin(), secret.end(), data.begin() + 21);
    EXPECT_EQ(Redacted(data), Marked(data, 21, secret.size())) << secret;
  }
  // As far as one of them begins so.
  Bytes data = RandomMemory(64);
  const std::string other = "token_BBBBXX";
  std::copy(other.begin(), other.end(), data.begin() + 21);
  EXPECT_EQ(Redacted(data), Marked(data, 21, 10));
}

constexpr size_t kBufferSizes[] = {17, 32, 48, 64, 65, 80, 128, 4096, 4100, 12288, 70000};
constexpr Redactor::Length kNotExact[] = {Redactor::Length::kBuffer,
                                          Redactor::Length::kAllocation};

// A buffer that was zeroed, and then took a key.
TEST_F(RedactorTest, AShortSecretAloneInItsBufferIsACopy) {
  const Bytes around = RandomMemory(48);
  for (const Redactor::Length length : kNotExact) {
    for (const size_t size : kBufferSizes) {
      for (const size_t key_bytes : {kShortestSecret, size_t{11}, kWindowBytes - 1}) {
        for (const size_t at : {size_t{0}, size_t{1}, size / 2, size_t{4090},
                                size - key_bytes}) {
          if (at + key_bytes > size) continue;
          Renew();
          const Bytes key = RandomSecret(key_bytes, size);
          Bytes buffer(size, 0);
          std::copy(key.begin(), key.end(), buffer.begin() + at);
          AddSecret(buffer, length);
          Build();
          Bytes data = around;
          for (size_t i = 0; i < key_bytes; ++i) data[19 + i] = key[i];
          ASSERT_EQ(Redacted(data), Marked(data, 19, key_bytes))
              << key_bytes << " at " << at << " of " << size;
        }
      }
    }
  }
}

// A buffer that was used before.
TEST_F(RedactorTest, AShortTextThatABufferBeginsWithIsACopy) {
  for (const Redactor::Length length : kNotExact) {
    for (const size_t size : kBufferSizes) {
      for (const std::string text : {"abcdef", "hunter22", "fifteen letters"}) {
        Renew();
        Bytes buffer = RandomSecret(size, size);
        std::copy_n(text.c_str(), text.size() + 1, buffer.begin());
        AddSecret(buffer, length);
        Build();
        Bytes data = RandomMemory(48);
        std::copy(text.begin(), text.end(), data.begin() + 19);
        ASSERT_EQ(Redacted(data), Marked(data, 19, text.size())) << text << " of " << size;
      }
    }
  }
}

// Of six bytes, three of them zero: an address of a network card, say.
TEST_F(RedactorTest, ZerosThatABufferBeginsWithCountAsFarAsTheyAreNeeded) {
  for (const Redactor::Length length : kNotExact) {
    Renew();
    Bytes buffer(64, 0);
    const Bytes key = {0, 0, 0, 0x91, 0x82, 0x93};
    std::copy(key.begin(), key.end(), buffer.begin());
    AddSecret(buffer, length);
    Build();
    Bytes data = RandomMemory(48);
    for (uint8_t& byte : data) byte |= 1;
    std::copy(key.begin(), key.end(), data.begin() + 19);
    EXPECT_EQ(Redacted(data), Marked(data, 19, key.size()));
  }
}

TEST_F(RedactorTest, AShorterSecretIsOnlyElidedWhereItLies) {
  const Bytes secret = RandomSecret(kShortestSecret - 1);
  AddSecret(secret);
  Build();
  EXPECT_EQ(Redacted(secret), secret);
  EXPECT_NE(Redacted(secret, AddressOf(secret.data())), secret);
}

// A buffer of zeros that is tagged before a key is put into it.
TEST_F(RedactorTest, ARunOfOneByteIsNoSecret) {
  for (size_t length : {6u, 8u, 15u, 16u, 64u, 4096u}) {
    for (uint8_t byte : Bytes{0, 0xff, 'x'}) {
      arena_.Renew();
      outcome_.holes.Reserve(arena_, 1024);
      redactor_ = Redactor();
      redactor_.Reserve(arena_, kMost);
      const Bytes secret(length, byte);
      AddSecret(secret);
      Build();
      const Bytes data(8192, byte);
      EXPECT_EQ(Redacted(data), data) << length << " of " << int{byte};
      uint64_t word;
      memcpy(&word, data.data(), 8);
      uint64_t words[1] = {word};
      redactor_.RedactWords(words, 1, outcome_);
      EXPECT_EQ(words[0], word) << length << " of " << int{byte};
    }
  }
}

TEST_F(RedactorTest, ASecretBetweenRunsIsFoundToTheByte) {
  Bytes secret(200, 0);
  const Bytes key = RandomSecret(32);
  std::copy(key.begin(), key.end(), secret.begin() + 77);
  AddSecret(secret);
  Build();
  for (size_t at = 0; at < 64; ++at) {
    Bytes data(256, 0);
    std::copy(key.begin(), key.end(), data.begin() + at);
    const Bytes redacted = Redacted(data);
    for (size_t i = at; i < at + key.size(); ++i) {
      ASSERT_EQ(redacted[i], static_cast<uint8_t>("<ELIDED>"[i % 8]))
          << at << " " << i;
    }
    // Far from it the zeros are nobody's.
    ASSERT_EQ(redacted[at + key.size() + 40], 0) << at;
  }
}

TEST_F(RedactorTest, ARegisterThatHoldsEightBytesOfASecretIsRedacted) {
  const Bytes secret = RandomSecret(32);
  AddSecret(secret);
  Build();
  for (size_t from = 0; from + 8 <= secret.size(); ++from) {
    uint64_t words[3] = {0x1111, 0, 0x7fff12345678};
    memcpy(&words[1], secret.data() + from, 8);
    redactor_.RedactWords(words, 3, outcome_);
    EXPECT_EQ(words[0], 0x1111u);
    EXPECT_EQ(words[1], kElidedMarkerWord) << from;
    EXPECT_EQ(words[2], 0x7fff12345678u);
  }
}

TEST_F(RedactorTest, ARegisterThatHoldsPartOfAShortSecretIsRedacted) {
  const Bytes secret = RandomSecret(12);
  AddSecret(secret);
  Build();
  for (size_t from = 0; from + 8 <= secret.size(); ++from) {
    uint64_t word;
    memcpy(&word, secret.data() + from, 8);
    redactor_.RedactWords(&word, 1, outcome_);
    EXPECT_EQ(word, kElidedMarkerWord) << from;
  }
}

// Nobody would know of which thread it is, and an address it is not.
TEST_F(RedactorTest, WhatIsElidedOfRegistersAndNamesIsCountedButHasNoRow) {
  const Bytes secret = RandomSecret(32);
  AddSecret(secret);
  Build();
  uint64_t words[3] = {};
  memcpy(words, secret.data() + 1, 24);
  redactor_.RedactWords(words, 3, outcome_);
  Bytes name = secret;
  redactor_.RedactBytes(name.data(), name.size(), Place::kNotes, outcome_);
  EXPECT_EQ(outcome_.hole_bytes[static_cast<int>(HoleReason::kSecretCopy)], 24u + 32u);
  EXPECT_EQ(outcome_.elided_bytes[static_cast<int>(Place::kRegisters)], 24u);
  EXPECT_EQ(outcome_.elided_bytes[static_cast<int>(Place::kNotes)], 32u);
  EXPECT_TRUE(outcome_.holes.empty());
}

// A key that came by the environment, and was tagged where it was copied to.
TEST_F(RedactorTest, AWordOnAStackIsTheTaggedSecretsWhateverElseHoldsIt) {
  const Bytes secret = RandomSecret(48);
  const Bytes value = secret;
  for (const bool environment_first : {true, false}) {
    Renew();
    const bool secret_first = secret.data() < value.data();
    const Bytes& variable = environment_first == secret_first ? secret : value;
    for (const Bytes* bytes : {&secret, &value}) {
      redactor_.AddSecret({AddressOf(bytes->data()), AddressOf(bytes->data()) + 48},
                          bytes == &variable ? HoleReason::kEnvironment : HoleReason::kSecret,
                          kTag, true);
    }
    Build();
    Bytes stack(64, 0);
    std::copy_n(secret.begin() + 11, 8, stack.begin() + 24);
    const Bytes expected = Marked(stack, 24, 8);
    redactor_.Redact(kAddress, stack.data(), stack.size(), {kAddress, kAddress + 64},
                     Place::kStack, outcome_);
    EXPECT_EQ(stack, expected) << environment_first;
  }
}

TEST_F(RedactorTest, WithoutSecretsNothingChanges) {
  Build();
  const Bytes data = RandomMemory(4096);
  EXPECT_EQ(Redacted(data), data);
  uint64_t word = 42;
  redactor_.RedactWords(&word, 1, outcome_);
  EXPECT_EQ(word, 42u);
  EXPECT_FALSE(redactor_.uncertain());
}

TEST_F(RedactorTest, ABlockMayBeOfAnySize) {
  const Bytes secret = RandomSecret(40);
  AddSecret(secret);
  Build();
  for (size_t size = 0; size <= secret.size(); ++size) {
    const Bytes data(secret.begin(), secret.begin() + size);
    EXPECT_EQ(Redacted(data),
              size < kWindowBytes ? data : Marked(data, 0, size))
        << size;
  }
}

// The first of very many copies is as secret as the last.
TEST_F(RedactorTest, MoreCopiesThanItCanListAreStillAllElided) {
  const Bytes secret = RandomSecret(16);
  const Bytes pin = RandomSecret(7, 2);
  AddSecret(secret);
  AddSecret(pin);
  Build();
  Bytes data(20000 * 24, 0xee);
  Bytes expected = data;
  for (size_t at = 32; at + 24 <= data.size(); at += 24) {
    std::copy(secret.begin(), secret.end(), data.begin() + at);
  }
  std::copy(pin.begin(), pin.end(), data.begin() + 3);
  const Bytes redacted = Redacted(data);
  for (const Bytes& bytes : {secret, pin}) {
    EXPECT_EQ(std::search(redacted.begin(), redacted.end(), bytes.begin(),
                          bytes.end()),
              redacted.end());
  }
}

TEST_F(RedactorTest, HolesAreCountedOnceThoughBlocksOverlap) {
  const Bytes secret = RandomSecret(32);
  AddSecret(secret);
  Build();
  Bytes data = RandomMemory(64);
  std::copy(secret.begin(), secret.end(), data.begin() + 16);
  Bytes block = data;
  // The caller writes [0, 32) from this block and [32, 64) from another.
  redactor_.Redact(kAddress, block.data(), block.size(),
                   {kAddress, kAddress + 32}, Place::kHeap, outcome_);
  EXPECT_EQ(outcome_.hole_bytes[static_cast<int>(HoleReason::kSecretCopy)],
            16u);
  block = data;
  redactor_.Redact(kAddress, block.data(), block.size(),
                   {kAddress + 32, kAddress + 64}, Place::kHeap, outcome_);
  EXPECT_EQ(outcome_.hole_bytes[static_cast<int>(HoleReason::kSecretCopy)],
            32u);
}

// A secret is a copy of itself, and of others.
TEST_F(RedactorTest, ByteForByteWhatIsElidedIsCountedOnce) {
  std::mt19937_64 random(4713);
  const MemoryMap map;  // no word is a pointer
  for (int round = 0; round < 40; ++round) {
    Renew();
    Bytes memory = RandomMemory(4096);
    for (int i = 0; i < 20; ++i) {
      const size_t size = 6 + random() % 60;
      const size_t at = random() % (memory.size() - size);
      const Bytes secret = RandomSecret(size, random());
      std::copy(secret.begin(), secret.end(), memory.begin() + at);
      const Address begin = AddressOf(memory.data() + at);
      redactor_.AddSecret({begin, begin + size},
                          i % 2 == 0 ? HoleReason::kSecret : HoleReason::kEnvironment,
                          kTag, true);
      for (int copies = 0; copies < 3; ++copies) {
        const size_t from = random() % size;
        std::copy(secret.begin() + from, secret.end(),
                  memory.begin() + random() % (memory.size() - size));
      }
    }
    if (round % 2 == 0) redactor_.sanitizer().Reserve(arena_, map, true);
    Build();
    const Bytes redacted = Redacted(memory, AddressOf(memory.data()));
    // Which bytes the holes stand for.
    std::vector<int> holes(memory.size());
    for (const HoleRow& hole : outcome_.holes) {
      for (Address at = hole.begin; at < hole.end; ++at) {
        ++holes[at - AddressOf(memory.data())];
      }
    }
    uint64_t marked = 0;
    for (size_t i = 0; i < memory.size(); ++i) {
      ASSERT_LE(holes[i], 1) << round << " at " << i;
      if (redacted[i] != memory[i]) {
        ASSERT_EQ(holes[i], 1) << round << " at " << i;
      }
      marked += static_cast<uint64_t>(holes[i]);
    }
    uint64_t counted = 0;
    for (const uint64_t bytes : outcome_.hole_bytes) counted += bytes;
    EXPECT_EQ(counted, marked);
    EXPECT_EQ(outcome_.elided_bytes[static_cast<int>(Place::kHeap)], marked);
  }
}

TEST_F(RedactorTest, MoreSecretBytesThanItCanSearchForAreAnOverflow) {
  const Bytes secret = RandomSecret(kMost + 1);
  AddSecret(secret);
  Build();
  EXPECT_TRUE(redactor_.uncertain());
  // The range itself is left out all the same.
  Bytes block = RandomMemory(64);
  redactor_.Redact(AddressOf(secret.data()) / 8 * 8 + 4096, block.data(), block.size(), {0, ~0ull},
                   Place::kHeap, outcome_);
  EXPECT_EQ(std::string(block.begin(), block.begin() + 16), "<ELIDED><ELIDED>");
}

TEST_F(RedactorTest, MoreSecretsThanItHasRoomForAreAnOverflow) {
  for (size_t i = 0; i <= kMaxSecrets; ++i) {
    redactor_.AddSecret({kAddress + i * 32, kAddress + i * 32 + 1},
                        HoleReason::kSecret, kTag, false);
  }
  Build();
  EXPECT_TRUE(redactor_.uncertain());
}

// Sizes that add up to less than they are: 2^64 and a bit.
TEST_F(RedactorTest, HugeRangesDoNotOverflowTheSum) {
  for (int i = 0; i < 8; ++i) {
    redactor_.AddSecret({0x1000, ~0ull}, HoleReason::kSecret, kTag, true);
  }
  Build();
  EXPECT_TRUE(redactor_.uncertain());
}

TEST_F(RedactorTest, WithoutRoomForItsTablesItIsAnOverflow) {
  TestArena small(4 << 20);
  Redactor redactor;
  redactor.Reserve(small, kMost);
  while (small.Allocate(4096) != nullptr) {
  }
  const Bytes secret = RandomSecret(64);
  redactor.AddSecret({AddressOf(secret.data()), AddressOf(secret.data()) + 64},
                     HoleReason::kSecret, kTag, true);
  redactor.Build(small);
  EXPECT_TRUE(redactor.uncertain());
}

// What is gone can't have been copied from there, and must not end the dump.
TEST_F(RedactorTest, ASecretThatCannotBeReadIsElidedWhereItLies) {
  const Bytes secret = RandomSecret(64);
  redactor_.AddSecret({0x1000, 0x1040}, HoleReason::kSecret, kTag, true);
  AddSecret(secret);
  Build();
  EXPECT_FALSE(redactor_.uncertain());
  Bytes block(64, 0xee);
  redactor_.Redact(0x1000, block.data(), block.size(), {0, ~0ull},
                   Place::kHeap, outcome_);
  EXPECT_EQ(std::string(block.begin(), block.begin() + 8), "<ELIDED>");
  EXPECT_EQ(Redacted(secret), Marked(secret, 0, secret.size()));
}

// Pages of a secret between guards, as keys are kept.
class GuardedPages {
 public:
  explicit GuardedPages(size_t pages, int fd = -1) : pages_(pages) {
    memory_ = static_cast<uint8_t*>(mmap(nullptr, (pages + 2) * kPageSize, PROT_NONE,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (fd >= 0) {
      mmap(begin(), bytes(), PROT_NONE, MAP_SHARED | MAP_FIXED, fd, 0);
    }
    Protect(PROT_READ | PROT_WRITE);
  }
  ~GuardedPages() { munmap(memory_, (pages_ + 2) * kPageSize); }
  uint8_t* begin() { return memory_ + kPageSize; }
  size_t bytes() const { return pages_ * kPageSize; }
  void Protect(int protection) { mprotect(begin(), bytes(), protection); }

 private:
  size_t pages_;
  uint8_t* memory_;
};

TEST_F(RedactorTest, WhatCanBeReadOfASecretIsSearchedThoughTheRestCannot) {
  GuardedPages pages(2);
  const Bytes secret = RandomSecret(2 * kPageSize);
  std::copy(secret.begin(), secret.end(), pages.begin());
  const Address begin = AddressOf(pages.begin());
  redactor_.AddSecret({begin - kPageSize, begin + 3 * kPageSize}, HoleReason::kSecret, kTag,
                      true);
  Build();
  EXPECT_EQ(Redacted(secret), Marked(secret, 0, secret.size()));
}

// libsodium's sodium_mprotect_noaccess(): it was readable when it was copied.
TEST_F(RedactorTest, ASecretThatIsProtectedIsSearchedForAllTheSame) {
  GuardedPages pages(2);
  const Bytes secret = RandomSecret(300);
  const Bytes pin = RandomSecret(9, 7);
  std::copy(secret.begin(), secret.end(), pages.begin() + kPageSize - 100);
  const Address begin = AddressOf(pages.begin());
  redactor_.AddSecret({begin, begin + 2 * kPageSize}, HoleReason::kSecret, kTag, true);
  GuardedPages page(1);
  std::copy(pin.begin(), pin.end(), page.begin() + 400);
  redactor_.AddSecret({AddressOf(page.begin()), AddressOf(page.begin()) + kPageSize},
                      HoleReason::kSecret, kTag, true, Redactor::Length::kBuffer);
  pages.Protect(PROT_NONE);
  page.Protect(PROT_NONE);
  Build();
  EXPECT_FALSE(redactor_.uncertain());
  Bytes data = RandomMemory(400);
  std::copy(secret.begin(), secret.end(), data.begin() + 17);
  std::copy(pin.begin(), pin.end(), data.begin() + 350);
  EXPECT_EQ(Redacted(data), Marked(Marked(data, 17, secret.size()), 350, pin.size()));
}

// Not even the kernel reads it for others.
TEST_F(RedactorTest, AProtectedSecretThatCannotBeReadAtAllMakesItUncertain) {
  const auto fd = static_cast<int>(syscall(SYS_memfd_secret, 0));
  if (fd < 0 || ftruncate(fd, kPageSize) != 0) {
    GTEST_SKIP() << "SKIPPED: the kernel has no memfd_secret()";
  }
  GuardedPages page(1, fd);
  close(fd);
  const Bytes secret = RandomSecret(64);
  std::copy(secret.begin(), secret.end(), page.begin());
  page.Protect(PROT_NONE);
  const Address begin = AddressOf(page.begin());
  MemoryMap map;
  map.Reserve(arena_);
  char line[128];
  const int length = snprintf(line, sizeof(line), "%lx-%lx ---s 0 00:00 7 /secretmem\n",
                              begin, begin + kPageSize);
  map.Parse(line, static_cast<size_t>(length));
  redactor_.sanitizer().Reserve(arena_, map, false);
  redactor_.AddSecret({begin, begin + kPageSize}, HoleReason::kSecret, kTag, true);
  Build();
  EXPECT_TRUE(redactor_.uncertain());
}

TEST_F(RedactorTest, WipeForgetsTheCopies) {
  const Bytes secret = RandomSecret(64);
  AddSecret(secret);
  Build();
  redactor_.Wipe();
  const auto* const begin =
      static_cast<const uint8_t*>(arena_.Allocate(0)) - arena_.used();
  EXPECT_EQ(
      std::search(begin, begin + arena_.used(), secret.begin(), secret.end()),
      begin + arena_.used());
}

// Runs of one byte each, below `longest`.
void FillWithRuns(Bytes* bytes, size_t longest, std::mt19937_64* random) {
  uint8_t byte = 0;
  for (size_t at = 0; at < bytes->size();) {
    const size_t run =
        std::min<size_t>(1 + (*random)() % (longest - 1), bytes->size() - at);
    byte = static_cast<uint8_t>(1 + (byte + (*random)() % 2) % 3);  // another one
    std::fill_n(bytes->begin() + at, run, byte);
    at += run;
  }
}

// Random secrets, random data with random pieces of them: what a plain search
// finds, and nothing else, is marked.
TEST_F(RedactorTest, AgreesWithAPlainSearch) {
  std::mt19937_64 random(4711);
  for (int round = 0; round < 60; ++round) {
    arena_.Renew();
    outcome_.holes.Reserve(arena_, 16384);
    redactor_ = Redactor();
    redactor_.Reserve(arena_, kMost);
    std::vector<Bytes> secrets;
    // Few are looked up in other tables than many.
    const int count = round % 10 == 9 ? 250 : 5;
    for (int i = 0; i < count; ++i) {
      Bytes secret = Random(6 + random() % 60, random());
      // Few different bytes, so that pieces of secrets are pieces of others.
      if (round % 2 == 0) {
        for (uint8_t& byte : secret) byte = 1 + byte % 3;
      }
      if (round % 3 == 0) FillWithRuns(&secret, 14, &random);
      if (secret.size() < kWindowBytes)
        secret[0] = 7;  // a run of one byte is none
      secrets.push_back(secret);
    }
    for (const Bytes& secret : secrets) AddSecret(secret);
    Build();
    Bytes data = Random(1000, random());
    if (round % 2 == 0) {
      for (uint8_t& byte : data) byte = 1 + byte % 3;
    }
    // Most of them longer than what is looked at at once.
    if (round % 3 == 0) FillWithRuns(&data, 300, &random);
    for (int i = 0; i < 20; ++i) {
      const Bytes& secret = secrets[random() % secrets.size()];
      const size_t from = random() % secret.size();
      const size_t size = random() % (secret.size() - from + 1);
      std::copy_n(secret.begin() + from, size,
                  data.begin() + random() % (data.size() - size));
    }
    Bytes expected = data;
    for (const Bytes& secret : secrets) {
      const size_t window = std::min(secret.size(), kWindowBytes);
      for (size_t from = 0; from + window <= secret.size(); ++from) {
        const auto* bytes = secret.data() + from;
        if (std::all_of(bytes, bytes + window,
                        [&](uint8_t b) { return b == *bytes; })) {
          continue;
        }
        for (size_t at = 0; at + window <= data.size(); ++at) {
          if (std::equal(bytes, bytes + window, data.begin() + at)) {
            expected = Marked(expected, at, window);
          }
        }
      }
    }
    ASSERT_EQ(Redacted(data), expected) << round;
  }
}

// Of small allocations that begin alike: wherever as many of their first bytes stand as
// say something, the longest beginning is marked.
TEST_F(RedactorTest, AgreesWithAPlainSearchForBeginnings) {
  std::mt19937_64 random(4712);
  for (int round = 0; round < 60; ++round) {
    Renew();
    std::vector<Bytes> secrets;
    for (int i = 0; i < 40; ++i) {
      Bytes secret(16);
      for (uint8_t& byte : secret) byte = static_cast<uint8_t>(0x81 + random() % 2);
      secret[0] = 0x90;  // so that none is a run of one byte
      secrets.push_back(secret);
    }
    for (const Bytes& secret : secrets) AddAllocation(secret);
    Build();
    Bytes data = Random(1000, random());
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(0x81 + byte % 2);
    for (int i = 0; i < 40; ++i) {
      const Bytes& secret = secrets[random() % secrets.size()];
      std::copy_n(secret.begin(), 1 + random() % 16, data.begin() + random() % 980);
    }
    Bytes expected = data;
    for (const Bytes& secret : secrets) {
      for (size_t at = 0; at < data.size(); ++at) {
        size_t length = 0;
        while (length < 16 && at + length < data.size() &&
               data[at + length] == secret[length]) {
          ++length;
        }
        if (length >= kShortestSecret) expected = Marked(expected, at, length);
      }
    }
    ASSERT_EQ(Redacted(data), expected) << round;
  }
}

}  // namespace
}  // namespace minicore
