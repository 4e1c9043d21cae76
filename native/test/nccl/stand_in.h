// Stands for libcuda.so.1 and libnccl.so.2 where there is no GPU: one library, which is found under both names. Devices are
// of the host's memory, or those of a CUDA runtime that INFONCE_TEST_CUDA_RUNTIME names, such as a simulator's; ranks are
// processes or threads of this host, which exchange messages over local sockets. It refuses what is wrong and NCCL would
// not tell: ends of a message that differ, sends and receives outside of a group or in groups that do not match.
#pragma once

#include <cstddef>
#include <functional>

struct CUstream_st;

namespace infonce::test {

// What the stand-in for NCCL needs of the one for the driver.
void read_device(void *to, const void *device, size_t count);
void write_device(void *device, const void *from, size_t count);
// After what is in the stream. `queued` is called when it is in the stream, for its end if it cannot be queued.
void do_in_stream(CUstream_st *stream, std::function<void()> work, const std::function<void()> &queued);

}  // namespace infonce::test

// How much is allocated on the devices and page-locked, and how many streams and events there are.
extern "C" int infonce_test_live_objects();
