# The lists of native/sources.json, which binding.gyp reads too.

set(INFONCE_SOURCES_FILE "${CMAKE_CURRENT_SOURCE_DIR}/native/sources.json")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${INFONCE_SOURCES_FILE}")

# infonce_list(VARIABLE NAME): the list called NAME.
function(infonce_list variable name)
  file(READ "${INFONCE_SOURCES_FILE}" json)
  string(JSON length LENGTH "${json}" variables "${name}")
  set(items "")
  math(EXPR last "${length} - 1")
  foreach(index RANGE ${last})
    string(JSON item GET "${json}" variables "${name}" ${index})
    list(APPEND items "${item}")
  endforeach()
  set(${variable} "${items}" PARENT_SCOPE)
endfunction()
