# Compiler, warnings, sanitizers, ccache and mold: everything that is the same for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  # nvcc preprocesses a source once for the host and once for each chip, and ccache compares the host's text alone: a
  # change inside `#if __CUDA_ARCH__` would get the old object. In its depend mode it compares the files instead. The
  # name keeps apart what was cached before.
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_DEPEND=1 CCACHE_NAMESPACE=coppice-cuda-files
      ${CCACHE_PROGRAM})
endif()

find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

if(COPPICE_SANITIZE)
  add_compile_options(-fsanitize=${COPPICE_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${COPPICE_SANITIZE})
  if(COPPICE_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-Wno-tsan)  # it does not know fences, which Asio has beside its locks wherever it is included
  endif()
  if(COPPICE_SANITIZE MATCHES "undefined")
    # Without the checks whose instrumentation makes vector code take minutes to compile and that the address sanitizer covers.
    add_compile_options(-fno-sanitize-recover=undefined -fno-sanitize=null,alignment,object-size,vptr)
  endif()
endif()

if(COPPICE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
                      -fno-sanitize=null,object-size,vptr)
  add_link_options(-fsanitize=address,undefined)
endif()

# For the given targets, or for all that the calling directory and those below it define after the call. A build with
# sanitizers does not optimise them: to optimise instrumented templates takes far longer than all that such code does in
# a test. What multiplies matrices or is fuzzed for its speed keeps the build type's level.
function(coppice_compile_quickly)
  if(COPPICE_SANITIZE OR COPPICE_FUZZ)
    add_quick_option(-O0 ${ARGN})
  endif()
endfunction()

# The same for tests, which a release build optimises a little: they run for seconds and take minutes to compile.
function(coppice_compile_tests_quickly)
  coppice_compile_quickly(${ARGN})
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    add_quick_option(-O1 ${ARGN})
  endif()
endfunction()

function(add_quick_option option)
  foreach(target ${ARGN})
    target_compile_options(${target} PRIVATE ${option})
  endforeach()
  if(NOT ARGN)
    add_compile_options(${option})
  endif()
endfunction()

# Warnings for our own targets (floor_library and friends link this); never for generated or foreign code.
add_library(coppice_warnings INTERFACE)
target_compile_options(coppice_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror>)
