# infonce_cpu: the CPU backend. One library for each instruction set, the same source under its own flags and in its
# own namespace; which of them runs is chosen at run time.

infonce_list(cxx_flags infonce_cxx_flags)
infonce_list(cpu_sources infonce_cpu_sources)
infonce_list(float_kernels infonce_float_kernels)
infonce_list(bfloat16_kernels infonce_bfloat16_kernels)
infonce_list(kernel_flags infonce_kernel_flags)
if(INFONCE_SANITIZE)
  list(APPEND cxx_flags -O1) # at -O3 the instrumented, unrolled tiles take minutes to compile
endif()
infonce_list(avx2_flags infonce_avx2_flags)
infonce_list(avx512_flags infonce_avx512_flags)
infonce_list(avx512bf16_flags infonce_avx512bf16_flags)

add_library(infonce_cpu STATIC ${cpu_sources})
target_compile_options(infonce_cpu PRIVATE ${cxx_flags})
target_include_directories(infonce_cpu PUBLIC native/include PRIVATE native)
target_link_libraries(infonce_cpu PRIVATE Threads::Threads)

# On Windows the stack is aligned to 16 bytes, and GCC moves vectors of 32 and 64 bytes as if it were aligned to those.
if(MINGW)
  list(APPEND kernel_flags -Wa,-muse-unaligned-vector-move)
endif()

# infonce_kernels(NAMESPACE SOURCES sources... FLAGS flags...)
function(infonce_kernels namespace)
  cmake_parse_arguments(PARSE_ARGV 1 kernels "" "" "SOURCES;FLAGS")
  set(library infonce_kernels_${namespace})
  add_library(${library} STATIC ${kernels_SOURCES})
  target_compile_definitions(${library} PRIVATE INFONCE_KERNEL_NAMESPACE=${namespace})
  target_compile_options(${library} PRIVATE ${cxx_flags} ${kernel_flags} ${kernels_FLAGS})
  target_include_directories(${library} PRIVATE native/include native)
  target_link_libraries(infonce_cpu PRIVATE ${library})
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  infonce_kernels(x86_64 SOURCES ${float_kernels})
  infonce_kernels(avx2 SOURCES ${float_kernels} FLAGS ${avx2_flags})
  infonce_kernels(avx512 SOURCES ${float_kernels} FLAGS ${avx512_flags})
  infonce_kernels(avx512bf16 SOURCES ${bfloat16_kernels} FLAGS ${avx512_flags} ${avx512bf16_flags})
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  infonce_kernels(neon SOURCES ${float_kernels})
else()
  message(FATAL_ERROR "infonce has no kernels for ${CMAKE_SYSTEM_PROCESSOR}: x86-64 and arm64 are supported")
endif()
