// Names, rules, tagged allocations and tagged ranges, over made-up addresses.

#include "alloc/tag_table.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cerrno>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "alloc/index_view.h"
#include "alloc/shadow_index.h"
#include "tests/alloc/made_up_index.h"

namespace minicore {
namespace {

class TagTable : public testing::Test {
 protected:
  std::string Name(int tag) {
    char name[kMaxTagName + 1];
    NameOf(*tags_, static_cast<uint8_t>(tag), name);
    return name;
  }
  // What the ranges say of an address: the most protective disposition.
  Disposition At(Address address) {
    Disposition result = Disposition::kKeep;
    for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
      AddressRange range;
      uint8_t tag;
      if (RangeAt(*tags_, slot, &range, &tag) && range.Contains(address)) {
        result = std::max(result, DispositionOf(*tags_, tag));
      }
    }
    return result;
  }
  unsigned RangesInUse() {
    unsigned used = 0;
    for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
      AddressRange range;
      uint8_t tag;
      used += RangeAt(*tags_, slot, &range, &tag) ? 1 : 0;
    }
    return used;
  }

  std::unique_ptr<TagState> tags_ = std::make_unique<TagState>();
};

TEST_F(TagTable, BuiltInNamesHaveFixedIds) {
  EXPECT_EQ(InternTag(*tags_, "secret"), kTagSecret);
  EXPECT_EQ(InternTag(*tags_, "cache"), kTagCache);
  EXPECT_EQ(InternTag(*tags_, "keep"), kTagKeep);
}

TEST_F(TagTable, ANameIsInternedOnceAndReadBack) {
  const int session = InternTag(*tags_, "session");
  EXPECT_GE(session, kFirstUserTag);
  EXPECT_EQ(InternTag(*tags_, "session"), session);
  EXPECT_NE(InternTag(*tags_, "sessions"), session);
  EXPECT_EQ(Name(session), "session");
  EXPECT_EQ(DispositionOf(*tags_, static_cast<uint8_t>(session)),
            Disposition::kKeep);
}

TEST_F(TagTable, BadNamesAreRefused) {
  EXPECT_EQ(InternTag(*tags_, nullptr), -EINVAL);
  EXPECT_EQ(InternTag(*tags_, ""), -EINVAL);
  EXPECT_EQ(InternTag(*tags_, "two\nlines"), -EINVAL);
  EXPECT_EQ(InternTag(*tags_, std::string(32, 'x').c_str()), -EINVAL);
  EXPECT_GT(InternTag(*tags_, std::string(31, 'x').c_str()), 0);
  EXPECT_EQ(tags_->lost_tags, 0u);
}

TEST_F(TagTable, AFullTableIsRememberedAsLoss) {
  for (unsigned i = kFirstUserTag; i <= kMaxTags; ++i) {
    ASSERT_EQ(InternTag(*tags_, ("name" + std::to_string(i)).c_str()),
              static_cast<int>(i));
  }
  EXPECT_EQ(tags_->lost_tags, 0u);
  EXPECT_EQ(InternTag(*tags_, "one more"), -ENOSPC);
  EXPECT_EQ(tags_->lost_tags, 1u);
  EXPECT_EQ(InternTag(*tags_, "name77"), 77);  // known ones still work
  EXPECT_EQ(InternTag(*tags_, "secret"), kTagSecret);
}

TEST_F(TagTable, ARuleChangesWhatATagDoes) {
  EXPECT_EQ(SetTagRule(*tags_, "cache", Disposition::kKeep), 0);
  EXPECT_EQ(DispositionOf(*tags_, kTagCache), Disposition::kKeep);
  EXPECT_EQ(SetTagRule(*tags_, "cache", Disposition::kElide), 0);
  EXPECT_EQ(DispositionOf(*tags_, kTagCache), Disposition::kElide);
  EXPECT_EQ(Name(kTagCache), "cache");
  EXPECT_EQ(SetTagRule(*tags_, "mine", Disposition::kCut), 0);
  EXPECT_EQ(
      DispositionOf(*tags_, static_cast<uint8_t>(InternTag(*tags_, "mine"))),
      Disposition::kCut);
  EXPECT_EQ(SetTagRule(*tags_, "", Disposition::kCut), -EINVAL);
}

