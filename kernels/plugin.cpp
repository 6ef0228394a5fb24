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

// Empty: there is none.
fs::path beside_the_program() {
  std::error_code none;
  const fs::path here = fs::read_symlink("/proc/self/exe", none).parent_path();
  for (const fs::path& folder : {here, here.parent_path() / "lib" / "r1"})
    if (fs::exists(folder / kLibrary, none)) return folder / kLibrary;
  return {};
}

// Empty: the environment names none.
fs::path named_library(const std::string& for_what) {
  const char* const path = std::getenv("R1_CUDA_PLUGIN");
  if (path == nullptr || *path == '\0') return {};
  if (!fs::exists(path))
    throw bad_input(fmt::format("{} needs the CUDA plugin, and '{}' is not there", for_what, path), {},
                    "R1_CUDA_PLUGIN names the file; unset, the one beside the program is taken");
  return path;
}

fs::path find_library(const std::string& name) {
  const std::string for_what = fmt::format("device '{}'", name);
  if (const fs::path named = named_library(for_what); !named.empty()) return named;
  if (const fs::path found = beside_the_program(); !found.empty()) return found;
  std::error_code none;
  const fs::path here = fs::read_symlink("/proc/self/exe", none).parent_path();
  throw bad_input(fmt::format("{} needs the CUDA plugin, and there is no {} in {} or {}", for_what, kLibrary, here.string(),
                              (here.parent_path() / "lib" / "r1").string()),
                  {}, kHint);
}

template <class Function>
Function symbol(void* library, const char* name, const fs::path& path) {
  void* const p = dlsym(library, name);
  if (p == nullptr) throw bad_input(fmt::format("'{}' is not a plugin of r1: it has no {}", path.string(), name), {}, kHint);
  return reinterpret_cast<Function>(p);
}

void* load(const fs::path& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw bad_input(fmt::format("the CUDA plugin cannot be loaded: {}", dlerror()), {}, kHint);
  const char* const abi = symbol<r1_plugin_abi_function>(library, "r1_plugin_abi", path)();
  if (std::strcmp(abi, R1_PLUGIN_ABI) != 0)
    throw bad_input(fmt::format("'{}' was built for another r1 (interface {:.12}, this program's is {:.12})", path.string(),
                                abi, R1_PLUGIN_ABI),
                    {}, "build both together, from the same sources with the same compiler");
  return library;
}

}  // namespace

std::unique_ptr<Device> open_plugin_device(const std::string& name) {
  const int index = index_of(name);
  const fs::path path = find_library(name);
  return std::unique_ptr<Device>(symbol<r1_plugin_open_function>(load(path), "r1_plugin_open", path)(index));
}

CardRanksId new_card_ranks_id(Device& card) {
  const fs::path path = find_library(card.name());
  CardRanksId id{};
  symbol<r1_plugin_ranks_id_function>(load(path), "r1_plugin_ranks_id", path)(&id);
  return id;
}

std::unique_ptr<Collective> card_ranks(Device& card, const CardRanksId& id, int64_t rank, int64_t ranks, double patience_s) {
  const fs::path path = find_library(card.name());
  const auto make = symbol<r1_plugin_ranks_function>(load(path), "r1_plugin_ranks", path);
  return std::unique_ptr<Collective>(make(&card, &id, rank, ranks, patience_s));
}

CardCeilings card_ceilings(Device& card) {
  const fs::path path = find_library(card.name());
  CardCeilings ceilings;
  symbol<r1_plugin_ceilings_function>(load(path), "r1_plugin_ceilings", path)(&card, &ceilings);
  return ceilings;
}

std::unique_ptr<Recording> library_linear(Device& card, const Linear& op) {
  const fs::path path = find_library(card.name());
  const auto make = symbol<r1_plugin_library_linear_function>(load(path), "r1_plugin_library_linear", path);
  return std::unique_ptr<Recording>(make(&card, &op));
}

PluginDevices plugin_devices() {
  fs::path path = named_library("a GPU");
  if (path.empty()) path = beside_the_program();
  if (path.empty()) return {0, fmt::format("there is no {}", kLibrary)};
  try {
    const int count = symbol<r1_plugin_count_function>(load(path), "r1_plugin_count", path)();
    return {count, count > 0 ? "" : "this machine has no GPU"};
  } catch (const Error& e) {
    if (e.code() == ExitCode::bad_input) throw;
    return {0, e.message()};
  }
}

}  // namespace r1
