// What a crash finds of a tag between any two instructions of those who write it,
// alone and against each other; and when one of its entries is overwritten.

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "alloc/index_view.h"
#include "alloc/shadow_index.h"
#include "alloc/tag_table.h"
#include "tests/alloc/made_up_index.h"
#include "tests/support/single_step.h"

namespace minicore {
namespace {

constexpr uint64_t kAt = 0x2a000;
// Of one, two and more granules, and large.
constexpr unsigned kClasses[] = {1, 2, 5, 35, kShadowLarge};

void Record(MadeUpIndex& index, uint64_t offset, unsigned size_class,
            uint8_t mark = 0) {
  if (size_class == kShadowLarge) {
    RecordLarge(index.state(), offset, 0x5000, mark);
  } else {
    RecordSmall(index.state(), offset, size_class, mark);
  }
}

ByteCount SizeOf(unsigned size_class) {
  return size_class == kShadowLarge ? 0x5000 : kSmallClassSize[size_class];
}

// What ReleaseSlow() does.
void Free(MadeUpIndex& index, uint64_t offset) {
  const uint8_t byte = RetireAndTell(index.state(), offset);
  if (OwnTag(index.state(), offset >> kGranuleShift, byte) != kNoTag) {
    SetTagBytes(index.state(), offset, byte, kNoTag);
  }
}

class TagInstants : public testing::TestWithParam<unsigned> {
 protected:
  TagInstants() { Record(index_, kAt, GetParam()); }

  bool Put(uint8_t tag) {
    if (tag != kNoTag) ExpectTags(index_.state(), kAt);
    return PutTag(index_.state(), kAt, tag);
  }

  // Whether a crash would elide all of the allocation.
  bool Elided() {
    struct Search {
      AddressRange whole;
      bool found;
    } search = {{index_.at(kAt), index_.at(kAt) + SizeOf(GetParam())}, false};
    ForEachOf(
        index_.state(), *tags_, 0, Disposition::kElide,
        [](void* context, const Allocation& allocation) {
          auto* s = static_cast<Search*>(context);
          s->found = s->found || allocation.range().Contains(s->whole);
          return true;
        },
        &search);
    return search.found;
  }
  uint8_t Tag() { return Resolve(index_.state(), index_.at(kAt)).own_tag; }
  bool Contradictory() { return Contradicts(index_.state(), 0); }

