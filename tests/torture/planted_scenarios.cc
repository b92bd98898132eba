// A fault of the dumper itself, wherever one likes: the beginnings of functions
// of the handler are overwritten with one that goes wrong, and then the program
// crashes.
//
//   planted KIND FUNCTION[+FUNCTION...] [abort]
//
// FUNCTION is a name such as "ScanAnchors" or "Walk::Drain", found in the
// symbol table of this very program; only the build with minicore linked in has
// it.

#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "tests/e2e/facts.h"
#include "tests/e2e/threads.h"
#include "tests/torture/crash.h"
#include "tests/torture/places.h"
#include "tests/torture/scenarios.h"

extern "C" const char __ehdr_start[];

namespace torture {
namespace {

struct Kind {
  const char* name;
  const char* code;
  size_t size;
};

#define CODE(bytes) bytes, sizeof(bytes) - 1
constexpr Kind kKinds[] = {
    {"write", CODE("\xc7\x04\x25\0\0\0\0\1\0\0\0")},  // movl $1, 0
    {"halt", CODE("\xf4")},                // hlt: SIGSEGV without an address
    {"illegal", CODE("\x0f\x0b")},         // ud2
    {"trap", CODE("\xcc")},                // int3
    {"divide", CODE("\x31\xc9\xf7\xf9")},  // xor %ecx, %ecx; idiv %ecx
    {"jump", CODE("\x31\xc0\xff\xe0")},    // xor %eax, %eax; jmp *%rax
    {"overflow", CODE("\x50\xeb\xfd")},    // 1: push %rax; jmp 1b
    {"loop", CODE("\xeb\xfe")},            // 1: jmp 1b
    {"stack", CODE("\x31\xe4\x50")},       // xor %esp, %esp; push %rax
    {"return", CODE("\xc3")},              // ret: nothing is done
};

// "minicore::(anonymous namespace)::Walk::Drain(int)" is "Walk::Drain".
std::string ShortName(const char* mangled) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  if (demangled == nullptr) return "";
  std::string name = demangled;
  free(demangled);
  if (name.rfind("minicore::", 0) != 0) return "";
  name.erase(0, strlen("minicore::"));
  const char* const anonymous = "(anonymous namespace)::";
  for (size_t at; (at = name.find(anonymous)) != std::string::npos;) {
    name.erase(at, strlen(anonymous));
  }
  return name.substr(0, name.find('('));
}

// Null if there is none.
char* FindFunction(const std::string& wanted) {
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) Fail("/proc/self/exe");
  const char* file = static_cast<const char*>(
      mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE,
           fd, 0));
  close(fd);
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file);
  const auto* sections =
      reinterpret_cast<const Elf64_Shdr*>(file + header->e_shoff);
  const uint64_t bias =
      header->e_type == ET_DYN ? reinterpret_cast<uint64_t>(__ehdr_start) : 0;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols =
        reinterpret_cast<const Elf64_Sym*>(file + sections[i].sh_offset);
    const char* names = file + sections[sections[i].sh_link].sh_offset;
    for (size_t j = 0; j < sections[i].sh_size / sizeof(Elf64_Sym); ++j) {
      if (ELF64_ST_TYPE(symbols[j].st_info) != STT_FUNC ||
          symbols[j].st_size == 0)
        continue;
      if (ShortName(names + symbols[j].st_name) == wanted) {
        return reinterpret_cast<char*>(bias + symbols[j].st_value);
      }
    }
  }
  return nullptr;
}

void Plant(const Kind& kind, char* function) {
  const auto page = reinterpret_cast<uintptr_t>(function) & ~uintptr_t{4095};
  if (mprotect(reinterpret_cast<void*>(page), 8192,
               PROT_READ | PROT_WRITE | PROT_EXEC) != 0) {
    Fail("mprotect");
  }
  memcpy(function, kind.code, kind.size);
}

void Planted(const Arguments& arguments) {
  StartBystanders(2);
  NameTheCrasher();
  std::vector<char*> functions;
  std::istringstream names(arguments.at(1));
  for (std::string name; std::getline(names, name, '+');) {
    functions.push_back(FindFunction(name));
  }
  const bool found = std::count(functions.begin(), functions.end(), nullptr) == 0;
  victim::Fact("found", found);
  const bool dies = arguments.size() > 2;
  for (const Kind& kind : kKinds) {
    if (arguments[0] != kind.name || !found) continue;
    for (char* function : functions) Plant(kind, function);
  }
  if (dies) abort();
  CrashHere();
}

constexpr Scenario kScenarios[] = {{"planted", Planted}};

}  // namespace

const Theme kPlantedTheme = MakeTheme(kScenarios);

}  // namespace torture
