// A shared library that is no plugin.
extern "C" int r1_nothing_of_a_plugin() { return 0; }
