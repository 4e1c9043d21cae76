# A function that several kernel libraries define is kept once by the linker, perhaps compiled for instructions that
# this machine lacks. So every symbol that could be merged has to be in the namespace of its own library.
#
#   cmake -DNM=nm -DLIBRARY=libinfonce_kernels_avx2.a -DNAMESPACE=avx2 -P kernels_share_no_code.cmake

execute_process(COMMAND "${NM}" --defined-only "${LIBRARY}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(LENGTH "${NAMESPACE}" length)
string(REGEX MATCHALL " [WVu] [^\n]+" shared "${symbols}")
list(FILTER shared EXCLUDE REGEX "7infonce3cpu${length}${NAMESPACE}| DW\\.ref\\.")
if(shared)
  list(JOIN shared "\n" shared)
  message(FATAL_ERROR "outside infonce::cpu::${NAMESPACE}:\n${shared}")
endif()
