// Heap objects that nothing but a register or a stack word points to, and that
// only into their middle, at their last byte, or just behind them.

#include <malloc.h>
#include <stdlib.h>

#include <string>

#include "tests/e2e/facts.h"
#include "tests/e2e/heap.h"
#include "tests/e2e/registers.h"
#include "tests/e2e/scenarios.h"
#include "tests/e2e/threads.h"

namespace victim {
namespace {

constexpr uint64_t kUnmapped = 0x00000badadd50000;

struct Size {
  const char* name;
  size_t bytes;
  unsigned pointer_register;  // index in RegisterPattern::general
};

// One small size of one granule and a half, one of a page's fraction, the
// largest small sizes, the smallest large ones, and one of many chunks.
constexpr Size kSizes[] = {{"24", 24, 1},
                           {"1K", 1024, 2},
                           {"13K", 13 * 1024, 3},
                           {"20K", 20 * 1024, 4},
                           {"5M", 5 * 1024 * 1024, 5}};
constexpr size_t kCount = sizeof(kSizes) / sizeof(kSizes[0]);

HiddenPointer g_objects[kCount];
RegisterPattern g_pattern;

// Neighbours on both sides, so that the byte behind an object belongs to
// another one.
__attribute__((noinline)) void MakeObjects() {
  for (size_t i = 0; i < kCount; ++i) {
    const std::string name = kSizes[i].name;
    MakeObject(name + ".before", kSizes[i].bytes, 100 + i);
    g_objects[i] = MakeObject(name, kSizes[i].bytes, 200 + i);
    MakeObject(name + ".behind", kSizes[i].bytes, 300 + i);
  }
}

enum class Where { kMiddle, kLastByte, kNextByte };

__attribute__((noinline)) void PointTo(Where where) {
  MakeRegisterPattern(7, kUnmapped, &g_pattern);
  for (size_t i = 0; i < kCount; ++i) {
    char* object = g_objects[i].Reveal();
    const size_t usable = malloc_usable_size(object);
    const size_t offset = where == Where::kMiddle     ? usable / 3
                          : where == Where::kLastByte ? usable - 1
                                                      : usable;
    g_pattern.general[kSizes[i].pointer_register] =
        reinterpret_cast<uintptr_t>(object) + offset;
  }
}

void CrashPointing(Where where) {
  NameThisThread("crasher");
  MakeObjects();
  PointTo(where);
  ScrubStack();
  LoadRegistersAndFault(&g_pattern);
}

}  // namespace

void ObjectsMiddle(bool) { CrashPointing(Where::kMiddle); }
void ObjectsLastByte(bool) { CrashPointing(Where::kLastByte); }
void ObjectsNextByte(bool) { CrashPointing(Where::kNextByte); }

// The pointers outlive the objects.
void ObjectsFreed(bool) {
  NameThisThread("crasher");
  MakeObjects();
  PointTo(Where::kMiddle);
  for (const HiddenPointer& object : g_objects) free(object.Reveal());
  ScrubStack();
  LoadRegistersAndFault(&g_pattern);
}

// A chain of objects, each of which only the one before points to, from a stack
// word.
__attribute__((noinline)) void HoldChain(int links) {
  struct Link {
    Link* next;
    uint64_t contents[6];
  };
  Link* head = nullptr;
  for (int i = 0; i < links; ++i) {
    auto* link = static_cast<Link*>(malloc(sizeof(Link)));
    FillWith(1000 + i, link->contents, sizeof(link->contents));
    link->next = head;
    head = link;
  }
  Fact("chain.links", links);
  ScrubStack();
  Keep(head);
  WriteToNull();
  Keep(head);
}

void ObjectsChain(bool) {
  NameThisThread("crasher");
  HoldChain(5000);
}

}  // namespace victim
