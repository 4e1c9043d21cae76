# Toolchain file: builds for x64 Linux with musl, as Alpine, by Debian's own compiler, its musl-tools and the C++ library that
# scripts/musl-cxx-library.sh has built. Exceptions are libgcc_s's, which Node.js has brought into the process there too.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_CXX_COMPILER g++)
set(INFONCE_MUSL ON)

set(library ${CMAKE_CURRENT_LIST_DIR}/../../build-prebuild/musl-cxx-library)
file(GLOB headers ${library}/include/c++/*)
foreach(part include libgcc_s.so.1)
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${part}
    OUTPUT_VARIABLE ${part} OUTPUT_STRIP_TRAILING_WHITESPACE)
endforeach()

# cmake-js sets CMAKE_CXX_FLAGS.
add_compile_options(-nostdinc "SHELL:-isystem \"${headers}\"" "SHELL:-isystem \"${headers}/x86_64-linux-musl\""
  "SHELL:-isystem /usr/include/x86_64-linux-musl" "SHELL:-isystem ${include}")
foreach(kind EXE MODULE SHARED)
  set(CMAKE_${kind}_LINKER_FLAGS_INIT
    "-specs=/usr/lib/x86_64-linux-musl/musl-gcc.specs -L\"${library}/lib\" -static-libstdc++ -Wl,--eh-frame-hdr")
endforeach()
# Else that of libgcc_eh.a is taken, which asks for glibc.
set(CMAKE_CXX_STANDARD_LIBRARIES ${libgcc_s.so.1})