TEST_F(TagTable, ManyThreadsAgreeOnTheIdOfAName) {
  constexpr int kThreads = 4, kNames = 100;
  std::vector<std::vector<int>> ids(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t, &ids] {
      for (int i = 0; i < kNames; ++i) {
        ids[t].push_back(InternTag(*tags_, ("n" + std::to_string(i)).c_str()));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int t = 1; t < kThreads; ++t) EXPECT_EQ(ids[t], ids[0]);
  EXPECT_EQ(std::set<int>(ids[0].begin(), ids[0].end()).size(), kNames);
}

// A signal handler may intern in the middle of another intern: it neither
// waits for ever nor loses the name.
TEST_F(TagTable, AnEntryThatIsNeverFinishedDelaysNobodyForEver) {
  tags_->entries[kFirstUserTag].ready = 2;
  const int id = InternTag(*tags_, "session");
  EXPECT_EQ(id, kFirstUserTag + 1);
  EXPECT_EQ(InternTag(*tags_, "session"), id);
  EXPECT_EQ(SetTagRule(*tags_, "session", Disposition::kElide), 0);
  EXPECT_EQ(DispositionOf(*tags_, static_cast<uint8_t>(id)),
            Disposition::kElide);
}

// The same the other way round: a rule is set while another thread, or the one that
// was interrupted, is still writing an entry of that name.
TEST_F(TagTable, ARuleReachesAnEntryThatWasBeingWritten) {
  TagEntry& entry = tags_->entries[kFirstUserTag];
  entry.ready = 2;
  EXPECT_EQ(SetTagRule(*tags_, "session", Disposition::kElide), 0);
  EXPECT_EQ(SetTagRule(*tags_, "other", Disposition::kCut), 0);
  EXPECT_EQ(InternTag(*tags_, "session"), kFirstUserTag + 1);
  // The writer goes on, by the hand of another one: its entry is free again.
  entry.ready = 0;
  EXPECT_EQ(InternTag(*tags_, "session"), kFirstUserTag);
  EXPECT_EQ(DispositionOf(*tags_, kFirstUserTag), Disposition::kElide);
  EXPECT_EQ(DispositionOf(*tags_, kFirstUserTag + 1), Disposition::kElide);
  // And both have every rule that comes later.
  EXPECT_EQ(SetTagRule(*tags_, "session", Disposition::kCut), 0);
  EXPECT_EQ(DispositionOf(*tags_, kFirstUserTag), Disposition::kCut);
  EXPECT_EQ(DispositionOf(*tags_, kFirstUserTag + 1), Disposition::kCut);
}

TEST_F(TagTable, AnEntryWithoutARuleYetIsElided) {
  const int id = InternTag(*tags_, "session");
  tags_->entries[id].rule = 0;  // as it is before its writer has looked around
  EXPECT_EQ(DispositionOf(*tags_, static_cast<uint8_t>(id)),
            Disposition::kElide);
}

TEST_F(TagTable, ANameIsFoundWithoutBeingInterned) {
  EXPECT_EQ(FindTag(*tags_, "secret"), kTagSecret);
  EXPECT_EQ(FindTag(*tags_, "session"), -ENOENT);
  EXPECT_EQ(FindTag(*tags_, "session"), -ENOENT);
  EXPECT_EQ(FindTag(*tags_, ""), -EINVAL);
  const int id = InternTag(*tags_, "other");
  EXPECT_EQ(id, kFirstUserTag);
  EXPECT_EQ(FindTag(*tags_, "other"), id);
}

// Allocations

TEST_F(TagTable, ATagGoesOnTheAllocationThatEncloses) {
  MadeUpIndex index;
  RecordSmall(index.state(), 0x1000, 8);
  EXPECT_EQ(TagAllocation(index.state(), index.at(0x107f), kTagSecret), 0);
  EXPECT_EQ(Resolve(index.state(), index.at(0x1000)).own_tag, kTagSecret);
  EXPECT_TRUE(MayHaveTag(index.state(), 0x1000));
  EXPECT_EQ(TagAllocation(index.state(), index.at(0x1000), kTagKeep), 0);
  EXPECT_EQ(Resolve(index.state(), index.at(0x1000)).own_tag, kTagKeep);
  EXPECT_EQ(UntagAllocation(index.state(), index.at(0x1001)), 0);
  EXPECT_EQ(Resolve(index.state(), index.at(0x1000)).own_tag, kNoTag);
}

TEST_F(TagTable, NothingLiveNothingTagged) {
  MadeUpIndex index;
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(TagAllocation(index.state(), index.at(0x1000), 5), -ENOENT);
    EXPECT_EQ(UntagAllocation(index.state(), index.at(0x1000)), -ENOENT);
    RecordSmall(index.state(), 0x1000, 3);
    Retire(index.state(), 0x1000);
  }
  EXPECT_EQ(TagAllocation(index.state(), 0, 5), -ENOENT);
}

