#include "test/forms.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <random>
#include <sstream>

#include "test/half.h"

namespace infonce::test {

namespace {

constexpr int kNone = -1;

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}

  int64_t between(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(random_); }
  bool one_in(int64_t count) { return between(1, count) == 1; }
  template <class T, size_t size> T of(const T (&values)[size]) {
    return values[static_cast<size_t>(between(0, int64_t{size} - 1))];
  }
  std::mt19937 &random() { return random_; }

 private:
  std::mt19937 random_;
};

// Without the positives in the denominator only where every row has candidates that are none.
infonce_row_loss row_loss_of(const Form &form) {
  if (form.own != 0 || form.stretch != 0 || form.threshold || form.joins_sides()) return INFONCE_ROW_LOSS_CROSS_ENTROPY;
  const bool has_negatives = form.ids == 0 && !form.bias && !form.further.empty() && !form.both_directions;
  if (form.seed / 8 % 3 == 2) {
    const bool is_debiasable = form.views == 2 && form.ids == 0 && form.further.empty();
    const bool mean_inside = form.seed / 24 % 2 == 1;
    return is_debiasable ? INFONCE_ROW_LOSS_DEBIASED
           : mean_inside ? INFONCE_ROW_LOSS_MEAN_INSIDE
                         : INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES;
  }
  return has_negatives && form.seed / 8 % 3 == 1 ? INFONCE_ROW_LOSS_DECOUPLED : INFONCE_ROW_LOSS_CROSS_ENTROPY;
}

// Of candidates that all rows have.
double label_smoothing_of(const Form &form) {
  const bool is_smoothed = form.ids == 0 && !form.bias && form.own == 0 && form.stretch == 0 && !form.joins_sides() &&
                           form.threshold == INFONCE_THRESHOLD_NONE;
  return is_smoothed && row_loss_of(form) == INFONCE_ROW_LOSS_CROSS_ENTROPY ? form.label_smoothing : 0;
}

double margin_of(const Form &form) { return !form.one_tower() && form.seed / 8 % 2 == 1 ? 0.125 : 0; }

// Rows of equal id are further positives in place of being left out.
bool has_further_positives(const Form &form) {
  const bool has_what_it_takes = form.ids > 0 && !form.one_tower() && !form.other_anchors && margin_of(form) == 0;
  return has_what_it_takes && row_loss_of(form) == INFONCE_ROW_LOSS_CROSS_ENTROPY && form.own == 0 &&
         form.stretch == 0 && form.threshold == INFONCE_THRESHOLD_NONE && form.seed / 16 % 2 == 1;
}

// Of two views.
double sigma_of(const Form &form) {
  const bool has_pairs = form.one_tower() && form.positive != INFONCE_POSITIVE_SAME_ID && form.views == 2;
  const double sigmas[] = {0, 0.5, 0.05, 0.002};
  return has_pairs && row_loss_of(form) == INFONCE_ROW_LOSS_DECOUPLED ? sigmas[form.seed / 24 % 4] : 0;
}

class Builder {
 public:
  explicit Builder(const Form &form) : form_(form), draw_(form.seed), problem_(inputs_.problem) {}

  Inputs build() {
    problem_.struct_size = sizeof(problem_);
    problem_.reduction = form_.reduction;
    problem_.normalize = form_.normalize;
    problem_.gradient = form_.gradient;
    problem_.ranks = form_.ranks;
    problem_.dim = form_.dim;
    problem_.scale = 1 / form_.temperature;
    inputs_.offset = form_.offset;
    name_matrices();
    add_softmaxes();
    add_blocks();
    fill_counts();
    fill_matrices();
    fill_ids();
    fill_bias();
    fill_guides();
    if (form_.grad_output_count > 0) {
      inputs_.grad_output = random_weights(draw_.random(), form_.grad_output_count, form_.offset);
    }
    problem_.grad_output = {inputs_.grad_output.data(), form_.grad_output_count, INFONCE_ON_HOST};
    return std::move(inputs_);
  }

