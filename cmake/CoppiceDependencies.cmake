# Other people's libraries, all from Debian packages (docs/dependencies.md says why each is here).
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(PkgConfig REQUIRED)
find_package(absl REQUIRED)
find_package(spdlog REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# Debian's dnnl-config.cmake demands OpenCL headers that the package does not depend on, hence by hand.
find_library(DNNL_LIBRARY dnnl REQUIRED)
find_path(DNNL_INCLUDE_DIR dnnl.hpp REQUIRED)
add_library(coppice_dnnl INTERFACE)
target_include_directories(coppice_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(coppice_dnnl INTERFACE ${DNNL_LIBRARY} OpenMP::OpenMP_CXX)
