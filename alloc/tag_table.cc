#include "alloc/tag_table.h"

#include <cerrno>

#include "alloc/index_view.h"
#include "alloc/shadow_index.h"

namespace minicore {
namespace {

// TagEntry::ready
constexpr uint8_t kEntryFree = 0;
constexpr uint8_t kEntryReady = 1;
constexpr uint8_t kEntryTaken = 2;  // its name is being written

// How often to look again at an entry whose name is just being written: copying
// 31 bytes takes far less. Whoever was interrupted there may never go on, so
// then we go on.
constexpr int kPatience = 1000;

unsigned NameLength(const char* name) {
  if (name == nullptr) return 0;
  unsigned length = 0;
  for (; name[length] != '\0'; ++length) {
    const auto byte = static_cast<unsigned char>(name[length]);
    if (length == kMaxTagName || byte < 0x20 || byte == 0x7f) return 0;
  }
  return length;
}

bool SameName(const char* a, const char* b) {
  for (unsigned i = 0; i <= kMaxTagName; ++i) {
    if (a[i] != b[i]) return false;
    if (a[i] == '\0') return true;
  }
  return true;
}

uint8_t BuiltIn(const char* name) {
  if (SameName(name, "secret")) return kTagSecret;
  if (SameName(name, "cache")) return kTagCache;
  if (SameName(name, "keep")) return kTagKeep;
  return kNoTag;
}

// Waits, within reason, for a name that is being written.
uint8_t SettledState(const TagEntry& entry) {
  uint8_t state = entry.ready.load(std::memory_order_acquire);
  for (int i = 0; state == kEntryTaken && i < kPatience; ++i) {
    __builtin_ia32_pause();
    state = entry.ready.load(std::memory_order_acquire);
  }
  return state;
}

bool HasName(const TagEntry& entry, const char* name) {
  return entry.ready.load() == kEntryReady && SameName(entry.name, name);
}

// The first entry that has this name, else kNoTag.
uint8_t Lookup(const TagState& tags, const char* name) {
  for (unsigned id = kFirstUserTag; id <= kMaxTags; ++id) {
    const TagEntry& entry = tags.entries[id];
    const uint8_t state = SettledState(entry);
    if (state == kEntryFree) return kNoTag;  // entries are taken in order
    if (state == kEntryReady && SameName(entry.name, name)) {
      return static_cast<uint8_t>(id);
    }
  }
  return kNoTag;
}

// Fills an entry that the caller has taken. There may be another one of the name:
// a handler interned it in the middle of another intern, or patience ran out.
// Whoever sets a rule gives it to his entry first and then to all others that are
// ready; here the entry becomes ready first, and then the others are asked for
// their rule. So one of the two sees the other (sequentially consistent). Until
// then the entry has no rule, and its memory is elided.
void WriteEntry(TagState& tags, TagEntry& entry, const char* name) {
  unsigned i = 0;
  for (; name[i] != '\0'; ++i) entry.name[i] = name[i];
  entry.name[i] = '\0';
  entry.ready.store(kEntryReady);
  uint8_t strictest = RuleOf(Disposition::kKeep);
  for (unsigned id = kFirstUserTag; id <= kMaxTags; ++id) {
    const TagEntry& other = tags.entries[id];
    if (!HasName(other, name)) continue;
    const uint8_t rule = other.rule.load();
    if (rule > strictest) strictest = rule;
  }
  uint8_t none = 0;
  entry.rule.compare_exchange_strong(none, strictest);
}

}  // namespace

int InternTag(TagState& tags, const char* name) {
  if (NameLength(name) == 0) return -EINVAL;
  const uint8_t built_in = BuiltIn(name);
  if (built_in != kNoTag) return built_in;
  for (unsigned id = kFirstUserTag; id <= kMaxTags; ++id) {
    TagEntry& entry = tags.entries[id];
    uint8_t state = SettledState(entry);
    if (state == kEntryFree &&
        entry.ready.compare_exchange_strong(state, kEntryTaken,
                                            std::memory_order_acquire)) {
      WriteEntry(tags, entry, name);
      // Of several entries of the name the first one counts.
      return Lookup(tags, name);
    }
    state = SettledState(entry);
    if (state == kEntryReady && SameName(entry.name, name)) {
      return static_cast<int>(id);
    }
  }
  tags.lost_tags.store(1, std::memory_order_relaxed);
  return -ENOSPC;
}

int FindTag(const TagState& tags, const char* name) {
  if (NameLength(name) == 0) return -EINVAL;
  const uint8_t built_in = BuiltIn(name);
  if (built_in != kNoTag) return built_in;
  const uint8_t id = Lookup(tags, name);
  return id != kNoTag ? id : -ENOENT;
}

int SetTagRule(TagState& tags, const char* name, Disposition disposition) {
  const int id = InternTag(tags, name);
  if (id < 0) return id;
  const uint8_t rule = RuleOf(disposition);
  tags.entries[id].rule.store(rule);
  for (unsigned i = kFirstUserTag; i <= kMaxTags; ++i) {
    if (HasName(tags.entries[i], name)) tags.entries[i].rule.store(rule);
  }
  return 0;
}

void ResetTagRules(TagState& tags, bool (*in)(const void* named, const char* name),
                   const void* named) {
  for (unsigned id = 1; id <= kMaxTags; ++id) {
    TagEntry& entry = tags.entries[id];
    const bool built_in = id < kFirstUserTag;
    const uint8_t rule = built_in ? uint8_t{0} : RuleOf(Disposition::kKeep);
    const uint8_t state = entry.ready.load(std::memory_order_acquire);
    if (!built_in && state == kEntryFree) return;  // entries are taken in order
    // One whose name is being written has no rule yet, and finds its own.
    if ((!built_in && state != kEntryReady) || entry.rule.load() == rule) continue;
    char name[kMaxTagName + 1];
    NameOf(tags, static_cast<uint8_t>(id), name);
    if (!in(named, name)) entry.rule.store(rule);
  }
}

int TagAllocation(IndexState& index, Address address, uint8_t tag) {
  const Allocation allocation = Resolve(index, address);
  if (allocation.state != AllocationState::kLive) return -ENOENT;
  const uint64_t offset = allocation.begin - index.region;
  ExpectTags(index, offset);
  return PutTag(index, offset, tag) ? 0 : -ENOENT;
}

int UntagAllocation(const IndexState& index, Address address) {
  const Allocation allocation = Resolve(index, address);
  if (allocation.state != AllocationState::kLive) return -ENOENT;
  if (allocation.own_tag == kNoTag) return 0;
  const uint64_t offset = allocation.begin - index.region;
  return PutTag(index, offset, kNoTag) ? 0 : -ENOENT;
}

}  // namespace minicore
