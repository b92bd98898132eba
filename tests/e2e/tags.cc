#include "tests/e2e/tags.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef VICTIM_WITHOUT_MINICORE

namespace {

template <class F>
F* Find(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}

template <class... Arguments>
int Call(const char* name, Arguments... arguments) {
  auto* function = Find<int(Arguments...)>(name);
  return function ? function(arguments...) : 0;
}

}  // namespace

// Preloaded, minicore has installed itself.
#define minicore_install(config) 0
#define minicore_tag(...) Call("minicore_tag", __VA_ARGS__)
#define minicore_untag(...) Call("minicore_untag", __VA_ARGS__)
#define minicore_tag_range(...) Call("minicore_tag_range", __VA_ARGS__)
#define minicore_untag_range(...) Call("minicore_untag_range", __VA_ARGS__)

static void* minicore_malloc(size_t size, const char* tag) {
  auto* function = Find<void*(size_t, const char*)>("minicore_malloc");
  return function ? function(size, tag) : malloc(size);
}

#else
#include "minicore/minicore.h"
#endif

namespace victim {
namespace {

void Check(const char* what, int error) {
  if (error == 0) return;
  fprintf(stderr, "%s: %d\n", what, error);
  exit(2);
}

}  // namespace

void InstallMinicore() { Check("minicore_install", minicore_install(nullptr)); }

void Tag(const void* pointer, const char* tag) {
  Check("minicore_tag", minicore_tag(pointer, tag));
}

void Untag(const void* pointer) {
  Check("minicore_untag", minicore_untag(pointer));
}

void TagRange(const void* begin, size_t size, const char* tag) {
  Check("minicore_tag_range", minicore_tag_range(begin, size, tag));
}

void UntagRange(const void* begin, size_t size, const char* tag) {
  Check("minicore_untag_range", minicore_untag_range(begin, size, tag));
}

void* AllocateTagged(size_t size, const char* tag) {
  void* memory = minicore_malloc(size, tag);
  if (memory == nullptr) Check("minicore_malloc", -1);
  return memory;
}

}  // namespace victim