 private:
  // In any order.
  void name_matrices() {
    std::vector<int64_t> rows = {form_.rows};
    const int64_t second = form_.one_tower() ? form_.memory : form_.keys;
    const bool has_second = second > 0;
    if (has_second) {
      rows.push_back(second);
    }
    rows.insert(rows.end(), form_.further.begin(), form_.further.end());
    if (form_.own > 0) {
      rows.push_back(form_.own * form_.rows);
    }
    std::vector<int> order(rows.size());
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), draw_.random());
    for (size_t k = 0; k < rows.size(); ++k) {
      problem_.matrices[order[k]].rows = rows[k];
      problem_.matrices[order[k]].views = 1;
    }
    problem_.matrix_count = static_cast<int32_t>(rows.size());
    anchors_ = order[0];
    problem_.matrices[anchors_].views = form_.views;
    second_ = has_second ? order[1] : kNone;
    further_.assign(order.begin() + 1 + has_second, order.end());
    if (form_.own > 0) {
      own_ = order.back();
    }
  }

  void add_softmaxes() {
    const uint32_t own = bit_of(anchors_);
    const uint32_t elsewhere = second_ == kNone ? 0 : bit_of(second_);
    infonce_softmax &first = problem_.softmaxes[0];
    problem_.softmax_count = 1;
    first.anchors = anchors_;
    first.positive = form_.positive;
    first.positive_matrices = form_.one_tower() ? own | elsewhere : elsewhere;
    first.row_loss = row_loss_of(form_);
    first.margin = margin_of(form_);
    first.label_smoothing = label_smoothing_of(form_);
    first.tau_plus = first.row_loss == INFONCE_ROW_LOSS_DEBIASED ? 0.125 : 0;
    first.mises_fisher_sigma = sigma_of(form_);
    first.weight = form_.both_directions ? 0.5 : 1;
    if (form_.positive == INFONCE_POSITIVE_TARGET) {
      inputs_.targets = Buffer<int32_t>(static_cast<size_t>(form_.rows), form_.offset);
      std::generate(inputs_.targets.begin(), inputs_.targets.end(),
                    [&] { return static_cast<int32_t>(draw_.between(0, form_.keys - 1)); });
      first.targets = inputs_.targets.data();
    }
    if (form_.both_directions) {
      problem_.softmax_count = 2;
      problem_.softmaxes[1] = first;
      problem_.softmaxes[1].anchors = second_;
      problem_.softmaxes[1].positive_matrices = own;
    }
  }

  // In any order, except that the first positive of a row is the first in the order of the blocks.
  void add_blocks() {
    std::vector<infonce_block> blocks;
    if (form_.one_tower() || form_.other_anchors) {
      blocks.push_back(block_of(anchors_, anchors_, 0, 0, INFONCE_LEAVE_OUT_SAME_ROW));
    }
    if (second_ != kNone && (form_.one_tower() || form_.in_batch)) {
      const int reverse = form_.both_directions ? 1 : form_.joint ? 0 : kNone;
      blocks.push_back(block_of(anchors_, second_, 0, form_.keys_apart ? kNone : reverse));
    }
    const int of_keys = form_.both_directions ? 1 : 0;
    if (form_.keys_apart) {
      blocks.push_back(block_of(second_, anchors_, of_keys, kNone));
    }
    if (form_.other_keys) {
      blocks.push_back(block_of(second_, second_, of_keys, of_keys, INFONCE_LEAVE_OUT_SAME_ROW));
    }
    if (form_.keys_to_further) {
      const int matrix = further_.back();
      const bool divides = problem_.matrices[matrix].rows % form_.rows == 0;
      blocks.push_back(block_of(second_, matrix, of_keys, kNone, divides ? uint32_t{INFONCE_LEAVE_OUT_OWN} : 0));
    }
    const infonce_own own = form_.among ? INFONCE_OWN_AMONG : INFONCE_OWN_ALONE;
    for (const int matrix : further_) {
      blocks.push_back(block_of(anchors_, matrix, 0, kNone, 0, matrix == own_ ? own : INFONCE_OWN_NONE));
    }
    if (form_.memory == 0) {
      std::shuffle(blocks.begin(), blocks.end(), draw_.random());
    }
    for (infonce_block &block : blocks) {
      const bool leaves_out = form_.ids > 0 && block.own == 0 && (&block == &blocks.front() || draw_.one_in(2));
      const uint32_t by_id =
          has_further_positives(form_) ? INFONCE_LEAVE_OUT_SAME_ID_POSITIVE : INFONCE_LEAVE_OUT_SAME_ID;
      block.left_out |= leaves_out ? by_id : 0;
      const bool may_stretch = form_.stretch > 0 && block.column_softmax == kNone;
      block.stretch = may_stretch && !draw_.one_in(3) ? form_.stretch : 0;
      block.own_stretch = may_stretch && block.own == INFONCE_OWN_AMONG && draw_.one_in(2) ? form_.stretch / 2 : 0;
      block.threshold = form_.threshold;
      block.threshold_margin = form_.threshold_margin;
      block.by_guide = form_.by_guide;
    }
    std::copy(blocks.begin(), blocks.end(), problem_.blocks);
    problem_.block_count = static_cast<int32_t>(blocks.size());
  }

  void fill_counts() {
    if (own_ == kNone || !form_.counted) {
      return;
    }
    inputs_.counts = Buffer<int32_t>(static_cast<size_t>(form_.rows), form_.offset);
    std::generate(inputs_.counts.begin(), inputs_.counts.end(),
                  [&] { return static_cast<int32_t>(draw_.between(0, form_.own)); });
    problem_.matrices[own_].counts = inputs_.counts.data();
  }

  // Rows beyond the counts may hold anything.
  void spoil_rest_of_own() {
    for (size_t i = 0; i < inputs_.counts.size(); ++i) {
      const auto row = static_cast<int64_t>(i) * form_.own;
      float *own = inputs_.matrices[own_].data();
      std::fill(own + (row + inputs_.counts[i]) * form_.dim, own + (row + form_.own) * form_.dim, NAN);
    }
  }

  void fill_matrices() {
    for (int m = 0; m < problem_.matrix_count; ++m) {
      infonce_matrix &matrix = problem_.matrices[m];
      inputs_.matrices[m] = random_rows(draw_.random(), matrix.rows, form_.dim, form_.offset);
      plant_special_rows(inputs_.matrices[m], matrix.rows, form_.dim);
    }
    // A copy of a key, perhaps of a positive. In a small batch it would be all that the gradient is made of, and cancel.
    for (const int matrix : further_) {
      const bool has_copy = !form_.one_tower() && form_.rows > 6 && problem_.matrices[matrix].rows > 0;
      if (has_copy) {
        std::copy_n(inputs_.matrices[second_].data(), form_.dim, inputs_.matrices[matrix].data());
      }
    }
    spoil_rest_of_own();
    for (int m = 0; m < problem_.matrix_count; ++m) {
      infonce_matrix &matrix = problem_.matrices[m];
      matrix.data = inputs_.matrices[m].data();
      const auto type = form_.halves ? draw_.between(0, 2) : 0;
      if (type > 0) {
        const Format &format = kFormats[type - 1];
        inputs_.halves[m] = round_to(format, inputs_.matrices[m], form_.offset);
        matrix.data = inputs_.halves[m].data();
        matrix.type = format.type;
      }
      const bool is_memory = form_.one_tower() && m == second_;
      const bool is_unwanted = form_.unwanted && is_candidate_alone(problem_, m) && draw_.one_in(2);
      inputs_.unwanted |= is_memory || is_unwanted ? bit_of(m) : 0;
    }
  }

  void fill_ids() {
    const bool by_id = form_.positive == INFONCE_POSITIVE_SAME_ID;
    // Classes of two on average, or a few large ones.
    const int64_t classes = draw_.one_in(3) ? 4 : form_.rows / 2 + 1;
    for (int m = 0; m < problem_.matrix_count && (by_id || form_.ids > 0); ++m) {
      infonce_matrix &matrix = problem_.matrices[m];
      const int64_t count = by_id ? classes : form_.ids;
      inputs_.ids[m] = Buffer<int32_t>(static_cast<size_t>(matrix.rows), form_.offset);
      std::generate(inputs_.ids[m].begin(), inputs_.ids[m].end(),
                    [&] { return static_cast<int32_t>(draw_.between(-3, count - 4)); });
      matrix.ids = inputs_.ids[m].data();
    }
  }

  bool may_have_bias(int matrix) const {
    if (matrix == own_) {
      return false;
    }
    bool may = false;
    for (int b = 0; b < problem_.block_count; ++b) {
      const infonce_block &block = problem_.blocks[b];
      may |= block.candidates == matrix && block.column_softmax == kNone;
    }
    // Of keys outside every block it is that of the positive's logit.
    return may || (matrix == second_ && !form_.one_tower() && !form_.in_batch);
  }

  bool is_positive_of_some_row(int matrix, int64_t j) const {
    if (matrix != second_ || form_.one_tower()) {
      return matrix == second_;  // rows of a memory may be
    }
    if (form_.positive == INFONCE_POSITIVE_SAME_INDEX) {
      return j < form_.rows;
    }
    return std::find(inputs_.targets.begin(), inputs_.targets.end(), j) != inputs_.targets.end();
  }

  void fill_bias() {
    bool has_one = false;
    std::uniform_real_distribution<float> uniform(-3, 3);
    for (int m = problem_.matrix_count - 1; m >= 0 && form_.bias; --m) {
      if (!may_have_bias(m) || (has_one && draw_.one_in(2))) {
        continue;
      }
      has_one = true;
      infonce_matrix &matrix = problem_.matrices[m];
      inputs_.bias[m] = Buffer<float>(static_cast<size_t>(matrix.rows), form_.offset);
      for (int64_t j = 0; j < matrix.rows; ++j) {
        const bool left_out = !is_positive_of_some_row(m, j) && draw_.one_in(8);
        inputs_.bias[m][static_cast<size_t>(j)] = left_out ? -INFINITY : uniform(draw_.random());
      }
      matrix.bias = inputs_.bias[m].data();
    }
  }

  // Items are axes, and cosines 0 or 1.
  void fill_guides() {
    constexpr int64_t kItems = 5;
    problem_.guide_dim = form_.by_guide ? kItems : 0;
    for (int m = 0; m < problem_.matrix_count && form_.by_guide; ++m) {
      infonce_matrix &matrix = problem_.matrices[m];
      inputs_.guides[m] = Buffer<float>(static_cast<size_t>(matrix.rows * kItems), form_.offset);
      std::fill(inputs_.guides[m].begin(), inputs_.guides[m].end(), 0.0F);
      for (int64_t j = 0; j < matrix.rows; ++j) {
        inputs_.guides[m][static_cast<size_t>(j * kItems + draw_.between(0, kItems - 1))] = 0.75F;
      }
      matrix.guide = inputs_.guides[m].data();
    }
  }

  const Form &form_;
  Draw draw_;
  Inputs inputs_;
  infonce_problem &problem_;
  int anchors_ = 0;
  int second_ = kNone;  // keys or a memory
  int own_ = kNone;     // among the further
  std::vector<int> further_;
};

