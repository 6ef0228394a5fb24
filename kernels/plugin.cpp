#include "kernels/plugin.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libr1_cuda.so";
constexpr const char* kHint = "build the target r1_cuda where nvcc is (docs/gpu.md), or use on=\"cpu\"";

int index_of(const std::string& name) {
  const char *const begin = name.data() + std::strlen("gpu:"), *const end = name.data() + name.size();
  int index = -1;
  const auto [stop, error] = std::from_chars(begin, end, index);
  if (error != std::errc() || stop != end || index < 0 || *begin == '-')
    throw bad_input(fmt::format("'{}' is not the name of a device", name), {}, "gpu:N, with N from 0");
  return index;
}

fs::path find_library(const std::string& name) {
  if (const char* const path = std::getenv("R1_CUDA_PLUGIN"); path != nullptr && *path != '\0') {
    if (!fs::exists(path))
      throw bad_input(fmt::format("device '{}' needs the CUDA plugin, and '{}' is not there", name, path), {},
                      "R1_CUDA_PLUGIN names the file; unset, the one beside the program is taken");
    return path;
  }
  std::error_code none;
  const fs::path here = fs::read_symlink("/proc/self/exe", none).parent_path();
  for (const fs::path& folder : {here, here.parent_path() / "lib" / "r1"})
    if (fs::exists(folder / kLibrary, none)) return folder / kLibrary;
  throw bad_input(fmt::format("device '{}' needs the CUDA plugin, and there is no {} in {} or {}", name, kLibrary,
                              here.string(), (here.parent_path() / "lib" / "r1").string()),
                  {}, kHint);
}

template <class Function>
Function symbol(void* library, const char* name, const fs::path& path) {
  void* const p = dlsym(library, name);
  if (p == nullptr) throw bad_input(fmt::format("'{}' is not a plugin of r1: it has no {}", path.string(), name), {}, kHint);
  return reinterpret_cast<Function>(p);
}

}  // namespace

std::unique_ptr<Device> open_plugin_device(const std::string& name) {
  const int index = index_of(name);
  const fs::path path = find_library(name);
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw bad_input(fmt::format("the CUDA plugin cannot be loaded: {}", dlerror()), {}, kHint);
  const char* const abi = symbol<r1_plugin_abi_function>(library, "r1_plugin_abi", path)();
  if (std::strcmp(abi, R1_PLUGIN_ABI) != 0)
    throw bad_input(fmt::format("'{}' was built for another r1 (interface {:.12}, this program's is {:.12})", path.string(),
                                abi, R1_PLUGIN_ABI),
                    {}, "build both together, from the same sources with the same compiler");
  return std::unique_ptr<Device>(symbol<r1_plugin_open_function>(library, "r1_plugin_open", path)(index));
}

}  // namespace r1
