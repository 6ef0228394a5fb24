// Graph files: what is taken prints as a graph that is taken again and prints the same.
#include "runtime/graph/graph.h"
#include "tests/fuzz/fuzz.h"
#include "tests/runtime/graph/test_roles.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace r1;
  static const RoleRegistry registry = test::roles();
  std::string printed;
  if (!fuzz::taken([&] {
        printed = graph_dot(load_graph_text(std::string(fuzz::text_of(data, size)), "g.graph", registry), registry, false);
      }))
    return 0;
  if (!fuzz::taken([&] {
        if (graph_dot(load_graph_text(printed, "g.graph", registry), registry, false) != printed)
          fuzz::finding("printed again it differs:\n" + printed);
      }))
    fuzz::finding("what was printed is refused:\n" + printed);
  return 0;
}
