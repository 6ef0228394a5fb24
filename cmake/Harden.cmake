# Release builds: what makes a memory error an end instead of a door. Affects targets made after this is included, and every link.
# tests/e2e/install_test.cpp looks for each of these in the programs.
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)
if(R1_HARDEN AND CMAKE_BUILD_TYPE STREQUAL Release)
  add_compile_options(-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
endif()
