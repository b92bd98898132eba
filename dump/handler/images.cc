#include "dump/handler/images.h"

#include <elf.h>

#include <algorithm>

#include "dump/safe/guarded.h"

namespace minicore {
namespace {

AddressRange WholePages(Address begin, ByteCount size) {
  return {AlignDown(begin, kPageSize),
          AlignUp(begin > UINT64_MAX - size ? UINT64_MAX : begin + size, kPageSize)};
}

// Bytes of the file, of which the first page is mapped at the base.
void AddFormat(uint64_t offset, ByteCount size, Image* image) {
  if (offset >= kPageSize || image->format_ranges == kMaxFormatRanges) return;
  const Address begin = image->base + offset;
  image->format[image->format_ranges++] = {
      begin, begin + std::min<ByteCount>(size, kPageSize - offset)};
}

// A file that somebody maps to read it (a symbolizer, a linker) has the header of an
// image without being one: its data is not where its program headers say.
void DropUnmappedData(const MemoryMap& map, uint64_t inode, Image* image) {
  unsigned kept = 0;
  for (unsigned i = 0; i < image->data_ranges; ++i) {
    const Mapping* mapping = map.Find(image->data[i].begin);
    if (mapping != nullptr && mapping->inode == inode && !mapping->shared) {
      image->data[kept++] = image->data[i];
    }
  }
  image->data_ranges = kept;
}

}  // namespace

bool ReadImage(Address base, Image* image) {
  Elf64_Ehdr header;
  if (!safe::GuardedRead(base, &header)) return false;
  if (header.e_ident[EI_MAG0] != ELFMAG0 || header.e_ident[EI_MAG1] != ELFMAG1 ||
      header.e_ident[EI_MAG2] != ELFMAG2 || header.e_ident[EI_MAG3] != ELFMAG3 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64 ||
      (header.e_type != ET_EXEC && header.e_type != ET_DYN) ||
      header.e_phentsize != sizeof(Elf64_Phdr) ||
      header.e_phnum > kMaxProgramHeaders) {
    return false;
  }
  image->base = base;
  image->extent = {base, base + kPageSize};
  AddFormat(0, sizeof(header), image);
  AddFormat(header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr), image);
  bool first = true;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!safe::GuardedRead(base + header.e_phoff + i * sizeof(segment), &segment)) {
      break;
    }
    const Address begin = image->bias + segment.p_vaddr;
    switch (segment.p_type) {
      case PT_LOAD:
        if (first) {
          image->bias = base - AlignDown(segment.p_vaddr, kPageSize);
          first = false;
        }
        {
          const AddressRange range =
              WholePages(image->bias + segment.p_vaddr, segment.p_memsz);
          if (range.end > image->extent.end) image->extent.end = range.end;
          if ((segment.p_flags & PF_W) != 0 &&
              image->data_ranges < kMaxDataRanges) {
            image->data[image->data_ranges++] = range;
          }
        }
        break;
      case PT_DYNAMIC:
        image->dynamic = {begin, begin + segment.p_memsz};
        break;
      case PT_NOTE:
        AddFormat(segment.p_offset, segment.p_filesz, image);
        break;
      case PT_TLS:
        image->tls_bytes = segment.p_memsz + segment.p_align;
        break;
      default:
        break;
    }
  }
  return !first;
}

void FindImages(const MemoryMap& map, safe::Arena& arena, Images& images) {
  images.Reserve(arena, kMaxImages);
  for (const Mapping& mapping : map.mappings()) {
    if (mapping.inode == 0 || mapping.file_offset != 0 || !mapping.readable ||
        mapping.shared) {
      continue;
    }
    Image image;
    if (!ReadImage(mapping.range.begin, &image)) continue;
    DropUnmappedData(map, mapping.inode, &image);
    if (!images.Push(image)) break;
  }
}

const Image* FindImage(const Images& images, Address address) {
  size_t low = 0;
  size_t high = images.size();
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (images[middle].base <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == 0) return nullptr;
  const Image& image = images[low - 1];
  return image.extent.Contains(address) ? &image : nullptr;
}

}  // namespace minicore
