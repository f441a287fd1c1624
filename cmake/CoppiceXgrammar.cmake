# XGrammar's C++ core as a static library of our own target, from the source archive that scripts/setup brought
# (docs/dependencies.md). Its own CMake project is not used: it sets flags for every target and wants Python.
# No network here: the archive is read from COPPICE_DOWNLOADS or ~/.cache/coppice and unpacked into the build folder.
file(STRINGS ${CMAKE_SOURCE_DIR}/scripts/sources.sha256 source_line REGEX "xgrammar-")
string(REGEX MATCH "^([0-9a-f]+)  (xgrammar-[0-9.]+)\\.tar\\.gz$" source_line "${source_line}")
set(xgrammar_sha256 ${CMAKE_MATCH_1})
set(xgrammar_name ${CMAKE_MATCH_2})
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/scripts/sources.sha256)

set(xgrammar_downloads $ENV{COPPICE_DOWNLOADS})
if(NOT xgrammar_downloads)
  set(xgrammar_downloads $ENV{HOME}/.cache/coppice)
endif()
set(xgrammar_archive ${xgrammar_downloads}/${xgrammar_name}.tar.gz)
set(xgrammar_root ${CMAKE_BINARY_DIR}/sources/${xgrammar_name})
# Written last, so that an unpacking that was cut short is done again; it names what was unpacked and how it was changed.
set(xgrammar_stamp ${CMAKE_BINARY_DIR}/sources/${xgrammar_sha256}.changed2)

if(NOT EXISTS ${xgrammar_stamp})
  if(NOT EXISTS ${xgrammar_archive})
    message(FATAL_ERROR "${xgrammar_archive} is missing: run scripts/setup")
  endif()
  file(SHA256 ${xgrammar_archive} found_sha256)
  if(NOT found_sha256 STREQUAL xgrammar_sha256)
    message(FATAL_ERROR "${xgrammar_archive} has the wrong checksum: delete it and run scripts/setup")
  endif()
  file(REMOVE_RECURSE ${xgrammar_root})
  file(ARCHIVE_EXTRACT INPUT ${xgrammar_archive} DESTINATION ${CMAKE_BINARY_DIR}/sources)
  include(${CMAKE_CURRENT_LIST_DIR}/CoppiceXgrammarChanges.cmake)
  file(TOUCH ${xgrammar_stamp})
endif()

# All but the Python binding. testing.cc stays: the matcher uses its header.
file(GLOB_RECURSE xgrammar_sources ${xgrammar_root}/cpp/*.cc)
list(FILTER xgrammar_sources EXCLUDE REGEX "/cpp/tvm_ffi/")
add_library(coppice_xgrammar STATIC ${xgrammar_sources})
# Its own standard: as C++20, clang 14 finds an incomplete type in a vector's destructor.
set_target_properties(coppice_xgrammar PROPERTIES CXX_STANDARD 17)
target_include_directories(coppice_xgrammar SYSTEM PUBLIC
  ${xgrammar_root}/include ${xgrammar_root}/3rdparty/picojson ${xgrammar_root}/3rdparty/dlpack/include)
# LOG_CUSTOMIZE: what it logs comes to text/grammar/xgrammar_calls.cc and not to stderr.
target_compile_definitions(coppice_xgrammar PUBLIC
  XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0 XGRAMMAR_LOG_CUSTOMIZE=1)
target_compile_options(coppice_xgrammar PRIVATE -w)
coppice_compile_quickly(coppice_xgrammar)
if(COPPICE_FUZZ)  # what is undefined there and does no harm is not ours to mend; harm is the address sanitizer's
  target_compile_options(coppice_xgrammar PRIVATE -fno-sanitize=undefined)
endif()
target_link_libraries(coppice_xgrammar PRIVATE Threads::Threads)
install(FILES ${xgrammar_root}/LICENSE ${xgrammar_root}/NOTICE DESTINATION share/doc/coppice/xgrammar)