TEST_F(TagTable, ALargeAllocationIsTaggedByItsInside) {
  MadeUpIndex index;
  RecordLarge(index.state(), 0x3040, 2 * kChunkSize);
  EXPECT_EQ(TagAllocation(index.state(), index.at(kChunkSize + 99), kTagCache),
            0);
  EXPECT_EQ(Resolve(index.state(), index.at(0x3040)).own_tag, kTagCache);
}

TEST_F(TagTable, ATagWithinATaggedExtentCannotMakeItLessProtected) {
  MadeUpIndex index;
  const auto tag = [&] {
    return TagOf(*tags_, Resolve(index.state(), index.at(0x1000)));
  };
  index.chunk(0).tags = ChunkTags(kAllGroups, kTagSecret);
  RecordSmall(index.state(), 0x1000, 8);
  EXPECT_EQ(TagAllocation(index.state(), index.at(0x1000), kTagCache), 0);
  EXPECT_EQ(tag(), kTagSecret);
  index.chunk(0).tags = ChunkTags(kAllGroups, kTagCache);
  EXPECT_EQ(TagAllocation(index.state(), index.at(0x1000), kTagSecret), 0);
  EXPECT_EQ(tag(), kTagSecret);
  EXPECT_EQ(UntagAllocation(index.state(), index.at(0x1000)), 0);
  EXPECT_EQ(tag(), kTagCache);
}

// A rule may come after the memory.
TEST_F(TagTable, ARuleReachesMemoryWhoseExtentsHaveTheTag) {
  MadeUpIndex index;
  const auto session = static_cast<uint8_t>(InternTag(*tags_, "session"));
  const auto tag = [&] {
    return TagOf(*tags_, Resolve(index.state(), index.at(0x1000)));
  };
  index.chunk(0).tags = ChunkTags(kAllGroups, session);
  RecordSmall(index.state(), 0x1000, 8);
  EXPECT_EQ(TagAllocation(index.state(), index.at(0x1000), kTagCache), 0);
  EXPECT_EQ(tag(), kTagCache);
  EXPECT_EQ(SetTagRule(*tags_, "session", Disposition::kElide), 0);
  EXPECT_EQ(tag(), session);
}

TEST_F(TagTable, ATagReplacesAnotherWithinATaggedExtent) {
  MadeUpIndex index;
  index.chunk(0).tags = ChunkTags(kAllGroups, kTagKeep);
  RecordSmall(index.state(), 0x1000, 8);
  const auto other = static_cast<uint8_t>(InternTag(*tags_, "other"));
  EXPECT_EQ(TagAllocation(index.state(), index.at(0x1000), kTagCache), 0);
  EXPECT_EQ(TagAllocation(index.state(), index.at(0x1000), other), 0);
  EXPECT_EQ(Resolve(index.state(), index.at(0x1000)).own_tag, other);
}

TEST_F(TagTable, ATagIsSeenByTheFreeThatFollowsOrNotPutOn) {
  MadeUpIndex index;
  for (int i = 0; i < 20000; ++i) {
    RecordSmall(index.state(), 0x1000, 8);
    int tagged = 1;
    std::thread tagger;
    if (i % 200 == 0) {
      tagger = std::thread(
          [&] { tagged = TagAllocation(index.state(), index.at(0x1000), 5); });
      const uint8_t old = RetireAndTell(index.state(), 0x1000);
      tagger.join();
      EXPECT_EQ(tagged, (old & kShadowTagged) != 0 ? 0 : -ENOENT);
      EXPECT_EQ(index.Shadow(0x1000), kShadowFreed);
    }
  }
}

// Ranges

