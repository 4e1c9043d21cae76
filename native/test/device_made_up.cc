#include "test/device_made_up.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "group/forwarding_transport.h"
#include "test/backend.h"

namespace infonce::test {

namespace {

// Addresses that the host cannot use.
constexpr uintptr_t kOnDevice = uintptr_t{1} << 56;

std::atomic<int> live{0};

template <class T> T *on_host(T *address) {
  return reinterpret_cast<T *>(reinterpret_cast<uintptr_t>(address) & ~kOnDevice);
}

// Of a context.
struct Stream {
  std::deque<std::function<void()>> work;
  int64_t done = 0;

  void finish(int64_t until) {
    for (; done < until && !work.empty(); ++done, work.pop_front()) work.front()();
  }
  int64_t end() const { return done + int64_t(work.size()); }
};

struct Point {
  Stream *stream;
  int64_t after;
};

std::mutex &mutex() {
  static std::mutex &one = *new std::mutex;
  return one;
}

// Under the mutex.
Stream &stream_of(infonce_context *context) {
  static auto &all = *new std::map<infonce_context *, Stream>;
  return all[context];
}

void finish(infonce_context *context) {
  const std::lock_guard<std::mutex> lock(mutex());
  Stream &stream = stream_of(context);
  stream.finish(stream.end());
}

int32_t host_device(infonce_context *) { return 0; }

infonce_status allocate(infonce_context *, int64_t bytes, void **memory, infonce_failure *) {
  char *const address = static_cast<char *>(std::malloc(size_t(bytes)));
  std::memset(address, 0xff, size_t(bytes));
  *memory = reinterpret_cast<void *>(reinterpret_cast<uintptr_t>(address) | kOnDevice);
  ++live;
  return INFONCE_OK;
}

void release(infonce_context *context, void *memory) {
  finish(context);
  std::free(on_host(memory));
  --live;
}

infonce_status copy(infonce_context *context, void *to, const void *from, int64_t bytes, int32_t, infonce_failure *) {
  finish(context);
  if (bytes > 0) std::memcpy(on_host(to), on_host(from), size_t(bytes));
  return INFONCE_OK;
}

infonce_status combine(infonce_context *context, float *to, const float *from, int64_t count, float factor,
                       int32_t waits, infonce_failure *) {
  {
    const std::lock_guard<std::mutex> lock(mutex());
    stream_of(context).work.push_back([to = on_host(to), from = on_host(from), count, factor] {
      for (int64_t i = 0; i < count; ++i) to[i] = factor == 0 ? 0 : (from ? to[i] + from[i] : to[i]) * factor;
    });
  }
  if (waits) finish(context);
  return INFONCE_OK;
}

infonce_status mark(infonce_context *context, void **point, infonce_failure *) {
  const std::lock_guard<std::mutex> lock(mutex());
  if (!*point) *point = new Point, ++live;
  Stream &stream = stream_of(context);
  *static_cast<Point *>(*point) = {&stream, stream.end()};
  return INFONCE_OK;
}

void release_mark(void *point) {
  delete static_cast<Point *>(point);
  --live;
}

infonce_status copy_between(infonce_context *context, infonce_context *, void *to, const void *from, int64_t bytes,
                            void *after, infonce_failure *) {
  const std::lock_guard<std::mutex> lock(mutex());
  Stream &stream = stream_of(context);
  stream.finish(stream.end());
  const Point &point = *static_cast<Point *>(after);
  point.stream->finish(point.after);
  std::memcpy(on_host(to), on_host(from), size_t(bytes));
  return INFONCE_OK;
}

infonce_matrix matrix_on_host(const infonce_matrix &matrix) {
  infonce_matrix moved = matrix;
  moved.data = on_host(matrix.data);
  moved.guide = on_host(matrix.guide);
  moved.residence = moved.guide_residence = INFONCE_ON_HOST;
  return moved;
}

infonce_part part_on_host(const infonce_part &part) {
  infonce_part moved = part;
  moved.candidates = matrix_on_host(part.candidates);
  return moved;
}

infonce_status open(infonce_context *context, const infonce_problem *problem, infonce_saved **saved,
                    infonce_failure *failure) {
  finish(context);
  infonce_problem moved = *problem;
  for (infonce_matrix &matrix : moved.matrices) matrix = matrix_on_host(matrix);
  return backend().open(context, &moved, saved, failure);
}

infonce_status add(infonce_context *context, infonce_saved *saved, const infonce_part *part, infonce_failure *failure) {
  finish(context);
  const infonce_part moved = part_on_host(*part);
  return backend().add(context, saved, &moved, failure);
}

infonce_status add_gradient(infonce_context *context, infonce_saved *saved, const infonce_part *part,
                            const infonce_output *gradient, infonce_failure *failure) {
  finish(context);
  const infonce_part moved = part_on_host(*part);
  const infonce_output to{on_host(gradient->data), INFONCE_ON_HOST};
  return backend().add_gradient(context, saved, &moved, &to, failure);
}

// Which gradients are in its memory.
infonce_result result_on_host(const infonce_result &result) {
  infonce_result moved = result;
  for (infonce_output &gradient : moved.gradients) gradient = {on_host(gradient.data), INFONCE_ON_HOST};
  return moved;
}

infonce_status close_gradient(infonce_context *context, infonce_saved *saved, infonce_result *result,
                              infonce_failure *failure) {
  finish(context);
  infonce_result moved = result_on_host(*result);
  const infonce_status status = backend().close_gradient(context, saved, &moved, failure);
  result->scalars = moved.scalars;
  return status;
}

class SomeOnHost final : public group::ForwardingTransport {
 public:
  using group::ForwardingTransport::ForwardingTransport;
  bool takes_memory_of(int device) const override { return transport_->takes_memory_of(device) && rank() % 3 != 2; }
};

}  // namespace

const infonce_backend &device_made_up() {
  static const infonce_backend made_up = [] {
    infonce_backend table = backend();
    table.host_device = host_device;
    table.allocate = allocate;
    table.release = release;
    table.copy = copy;
    table.combine = combine;
    table.mark = mark;
    table.release_mark = release_mark;
    table.copy_between = copy_between;
    table.open = open;
    table.add = add;
    table.add_gradient = add_gradient;
    table.close_gradient = close_gradient;
    return table;
  }();
  return made_up;
}

std::unique_ptr<group::Transport> some_on_host(std::unique_ptr<group::Transport> transport) {
  return std::make_unique<SomeOnHost>(std::move(transport));
}

int live_on_device() { return live; }

}  // namespace infonce::test
