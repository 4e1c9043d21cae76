# libinfonce_cuda.so: the CUDA backend, which the addon loads at run time. One function of the C contract is all it
# exports; with the static runtime it needs nothing but the driver.

set(INFONCE_CUDA_ARCHITECTURES "" CACHE STRING
    "Architectures of the CUDA backend, as CMAKE_CUDA_ARCHITECTURES; empty: all, and PTX of the newest")
option(INFONCE_CUDA_SHARED_RUNTIME "Link the shared CUDA runtime, and embed the PTX that a simulator runs" OFF)

# CMake insists on a value; the target has its own.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES OFF)
endif()
set(CMAKE_CUDA_COMPILER "${INFONCE_NVCC}")
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.0)
  message(FATAL_ERROR "the CUDA backend needs CUDA 12.0 or newer; ${INFONCE_NVCC} is ${CMAKE_CUDA_COMPILER_VERSION}")
endif()
find_package(CUDAToolkit REQUIRED)

if(INFONCE_CUDA_ARCHITECTURES)
  set(cuda_architectures ${INFONCE_CUDA_ARCHITECTURES})
elseif(INFONCE_CUDA_SHARED_RUNTIME)
  set(cuda_architectures 80-virtual 90a-virtual)
elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
  set(cuda_architectures 80-real 86-real 89-real 90a-real 80-virtual 90-virtual)
else()
  set(cuda_architectures 80-real 86-real 89-real 90a-real 100-real 120-real 80-virtual 120-virtual)
endif()

infonce_list(cuda_sources infonce_cuda_sources)
infonce_list(cuda_flags infonce_cuda_flags)
if(INFONCE_PORTABLE)
  # What is published is small, rather than soon unpacked or fit for profilers.
  list(REMOVE_ITEM cuda_flags -lineinfo)
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND cuda_flags --compress-mode=size)
  endif()
endif()

# What a library for tests of faults compiles anew.
set(sources_with_faults native/cuda/stream.cc native/cuda/tensor_maps.cc)
list(REMOVE_ITEM cuda_sources ${sources_with_faults})
add_library(infonce_cuda_objects OBJECT ${cuda_sources})

function(infonce_cuda_settings target)
  set_target_properties(${target} PROPERTIES
    CUDA_ARCHITECTURES "${cuda_architectures}"
    CUDA_STANDARD 17
    CUDA_STANDARD_REQUIRED ON
    CUDA_VISIBILITY_PRESET hidden
    SKIP_BUILD_RPATH ON)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:${cxx_flags}>"
    "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_flags}>")
  target_include_directories(${target}
    PUBLIC "${PROJECT_SOURCE_DIR}/native/include" PRIVATE "${PROJECT_SOURCE_DIR}/native")
  if(INFONCE_CUDA_SHARED_RUNTIME)
    set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY Shared)
    target_link_libraries(${target} PRIVATE CUDA::cudart)
  else()
    set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY Static)
    target_link_libraries(${target} PRIVATE CUDA::cudart_static)
  endif()
endfunction()

# A library exports the one function of the C contract.
function(infonce_export_the_contract target)
  if(UNIX AND NOT APPLE)
    set(exports "${CMAKE_CURRENT_SOURCE_DIR}/native/cmake/cuda.map")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${exports}")
    target_link_options(${target} PRIVATE
      "LINKER:--version-script=${exports}" LINKER:--exclude-libs,ALL LINKER:--no-undefined)
  endif()
endfunction()

function(infonce_cuda_library target)
  add_library(${target} SHARED ${sources_with_faults} $<TARGET_OBJECTS:infonce_cuda_objects>)
  infonce_cuda_settings(${target})
  infonce_export_the_contract(${target})
endfunction()

infonce_cuda_settings(infonce_cuda_objects)
# device.cc knows by it which GPUs it can serve.
list(JOIN cuda_architectures "," architecture_names)
set_source_files_properties(native/cuda/device.cc PROPERTIES
  COMPILE_DEFINITIONS "INFONCE_CUDA_ARCHITECTURES=\"${architecture_names}\"")

infonce_cuda_library(infonce_cuda)
if(INFONCE_MOST_POLLS)
  # The kernels that wait at barriers, compiled anew to end where one is never completed.
  set(waiting "sm90_[a-z]+\\.cu")
  list(FILTER cuda_sources INCLUDE REGEX "${waiting}")
  add_library(infonce_cuda_bounded SHARED
    ${sources_with_faults} ${cuda_sources} $<FILTER:$<TARGET_OBJECTS:infonce_cuda_objects>,EXCLUDE,${waiting}>)
  infonce_cuda_settings(infonce_cuda_bounded)
  target_compile_definitions(infonce_cuda_bounded PRIVATE INFONCE_MOST_POLLS=${INFONCE_MOST_POLLS})
  infonce_export_the_contract(infonce_cuda_bounded)
endif()
if(INFONCE_TESTS)
  infonce_cuda_library(infonce_cuda_faulty)
  target_compile_definitions(infonce_cuda_faulty PRIVATE INFONCE_FAULT_INJECTION)
endif()