TEST_F(TagTable, ARangeIsTaggedUntilItIsUntagged) {
  TagRangeOf(*tags_, {100, 200}, kTagSecret);
  EXPECT_EQ(At(100), Disposition::kElide);
  EXPECT_EQ(At(199), Disposition::kElide);
  EXPECT_EQ(At(99), Disposition::kKeep);
  EXPECT_EQ(At(200), Disposition::kKeep);
  EXPECT_EQ(UntagRangeOf(*tags_, {100, 199}, kTagSecret), -ENOENT);
  EXPECT_EQ(UntagRangeOf(*tags_, {100, 200}, kTagCache), -ENOENT);
  EXPECT_EQ(UntagRangeOf(*tags_, {100, 200}, kTagSecret), 0);
  EXPECT_EQ(At(150), Disposition::kKeep);
  EXPECT_EQ(UntagRangeOf(*tags_, {100, 200}, kTagSecret), -ENOENT);
  EXPECT_EQ(RangesInUse(), 0u);
}

TEST_F(TagTable, OverlappingRangesAreIndependent) {
  TagRangeOf(*tags_, {100, 200}, kTagCache);
  TagRangeOf(*tags_, {150, 160}, kTagSecret);
  TagRangeOf(*tags_, {150, 160}, kTagSecret);
  EXPECT_EQ(At(155), Disposition::kElide);
  EXPECT_EQ(UntagRangeOf(*tags_, {150, 160}, kTagSecret), 0);
  EXPECT_EQ(At(155), Disposition::kElide);
  EXPECT_EQ(UntagRangeOf(*tags_, {150, 160}, kTagSecret), 0);
  EXPECT_EQ(At(155), Disposition::kCut);
}

TEST_F(TagTable, WhenRangesRunOutTheNearestOfItsKindIsWidened) {
  for (unsigned i = 0; i < kMaxTagRanges; ++i) {
    TagRangeOf(*tags_, {i * 1000, i * 1000 + 10},
               i % 2 != 0 ? kTagSecret : kTagCache);
  }
  ASSERT_EQ(RangesInUse(), kMaxTagRanges);
  TagRangeOf(*tags_, {1020, 1030}, kTagSecret);
  EXPECT_EQ(RangesInUse(), kMaxTagRanges);
  EXPECT_EQ(At(1000), Disposition::kElide);
  EXPECT_EQ(At(1015), Disposition::kElide);  // between: more, never less
  EXPECT_EQ(At(1029), Disposition::kElide);
  EXPECT_EQ(At(2000), Disposition::kCut);
  EXPECT_EQ(UntagRangeOf(*tags_, {1020, 1030}, kTagSecret), -ENOENT);
  EXPECT_EQ(UntagRangeOf(*tags_, {1000, 1010}, kTagSecret), -ENOENT);
  EXPECT_EQ(UntagRangeOf(*tags_, {3000, 3010}, kTagSecret), 0);
}

TEST_F(TagTable, ARangeThatOthersWereMergedIntoIsNeverUntagged) {
  for (unsigned i = 1; i < kMaxTagRanges; ++i) {
    TagRangeOf(*tags_, {i * 1000, i * 1000 + 10}, kTagSecret);
  }
  const AddressRange outer{1, 300}, inner{100, 150};
  TagRangeOf(*tags_, outer, kTagSecret);  // the last slot
  TagRangeOf(*tags_, inner, kTagSecret);  // covered by it
  EXPECT_EQ(RangesInUse(), kMaxTagRanges);
  EXPECT_EQ(UntagRangeOf(*tags_, outer, kTagSecret), -ENOENT);
  EXPECT_EQ(UntagRangeOf(*tags_, inner, kTagSecret), -ENOENT);
  EXPECT_EQ(At(149), Disposition::kElide);
}

TEST_F(TagTable, ASecretFindsAPlaceAmongLabelsOnly) {
  const auto label = static_cast<uint8_t>(InternTag(*tags_, "label"));
  for (unsigned i = 0; i < kMaxTagRanges; ++i) {
    TagRangeOf(*tags_, {i * 1000, i * 1000 + 10}, label);
  }
  TagRangeOf(*tags_, {50020, 50030}, kTagSecret);
  EXPECT_EQ(At(50025), Disposition::kElide);
  EXPECT_EQ(At(40005), Disposition::kKeep);
}