// Around the sizes of blocks and vectors.
constexpr int64_t kRows[] = {1, 2, 7, 63, 64, 65, 130};

// Of some forms that allow it.
void join_sides(Form *form, Draw &draw) {
  if (form->positive != INFONCE_POSITIVE_SAME_INDEX || form->keys != form->rows || form->bias || draw.one_in(3)) {
    return;
  }
  const bool is_own_alone = form->own > 0 && !form->among;
  form->keys_apart = draw.one_in(3);
  form->joint = form->in_batch && !form->both_directions && draw.one_in(2);
  form->other_keys = !is_own_alone && draw.one_in(2);
  form->keys_to_further = !is_own_alone && (form->own > 0 || !form->further.empty()) && draw.one_in(2);
}

}  // namespace

std::string describe(const Form &form) {
  std::ostringstream text;
  text << "seed=" << form.seed << " positive=" << form.positive << " N=" << form.rows << " D=" << form.dim
       << " views=" << form.views << " memory=" << form.memory << " keys=" << form.keys << " inBatch=" << form.in_batch
       << " rowLoss=" << row_loss_of(form) << " margin=" << margin_of(form) << " smoothing=" << label_smoothing_of(form)
       << " joint=" << form.joint << " keysApart=" << form.keys_apart << " otherKeys=" << form.other_keys
       << " keysToFurther=" << form.keys_to_further << " sigma=" << sigma_of(form)
       << " otherAnchors=" << form.other_anchors << " bothDirections=" << form.both_directions << " further=";
  for (const int64_t rows : form.further) {
    text << rows << ",";
  }
  text << " own=" << form.own << " among=" << form.among << " counted=" << form.counted << " stretch=" << form.stretch
       << " threshold=" << form.threshold << " thresholdMargin=" << form.threshold_margin
       << " byGuide=" << form.by_guide << " ids=" << form.ids << " furtherPositives=" << has_further_positives(form)
       << " bias=" << form.bias << " halves=" << form.halves << " unwanted=" << form.unwanted
       << " temperature=" << form.temperature << " reduction=" << form.reduction << " normalize=" << form.normalize
       << " gradient=" << form.gradient << " ranks=" << form.ranks << " gradOutput=" << form.grad_output_count
       << " offset=" << form.offset;
  return text.str();
}

