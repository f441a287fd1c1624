# Files that the program carries inside itself.
#
# coppice_embed(OUTPUT TYPE HEADER FUNCTION NAMESPACE FILES...) writes a C++ source file that defines
# `std::span<const TYPE> FUNCTION()`, declared in HEADER: one entry {name, contents} a file. The source is written again
# when one of the files changes.
function(coppice_embed output type header function namespace)
  set(entries "")
  foreach(file ${ARGN})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    get_filename_component(name ${file} NAME)
    file(READ ${file} contents)
    string(FIND "${contents}" ")embed\"" clash)
    if(NOT clash EQUAL -1)
      message(FATAL_ERROR "${file} has the text that ends an embedded file")
    endif()
    string(APPEND entries "    {\"${name}\", R\"embed(${contents})embed\"},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"// Written by cmake/CoppiceEmbed.cmake.
#include \"@header@\"

namespace @namespace@ {
namespace {

constexpr @type@ kFiles[] = {
@entries@};

}  // namespace

std::span<const @type@> @function@() {
  return kFiles;
}

}  // namespace @namespace@
")
endfunction()
