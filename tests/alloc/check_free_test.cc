// Frees that are checked: of what does not live, a child says what it is, and aborts.

#include <gtest/gtest.h>
#include <malloc.h>
#include <minicore/minicore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#undef JEMALLOC_NO_RENAME  // the names that programs use
#include <jemalloc/jemalloc.h>

#include <string>

#include "alloc/bad_pointer.h"
#include "tests/alloc/heap_view.h"

namespace minicore {
namespace {

// What a child says that runs `work` with checks on; "" if it ends well.
template <typename Work>
std::string Complaint(Work work) {
  int said[2];
  if (pipe(said) != 0) abort();
  const pid_t child = fork();
  if (child == 0) {
    const rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    dup2(said[1], 2);
    close(said[1]);
    CheckFrees(true);
    work();
    _exit(0);
  }
  close(said[1]);
  std::string text(1000, '\0');
  const ssize_t size = read(said[0], text.data(), text.size());
  text.resize(size < 0 ? 0 : static_cast<size_t>(size));
  close(said[0]);
  int status = -1;
  waitpid(child, &status, 0);
  if (status == 0) return text;
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
  // Without the address.
  const size_t address = text.find("0x");
  if (address != std::string::npos) text.erase(address, 18);
  return text;
}

char* Allocate(size_t size) { return Opaque(static_cast<char*>(malloc(size))); }

TEST(CheckFree, ASecondFreeSaysWhatWasThere) {
  for (const char* size : {"16", "48", "14336", "20480", "2097152"}) {
    EXPECT_EQ(Complaint([size] {
                char* block = Allocate(strtoul(size, nullptr, 10));
                char* again = Opaque(block);
                free(block);
                free(again);
              }),
              std::string("minicore: free() of , 0 bytes into a freed ") +
                  size + "-byte allocation\n");
  }
}

TEST(CheckFree, AnInteriorPointerSaysWhatItIsIn) {
  for (const size_t inside : {1, 8, 16, 40}) {
    EXPECT_EQ(Complaint([inside] { free(Opaque(Allocate(48) + inside)); }),
              "minicore: free() of , " + std::to_string(inside) +
                  " bytes into a live 48-byte allocation\n");
  }
  EXPECT_EQ(Complaint([] { free(Opaque(Allocate(1 << 20) + 70000)); }),
            "minicore: free() of , 70000 bytes into a live 1048576-byte "
            "allocation\n");
}

TEST(CheckFree, EveryWayToFreeIsChecked) {
  const auto twice = [](void (*free_it)(void*)) {
    return Complaint([free_it] {
      char* block = Allocate(48);
      char* again = Opaque(block);
      free(block);
      free_it(again);
    });
  };
  const std::string what = "() of , 0 bytes into a freed 48-byte allocation\n";
  EXPECT_EQ(twice([](void* p) { operator delete(p); }),
            "minicore: free" + what);
  EXPECT_EQ(twice([](void* p) { dallocx(p, 0); }), "minicore: free" + what);
  EXPECT_EQ(twice([](void* p) { sdallocx(p, 48, 0); }),
            "minicore: free" + what);
  EXPECT_EQ(twice([](void* p) { (void)!realloc(p, 0); }),
            "minicore: free" + what);
  EXPECT_EQ(twice([](void* p) { (void)!realloc(p, 48); }),
            "minicore: realloc" + what);
  EXPECT_EQ(twice([](void* p) { (void)!realloc(p, 1000); }),
            "minicore: realloc" + what);
  EXPECT_EQ(twice([](void* p) { (void)!rallocx(p, 1000, 0); }),
            "minicore: rallocx" + what);
}

TEST(CheckFree, WhereNothingEverWasItSaysSo) {
  EXPECT_EQ(Complaint([] {
              free(Opaque(reinterpret_cast<char*>(
                  g_index_state.region + g_index_state.committed - 64)));
            }),
            "minicore: free() of , where nothing was allocated\n");
}

// With and without tags around.
TEST(CheckFree, WhatIsRightIsLeftAlone) {
  const auto use = [] {
    for (int i = 0; i < 2000; ++i) {
      char* block = Allocate(static_cast<size_t>(i * 37 % 3000));
      if (i % 3 == 0) minicore_tag(block, i % 2 == 0 ? "secret" : "a label");
      if (i % 2 == 0) block = static_cast<char*>(realloc(block, 5000));
      memset(block, 'x', malloc_usable_size(block));
      free(block);
      free(aligned_alloc(4096, 8192));
      free(minicore_malloc(100, "secret"));
      delete[] Opaque(new char[100]);
    }
    free(nullptr);
  };
  EXPECT_EQ(Complaint(use), "");
  EXPECT_EQ(Complaint([use] {
              CheckFrees(false);
              use();
              CheckFrees(true);
              use();
            }),
            "");
}

TEST(CheckFree, ItIsOffUnlessAskedFor) {
  EXPECT_EQ(Complaint([] {
              CheckFrees(false);
              char* block = Allocate(48);
              char* again = Opaque(block);
              free(block);
              free(again);
            }),
            "");
}

}  // namespace
}  // namespace minicore