// A rule may come later, for either.
TEST_F(TagTable, RangesOfTwoTagsThatShareASlotAreElided) {
  const auto label = static_cast<uint8_t>(InternTag(*tags_, "label"));
  const auto other = static_cast<uint8_t>(InternTag(*tags_, "other"));
  for (unsigned i = 0; i < kMaxTagRanges; ++i) {
    TagRangeOf(*tags_, {i * 1000, i * 1000 + 10}, label);
  }
  TagRangeOf(*tags_, {50020, 50030}, other);
  EXPECT_EQ(At(50025), Disposition::kElide);
  EXPECT_EQ(At(50005), Disposition::kElide);
  TagRangeOf(*tags_, {60020, 60030}, label);
  EXPECT_EQ(At(60025), Disposition::kKeep);
}

TEST_F(TagTable, ARangeInTheMiddleOfAMergeStillCounts) {
  TagRangeOf(*tags_, {100, 200}, kTagSecret);
  // Frozen while it is untagged.
  tags_->ranges[0].state = kRangeClaimed | kTagSecret;
  EXPECT_EQ(At(150), Disposition::kElide);
  tags_->ranges[0].end = 0;
  EXPECT_EQ(At(150), Disposition::kKeep);
}

TEST_F(TagTable, BoundsInAFreeSlotAreElided) {
  const auto label = static_cast<uint8_t>(InternTag(*tags_, "label"));
  TagRangeOf(*tags_, {100, 200}, label);
  tags_->ranges[0].state = 0;  // overwritten
  EXPECT_EQ(At(150), Disposition::kElide);
}

// One thread merges a secret into a slot, while another untags that slot's range
// and takes it for a label.
TEST_F(TagTable, ASlotThatIsUntaggedAndTakenAgainIsNotWidened) {
  constexpr int kRounds = 400;
  const auto label = static_cast<uint8_t>(InternTag(*tags_, "label"));
  const AddressRange untagged{0x100000, 0x100100}, secret{0x100100, 0x100180},
      labelled{0x100080, 0x100200};
  std::atomic<int> begun{0}, done{0};
  std::thread other([&] {
    for (int round = 1; round <= kRounds; ++round) {
      while (begun != round) sched_yield();
      for (int i = round * 97 % 2000; i > 0; --i) __asm__ volatile("pause");
      UntagRangeOf(*tags_, untagged, kTagSecret);
      TagRangeOf(*tags_, labelled, label);
      done = round;
    }
  });
  int lost = 0;
  for (int round = 1; round <= kRounds; ++round) {
    for (TagRange& slot : tags_->ranges) {
      slot.state = slot.begin = slot.end = 0;
    }
    TagRangeOf(*tags_, untagged, kTagSecret);
    for (Address i = 1; i < kMaxTagRanges; ++i) {
      TagRange& slot = tags_->ranges[i];
      slot.begin = (Address{7} << 36) + i * 0x100000;
      slot.end = slot.begin + 16;
      slot.state = kRangeLive | kTagSecret;
    }
    begun = round;
    TagRangeOf(*tags_, secret, kTagSecret);
    while (done != round) sched_yield();
    lost += At(secret.begin) != Disposition::kElide ||
            At(secret.end - 1) != Disposition::kElide;
  }
  other.join();
  EXPECT_EQ(lost, 0);
}

// Threads tag and untag ranges while the slots run out. Whatever a thread has
// tagged and not untagged must be covered at every moment.
TEST_F(TagTable, NoTaggedRangeIsEverUncovered) {
  for (unsigned i = 0; i < kMaxTagRanges - 3; ++i) {
    TagRangeOf(*tags_, {i * 1000, i * 1000 + 10}, kTagSecret);
  }
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 300; ++i) {
        const Address begin = Address{1} << 40 | (t << 20 | random() % 1000);
        const AddressRange range{begin, begin + 1 + random() % 100};
        TagRangeOf(*tags_, range, kTagSecret);
        ASSERT_EQ(At(range.begin), Disposition::kElide);
        ASSERT_EQ(At(range.end - 1), Disposition::kElide);
        UntagRangeOf(*tags_, range, kTagSecret);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(At(5000), Disposition::kElide);
}

}  // namespace
}  // namespace minicore
