# The floors of the house, enforced at configure time: a library may only link libraries of a lower floor
# (docs/architecture.md). A test scans the includes for the same law.
#
#   floor_library(coppice_kernels FLOOR 1 SOURCES a.cc b.cc LINKS coppice_base [SYSTEM_LINKS fmt::fmt ...])
#
# LINKS are our own libraries and are checked; SYSTEM_LINKS are other people's.
# SAME_FLOOR lists siblings that are deliberately one unit with this library (a backend and its interface).
function(floor_library name)
  cmake_parse_arguments(ARG "" "FLOOR" "SOURCES;LINKS;SAME_FLOOR;SYSTEM_LINKS;PRIVATE_SYSTEM_LINKS" ${ARGN})
  if(NOT DEFINED ARG_FLOOR)
    message(FATAL_ERROR "floor_library(${name}): FLOOR is missing")
  endif()
  add_library(${name} STATIC ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES COPPICE_FLOOR ${ARG_FLOOR})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  foreach(dependency ${ARG_LINKS})
    get_target_property(dependency_floor ${dependency} COPPICE_FLOOR)
    if(NOT dependency_floor MATCHES "^[0-9]+$")
      message(FATAL_ERROR "${name}: ${dependency} has no floor; put other people's libraries in SYSTEM_LINKS")
    endif()
    if(NOT dependency_floor LESS ARG_FLOOR)
      message(FATAL_ERROR "${name} (floor ${ARG_FLOOR}) may not link ${dependency} (floor ${dependency_floor}): "
                          "a dependency must stand on a lower floor")
    endif()
  endforeach()
  target_link_libraries(${name} PUBLIC ${ARG_LINKS} ${ARG_SAME_FLOOR} ${ARG_SYSTEM_LINKS}
                                PRIVATE coppice_warnings ${ARG_PRIVATE_SYSTEM_LINKS})
endfunction()
