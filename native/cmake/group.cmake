# infonce_group: calls over the ranks of a process group, and the transports they use.

infonce_list(group_sources infonce_group_sources)
infonce_list(mpi_sources infonce_mpi_sources)
infonce_list(nccl_sources infonce_nccl_sources)

add_library(infonce_group STATIC ${group_sources} ${mpi_sources} ${nccl_sources})
target_compile_options(infonce_group PRIVATE ${cxx_flags})
target_include_directories(infonce_group PUBLIC native PRIVATE native/include)
target_link_libraries(infonce_group PUBLIC infonce_cpu Threads::Threads ${CMAKE_DL_LIBS})