  MadeUpIndex index_{1};
  std::unique_ptr<TagState> tags_ = std::make_unique<TagState>();
};

INSTANTIATE_TEST_SUITE_P(OfEachSize, TagInstants, testing::ValuesIn(kClasses));

// Elided only from some instant on, or up to one.
TEST_P(TagInstants, ATagComesAndGoesAtOneInstant) {
  const uint8_t tags[] = {kNoTag, kTagCache, kTagSecret};
  for (uint8_t from : tags) {
    for (uint8_t to : tags) {
      ASSERT_TRUE(Put(from));
      std::string elided;
      int contradictions = 0;
      const int steps = SingleStep::Run([&] { Put(to); },
                                        [&](int) {
                                          elided += Elided() ? 'E' : '.';
                                          contradictions += Contradictory();
                                        });
      EXPECT_EQ(contradictions, 0);
      EXPECT_GT(steps, 10);
      EXPECT_EQ(Tag(), to);
      EXPECT_EQ(elided.front() == 'E', from == kTagSecret);
      EXPECT_EQ(elided.back() == 'E', to == kTagSecret);
      // Between two tags that elide nothing it may be unknown for an instant.
      if (from == kTagSecret && to == kTagSecret) {
        EXPECT_EQ(elided.find('.'), std::string::npos);
      } else if (from == kTagSecret) {
        EXPECT_EQ(elided.find(".E"), std::string::npos) << elided;
      } else if (to == kTagSecret) {
        EXPECT_EQ(elided.find("E."), std::string::npos) << elided;
      }
      Put(kNoTag);
    }
  }
}

TEST_P(TagInstants, WhatIsBornTaggedIsNeverPlain) {
  Free(index_, kAt);
  std::string seen;
  SingleStep::Run(
      [&] {
        ExpectTags(index_.state(), kAt);
        Record(index_, kAt, GetParam(), kShadowTagged);
        SetTagBytes(index_.state(), kAt, static_cast<uint8_t>(GetParam()),
                    kTagSecret);
      },
      [&](int) {
        const Allocation found = Resolve(index_.state(), index_.at(kAt));
        seen += Contradictory()                         ? '!'
                : found.state != AllocationState::kLive ? '-'
                : Elided()                              ? 'E'
                                                        : '.';
      });
  EXPECT_EQ(seen.find_first_of("!."), std::string::npos) << seen;
  EXPECT_EQ(seen.back(), 'E');
  EXPECT_EQ(Tag(), kTagSecret);
}

TEST_P(TagInstants, WhatIsFreedIsElidedUntilItsTagIsGone) {
  Put(kTagSecret);
  std::string elided;
  int contradictions = 0;
  SingleStep::Run(
      [&] { Free(index_, kAt); },
      [&](int) {
        elided += Elided() ? 'E' : '.';
        contradictions += Contradictory();
        if (StartByte(index_.state(), kAt) != kShadowFreed && !Elided()) {
          elided += '!';
        }
      });
  EXPECT_EQ(contradictions, 0);
  EXPECT_EQ(elided.find(".E"), std::string::npos) << elided;
  EXPECT_EQ(elided.find('!'), std::string::npos) << elided;
  EXPECT_EQ(elided.back(), '.');
  EXPECT_FALSE(Contradictory());
}

// One thread is frozen anywhere in its call, a second one anywhere in another, and
// then the second goes on, and the first.
TEST_P(TagInstants, TwoThatTagAtOnceAgreeInTheEnd) {
  constexpr int kStride = 5;
  const std::pair<uint8_t, uint8_t> both[] = {
      {kTagSecret, kNoTag}, {kNoTag, kTagSecret}, {kTagSecret, kTagKeep}};
  for (const auto& [first, second] : both) {
    for (int frozen_at = 0;; frozen_at += kStride) {
      Put(kTagCache);
      int contradictions = 0;
      const auto run_second = [&, second = second] {
        SingleStep::Run([&] { Put(second); },
                        [&](int) { contradictions += Contradictory(); });
      };
      const int steps = SingleStep::Run(
          [&, first = first] { Put(first); },
          [&](int n) { n == frozen_at ? run_second() : void(); });
      ASSERT_EQ(contradictions, 0);
      ASSERT_TRUE(Tag() == first || Tag() == second) << int{Tag()};
      if (frozen_at >= steps) break;
    }
  }
}

// The same against free(): the tag is seen by it, or was not put on. As long as both
// are under way, the index may contradict itself, and then everything is elided.
TEST_P(TagInstants, ATagThatRacesWithFreeIsSeenByItOrRefused) {
  for (uint8_t before : {kNoTag, kTagCache}) {
    for (int frozen_at = 0;; ++frozen_at) {
      Free(index_, kAt);
      Record(index_, kAt, GetParam());
      ASSERT_TRUE(Put(before));
      bool tagged = false;
      uint8_t byte = 0, tag = kNoTag;
      const int steps = SingleStep::Run(
          [&] { tagged = Put(kTagSecret); },
          [&](int n) {
            if (n != frozen_at) return;
            byte = RetireAndTell(index_.state(), kAt);
            tag = OwnTag(index_.state(), kAt >> kGranuleShift, byte);
            SetTagBytes(index_.state(), kAt, byte, kNoTag);
          });
      if (frozen_at >= steps) break;
      ASSERT_FALSE(Contradictory());
      // What free() saw was secret, or unknown, and is wiped.
      ASSERT_TRUE(!tagged || tag == kTagSecret || tag == kUnknownTag);
      ASSERT_TRUE(before != kNoTag || tagged == ((byte & kShadowTagged) != 0));
      ASSERT_FALSE(Elided());
      ASSERT_EQ(TagByte(index_.state(), kAt), kNoTag);
    }
  }
}

// Whatever a writer of the program's leaves in one byte.

struct Neighbours {
  const char* what;
  void (*make)(MadeUpIndex& index, unsigned size_class);
};

// The slots before and behind, of the same slab.
template <typename Make>
void InBothSlots(unsigned size_class, Make make) {
  make(kAt - SizeOf(size_class));
  make(kAt + SizeOf(size_class));
}

const Neighbours kNeighbours[] = {
    {"none", [](MadeUpIndex&, unsigned) {}},
    {"live",
     [](MadeUpIndex& index, unsigned size_class) {
       InBothSlots(size_class,
                   [&](uint64_t at) { Record(index, at, size_class); });
     }},
    {"freed",
     [](MadeUpIndex& index, unsigned size_class) {
       InBothSlots(size_class, [&](uint64_t at) {
         Record(index, at, size_class);
         Free(index, at);
       });
     }},
    {"tagged",
     [](MadeUpIndex& index, unsigned size_class) {
       InBothSlots(size_class, [&](uint64_t at) {
         Record(index, at, size_class);
         PutTag(index.state(), at, kTagSecret);
       });
     }},
    {"other things before it",
     [](MadeUpIndex& index, unsigned size_class) {
       const uint8_t byte = StartByte(index.state(), kAt);
       for (unsigned earlier : {35u, 8u, 3u, 2u}) {
         index.SetShadow(kAt, 0);
         for (uint64_t at = kAt; at < kAt + 0x4000;
              at += kSmallClassSize[earlier]) {
           RecordSmall(index.state(), at, earlier);
           Retire(index.state(), at);
         }
       }
       Record(index, kAt, size_class, byte & kShadowTagged);
     }},
};

TEST_P(TagInstants, NoByteThatIsOverwrittenMakesASecretOrdinary) {
  for (const Neighbours& neighbours : kNeighbours) {
    SCOPED_TRACE(neighbours.what);
    index_.Fill(0);
    Record(index_, kAt, GetParam());
    Put(kTagSecret);
    neighbours.make(index_, GetParam());
    ASSERT_TRUE(Elided());
    ASSERT_FALSE(Contradictory());
    std::vector<std::atomic<uint8_t>*> bytes = {
        &index_.state().shadow[kAt >> kGranuleShift]};
    if (GetParam() != 1) {
      bytes.push_back(bytes[0] + 1);
      bytes.push_back(&index_.state().tags[kAt >> kGranuleShift]);
      bytes.push_back(bytes[2] + 1);
    }
    for (std::atomic<uint8_t>* byte : bytes) {
      const uint8_t was = *byte;
      for (unsigned other = 0; other < 256; ++other) {
        *byte = static_cast<uint8_t>(other);
        EXPECT_TRUE(Elided() || Contradictory())
            << byte - bytes[0] << ": " << int{was} << " -> " << other;
      }
      *byte = was;
    }
  }
}

TEST_P(TagInstants, NoByteOfTheChunksTagsIsOverwrittenUnseen) {
  Put(kTagSecret);
  auto* bytes = reinterpret_cast<uint8_t*>(&index_.chunk(0).tags);
  for (unsigned i = 0; i < 8; ++i) {
    const uint8_t was = bytes[i];
    for (unsigned other = 0; other < 256; ++other) {
      bytes[i] = static_cast<uint8_t>(other);
      EXPECT_EQ(Contradictory(), other != was) << i;
    }
    bytes[i] = was;
  }
}

// A rule is set at any instant of another thread's intern, or interns at any instant
// of a rule that is being set: it counts for every entry of the name, and no entry that
// memory may be tagged with is written before that.
TEST(RuleInstants, ARuleIsNeverLost) {
  const auto count = [](const TagState& tags) {
    int entries = 0;
    for (unsigned id = kFirstUserTag; id <= kMaxTags; ++id) {
      if (tags.entries[id].ready != 1) continue;
      ++entries;
      EXPECT_EQ(DispositionOf(tags, static_cast<uint8_t>(id)),
                Disposition::kElide);
    }
    return entries;
  };
  int twice = 0;
  for (const bool rule_first : {false, true}) {
    for (int when = 0;; when += 19) {
      const auto tags = std::make_unique<TagState>();
      const auto intern = [&] { InternTag(*tags, "session"); };
      const auto rule = [&] {
        SetTagRule(*tags, "session", Disposition::kElide);
      };
      bool is_set = false;
      int exposed = 0;
      const int steps = SingleStep::Run(
          [&] { rule_first ? rule() : intern(); },
          [&](int n) {
            if (n == when) rule_first ? intern() : rule();
            if (n == when && !rule_first) is_set = true;
            for (uint8_t id : {kFirstUserTag, uint8_t{kFirstUserTag + 1}}) {
              exposed += is_set && tags->entries[id].ready == 1 &&
                         DispositionOf(*tags, id) != Disposition::kElide;
            }
          });
      if (when >= steps) break;
      EXPECT_EQ(exposed, 0);
      twice += count(*tags) == 2;
    }
  }
  EXPECT_GT(twice, 0);
}

// One thread merges a secret into a slot; at each instant another one has untagged that
// slot's range and taken it for a label.
TEST(RangeInstants, ASlotThatIsUntaggedAndTakenAgainIsNotWidened) {
  constexpr AddressRange kUntagged{0x100000, 0x100100},
      kSecret{0x100100, 0x100180}, kLabelled{0x100080, 0x100200};
  constexpr int kLast = 60;  // instructions that are looked at
  constexpr int kStride = 19;
  const auto tags = std::make_unique<TagState>();
  const auto label = static_cast<uint8_t>(InternTag(*tags, "label"));
  // How many instructions there were, if the other one comes after `when`.
  const auto merge = [&](int when) {
    for (TagRange& slot : tags->ranges) slot.state = slot.begin = slot.end = 0;
    TagRangeOf(*tags, kUntagged, kTagSecret);
    for (Address i = 1; i < kMaxTagRanges; ++i) {
      TagRange& slot = tags->ranges[i];
      slot.begin = (Address{7} << 36) + i * 0x100000;
      slot.end = slot.begin + 16;
      slot.state = kRangeLive | kTagSecret;
    }
    return SingleStep::Run([&] { TagRangeOf(*tags, kSecret, kTagSecret); },
                           [&](int n) {
                             if (n != when) return;
                             UntagRangeOf(*tags, kUntagged, kTagSecret);
                             TagRangeOf(*tags, kLabelled, label);
                           });
  };
  const auto is_elided = [&](Address address) {
    for (unsigned slot = 0; slot < kMaxTagRanges; ++slot) {
      AddressRange range;
      uint8_t tag;
      if (RangeAt(*tags, slot, &range, &tag) && range.Contains(address) &&
          DispositionOf(*tags, tag) == Disposition::kElide) {
        return true;
      }
    }
    return false;
  };
  const int steps = merge(-1);
  for (int when = steps - kLast; when < steps; when += kStride) {
    merge(when);
    EXPECT_TRUE(is_elided(kSecret.begin)) << steps - when;
    EXPECT_TRUE(is_elided(kSecret.end - 1)) << steps - when;
  }
}

}  // namespace
}  // namespace minicore
