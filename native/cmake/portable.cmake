# What is published: binaries for other machines than this one. They bring the C++ library along. On Linux they ask for no
# newer glibc than Node.js itself does (2.28), and exceptions are libgcc_s's, which Node.js has brought into the process. On
# Windows they bring all but the system's own libraries.

function(infonce_portable target)
  if(MSVC)
    set_property(TARGET ${target} PROPERTY MSVC_RUNTIME_LIBRARY MultiThreaded)
  endif()
  if(MINGW)
    target_link_options(${target} PRIVATE -static LINKER:--gc-sections LINKER:--strip-all LINKER:--no-insert-timestamp)
  endif()
  if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
    return()
  endif()
  target_link_options(${target} PRIVATE
    -static-libstdc++ LINKER:--exclude-libs,ALL LINKER:--gc-sections LINKER:--strip-all)
  if(machine MATCHES "gnu" AND NOT INFONCE_MUSL)
    file(STRINGS native/portable/symbols.h wrapped REGEX "^FORWARD")
    list(TRANSFORM wrapped REPLACE "^FORWARD.([a-z0-9_]+),.*" "LINKER:--wrap=\\1")
    target_sources(${target} PRIVATE native/portable/glibc.cc)
    target_link_options(${target} PRIVATE ${wrapped} LINKER:--wrap=fstat64)
  endif()
endfunction()

if(NOT MSVC)
  execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -dumpmachine OUTPUT_VARIABLE machine)
endif()
if(TARGET infonce)
  infonce_portable(infonce)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    # Two C++ libraries are in the process: what templates have left of this one is kept from the other.
    target_link_options(infonce PRIVATE "LINKER:--version-script=${CMAKE_CURRENT_SOURCE_DIR}/native/cmake/addon.map")
  endif()
endif()
if(TARGET infonce_cuda)
  infonce_portable(infonce_cuda)
  if(machine MATCHES "gnu")
    # Until glibc 2.34 a library of its own, and the only one of them that Node.js does not bring.
    target_link_libraries(infonce_cuda PRIVATE -Wl,--push-state,--no-as-needed -l:librt.so.1 -Wl,--pop-state)
  endif()
endif()
