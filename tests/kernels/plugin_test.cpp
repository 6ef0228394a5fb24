// A device in a plugin that is not there, not loadable or of another build is bad input that says so.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "kernels/device.h"

namespace r1::test {
namespace {

// What opening gpu:7 with the plugin `path` says; "": none is named.
std::string refusal(const std::string& path, const std::string& device = "gpu:7") {
  setenv("R1_CUDA_PLUGIN", path.c_str(), 1);
  std::string said = "no error";
  try {
    open_device(device);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::bad_input) << e.what();
    said = e.what();
  }
  unsetenv("R1_CUDA_PLUGIN");
  return said;
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Plugin, that_is_not_there_is_named_with_where_it_was_looked_for) {
  const std::string said = refusal("/nowhere/libr1_cuda.so");
  EXPECT_TRUE(contains(said, "'gpu:7'") && contains(said, "/nowhere/libr1_cuda.so") && contains(said, "R1_CUDA_PLUGIN"))
      << said;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  if (std::filesystem::exists(here / "libr1_cuda.so")) GTEST_SKIP() << "the plugin was built: it lies beside the program";
  const std::string missing = refusal("");
  EXPECT_TRUE(contains(missing, "no libr1_cuda.so in " + here.string()) && contains(missing, "use on=\"cpu\"")) << missing;
}

TEST(Plugin, that_is_no_library_or_no_plugin_is_refused) {
  const std::string file = testing::TempDir() + "/not_a_library.so";
  std::ofstream(file) << "text";
  EXPECT_TRUE(contains(refusal(file), "cannot be loaded")) << refusal(file);
  std::filesystem::remove(file);
  EXPECT_TRUE(contains(refusal(R1_EMPTY_PLUGIN), "is not a plugin of r1: it has no r1_plugin_abi")) << refusal(R1_EMPTY_PLUGIN);
}

TEST(Plugin, of_another_build_is_refused_before_anything_of_it_is_used) {
  const std::string said = refusal(R1_STUB_PLUGIN);
  EXPECT_TRUE(contains(said, "was built for another r1 (interface 0123456789ab") && contains(said, "build both together"))
      << said;
}

TEST(Plugin, devices_are_numbered_from_0) {
  for (const char* name : {"gpu:", "gpu:x", "gpu:-1", "gpu:1x", "gpu: 1", "gpu:99999999999"}) {
    const std::string said = refusal(R1_STUB_PLUGIN, name);
    EXPECT_TRUE(contains(said, "is not the name of a device (gpu:N, with N from 0)")) << said;
  }
}

}  // namespace
}  // namespace r1::test
