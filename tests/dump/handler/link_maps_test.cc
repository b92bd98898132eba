#include "dump/handler/link_maps.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <link.h>

#include <set>
#include <vector>

#include "tests/support/fault_handler.h"
#include "tests/support/test_arena.h"

namespace minicore {
namespace {

Address AddressOf(const void* pointer) {
  return reinterpret_cast<Address>(pointer);
}

// A program's headers, dynamic section and list of modules, as ld.so leaves
// them.
class LinkMapsTest : public testing::Test {
 protected:
  LinkMapsTest() : modules_(3) {
    InstallFaultHandler();
    for (size_t i = 0; i < modules_.size(); ++i) {
      modules_[i].l_name = names_[i];
      modules_[i].l_next = i + 1 < modules_.size() ? &modules_[i + 1] : nullptr;
    }
    debug_.r_version = 1;
    debug_.r_map = &modules_[0];
    dynamic_[0].d_tag = DT_NEEDED;
    dynamic_[1].d_tag = DT_DEBUG;
    dynamic_[1].d_un.d_ptr = AddressOf(&debug_);
    dynamic_[2].d_tag = DT_NULL;
    // Addresses in headers are relative to where the file was loaded.
    headers_[0].p_type = PT_PHDR;
    headers_[0].p_vaddr = AddressOf(headers_) - kBias;
    headers_[1].p_type = PT_LOAD;
    headers_[2].p_type = PT_DYNAMIC;
    headers_[2].p_vaddr = AddressOf(dynamic_) - kBias;
    headers_[2].p_memsz = sizeof(dynamic_);
    auxv_ = {AT_PAGESZ, 4096, AT_PHDR, AddressOf(headers_),
             AT_PHNUM,  3,    AT_NULL, 0};
  }

  std::vector<Address> Find() {
    TestArena arena(4 << 20);
    safe::FixedVector<Address> found;
    found.Reserve(arena, 2 * kMaxLinkMaps);
    FindLinkMaps(auxv_.data(), static_cast<unsigned>(auxv_.size()), found);
    return {found.begin(), found.end()};
  }

  static constexpr uint64_t kBias = 0x1000000;
  char names_[3][16] = {"", "/lib/a.so", "/lib/b.so"};
  std::vector<link_map> modules_;
  r_debug debug_{};
  Elf64_Dyn dynamic_[3]{};
  Elf64_Phdr headers_[3]{};
  std::vector<uint64_t> auxv_;
};

TEST_F(LinkMapsTest, FindsTheListItsNodesAndTheirNames) {
  std::vector<Address> expected = {AddressOf(&debug_)};
  for (size_t i = 0; i < 3; ++i) {
    expected.push_back(AddressOf(&modules_[i]));
    expected.push_back(AddressOf(names_[i]));
  }
  EXPECT_EQ(Find(), expected);
}

TEST_F(LinkMapsTest, ACircleEnds) {
  modules_[2].l_next = &modules_[0];
  const auto found = Find();
  EXPECT_LE(found.size(), 2 * kMaxLinkMaps + 1);
  const std::set<Address> distinct(found.begin(), found.end());
  EXPECT_EQ(distinct.size(), 7u);
}

TEST_F(LinkMapsTest, AListThatLeadsNowhereEndsThere) {
  modules_[1].l_next = reinterpret_cast<link_map*>(0x10);
  EXPECT_EQ(Find().size(), 5u);
  modules_[0].l_next = reinterpret_cast<link_map*>(0x3e444544494c453c);
  EXPECT_EQ(Find().size(), 3u);
  debug_.r_map = nullptr;
  EXPECT_EQ(Find().size(), 1u);
}

TEST_F(LinkMapsTest, AStaticProgramHasNoList) {
  dynamic_[1].d_tag = DT_NULL;
  EXPECT_TRUE(Find().empty());
  headers_[2].p_type = PT_NULL;
  EXPECT_TRUE(Find().empty());
  auxv_ = {AT_NULL, 0};
  EXPECT_TRUE(Find().empty());
  auxv_.clear();
  EXPECT_TRUE(Find().empty());
}

TEST_F(LinkMapsTest, WhatLdSoHasNotFilledInYetIsNoList) {
  dynamic_[1].d_un.d_ptr = 0;
  EXPECT_TRUE(Find().empty());
}

TEST_F(LinkMapsTest, HeadersThatAreGoneAreNoError) {
  auxv_[3] = 0x10;
  EXPECT_TRUE(Find().empty());
  auxv_[3] = ~0ull - 100;
  EXPECT_TRUE(Find().empty());
}

TEST_F(LinkMapsTest, NumbersThatLieAreBounded) {
  auxv_[5] = ~0ull;  // program headers
  headers_[2].p_memsz = ~0ull;
  const auto found = Find();
  EXPECT_TRUE(found.empty() || found.size() == 7u);
}

// This process's own list, found by the kernel's vector, agrees with ld.so's.
TEST(RealLinkMapsTest, AgreesWithDlIteratePhdr) {
  InstallFaultHandler();
  FILE* file = fopen("/proc/self/auxv", "r");
  ASSERT_NE(file, nullptr);
  uint64_t auxv[128];
  const size_t words = fread(auxv, 8, 128, file);
  fclose(file);
  TestArena arena(4 << 20);
  safe::FixedVector<Address> found;
  found.Reserve(arena, 2 * kMaxLinkMaps);
  FindLinkMaps(auxv, static_cast<unsigned>(words), found);
  const std::set<Address> addresses(found.begin(), found.end());
  size_t modules = 0;
  for (const link_map* module = _r_debug.r_map; module != nullptr;
       module = module->l_next) {
    EXPECT_EQ(addresses.count(AddressOf(module)), 1u);
    ++modules;
  }
  EXPECT_GT(modules, 2u);
}

}  // namespace
}  // namespace minicore
