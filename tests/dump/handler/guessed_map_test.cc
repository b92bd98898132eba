#include "dump/handler/guessed_map.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <link.h>
#include <sys/mman.h>

#include <cstring>

#include "tests/support/fault_handler.h"
#include "tests/support/made_up_process.h"

namespace minicore {
namespace {

// Three threads, each with a stack of its own between two pages that are not there.
class GuessedMapTest : public testing::Test {
 protected:
  static constexpr size_t kThreads = 3;
  static constexpr ByteCount kStack = 16 * kPageSize;

  GuessedMapTest() {
    InstallFaultHandler();
    for (size_t i = 1; i < kThreads; ++i) {
      Thread other;
      other.tid = process_.crash.tid + static_cast<int>(i);
      (void)process_.threads.Push(other);
    }
    for (size_t i = 0; i < kThreads; ++i) {
      void* const memory = mmap(nullptr, kStack + 2 * kPageSize, PROT_NONE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      stacks_[i].begin = reinterpret_cast<Address>(memory) + kPageSize;
      stacks_[i].end = stacks_[i].begin + kStack;
      mprotect(reinterpret_cast<void*>(stacks_[i].begin), kStack, PROT_READ | PROT_WRITE);
      process_.threads[i].registers.rsp = stacks_[i].begin + 5 * kPageSize + 200;
    }
  }
  ~GuessedMapTest() override {
    for (const AddressRange& stack : stacks_) {
      munmap(reinterpret_cast<void*>(stack.begin - kPageSize), kStack + 2 * kPageSize);
    }
  }

  void Guess() {
    GuessMemoryMap(process_.crash, process_.runtime, process_.threads, process_.arena,
                   process_.map, process_.outcome);
  }
  bool Guessed(size_t thread) const {
    const Mapping* const mapping =
        process_.map.Find(process_.threads[thread].stack_pointer());
    return mapping != nullptr && mapping->writable &&
           mapping->range.end == stacks_[thread].end;
  }

  MadeUpProcess process_;
  AddressRange stacks_[kThreads];
};

TEST_F(GuessedMapTest, StacksReachFromTheirPointersAsFarAsTheyCanBeRead) {
  Guess();
  for (size_t i = 0; i < kThreads; ++i) EXPECT_TRUE(Guessed(i)) << i;
}

// Memory that can be read on end: a stack, the program, and behind it the list of modules.
TEST_F(GuessedMapTest, WhatIsBehindAnImageIsNotTakenForWhatIsBeforeIt) {
  const auto page = [this](unsigned number) {
    return stacks_[0].begin + number * kPageSize;
  };
  const Address image = page(8);
  const Address list = page(12);
  Elf64_Ehdr header{};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_machine = EM_X86_64;
  header.e_type = ET_DYN;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 3;
  Elf64_Phdr segments[3]{};
  segments[0].p_type = PT_PHDR;
  segments[0].p_vaddr = sizeof(header);
  segments[1].p_type = PT_LOAD;
  segments[1].p_memsz = kPageSize;
  segments[2].p_type = PT_DYNAMIC;
  segments[2].p_vaddr = 1024;
  segments[2].p_memsz = sizeof(Elf64_Dyn);
  Elf64_Dyn dynamic{};
  dynamic.d_tag = DT_DEBUG;
  dynamic.d_un.d_ptr = list + 512;
  r_debug debug{};
  link_map module{};
  debug.r_map = reinterpret_cast<link_map*>(list);
  module.l_name = reinterpret_cast<char*>(list + 600);
  memcpy(reinterpret_cast<void*>(image), &header, sizeof(header));
  memcpy(reinterpret_cast<void*>(image + sizeof(header)), segments, sizeof(segments));
  memcpy(reinterpret_cast<void*>(image + 1024), &dynamic, sizeof(dynamic));
  memcpy(reinterpret_cast<void*>(list + 512), &debug, sizeof(debug));
  memcpy(reinterpret_cast<void*>(list), &module, sizeof(module));
  const uint64_t auxv[] = {AT_PHDR, image + sizeof(header), AT_PHNUM, 3, AT_NULL, 0};
  memcpy(process_.runtime.facts.auxv, auxv, sizeof(auxv));
  process_.runtime.facts.auxv_words = 6;
  Guess();
  const Mapping* const stack = process_.map.Find(page(6));
  ASSERT_NE(stack, nullptr);
  EXPECT_EQ(stack->range.end, image);
  const Mapping* const behind = process_.map.Find(list);
  ASSERT_NE(behind, nullptr);
  EXPECT_TRUE(behind->writable);
}

TEST_F(GuessedMapTest, PastTheDeadlineTheCrashedThreadHasItsStack) {
  process_.outcome.past_deadline = true;
  Guess();
  EXPECT_TRUE(Guessed(0));
  EXPECT_FALSE(Guessed(1));
  EXPECT_FALSE(Guessed(2));
}

}  // namespace
}  // namespace minicore
