// A plugin of another build: what it opens must never be called.
#include <cstdlib>

namespace r1 {
class Device;
}
extern "C" const char* r1_plugin_abi() { return "0123456789abcdef"; }
extern "C" r1::Device* r1_plugin_open(int) { std::abort(); }
