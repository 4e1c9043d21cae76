#include "cuda/error.h"

namespace infonce::cuda {
namespace {

// By number, so that what the driver says is known whatever toolkit this was compiled with.
enum Number {
  kNotUsable = 46,
  kInvalidContext = 201,  // of a thread, or destroyed by somebody else
  kNoImage = 209,
  kUncorrectableMemory = 214,
  kInvalidPtx = 218,
  kUncorrectableLink = 220,
  kNoPtxCompiler = 221,
  kPtxTooNew = 222,
  kPtxCompilerDisabled = 223,
  kContained = 226,
  kNotReady = 600,
  kIllegalAddress = 700,
  kTookTooLong = 702,
  kContextDestroyed = 709,
  kAssert = 710,
  kHardwareStack = 714,
  kIllegalInstruction = 715,
  kMisalignedAddress = 716,
  kInvalidAddressSpace = 717,
  kInvalidProgramCounter = 718,
  kLaunchFailure = 719,
  kTensorMemoryLeak = 721,
  kSystemNotReady = 802,
  kDriverMismatch = 803,
  kDriverNotForDevice = 804,
  kServerFirst = 805,  // to kServerLast: the MPS server refuses this process
  kServerLast = 809,
  kServerEndedProcess = 810,
  kExternalDevice = 911,
  kUnknown = 999,
};

const char *remedy_for(int code) {
  if (code >= kServerFirst && code <= kServerLast)
    return "see whether the CUDA MPS server runs and has room for this process";
  switch (code) {
    case kNotUsable:
      return "another process has the GPU to itself, or its compute mode forbids use: nvidia-smi -q -d COMPUTE";
    case kSystemNotReady:
      return "the GPUs of this machine are joined by NVSwitch: see whether nvidia-fabricmanager runs";
    case kDriverMismatch:
    case kDriverNotForDevice:
      return "the driver's library and its kernel module are of different versions: restart the machine or container";
    case kNoImage:
    case kInvalidPtx:
    case kPtxTooNew:
      return "this library holds no code that this GPU runs with this driver: take a newer driver, or build it here";
    case kNoPtxCompiler:
      return "the driver's PTX compiler, libnvidia-ptxjitcompiler, is missing: install all of the driver";
    case kPtxCompilerDisabled:
      return "CUDA_DISABLE_PTX_JIT is set, and this library has no machine code for this GPU";
    case kTookTooLong:
      return "the watchdog of a display ends kernels after some seconds: use a GPU without a display, or smaller "
             "batches";
    default:
      return nullptr;
  }
}

std::string message_of(cudaError_t code, const std::string &where) {
  std::string message = where + ": " + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")";
  if (const char *remedy = remedy_for(code)) message += std::string("; ") + remedy;
  return message;
}

}  // namespace

Error::Error(cudaError_t code, const std::string &where) : std::runtime_error(message_of(code, where)), code_(code) {}

bool Error::is_fault() const {
  switch (int(code_)) {
    case kInvalidContext:
    case kUncorrectableMemory:
    case kUncorrectableLink:
    case kContained:
    case kNotReady:  // who may wait for it asks before an Error is made of it
    case kIllegalAddress:
    case kTookTooLong:
    case kContextDestroyed:
    case kAssert:
    case kHardwareStack:
    case kIllegalInstruction:
    case kMisalignedAddress:
    case kInvalidAddressSpace:
    case kInvalidProgramCounter:
    case kLaunchFailure:
    case kTensorMemoryLeak:
    case kServerEndedProcess:
    case kExternalDevice:
    case kUnknown:
      return true;
    default:
      return false;
  }
}

void check(cudaError_t code, const char *what) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // a failure that does not stick must not show up in a later call
  throw Error(code, what);
}

}  // namespace infonce::cuda
