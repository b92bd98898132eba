#include "tools/unpack.h"

#include <filesystem>
#include <fstream>
#include <iostream>

#include "tools/debug_sections.h"
#include "tools/text.h"

namespace minicore {
namespace {

namespace fs = std::filesystem;

// Where below `directory` a file of that name goes; empty if nowhere: names are
// the crashed process's.
fs::path Below(const fs::path& directory, const std::string& name) {
  const fs::path path(name);
  if (!path.is_absolute() || name.find('\0') != std::string::npos) return {};
  for (const fs::path& part : path) {
    if (part == ".." || part == ".") return {};
  }
  return directory / path.relative_path();
}

bool Write(const fs::path& path, const std::string& bytes) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  return static_cast<bool>(file);
}

}  // namespace

int Unpack(const std::string& core_path, const std::string& directory) {
  std::string why;
  const auto core = CoreReader::Open(core_path, &why);
  if (core == nullptr) {
    std::cerr << Printable(core_path) << " " << why << ".\n";
    return why.rfind("cannot be opened", 0) == 0 ? 2 : 1;
  }
  std::error_code error;
  // Nothing in a new directory leads out of it.
  if (!fs::create_directory(directory, error)) {
    std::cerr << Printable(directory) << " cannot be made: "
              << (error ? error.message() : "it is there") << ".\n";
    return 2;
  }
  Faults faults;
  const ProcessNotes process = DecodeProcessNotes(*core, &faults);
  const std::vector<LinkedModule> modules =
      WalkModules(*core, process, &faults);
  size_t whole = 0;
  for (const UnpackedImage& image : RebuildImages(*core, process, kDebugDirectory)) {
    if (!image.whole) {
      std::cerr << Printable(image.path)
                << " is not whole in the core (option text=all).\n";
      continue;
    }
    const fs::path path = Below(directory, image.path);
    if (path.empty() || !Write(path, image.bytes)) {
      std::cerr << Printable(image.path) << " cannot be written.\n";
      continue;
    }
    ++whole;
    std::cout << Printable(path.string()) << "\n";
    // The dynamic linker may have it under another name, and debuggers go by
    // that.
    for (const LinkedModule& module : modules) {
      if (module.base != image.base) continue;
      const fs::path other = Below(directory, module.name);
      if (other.empty() || fs::exists(other, error)) continue;
      fs::create_directories(other.parent_path(), error);
      fs::create_hard_link(path, other, error);
    }
  }
  return whole == 0 ? 1 : 0;
}

}  // namespace minicore
