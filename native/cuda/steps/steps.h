// The steps of a call, in its order.
#pragma once

#include "cuda/work.h"

namespace infonce::cuda::steps {

// upload.cc
void clear(const Work &work);
void upload(const Work &work);
void bring_rows_into_place(Work *work);  // from here on kernels find the inputs in float32 at Tower::source

// prepare.cc
void measure_upstream(Work *work);
void prepare(Work *work);
void find_pairs(Work *work);

// statistics.cc: a softmax's sums of exponentials. Decides, if it has to, whether they are in float32 or float64. The
// kernels of `previous`, which may be null, come before.
void sum_exponentials(Work *work, Lane *previous);

// losses.cc
void losses(Work *work);
void totals(const Work &work);  // where no other kernel has put them together
TotalsTask totals_of(const Work &work);

// travelling_rows.cc
// What a part's kernels read of its columns' softmax, and of that of some anchors.
void upload_softmaxes_of_part(const Work &work);
// What they made of them: the sums of columns to the caller, those of some anchors to the call's. After all else.
void deliver_sums_of_part(const Work &work, bool are_bad);
void deliver_terms_of_part(const Work &work, bool are_bad);
void settle_upstream(Work *work);  // once its size is known
void read_travelling_rows(const Work &work, int softmax, const infonce_travelling_rows &to, bool are_bad);
void join_travelling_rows(Work *work, int softmax, const infonce_travelling_rows &from);

// smoothing.cc
void sum_smoothed(const Work &work);  // what the losses need of all rows
void sum_smoothed_part(const Work &work);
// To what a matrix's gradient sums, in planes of which those of the triangle come first.
void add_smoothing(const Work &work, int matrix, double *planes, int32_t of_triangle);

// further_positives.cc
void sum_further_positives(const Work &work);
void sum_terms_of_part(const Work &work);
FurtherSums sum_all_terms(const Work &work);  // those of the first softmax, with terms of parts and its own
// To what a matrix's gradient sums, in planes, of which that many are of the triangle.
void add_further_positives(const Work &work, int matrix, double *planes, int32_t of_triangle);

// gradients.cc
void gradients(const Work &work);

// download.cc
void fill_with_nan(const Work &work);  // makes all results NaN if an input was not finite
void ask_for_report(const Work &work);
void queue_downloads(Work *work);
void download(const Work &work);                 // what was not queued; waits for all
void read_rows(const Work &work, bool are_bad);  // fills what is wanted of result.rows; after all else

}  // namespace infonce::cuda::steps
