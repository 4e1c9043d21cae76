// User objects of graphs, for a simulated runtime that has none: what a graph retains stays until that, and all that was made
// of it, is gone. A library's calls come here before they reach the shared runtime.
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

struct CUuserObject_st {
  void *memory;
  cudaHostFn_t destroy;

  ~CUuserObject_st() { destroy(memory); }
};

namespace {

using Retained = std::vector<std::shared_ptr<CUuserObject_st>>;

std::mutex mutex;
std::map<const void *, Retained> retained;  // by graph, executable or not
std::map<cudaUserObject_t, std::shared_ptr<CUuserObject_st>> made;

template <class... Parameters> cudaError_t real(const char *name, Parameters... parameters) {
  return reinterpret_cast<cudaError_t (*)(Parameters...)>(dlsym(RTLD_NEXT, name))(parameters...);
}

void let_go(const void *graph) {
  const std::lock_guard<std::mutex> lock(mutex);
  retained.erase(graph);
}

}  // namespace

#define INFONCE_EXPORTED extern "C" __attribute__((visibility("default"))) cudaError_t

INFONCE_EXPORTED cudaUserObjectCreate(cudaUserObject_t *object, void *memory, cudaHostFn_t destroy, unsigned,
                                      unsigned flags) {
  if (flags != cudaUserObjectNoDestructorSync) return cudaErrorInvalidValue;
  const std::lock_guard<std::mutex> lock(mutex);
  *object = new CUuserObject_st{memory, destroy};
  made[*object].reset(*object);
  return cudaSuccess;
}

INFONCE_EXPORTED cudaUserObjectRelease(cudaUserObject_t object, unsigned) {
  const std::lock_guard<std::mutex> lock(mutex);
  return made.erase(object) == 1 ? cudaSuccess : cudaErrorInvalidValue;
}

INFONCE_EXPORTED cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned, unsigned flags) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = made.find(object);
  if (found == made.end() || flags != cudaGraphUserObjectMove) return cudaErrorInvalidValue;
  retained[graph].push_back(found->second);
  made.erase(found);
  return cudaSuccess;
}

INFONCE_EXPORTED cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph, unsigned long long flags) {
  const cudaError_t error = real("cudaGraphInstantiate", executable, graph, flags);
  const std::lock_guard<std::mutex> lock(mutex);
  if (error == cudaSuccess && retained.count(graph) > 0) retained[*executable] = retained[graph];
  return error;
}

INFONCE_EXPORTED cudaGraphDestroy(cudaGraph_t graph) {
  let_go(graph);
  return real("cudaGraphDestroy", graph);
}

INFONCE_EXPORTED cudaGraphExecDestroy(cudaGraphExec_t executable) {
  let_go(executable);
  return real("cudaGraphExecDestroy", executable);
}
