# Finds the CUDA compiler and decides whether the CUDA backend is built: sets COPPICE_WITH_CUDA. AUTO builds it where
# nvcc is found, but not into sanitizer and fuzzing builds, which run no kernel. Included from the top level, because a
# language must be enabled above every target that uses it.
set(COPPICE_WITH_CUDA OFF)
if(COPPICE_CUDA STREQUAL "ON" OR (COPPICE_CUDA STREQUAL "AUTO" AND NOT COPPICE_SANITIZE AND NOT COPPICE_FUZZ))
  if(NOT CMAKE_CUDA_COMPILER)
    find_program(COPPICE_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
    if(COPPICE_NVCC)
      set(CMAKE_CUDA_COMPILER ${COPPICE_NVCC})
    endif()
  endif()
  if(CMAKE_CUDA_COMPILER)
    set(COPPICE_WITH_CUDA ON)
  elseif(COPPICE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "COPPICE_CUDA is ON but there is no nvcc in PATH, CUDA_HOME or /usr/local/cuda: install the CUDA "
                        "Toolkit 13 (docs/gpu.md), or set COPPICE_CUDA to AUTO or OFF")
  endif()
endif()

if(COPPICE_WITH_CUDA)
  # COPPICE_CUDA_ARCHITECTURES: a name of these sets, or a list as CMAKE_CUDA_ARCHITECTURES has it. Machine code of a chip
  # also runs on later ones of its generation (8.0 on 8.7, 10.0 on 10.3). PTX serves what no code is for, and only of a
  # plain architecture: 90a's is for 9.0 alone.
  #   small: what developers and continuous integration compile. Its PTX is the oldest, so it runs on every chip.
  #   full: what is shipped; chips from 8.0 on find machine code. Its PTX is for later generations: of 100, whose
  #   instructions they all have and which can wait for an earlier kernel (kernels/cuda/device/overlap.cuh).
  set(COPPICE_CUDA_SET_small 80 90a-real)
  set(COPPICE_CUDA_SET_full 80-real 86-real 89-real 90a-real 100 120-real)
  if(COPPICE_CUDA_ARCHITECTURES MATCHES "^(small|full)$")
    set(CMAKE_CUDA_ARCHITECTURES ${COPPICE_CUDA_SET_${COPPICE_CUDA_ARCHITECTURES}})
  elseif(COPPICE_CUDA_ARCHITECTURES MATCHES "^[0-9]+[af]?(-real|-virtual)?(;[0-9]+[af]?(-real|-virtual)?)*$")
    set(CMAKE_CUDA_ARCHITECTURES ${COPPICE_CUDA_ARCHITECTURES})
  else()
    message(FATAL_ERROR "COPPICE_CUDA_ARCHITECTURES is ${COPPICE_CUDA_ARCHITECTURES}: small, full, or a list like 80;90a-real")
  endif()
  if(CMAKE_CUDA_ARCHITECTURES MATCHES "(^|;)90(-|;|$)")
    message(FATAL_ERROR "COPPICE_CUDA_ARCHITECTURES is ${COPPICE_CUDA_ARCHITECTURES}: for H100 and H200 name 90a, whose "
                        "code has wgmma; 90's traps in those kernels")
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  if(NOT CMAKE_CUDA_HOST_COMPILER)
    set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
  endif()
  enable_language(CUDA)
  # CMake 3.25 does not know how to ask this nvcc for C++20 (which CUDA targets inherit from CMAKE_CXX_STANDARD).
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  find_package(CUDAToolkit 12 REQUIRED)
endif()
message(STATUS "CUDA backend: ${COPPICE_WITH_CUDA} ${CMAKE_CUDA_ARCHITECTURES}")
