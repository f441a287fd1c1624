# A body compiled for AVX-512 must not define a symbol that another file may share (weak or unique, as inline functions
# and template instances are): the linker keeps one copy, and would run it on machines without AVX-512.
#   cmake -DNM=nm -DOBJECTS=a.o,b.o -P isa_symbols.cmake
string(REPLACE "," ";" objects "${OBJECTS}")
list(LENGTH objects count)
if(count EQUAL 0)
  message(FATAL_ERROR "no objects given")
endif()
foreach(object ${objects})
  execute_process(COMMAND ${NM} --defined-only ${object} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} cannot read ${object}")
  endif()
  string(REGEX MATCH "[0-9a-f]+ [WVu] [^\n]*" shared "${symbols}")
  if(shared)
    message(FATAL_ERROR "${object} defines a symbol that the linker may give to other files: ${shared}")
  endif()
endforeach()
message(STATUS "${count} objects define nothing that is shared")
