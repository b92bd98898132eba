// The writer of the tags: names, what tags do, and which ranges of memory have
// one.
//
// Writers. Any thread, and signal handlers: an entry or a slot is taken by one
// compare-and-swap, and nobody waits for anybody (a handler may have
// interrupted the very thread it would wait for).
//
// Readers. A crashed process (index_view.h); free() and realloc(), which ask
// for the disposition. What a reader needs of an entry is complete before
// `ready` is set, of a range before its end is.
//
// Context: any. Errors are negative errno values; errno is not touched.

#ifndef MINICORE_ALLOC_TAG_TABLE_H_
#define MINICORE_ALLOC_TAG_TABLE_H_

#include "alloc/address.h"
#include "alloc/index_format.h"

namespace minicore {

// The id of a name; an unknown name gets one. 1 to 31 bytes, no control
// characters.
//
// Returns: the id, > 0; -EINVAL for a bad name; -ENOSPC if the table is full,
// and then
//          `lost_tags` is set.
int InternTag(TagState& tags, const char* name);

// The id of a name that has one. Interns nothing.
//
// Returns: the id, > 0; -EINVAL for a bad name; -ENOENT if it has none.
int FindTag(const TagState& tags, const char* name);

// Sets what is done with memory of a tag, from now on; before its first use,
// too.
//
// Returns: as InternTag, 0 for success.
int SetTagRule(TagState& tags, const char* name, Disposition disposition);

// Gives every tag the rule that it has by default, but for those whose name is
// in `named`.
void ResetTagRules(TagState& tags, bool (*in)(const void* named, const char* name),
                   const void* named);

// Tags the live allocation that encloses `address`.
//
// Returns: 0; -ENOENT if there is none, or none any more.
int TagAllocation(IndexState& index, Address address, uint8_t tag);

// Takes the tag off. The tag of an extent stays.
//
// Returns: as TagAllocation.
int UntagAllocation(const IndexState& index, Address address);

// Tags a range of any memory. With all slots in use, the nearest range of the
// same tag is widened until it covers this one as well; if there is none of it,
// the nearest of all, and that is elided from then on: more is left out, never
// less. A range that was widened stays tagged for ever.
//
// Requires: `range` is not empty.
void TagRangeOf(TagState& tags, AddressRange range, uint8_t tag);

// Returns: 0; -ENOENT if exactly this range is not tagged so, or was merged with
//          another one.
int UntagRangeOf(TagState& tags, AddressRange range, uint8_t tag);

}  // namespace minicore

#endif  // MINICORE_ALLOC_TAG_TABLE_H_