Form random_form(uint32_t seed) {
  constexpr infonce_positive kInTurn[] = {
      INFONCE_POSITIVE_SAME_INDEX, INFONCE_POSITIVE_TARGET, INFONCE_POSITIVE_FIRST_VIEW, INFONCE_POSITIVE_SAME_INDEX,
      INFONCE_POSITIVE_ALL_VIEWS,  INFONCE_POSITIVE_TARGET, INFONCE_POSITIVE_SAME_ID,    INFONCE_POSITIVE_SAME_INDEX};
  Draw draw(seed);
  Form form;
  form.seed = seed;
  form.positive = kInTurn[seed % std::size(kInTurn)];
  form.rows = draw.of(kRows);
  form.dim = draw.between(1, 70);
  form.further.resize(static_cast<size_t>(draw.between(0, 2)));
  std::generate(form.further.begin(), form.further.end(), [&] { return draw.of(kRows); });
  if (form.positive == INFONCE_POSITIVE_FIRST_VIEW || form.positive == INFONCE_POSITIVE_ALL_VIEWS) {
    form.views = draw.between(2, 3);
    form.rows = form.views * (form.rows / form.views + 1);
  } else if (form.positive == INFONCE_POSITIVE_SAME_ID) {
    form.memory = draw.one_in(2) ? draw.of(kRows) : 0;
  } else {
    const bool by_index = form.positive == INFONCE_POSITIVE_SAME_INDEX;
    form.both_directions = by_index && draw.one_in(3);
    form.in_batch = form.both_directions || draw.one_in(2) || form.further.empty();
    form.other_anchors = by_index && draw.one_in(3);
    form.keys = by_index ? form.rows + (form.both_directions || draw.one_in(2) ? 0 : draw.of(kRows)) : draw.of(kRows);
  }
  // Few, so that a row loses many candidates, or many.
  const int32_t counts[] = {3, static_cast<int32_t>(form.rows / 2 + 2), static_cast<int32_t>(4 * form.rows + 2)};
  form.ids = form.positive != INFONCE_POSITIVE_SAME_ID && draw.one_in(2) ? draw.of(counts) : 0;
  form.bias = draw.one_in(2);
  form.halves = draw.one_in(4);
  form.unwanted = draw.one_in(4);
  form.temperature = draw.of({0.5, 0.07, 0.01});
  form.reduction = draw.of({INFONCE_REDUCTION_MEAN, INFONCE_REDUCTION_SUM, INFONCE_REDUCTION_NONE});
  form.label_smoothing = seed / 8 % 3 == 0 ? 0.25 : 0;
  form.normalize = !draw.one_in(3);
  form.gradient = !draw.one_in(6);
  form.ranks = !draw.one_in(3);
  const int64_t most = form.reduction == INFONCE_REDUCTION_NONE ? form.rows : 1;
  form.grad_output_count = draw.of({int64_t{0}, int64_t{1}, most});
  form.offset = static_cast<size_t>(draw.between(0, 3));
  // Apart, so that all else of a seed stays as it is.
  Draw of_own(~seed);
  if (!form.one_tower()) {
    form.own = of_own.one_in(2) ? of_own.of({int64_t{1}, int64_t{3}, int64_t{7}}) : 0;
    form.among = form.own > 0 && form.positive == INFONCE_POSITIVE_SAME_INDEX && of_own.one_in(3);
    form.counted = !form.among && of_own.one_in(2);
    form.stretch = !form.bias && of_own.one_in(2) ? of_own.of({1.0, 9.0, 40.0}) : 0;
  }
  join_sides(&form, of_own);
  return form;
}

