# gRPC and Protobuf, linked statically with hidden symbols: sentencepiece's shared object exports an older protobuf that must not meet ours
# (docs/dependencies.md). Debian has no gRPCConfig.cmake, so pkg-config names the static libraries.
find_package(Protobuf 3.21 REQUIRED)
find_package(OpenSSL REQUIRED)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
pkg_check_modules(GRPCPP REQUIRED grpc++)

# Names every library of `names` as its static archive where there is one.
function(coppice_static_archives result)
  set(archives)
  foreach(name ${ARGN})
    find_library(COPPICE_ARCHIVE_${name} NAMES lib${name}.a)
    if(COPPICE_ARCHIVE_${name})
      list(APPEND archives ${COPPICE_ARCHIVE_${name}})
    elseif(NOT name MATCHES "^(ssl|crypto|dl|pthread|atomic|rt|m)$")
      message(FATAL_ERROR "lib${name}.a is missing: gRPC must be linked statically (docs/dependencies.md)")
    endif()
  endforeach()
  set(${result} ${archives} PARENT_SCOPE)
endfunction()

set(grpc_names grpc++_reflection ${GRPCPP_STATIC_LIBRARIES} protobuf)
list(REMOVE_DUPLICATES grpc_names)
coppice_static_archives(GRPC_ARCHIVES ${grpc_names})

add_library(coppice_grpc INTERFACE)
target_include_directories(coppice_grpc SYSTEM INTERFACE ${GRPCPP_INCLUDE_DIRS} ${Protobuf_INCLUDE_DIRS})
# The archives need one another in circles, hence the group; --exclude-libs keeps their symbols out of the program's dynamic table.
target_link_libraries(coppice_grpc INTERFACE
  -Wl,--start-group ${GRPC_ARCHIVES} -Wl,--end-group OpenSSL::SSL OpenSSL::Crypto Threads::Threads ${CMAKE_DL_LIBS})
# Sanitizers need theirs in it: else shared libraries would allocate and free past them.
if(NOT COPPICE_FUZZ AND NOT COPPICE_SANITIZE)
  target_link_options(coppice_grpc INTERFACE -Wl,--exclude-libs,ALL)
endif()

# grpc_proto_library(name import_root file.proto…): generated messages and services as a static library.
function(grpc_proto_library name root)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${out})
  set(sources)
  foreach(file ${ARGN})
    string(REGEX REPLACE "\\.proto$" "" base ${file})
    set(outputs ${out}/${base}.pb.cc ${out}/${base}.pb.h ${out}/${base}.grpc.pb.cc ${out}/${base}.grpc.pb.h)
    add_custom_command(OUTPUT ${outputs}
      COMMAND protobuf::protoc -I ${root} --cpp_out=${out} --grpc_out=${out} --plugin=protoc-gen-grpc=${GRPC_CPP_PLUGIN}
              ${root}/${file}
      DEPENDS ${root}/${file} VERBATIM)
    list(APPEND sources ${outputs})
  endforeach()
  add_library(${name} STATIC ${sources})
  set_target_properties(${name} PROPERTIES COPPICE_FLOOR 1)
  target_include_directories(${name} SYSTEM PUBLIC ${out})
  target_link_libraries(${name} PUBLIC coppice_grpc)
endfunction()
