// minicore as a victim sees it: linked in; or, where it is not, perhaps
// preloaded, and then its functions are found by name. Without either these do
// nothing, so that the same victim shows what the kernel does by itself.

#ifndef MINICORE_TESTS_E2E_TAGS_H_
#define MINICORE_TESTS_E2E_TAGS_H_

#include <stddef.h>

namespace victim {

// Ends the process with a sentence if minicore is linked in and cannot be
// installed.
void InstallMinicore();

// As in minicore.h; they end the process with a sentence when minicore refuses.
void Tag(const void* pointer, const char* tag);
void Untag(const void* pointer);
void TagRange(const void* begin, size_t size, const char* tag);
void UntagRange(const void* begin, size_t size, const char* tag);
void* AllocateTagged(size_t size, const char* tag);

}  // namespace victim

#endif  // MINICORE_TESTS_E2E_TAGS_H_
