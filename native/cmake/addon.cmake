# infonce: the Node.js addon. cmake-js brings the headers of Node-API and node-addon-api and, on Windows, what to link.

infonce_list(node_sources infonce_node_sources)
infonce_list(node_defines infonce_node_defines)

add_library(infonce MODULE ${node_sources} ${CMAKE_JS_SRC})
set_target_properties(infonce PROPERTIES PREFIX "" SUFFIX ".node")
target_compile_options(infonce PRIVATE ${cxx_flags})
target_compile_definitions(infonce PRIVATE NODE_GYP_MODULE_NAME=infonce BUILDING_NODE_EXTENSION ${node_defines})
target_include_directories(infonce PRIVATE native)
target_include_directories(infonce SYSTEM PRIVATE ${CMAKE_JS_INC})
target_link_libraries(infonce PRIVATE infonce_group infonce_cpu Threads::Threads ${CMAKE_DL_LIBS} ${CMAKE_JS_LIB})
if(MINGW)
  target_sources(infonce PRIVATE native/portable/node_api.cc)
endif()
