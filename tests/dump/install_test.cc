// minicore_install(): what the program asks for, and what its environment does.

#include <gtest/gtest.h>
#include <stdlib.h>

#include "alloc/index_view.h"
#include "alloc/state.h"
#include "minicore/minicore.h"

namespace minicore {
namespace {

Disposition OfTag(const char* name) {
  char known[kMaxTagName + 1];
  for (unsigned tag = 1; tag <= kMaxTags; ++tag) {
    NameOf(g_tag_state, static_cast<uint8_t>(tag), known);
    if (std::string(known) == name) {
      return DispositionOf(g_tag_state, static_cast<uint8_t>(tag));
    }
  }
  ADD_FAILURE() << "no tag " << name;
  return Disposition::kKeep;
}

TEST(InstallTest, TheEnvironmentsRulesForTagsWinOverTheProgramsOwn) {
  setenv("MINICORE_OPTIONS", "tag.session=elide:tag.session=cut:tag.key=elide", 1);
  minicore_config config = minicore_default_config();
  config.tags = "session=keep:key=label:log=keep";
  ASSERT_EQ(minicore_install(&config), 0);
  EXPECT_EQ(OfTag("session"), Disposition::kCut);
  EXPECT_EQ(OfTag("key"), Disposition::kElide);
  EXPECT_EQ(OfTag("log"), Disposition::kKeepAlways);
}

}  // namespace
}  // namespace minicore