Form random_form_with_threshold(uint32_t seed, bool by_guide) {
  // Two towers.
  Form form = random_form(seed % 2 == 0 ? seed / 2 * 8 : seed / 2 * 8 + 1);
  Draw draw(seed);
  form.both_directions = form.other_anchors = false;
  form.joint = form.keys_apart = form.other_keys = form.keys_to_further = false;
  form.own = 0;
  form.in_batch |= form.further.empty();
  form.dim = std::max<int64_t>(form.dim, 3);
  form.by_guide = by_guide;
  form.threshold = draw.one_in(2) ? INFONCE_THRESHOLD_ABSOLUTE : INFONCE_THRESHOLD_RELATIVE;
  form.threshold_margin = by_guide ? draw.of({0.5, -0.5}) : draw.of({0.0, 0.125, -0.125, 3.0});
  return form;
}

Inputs inputs_of(const Form &form) { return Builder(form).build(); }

bool is_candidate_alone(const infonce_problem &problem, int matrix) {
  for (int s = 0; s < problem.softmax_count; ++s) {
    const infonce_softmax &softmax = problem.softmaxes[s];
    if (softmax.anchors == matrix || (softmax.positive_matrices & bit_of(matrix))) {
      return false;
    }
  }
  return true;
}

}  // namespace infonce::test
