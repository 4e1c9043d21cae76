// What a call brings to the device and back. Copies of page-locked arrays are queued with the kernels; pageable ones go
// through staging buffers, which the processor fills at the beginning and empties at the end of the call.
#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>

#include "cuda/call.h"
#include "cuda/launch/launch.h"

namespace infonce::cuda {

void Call::clear() {
  if (part_ == Part::kBackward) {
    // What was found in the inputs stays.
    const auto first = offsetof(Report, bad_row[kUpstreamInput]);
    stream().fill(reinterpret_cast<unsigned char *>(report_) + first, 0, offsetof(Report, largest_norm) - first);
    return;
  }
  stream().fill(zeroed_, 0, zeroed_bytes_);
  // About 2^127 each: exp2 of anything less that is 0.
  if (online_) stream().fill(no_log2_sum_, 0x7f, size_t(longest_rows()) * sizeof(float));
}

void Call::upload_all() {
  const infonce_grad_output &upstream = problem_.grad_output;
  if (upstream.residence == INFONCE_ON_HOST)
    lane_->upload(const_cast<float *>(grad_output_), upstream.data, size_t(upstream.count) * sizeof(float));
  if (part_ == Part::kBackward) return;
  for (int name = kAnchors; name < kTowers; ++name) {
    const Input &input = inputs_[name];
    if (!has(TowerName(name)) || input.on_device) continue;
    const size_t size = size_t(size_of(TowerName(name)));
    if (input.halves)
      lane_->upload(input.halves, input.caller, size * sizeof(uint16_t));
    else
      lane_->upload(input.rows, input.caller, size * sizeof(float));
  }
  if (own_negatives()) return;
  const auto upload_vector = [&](auto *to, const auto &vector) {
    if (!vector.empty()) lane_->staging.upload(stream(), to, vector.data(), vector.size() * sizeof *to);
  };
  upload_vector(order_, classes_.order);
  upload_vector(apart_, classes_.apart);
  upload_vector(members_, classes_.members);
  upload_vector(class_of_, classes_.class_of);
  upload_vector(large_, classes_.large);
  upload_vector(memory_order_, classes_.memory_order);
  upload_vector(memory_apart_, classes_.memory_apart);
  upload_vector(memory_members_, classes_.memory_members);
  upload_vector(memory_large_, classes_.memory_large);
}

// From here on kernels find the inputs in float32 at towers_[name].source.
void Call::bring_rows_into_place() {
  for (int name = kAnchors; name < kTowers; ++name) {
    const Input &input = inputs_[name];
    if (!has(TowerName(name))) continue;
    const int64_t size = size_of(TowerName(name));
    if (input.type != INFONCE_FLOAT32)
      widen(stream(), input.type == INFONCE_FLOAT16, input.halves ? input.halves : input.caller, input.rows, size);
    else if (input.on_device && input.rows)
      stream().copy(input.rows, input.caller, size_t(size) * sizeof(float), cudaMemcpyDeviceToDevice);
    towers_[name].source = input.rows ? input.rows : static_cast<const float *>(input.caller);
  }
}

// What the first kernels say of the data. They are done long before the statistics that were queued behind them, but
// not before the kernels of the previous call, which may be cancelled meanwhile.
void Call::decide(Lane *previous) {
  std::function<void()> meanwhile;
  if (previous) meanwhile = [previous] { previous->end_early_if_cancelled(); };
  stream().synchronize(lane_->decided.get(), meanwhile);
  wide_ = lane_->report.get()->use_wide != 0;
  narrow_ = !wide_;
}

void Call::ask_for_report() {
  stream().copy(lane_->report.get(), report_, sizeof(Report), cudaMemcpyDeviceToHost);
}

// Gradients of one tower are on their way while those of the next are computed.
void Call::queue_downloads() {
  ask_for_report();
  lane_->all_ready.record(stream());
  uint32_t turn = 1;
  for_each_array([&](const Array &array) {
    if (array.on_device()) return;
    downloads_ = true;
    if (is_page_locked(array.caller.data)) {
      lane_->downloads.follow(array.ready->get());
      lane_->downloads.copy(array.caller.data, *array.device, size_t(array.count) * sizeof(float), cudaMemcpyDeviceToHost);
    } else {
      waiting_arrays_ |= turn;
    }
    turn <<= 1;
  });
}

BadRow Call::end() {
  if (returns_early()) return {};
  uint32_t turn = 1;
  for_each_array([&](const Array &array) {
    if (array.on_device()) return;
    if ((waiting_arrays_ & turn) && array.count > 0)
      lane_->staging.download(stream(), lane_->downloads, array.ready->get(), array.caller.data, *array.device,
                              size_t(array.count) * sizeof(float));
    turn <<= 1;
  });
  if (downloads_) lane_->downloads.follow(lane_->all_ready.get());
  lane_->clock.mark(downloads_ ? lane_->downloads : stream(), Clock::kDownloaded);
  stream().synchronize();
  if (downloads_) lane_->downloads.synchronize();
  lane_->clock.read(result_);
  const BadRow bad = read_report();
  if (bad.row < 0 || !problem_.propagate_non_finite) return bad;
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  result_->scalars = {kNaN, kNaN, kNaN, kNaN};
  return {};
}

BadRow Call::read_report() {
  const Report &report = *lane_->report.get();
  if (const int64_t row = report.first_bad_row(kUpstreamInput); row >= 0) return {INFONCE_IN_GRAD_OUTPUT, row};
  for (const TowerName name : {kAnchors, kKeys, kNegatives})
    if (const int64_t row = report.first_bad_row(name); row >= 0) return {matrix_of(name), row};
  const double grad_scale = computes_gradient() ? report.scalars.grad_scale : result_->scalars.grad_scale;
  result_->scalars = report.scalars;
  result_->scalars.grad_scale = grad_scale;
  return {};
}

// On the device, also what goes to the host: there the next call may have filled the same arrays already.
void Call::spoil_arrays() {
  Results results = {{}, {}, output_.device_scalars};
  int turn = 0;
  for_each_array([&](const Array &array) {
    results.values[turn] = *array.device;
    results.count[turn++] = array.count;
  });
  if (turn > 0 || output_.device_scalars) spoil(stream(), report_, results);
}

}  // namespace infonce::cuda
