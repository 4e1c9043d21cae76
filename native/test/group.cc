#include "test/group.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <mutex>
#include <random>
#include <thread>

#include "group/forwarding_transport.h"
#include "group/local_transport.h"
#include "test/backend.h"
#include "test/forms.h"

namespace infonce::test {

namespace {

// Rows of a matrix that are a rank's: [first, rows] of each of its views.
struct Rows {
  int64_t first, rows, views, all;
};

// The matrix with rows of its own number beside the anchors that may be positives: that of which targets are rows, or a
// memory. Or -1.
int apart_of(const infonce_problem &problem) {
  if (memory_of(problem) != kNone) return memory_of(problem);
  for (int m = 0; m < problem.matrix_count && problem.softmaxes[0].targets; ++m)
    if (problem.softmaxes[0].positive_matrices & bit_of(m)) return m;
  return -1;
}

int64_t apart_rows_of(const Inputs &whole) {
  const int matrix = apart_of(whole.problem);
  return matrix < 0 ? 0 : whole.problem.matrices[matrix].rows;
}

// Whose the rows of a matrix are.
int32_t own_of(const infonce_problem &problem, int matrix) {
  for (int b = 0; b < problem.block_count; ++b)
    if (problem.blocks[b].candidates == matrix && problem.blocks[b].own) return problem.blocks[b].own;
  for (int b = 0; b < problem.block_count; ++b)
    if (problem.blocks[b].candidates == matrix && (problem.blocks[b].left_out & INFONCE_LEAVE_OUT_OWN))
      return INFONCE_OWN_AMONG;
  return INFONCE_OWN_NONE;
}

Rows rows_of(const Inputs &whole, int matrix, const Share &share) {
  const infonce_problem &problem = whole.problem;
  const infonce_matrix &all = problem.matrices[matrix];
  const int64_t each = all.rows / row_count(problem);
  if (own_of(problem, matrix) == INFONCE_OWN_ALONE) return {share.first * each, share.rows * each, 1, all.rows};
  if (own_of(problem, matrix) == INFONCE_OWN_AMONG) return {share.first, share.rows, each, all.rows};
  if (matrix == apart_of(problem)) return {share.first_key, share.keys, 1, all.rows};
  if (is_candidate_alone(whole.problem, matrix)) return {share.first_further, share.further_rows, 1, all.rows};
  return {share.first, share.rows, all.views, all.rows};
}

template <class T> Buffer<T> take(const Buffer<T> &all, const Rows &rows, int64_t dim) {
  if (all.size() == 0) return {};
  Buffer<T> some(static_cast<size_t>(rows.rows * rows.views * dim));
  T *to = some.data();
  for (int64_t view = 0; view < rows.views; ++view) {
    const T *from = all.data() + (view * (rows.all / rows.views) + rows.first) * dim;
    to = std::copy_n(from, rows.rows * dim, to);
  }
  return some;
}

template <class T> void put(const Buffer<T> &some, const Rows &rows, int64_t dim, const Buffer<T> &all) {
  if (all.size() == 0 || some.size() == 0) return;
  const T *from = some.data();
  for (int64_t view = 0; view < rows.views; ++view) {
    T *to = all.data() + (view * (rows.all / rows.views) + rows.first) * dim;
    std::copy_n(from, rows.rows * dim, to);
    from += rows.rows * dim;
  }
}

Join &join() {
  static Join how = [](const std::string &key, int rank, int size) { return group::join_local(key, rank, size, 60); };
  return how;
}

std::string new_key() {
  static std::atomic<int> last{0};
  return "test " + std::to_string(++last);
}

int64_t samples_of(const Inputs &whole) {
  const infonce_matrix &anchors = whole.problem.matrices[whole.problem.softmaxes[0].anchors];
  return anchors.rows / anchors.views;
}

int64_t further_rows_of(const Inputs &whole) {
  for (int m = 0; m < whole.problem.matrix_count; ++m)
    if (is_candidate_alone(whole.problem, m) && own_of(whole.problem, m) == INFONCE_OWN_NONE)
      return whole.problem.matrices[m].rows;
  return 0;
}

class ByTheHost final : public group::ForwardingTransport {
 public:
  using group::ForwardingTransport::ForwardingTransport;
  bool takes_memory_of(int) const override { return false; }
};

}  // namespace

std::unique_ptr<group::Transport> by_the_host(std::unique_ptr<group::Transport> transport) {
  return std::make_unique<ByTheHost>(std::move(transport));
}

void set_join(Join how) { join() = std::move(how); }

void wait_for(const std::atomic<bool> &done) {
  while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void on_ranks(int size, const std::function<void(group::Group &)> &body, double patience, const Wrap &wrap) {
  const std::string key = new_key();
  std::exception_ptr failure;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        std::unique_ptr<group::Transport> transport = join()(key, rank, size);
        group::Group group(wrap ? wrap(std::move(transport)) : std::move(transport), patience);
        body(group);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

Form form_to_share(Form form) {
  form.memory = 0;
  form.joint = form.keys_apart = form.other_keys = form.keys_to_further = false;
  for (int64_t &rows : form.further) rows = form.further[0];
  return form;
}

void set_one_tower(Form *form, infonce_positive positive, int64_t samples, int64_t views) {
  form->positive = positive;
  form->views = views;
  form->rows = samples * views;
  form->keys = 0;
  if (form->grad_output_count > 1) form->grad_output_count = form->rows;
}

void set_towers(Form *form, int64_t rows) {
  set_one_tower(form, INFONCE_POSITIVE_SAME_INDEX, rows, 1);
  form->keys = rows;
}

std::vector<Share> even_shares(const Inputs &whole, int size) {
  std::vector<Share> shares;
  const int64_t samples = samples_of(whole), further = further_rows_of(whole), keys = apart_rows_of(whole);
  for (int rank = 0; rank < size; ++rank) {
    const auto first = [&](int64_t all, int r) { return all * r / size; };
    shares.push_back({first(samples, rank), first(samples, rank + 1) - first(samples, rank), first(further, rank),
                      first(further, rank + 1) - first(further, rank), first(keys, rank),
                      first(keys, rank + 1) - first(keys, rank)});
  }
  return shares;
}

std::vector<Share> random_shares(const Inputs &whole, int size, uint32_t seed) {
  std::mt19937 random(seed);
  // Where shares begin.
  const auto begins = [&](int64_t all, int64_t least) {
    std::vector<int64_t> cuts(static_cast<size_t>(size) + 1, 0);
    for (int r = 1; r < size; ++r)
      cuts[static_cast<size_t>(r)] = std::uniform_int_distribution<int64_t>(0, all - least * size)(random);
    cuts.back() = all - least * size;
    std::sort(cuts.begin(), cuts.end());
    for (size_t r = 0; r < cuts.size(); ++r) cuts[r] += least * int64_t(r);
    return cuts;
  };
  const std::vector<int64_t> anchors = begins(samples_of(whole), seed % 3 == 0 ? 0 : 1),
                             further = begins(further_rows_of(whole), 0), keys = begins(apart_rows_of(whole), 0);
  std::vector<Share> shares;
  for (size_t r = 0; r < size_t(size); ++r)
    shares.push_back({anchors[r], anchors[r + 1] - anchors[r], further[r], further[r + 1] - further[r], keys[r],
                      keys[r + 1] - keys[r]});
  return shares;
}

Inputs inputs_of(const Inputs &whole, const Share &share) {
  Inputs inputs;
  inputs.unwanted = whole.unwanted;
  inputs.problem = whole.problem;
  infonce_problem &problem = inputs.problem;
  for (int m = 0; m < problem.matrix_count; ++m) {
    infonce_matrix &matrix = problem.matrices[m];
    const Rows rows = rows_of(whole, m, share);
    inputs.matrices[m] = take(whole.matrices[m], rows, problem.dim);
    inputs.halves[m] = take(whole.halves[m], rows, problem.dim);
    inputs.ids[m] = take(whole.ids[m], rows, 1);
    inputs.bias[m] = take(whole.bias[m], rows, 1);
    inputs.guides[m] = take(whole.guides[m], rows, problem.guide_dim);
    matrix.rows = rows.rows * rows.views;
    const bool is_half = inputs.halves[m].size() > 0;
    matrix.data = is_half ? static_cast<const void *>(inputs.halves[m].data()) : inputs.matrices[m].data();
    if (whole.ids[m].size() > 0) matrix.ids = inputs.ids[m].data();
    if (whole.bias[m].size() > 0) matrix.bias = inputs.bias[m].data();
    if (matrix.guide) matrix.guide = inputs.guides[m].data();
  }
  const Rows anchors = rows_of(whole, problem.softmaxes[0].anchors, share);
  for (int m = 0; m < problem.matrix_count; ++m) {
    if (!problem.matrices[m].counts) continue;
    inputs.counts = take(whole.counts, anchors, 1);
    problem.matrices[m].counts = inputs.counts.data();
  }
  if (problem.softmaxes[0].targets) {
    inputs.targets = take(whole.targets, anchors, 1);
    problem.softmaxes[0].targets = inputs.targets.data();
  }
  if (problem.grad_output.count > 1) {
    inputs.grad_output = take(whole.grad_output, anchors, 1);
    problem.grad_output.data = inputs.grad_output.data();
    problem.grad_output.count = anchors.rows * anchors.views;
  }
  return inputs;
}

void put_share(const Output &output, const Inputs &whole, const Share &share, const Output &joined) {
  const Rows anchors = rows_of(whole, whole.problem.softmaxes[0].anchors, share);
  put(output.row_loss, anchors, 1, joined.row_loss);
  for (int m = 0; m < whole.problem.matrix_count; ++m)
    put(output.gradients[m], rows_of(whole, m, share), whole.problem.dim, joined.gradients[m]);
  for (int s = 0; s < whole.problem.softmax_count; ++s) {
    put(output.losses[s], anchors, 1, joined.losses[s]);
    put(output.above[s], anchors, 1, joined.above[s]);
  }
}

Output run_on_ranks(const std::vector<const Context *> &contexts, const Inputs &whole, const std::vector<Share> &shares,
                    group::Gradients gradients, bool in_two_halves, const Wrap &wrap) {
  Output joined(whole);
  joined.want_rows(whole);
  std::mutex mutex;
  bool is_first = true;
  const auto body = [&](group::Group &group) {
    const auto rank = size_t(group.transport().rank());
    const Inputs inputs = inputs_of(whole, shares[rank]);
    Output output(inputs);
    output.want_rows(inputs);
    infonce_failure failure = empty_failure();
    infonce_context *context = contexts[rank]->handle();
    infonce_status status;
    if (in_two_halves) {
      std::unique_ptr<group::RingCall> saved;
      status = group.forward(group.take_turn(), backend(), context, inputs.problem, &output.result, &saved, &failure);
      infonce_upstream upstream{};
      upstream.struct_size = sizeof(upstream);
      upstream.grad_output = inputs.problem.grad_output;
      for (int again = 0; again < 2 && status == INFONCE_OK && whole.problem.gradient; ++again)
        status = group.backward(group.take_turn(), *saved, upstream, gradients, &output.result, &failure);
    } else {
      status = group.run(group.take_turn(), backend(), context, inputs.problem, gradients, &output.result, &failure);
    }
    const std::lock_guard<std::mutex> lock(mutex);
    REQUIRE_MESSAGE(status == INFONCE_OK, failure.matrix, " ", failure.message);
    put_share(output, whole, shares[rank], joined);
    // Everyone's, but those of parameters, of which a rank has its share.
    infonce_scalars scalars = output.result.scalars;
    if (gradients == group::Gradients::kSum)
      scalars.grad_scale *= group.transport().size(), scalars.grad_bias *= group.transport().size();
    if (is_first) joined.result.scalars = scalars;
    else CHECK(std::memcmp(&scalars, &joined.result.scalars, sizeof scalars) == 0);
    is_first = false;
  };
  on_ranks(int(shares.size()), body, 60, wrap);
  return joined;
}

}  // namespace infonce::test
