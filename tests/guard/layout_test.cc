// Readers of other versions, and other programs, know these bytes by their
// numbers. What fails here is a change of the format: append instead, or raise
// the version (docs/FORMAT.md, alloc/index_format.h).

#include <gtest/gtest.h>

#include <cstddef>

#include "alloc/index_format.h"
#include "dump/elf_core_format.h"

namespace minicore {
namespace {

#define EXPECT_PLACE(type, member, offset, bytes)    \
  EXPECT_EQ(offsetof(type, member), size_t{offset}); \
  EXPECT_EQ(sizeof(type::member), size_t{bytes})

TEST(CoreFormat, NoteTypesKeepTheirNumbers) {
  EXPECT_STREQ(kNoteOwner, "MINICORE");
  EXPECT_EQ(kFormatVersion, 1u);
  EXPECT_EQ(kNoteReport, 0x4d430001u);
  EXPECT_EQ(kNoteThreads, 0x4d430002u);
  EXPECT_EQ(kNoteSegments, 0x4d430003u);
  EXPECT_EQ(kNoteHoles, 0x4d430004u);
  EXPECT_EQ(kNoteTags, 0x4d430005u);
  EXPECT_EQ(kNoteAnchors, 0x4d430006u);
}

TEST(CoreFormat, RowHeaderKeepsItsPlaces) {
  EXPECT_EQ(sizeof(NoteRowHeader), 16u);
  EXPECT_PLACE(NoteRowHeader, version, 0, 4);
  EXPECT_PLACE(NoteRowHeader, row_bytes, 4, 4);
  EXPECT_PLACE(NoteRowHeader, rows, 8, 4);
  EXPECT_PLACE(NoteRowHeader, dropped, 12, 4);
}

// Rows may grow at their end, and only there.
TEST(CoreFormat, RowsKeepTheirPlaces) {
  EXPECT_PLACE(ThreadRow, tid, 0, 4);
  EXPECT_PLACE(ThreadRow, source, 4, 1);
  EXPECT_PLACE(ThreadRow, stack_pointer, 8, 8);
  EXPECT_PLACE(ThreadRow, program_counter, 16, 8);
  EXPECT_PLACE(ThreadRow, fs_base, 24, 8);
  EXPECT_PLACE(ThreadRow, name, 32, 16);

  EXPECT_PLACE(SegmentRow, begin, 0, 8);
  EXPECT_PLACE(SegmentRow, end, 8, 8);
  EXPECT_PLACE(SegmentRow, kind, 16, 1);
  EXPECT_PLACE(SegmentRow, tid, 20, 4);
  EXPECT_PLACE(SegmentRow, filler, 24, 8);

  EXPECT_PLACE(HoleRow, begin, 0, 8);
  EXPECT_PLACE(HoleRow, end, 8, 8);
  EXPECT_PLACE(HoleRow, reason, 16, 1);
  EXPECT_PLACE(HoleRow, tag, 17, 1);
  EXPECT_PLACE(HoleRow, count, 20, 4);

  EXPECT_PLACE(TagRow, id, 0, 1);
  EXPECT_PLACE(TagRow, disposition, 1, 1);
  EXPECT_PLACE(TagRow, kept, 4, 4);
  EXPECT_PLACE(TagRow, cut, 8, 4);
  EXPECT_PLACE(TagRow, elided, 12, 4);
  EXPECT_PLACE(TagRow, bytes_in, 16, 8);
  EXPECT_PLACE(TagRow, bytes_out, 24, 8);
  EXPECT_PLACE(TagRow, name, 32, 32);

  EXPECT_PLACE(AnchorRow, source, 0, 1);
  EXPECT_PLACE(AnchorRow, number, 1, 1);
  EXPECT_PLACE(AnchorRow, state, 2, 1);
  EXPECT_PLACE(AnchorRow, tag, 3, 1);
  EXPECT_PLACE(AnchorRow, value, 8, 8);
  EXPECT_PLACE(AnchorRow, begin, 16, 8);
  EXPECT_PLACE(AnchorRow, size, 24, 8);
}

TEST(CoreFormat, NumbersOfKindsReasonsAndSourcesStay) {
  EXPECT_EQ(static_cast<int>(ThreadSource::kPtrace), 4);
  EXPECT_EQ(static_cast<int>(SegmentKind::kStack), 6);
  EXPECT_EQ(static_cast<int>(SegmentKind::kForeign), 8);
  EXPECT_EQ(static_cast<int>(HoleReason::kSecret), 1);
  EXPECT_EQ(static_cast<int>(HoleReason::kSecretCopy), 2);
  EXPECT_EQ(static_cast<int>(HoleReason::kUnreadable), 9);
  EXPECT_EQ(static_cast<int>(HoleReason::kCanary), 15);
  EXPECT_EQ(static_cast<int>(AnchorSource::kRegister), 2);
}

// As text it can be read; as a pointer it is in nobody's address space.
TEST(CoreFormat, TheMarkerIsTextAndNoPointer) {
  uint64_t word;
  __builtin_memcpy(&word, kElidedMarker, sizeof(word));
  EXPECT_EQ(word, kElidedMarkerWord);
  const uint64_t upper = word >> 47;
  EXPECT_TRUE(upper != 0 && upper != 0x1ffff) << "canonical";
}

TEST(IndexFormat, TheStateKeepsItsPlaces) {
  EXPECT_EQ(kIndexVersion, 3u);
  EXPECT_PLACE(IndexState, magic, 0, 8);
  EXPECT_PLACE(IndexState, version, 8, 4);
  EXPECT_PLACE(IndexState, flags, 12, 4);
  EXPECT_PLACE(IndexState, region, 16, 8);
  EXPECT_PLACE(IndexState, region_bytes, 24, 8);
  EXPECT_PLACE(IndexState, shadow, 32, 8);
  // What malloc and free read is in one cache line.
  EXPECT_LE(offsetof(IndexState, chunks) + sizeof(void*), 64u);
}

TEST(IndexFormat, ShadowBytesKeepTheirMeaning) {
  EXPECT_EQ(kGranuleSize, 16u);
  EXPECT_EQ(kChunkSize, 2u << 20);
  EXPECT_EQ(kShadowLarge, 0x3f);
  EXPECT_EQ(kShadowNotLive, 0x40);
  EXPECT_EQ(kShadowTagged, 0x80);
  // Class numbers are stored: only the end may grow.
  EXPECT_EQ(kSmallClassSize[1], 16);
  EXPECT_EQ(kSmallClassSize[8], 128);
  EXPECT_EQ(kSmallClassSize[20], 1024);
  EXPECT_EQ(kSmallClassSize[35], 14336);
  // A class would read as a marker.
  EXPECT_LT(kSmallClasses, kShadowLarge);
}

TEST(IndexFormat, SmallClassesGrow) {
  for (unsigned i = 1; i <= kSmallClasses; ++i) {
    EXPECT_GT(kSmallClassSize[i], kSmallClassSize[i - 1]) << i;
    EXPECT_EQ(kSmallClassSize[i] % kGranuleSize, 0u) << i;
  }
}

TEST(IndexFormat, ChunksKeepTheirPlaces) {
  EXPECT_PLACE(ChunkEntry, large_before, 0, 8);
  EXPECT_PLACE(ChunkEntry, tags, 8, 8);
  EXPECT_EQ(ChunkTags(0, kNoTag), 0u);
  EXPECT_EQ(ChunkTags(0x80000001, kTagSecret), 0x0001810180000001);
  EXPECT_EQ(GroupBit(kChunkSize + 0x1fffff), 0x80000000u);
}

// Tag ids are in cores and in the shadow.
TEST(IndexFormat, BuiltInTagsAndDispositionsKeepTheirNumbers) {
  EXPECT_EQ(kTagSecret, 1);
  EXPECT_EQ(kTagCache, 2);
  EXPECT_EQ(kTagKeep, 3);
  // The most protective is the greatest.
  EXPECT_LT(Disposition::kKeep, Disposition::kKeepAlways);
  EXPECT_LT(Disposition::kKeepAlways, Disposition::kCut);
  EXPECT_LT(Disposition::kCut, Disposition::kElide);
  EXPECT_EQ(sizeof(TagEntry::name), kMaxTagName + 1);
}

}  // namespace
}  // namespace minicore
