#include "dump/handler/secrets.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

class SecretsTest : public testing::Test {
 protected:
  SecretsTest() { InstallFaultHandler(); }

  void TagRange(AddressRange memory, const char* tag) {
    auto& slot = process_.heap.tags().ranges[0];
    slot.begin = memory.begin;
    slot.end = memory.end;
    slot.state = kRangeLive | process_.heap.Tag(tag);
  }
  void Find() {
    process_.runtime.policy.secret_bytes = 1 << 20;
    FindSecrets(process_.runtime, process_.map, process_.threads, process_.roots,
                process_.arena, redactor_, process_.outcome);
  }
  // `text` as it is written.
  std::string Written(std::string text) {
    redactor_.RedactBytes(text.data(), text.size(), Place::kHeap, process_.outcome);
    return text;
  }

  MadeUpProcess process_;
  Redactor redactor_;
};

// A copy of 7 bytes that were asked for, and not of what an earlier allocation left behind
// them.
TEST_F(SecretsTest, ATaggedRangeThatIsAnAllocationIsKnownAsOne) {
  const Address begin = process_.heap.Allocate(16);
  memcpy(process_.heap.Bytes(begin), "key1234\x81\x82\x83\x84\x85\x86\x87\x88\x89", 16);
  TagRange({begin, begin + 16}, "secret");
  Find();
  EXPECT_EQ(Written("a key1234 here"), "a LIDED>< here");
  EXPECT_FALSE(redactor_.uncertain());
}

TEST_F(SecretsTest, AThreadThatRunsOnMakesSecretsUncertain) {
  process_.outcome.threads_running = 1;
  process_.heap.Allocate(200, kTagSecret);
  Find();
  EXPECT_TRUE(redactor_.uncertain());
}

TEST_F(SecretsTest, AThreadThatRunsOnChangesNothingWhereNothingIsTagged) {
  process_.outcome.threads_running = 1;
  process_.heap.Allocate(200, process_.heap.Tag("keep"));
  Find();
  EXPECT_FALSE(redactor_.uncertain());
}

// libthread_db takes a thread for one that ends, or for another, if it finds markers there.
TEST_F(SecretsTest, SanitisingLeavesWhatAThreadIsKnownBy) {
  process_.runtime.policy.sanitize_words = true;
  process_.runtime.facts.threads.tid_offset = 8;
  process_.runtime.facts.threads.cancel_offset = 20;
  constexpr int kTid = 4'000'000;
  alignas(8) const uint32_t real[] = {0, 0, kTid, 0x746e6572, 0x65726765, 2};
  alignas(8) const uint32_t overwritten[] = {0, 0, 0x61746164, 0, 0x65726765, 0x61746164};
  for (const uint32_t* block : {real, overwritten}) {
    Thread thread;
    thread.tid = kTid;
    thread.registers.fs_base = reinterpret_cast<Address>(block);
    (void)process_.threads.Push(thread);
  }
  Find();
  const auto written = [this](const uint32_t* block) {
    std::vector<uint32_t> words(block, block + 6);
    const auto begin = reinterpret_cast<Address>(block);
    redactor_.Redact(begin, reinterpret_cast<uint8_t*>(words.data()), 24,
                     {begin, begin + 24}, Place::kThreadData, process_.outcome);
    return words;
  };
  constexpr uint32_t kFirst = 0x494c453c;  // the marker's halves
  constexpr uint32_t kSecond = 0x3e444544;
  EXPECT_EQ(written(real), (std::vector<uint32_t>{0, 0, kTid, kSecond, kFirst, 2}));
  EXPECT_EQ(written(overwritten),
            (std::vector<uint32_t>{0, 0, kFirst, kSecond, kFirst, kSecond}));
}

}  // namespace
}  // namespace minicore
