/*
 * infonce: the C contract between those who ask for a contrastive loss and the backends that compute it.
 *
 * A problem is matrices, blocks and softmaxes, as plain data. Rows of a matrix become unit rows u = a / max(|a|, 1e-12).
 * A block is the rectangle of logits s_ij = scale * <u_i, v_j> + bias_j of two matrices, scale = 1 / temperature. A
 * softmax gives each row i of a matrix a loss; with C(i) the candidates that its blocks bring it and P(i) its
 * positives, which no block leaves out and which count as often as blocks bring them, that is
 *
 *     loss_i = log (sum_{j in C(i) or P(i)} exp(s_ij))  -  (1 / |P(i)|) sum_{j in P(i)} s_ij
 *
 * or, without a softmax, the sum over j in C(i) of log (1 + exp(s_ij)) and over j in P(i) of log (1 + exp(-s_ij)).
 *
 * Sums over candidates are sums over parts of them: a call can be opened, be given candidates part by part, and closed.
 *
 * Plain C, no exceptions across it, all matrices row-major. A backend fills one `infonce_backend` table; nothing else of
 * it is visible. Which problems a backend computes is decided in one place, `what_is_wrong` (native/common/call.h).
 */
#ifndef INFONCE_INFONCE_H
#define INFONCE_INFONCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bump on every change to this header. */
#define INFONCE_ABI_VERSION 23

typedef enum infonce_status {
  INFONCE_OK = 0,
  INFONCE_INVALID_ARGUMENT = 1, /* a size or pointer that would be read out of bounds, an unknown enumerator */
  INFONCE_NON_FINITE = 2,       /* NaN or infinity in an input; failure.matrix and failure.row say where */
  INFONCE_OUT_OF_MEMORY = 3,    /* failure.message says what was needed and what is left */
  INFONCE_DEVICE_UNAVAILABLE = 4,
  INFONCE_INTERNAL = 5,
  INFONCE_CANCELLED = 6,   /* the caller set problem.cancelled */
  INFONCE_DEVICE_LOST = 7, /* a fault has taken the device from the context, whose calls all fail from now on */
  INFONCE_NO_THREAD = 8    /* the system starts no more threads for this process */
} infonce_status;

typedef enum infonce_reduction {
  INFONCE_REDUCTION_MEAN = 0,
  INFONCE_REDUCTION_SUM = 1,
  INFONCE_REDUCTION_NONE = 2
} infonce_reduction;

/* Where an array lives. */
typedef enum infonce_residence {
  INFONCE_ON_HOST = 0,
  INFONCE_ON_DEVICE = 1 /* memory of the context's device */
} infonce_residence;

/* Element type of a matrix. */
typedef enum infonce_type {
  INFONCE_FLOAT32 = 0,
  INFONCE_FLOAT16 = 1, /* IEEE 754 binary16 */
  INFONCE_BFLOAT16 = 2 /* the upper half of a float32 */
} infonce_type;

/* Rows of embeddings, [rows, dim]. */
typedef struct infonce_matrix {
  const void *data;
  int32_t type;      /* infonce_type */
  int32_t residence; /* infonce_residence of `data` */
  int64_t rows;
  /* Elements from the beginning of a row of `data` to that of the next, at least dim; 0: dim. What is between rows is
     never read. Guides and gradients have none. */
  int64_t row_stride;
  int64_t views;      /* rows are view-major: i and j are views of one sample where i % (rows / views) is j's; else 1 */
  const int32_t *ids; /* [rows], on the host: rows of equal id are of one class; NULL: none are needed */
  /* [rows], on the host: added to every logit in which the row is the candidate; -infinity leaves it out. NULL: none.
     Gradients of the scale do not count it. Only for candidates of blocks whose columns feed no softmax. */
  const float *bias;
  /* [anchors], on the host, of candidates with INFONCE_OWN_ALONE: how many each anchor has, at most H. Rows beyond are
     never read, and their gradient is 0. NULL: all have H. */
  const int32_t *counts;
  /* [rows, guide_dim]: the same rows of another model, whose cosines a threshold compares. They are always scaled to unit
     length, and have no gradient. Where a block is `by_guide`; else NULL. */
  const void *guide;
  int32_t guide_type;      /* infonce_type */
  int32_t guide_residence; /* infonce_residence of `guide` */
  /* Of row 0, with INFONCE_LEAVE_OUT_TARGET: rows count up from it. Else 0. */
  int64_t first_number;
} infonce_matrix;

/* Pairs of a block that are no candidates, beside the positives, which have terms of their own. Bits. */
typedef enum infonce_left_out {
  INFONCE_LEAVE_OUT_SAME_ROW = 1, /* of a matrix and itself: the row */
  INFONCE_LEAVE_OUT_SAME_ID = 2,  /* of two matrices: rows of equal id */
  /* The same, and they are further positives, beside the one by index: of a cross-entropy without margin and smoothing.
     Ranks are those of the one by index, and a further one does not count as a better candidate. */
  INFONCE_LEAVE_OUT_SAME_ID_POSITIVE = 4,
  INFONCE_LEAVE_OUT_OWN = 8, /* of [H, rows] candidates: row j for row j % rows */
  /* Of an opened call whose positives by index are candidates in other calls, too: the one whose number is the anchor's
     target. */
  INFONCE_LEAVE_OUT_TARGET = 16
} infonce_left_out;

/* Which anchors have a block's candidates; one block at most has any of an anchor's own. */
typedef enum infonce_own {
  INFONCE_OWN_NONE = 0,  /* every anchor's alike */
  INFONCE_OWN_ALONE = 1, /* of [anchors, H] each anchor sees its own H alone */
  INFONCE_OWN_AMONG = 2  /* of [H, anchors] every anchor sees all; row j is the own one of anchor j % anchors */
} infonce_own;

/* Cosine threshold above which a candidate is left out: the positive's cosine minus the margin, or minus margin times its
   magnitude. */
typedef enum infonce_threshold {
  INFONCE_THRESHOLD_NONE = 0,
  INFONCE_THRESHOLD_ABSOLUTE = 1,
  INFONCE_THRESHOLD_RELATIVE = 2
} infonce_threshold;

/* One rectangle of logits. With the same matrix twice each pair is computed once and counts from both its sides. Row i of
   a side adds to row i of the side's softmax, of which it is the anchor or, in a cross-entropy, the positive by index. Two
   different matrices of one softmax, or rows that are no anchors of the first softmax, go with no bias and no label
   smoothing, and anchors and positives are as many. */
typedef struct infonce_block {
  int32_t anchors, candidates; /* matrices: the rows of the rectangle, its columns */
  int32_t row_softmax;         /* to whose sums its rows add their exponentials */
  int32_t column_softmax;      /* and its columns; -1: to none */
  uint32_t left_out;           /* infonce_left_out bits */
  int32_t own;                 /* infonce_own */
  /* Hardness: added to the scale of these logits, at least 0. It has no gradient, of the scale or of rows, and ranks do
     not count it. Only for blocks of two matrices whose columns feed no softmax, of candidates without bias. */
  double stretch;
  double own_stretch; /* with INFONCE_OWN_AMONG: instead, of the logits of an anchor and its own; else 0 */
  /* Leaves out pairs whose cosine, the dot product of the rows as used, is above that of their row's threshold. Without
     gradient. All blocks have the same one, or none has one. Of positives by index and cross-entropy. */
  int32_t threshold; /* infonce_threshold */
  int32_t by_guide;  /* 1: cosines are those of the matrices' guides, and of the positives' */
  /* 1: the rows of a matrix meet parts alone, and not each other: of an opened call of one matrix, with positives by id. */
  int32_t meets_parts_alone;
  double threshold_margin; /* 0 without a threshold */
} infonce_block;

/* Which rows are the positives of row i. */
typedef enum infonce_positive {
  INFONCE_POSITIVE_FIRST_VIEW = 0, /* the first other view of the sample: view 0, or view 1 for rows of view 0 */
  INFONCE_POSITIVE_ALL_VIEWS = 1,  /* every other view of the sample */
  INFONCE_POSITIVE_SAME_ID = 2,    /* every other row of equal id; without any, the row's loss is 0 */
  INFONCE_POSITIVE_SAME_INDEX = 3, /* row i, of a matrix that may have further rows */
  INFONCE_POSITIVE_TARGET = 4,     /* row targets[i] */
  /* Of the sigmoid loss alone, which may have any number of positives. `positive_matrices` names the candidates. */
  INFONCE_POSITIVE_SAME_ID_ELSEWHERE = 5, /* every row of equal id in another matrix; ranks are those of row i */
  INFONCE_POSITIVE_NONE = 6
} infonce_positive;

/* How a row's positives and sums become its loss. */
typedef enum infonce_row_loss {
  INFONCE_ROW_LOSS_CROSS_ENTROPY = 0,
  INFONCE_ROW_LOSS_DECOUPLED = 1, /* the same with C(i) alone in the sum, without the positives */
  /* The mean over the positives p of log (exp(s_ip) + sum_{j in C(i)} exp(s_ij)) - s_ip. */
  INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES = 2,
  /* log (exp(s_p) + max((R - tau * M * exp(s_p)) / (1 - tau), M * exp(-scale))) - s_p with tau = tau_plus, M = |C(i)| and
     R = M * sum_{j in C(i)} exp((1 + beta) * s_ij) / sum_{j in C(i)} exp(beta * s_ij), of two views. The second of what max
     compares is a constant. */
  INFONCE_ROW_LOSS_DEBIASED = 3,
  /* log (sum_{j in C(i) or P(i)} exp(s_ij)) - log ((1 / |P(i)|) sum_{j in P(i)} exp(s_ij)) */
  INFONCE_ROW_LOSS_MEAN_INSIDE = 4,
  INFONCE_ROW_LOSSES,           /* how many there are of softmaxes */
  INFONCE_ROW_LOSS_SIGMOID = 16 /* each pair by itself, in one block of two matrices */
} infonce_row_loss;

/* The rows of a matrix, each with a loss. */
typedef struct infonce_softmax {
  int32_t anchors;            /* the matrix */
  int32_t positive;           /* infonce_positive */
  uint32_t positive_matrices; /* bits by matrix: where the positives are */
  int32_t row_loss;           /* infonce_row_loss */
  double weight;              /* of its rows' losses in the call's */
  const int32_t *targets; /* [rows], on the host: of INFONCE_POSITIVE_TARGET and INFONCE_LEAVE_OUT_TARGET; else NULL */
  /* Subtracted from the dot product of a row and its positive, which is one by index. Gradients of the scale count it. 0:
     none. */
  double margin;
  /* 0 to below 1, of a cross-entropy: so much of the target is spread over all candidates, the positives included, as
     equal parts. Not with pairs that are left out, but for the same row. 0: none. */
  double label_smoothing;
  /* With label smoothing, of a row of an opened call: how many candidates come in parts or are elsewhere. */
  int64_t further_candidates;
  double tau_plus, beta; /* of INFONCE_ROW_LOSS_DEBIASED; else 0 */
  /* Of INFONCE_ROW_LOSS_DEBIASED in an opened call whose rows are columns of other calls: |C(i)| with candidates in other
     calls. 0: those of this one. */
  int64_t negatives;
  /* Of INFONCE_ROW_LOSS_DECOUPLED and two views, above 0: the positive's logit in the loss of row i has the weight
     2 - exp(d_i / sigma) / (the mean over all rows of that), of dot products d with positives. Weights are constants.
     0: 1 each. */
  double mises_fisher_sigma;
  /* Of an opened call with `ranks` and INFONCE_POSITIVE_SAME_ID, whose rows are columns of other calls: [rows], on the
     host, for each whose first positive is in another call, that row of `first_positives_in`, a matrix that nothing else
     uses; -1 for all others. NULL: parts' columns have no ranks. */
  const int32_t *first_positives;
  int32_t first_positives_in;
} infonce_softmax;

/* The upstream gradient. */
typedef struct infonce_grad_output {
  const float *data; /* [count] */
  int64_t count;     /* 0: 1 for all rows; 1: one value for all; rows: one each (reduction NONE) */
  int32_t residence; /* infonce_residence */
} infonce_grad_output;

#define INFONCE_MOST_MATRICES 8
#define INFONCE_MOST_BLOCKS 8
#define INFONCE_MOST_SOFTMAXES 2

typedef struct infonce_problem {
  uint32_t struct_size; /* sizeof(infonce_problem) of the caller */
  int32_t matrix_count, block_count, softmax_count;
  infonce_matrix matrices[INFONCE_MOST_MATRICES];
  infonce_block blocks[INFONCE_MOST_BLOCKS];
  infonce_softmax softmaxes[INFONCE_MOST_SOFTMAXES];
  int32_t reduction;            /* infonce_reduction */
  int32_t normalize;            /* 1: rows are scaled to unit length first; 0: used as they are */
  int32_t gradient;             /* 1: gradients and grad_scale are wanted */
  int32_t propagate_non_finite; /* 1: NaN or infinity in the input makes every result NaN instead of failing */
  int32_t ranks;                /* 1: top1 and top5 are wanted; 0: nothing is counted */
  int64_t dim;                  /* D, of all matrices */
  int64_t guide_dim;            /* of all guides; 0: there are none */
  double scale;                 /* 1 / temperature, or the logit scale */
  double bias;                  /* added to every logit of the sigmoid loss; else 0 */
  infonce_grad_output grad_output;
  /* Of an opened call that computes a share of another one: that one's problem, in whose precision logits are computed, so
     that those of both compare to the last bit. `open` alone reads it. NULL: the precision is this problem's. */
  const struct infonce_problem *share_of;
  /* NULL, or what another thread sets to 1, atomically, to end the call between two tiles or kernels. */
  const int32_t *cancelled;
} infonce_problem;

/* float32 numbers that a call fills. */
typedef struct infonce_output {
  float *data;
  int32_t residence; /* infonce_residence */
} infonce_output;

typedef struct infonce_scalars {
  double loss;       /* the mean or the sum; with reduction NONE the sum */
  double grad_scale; /* d loss / d scale */
  double top1;      /* share of anchors whose (first) positive no logit of the denominator beats; NaN without `ranks` */
  double top5;      /* the same with fewer than five above */
  double grad_bias; /* d loss / d bias of the sigmoid loss; else 0 */
} infonce_scalars;

/* Losses and ranks of each row of a softmax. In float64, so that results of parts and processes add up. */
typedef struct infonce_row_results {
  double *loss;   /* [rows], on the host, neither weighted nor reduced; NULL: not wanted */
  int32_t *above; /* [rows], on the host: candidates above the (first) positive, -1 for a row without; NULL: not wanted.
                     Filled with `ranks` alone */
} infonce_row_results;

/* Arrays are the caller's. What they hold after a call that failed is unspecified. */
typedef struct infonce_result {
  uint32_t struct_size; /* sizeof(infonce_result) of the caller */
  infonce_scalars scalars;
  infonce_output row_loss; /* [rows], weighted over the softmaxes; filled with reduction NONE, else may be NULL */
  infonce_row_results rows[INFONCE_MOST_SOFTMAXES]; /* not with device_scalars */
  /* By matrix, as the matrix is; filled when gradient is 1. NULL: not wanted. Anchors and positives of the same index
     must have one, a memory must have none. */
  infonce_output gradients[INFONCE_MOST_MATRICES];
  /* With all arrays on the device, may be device memory for the scalars. The call then returns as soon as its work is in
     the stream (without normalisation or with ids, as soon as its first kernels are done), `scalars` is left alone, and
     non-finite input makes all results NaN. Else NULL. */
  infonce_scalars *device_scalars;
  /* CUDA: how long the parts of the call took on the device; filled by contexts with `measure`, else left alone. */
  double upload_seconds, kernel_seconds, download_seconds;
} infonce_result;

/* Special values of a matrix index. A guide's index is the matrix's plus INFONCE_GUIDE_OF. */
#define INFONCE_NO_MATRIX (-1)
#define INFONCE_IN_GRAD_OUTPUT (-2)
#define INFONCE_GUIDE_OF 64

/* Filled by a call that does not return INFONCE_OK, if struct_size is that of this header. */
typedef struct infonce_failure {
  uint32_t struct_size;
  int32_t matrix; /* which the failure is about: its index, INFONCE_NO_MATRIX or INFONCE_IN_GRAD_OUTPUT */
  int64_t row;    /* its first bad row, -1: none */
  char message[256];
} infonce_failure;

typedef enum infonce_precision {
  INFONCE_PRECISION_HIGHEST = 0, /* float32-grade */
  INFONCE_PRECISION_HIGH = 1,    /* at least three bfloat16 products */
  INFONCE_PRECISION_MEDIUM = 2   /* at least one bfloat16 product */
} infonce_precision;

typedef struct infonce_context_options {
  uint32_t struct_size;
  int32_t precision;           /* infonce_precision */
  int32_t threads;             /* CPU: worker count with the caller included; 0: one for each processor */
  int32_t device;              /* index within the backend; CUDA: calls make it the thread's current device */
  const char *instruction_set; /* a name from the device's instruction_sets, or NULL for the best */
  /* CUDA: the cudaStream_t in which all work is done, of this device; the default stream is cudaStreamLegacy or
     cudaStreamPerThread, the latter with calls from one thread only. NULL: a stream of the context's own, which waits
     for no other. */
  void *stream;
  int32_t measure; /* CUDA: 1 fills the seconds of infonce_result */
  int32_t trace;   /* CUDA: 1: kernels record their start in host memory, and errors name the kernel that faulted */
} infonce_context_options;

typedef struct infonce_device_info {
  uint32_t struct_size;
  int32_t threads;            /* CPU: processors this process may use */
  int64_t memory;             /* bytes */
  char name[128];             /* as the vendor writes it */
  char instruction_set[32];   /* the best this device has; CUDA: the generation of kernels, "sm80" */
  char instruction_sets[128]; /* all that can be forced, best first, separated by spaces */
  char medium[32];            /* what INFONCE_PRECISION_MEDIUM runs with the best set: "bfloat16" or "float32" */
  char capability[16];        /* CUDA: compute capability, "9.0"; else empty */
  char code[32];           /* CUDA: what of this library the device runs: machine code, "sm_90a", or PTX that the driver
                                 compiles, "compute_90"; else empty */
  int32_t driver_version;  /* CUDA: the version of CUDA the driver brings, 1000 * major + 10 * minor; else 0 */
  int32_t runtime_version; /* CUDA: that of the runtime this backend was built with */
  int32_t multiprocessors; /* CUDA: streaming multiprocessors; else 0 */
  int32_t clock_khz;       /* CUDA: their highest clock; 0: the driver does not say */
  int64_t
      memory_bandwidth; /* CUDA: bytes per second, by the memory's clock and bus width; 0: the driver does not say */
  char note[256];       /* why the best kernels for such a device cannot be used here; else empty */
} infonce_device_info;

/* Arrays that travel with rows of a softmax which are candidates of other calls, too, and meet the anchors there: [rows], on
   the host. */
typedef struct infonce_travelling_rows {
  /* The logarithm of the sum of the exponentials of the logits that they have met so far; -infinity: of none. */
  double *log_sum;
  /* With `ranks`, else NULL: what the dot product of a candidate above a row's (first) positive exceeds, +infinity for a
     row without; and how many of those that it has met do. */
  double *rank;
  int32_t *above;
  /* d loss / d (a logit of the row) is weight * exp(logit - log_sum_exp), the upstream gradient included. */
  double *log_sum_exp, *weight;
  /* Where columns may be positives of the anchors by id, else NULL. Positives that a row has met so far: how many, the sum
     of their logits, and the logarithm of the sum of the exponentials of those that log_sum does not have, -infinity of
     none. */
  int32_t *positives;
  double *positive_sum, *positive_log_sum;
  double *logit_sum; /* with label smoothing, else NULL: the sum of the logits that a row has met so far */
  /* For the gradient: how many positives the row has in all, and what d loss / d (the logit of an only one) is, negated
     and over the weight. */
  int32_t *all_positives;
  double *rest_share;
  /* Of beta, else NULL: as log_sum and log_sum_exp, which are of logits times 1 + beta, of logits times beta. What a row
     adds to d loss / d logit by these is negative. */
  double *weights_log_sum, *weights_log_sum_exp;
  /* Of weights of positives, else NULL. [1], the logarithm of the mean of exp(d_i / sigma): that `read_rows` fills over the
     rows of the call, that `join_rows` is given over those of all calls. */
  double *positives_log_mean;
  /* Of positives by id that have terms of their own, else NULL: sums over those that a row has met in parts with `terms`, of
     their losses and of d loss / d (the sum that they stand beside) times that sum. */
  double *term_losses, *term_shares;
} infonce_travelling_rows;

/* Further candidates of an opened call, none of which is an anchor's own. Positives among them are those of
   INFONCE_POSITIVE_SAME_ID_ELSEWHERE, of INFONCE_LEAVE_OUT_SAME_ID_POSITIVE, and of INFONCE_POSITIVE_SAME_ID where the
   block's columns feed the softmax or are the memory's. */
typedef struct infonce_part {
  uint32_t struct_size;
  int32_t block;             /* of whose candidates they are further ones */
  infonce_matrix candidates; /* with a bias only where the block's candidates have one */
  /* Where the block's columns feed a softmax: of these rows. `add` adds what they meet to log_sum, above, for which it
     reads rank, positives and their sums, logit_sum and weights_log_sum; `add_gradient` reads log_sum_exp, weight,
     all_positives, rest_share and weights_log_sum_exp. */
  infonce_travelling_rows columns;
  /* Which of the block's anchors they meet; with a count of 0 all. Another call may have the other pairs. */
  int64_t first_anchor, anchor_count;
  /* Above 0, of a call that was opened with `gradient`: exponentials of this part may be kept until the gradient of the
     part with this number, which is the same. 0: none. */
  int32_t number;
  /* 1: a part that was added before, of INFONCE_POSITIVE_SAME_ID and INFONCE_ROW_LOSS_POSITIVE_AND_NEGATIVES, when all
     parts have been and rows came home. `add` adds nothing but the terms of its positives: of columns that feed a softmax
     to term_losses and term_shares; their log_sum is complete. */
  int32_t terms;
  const int32_t *cancelled; /* as in infonce_problem */
} infonce_part;

/* The upstream gradient of a backward call. */
typedef struct infonce_upstream {
  uint32_t struct_size;
  infonce_grad_output grad_output; /* these two as in infonce_problem */
  const int32_t *cancelled;
} infonce_upstream;

/* Extra memory that a call needs, in bytes, beyond existing arrays. */
typedef struct infonce_memory_needs {
  uint32_t struct_size;
  uint32_t gradients; /* in: bits by matrix, whose gradients the result is to have */
  int64_t device;     /* of the context's device; CPU: of the host */
  int64_t available;  /* what the device has left, the context's own working memory included */
} infonce_memory_needs;

typedef enum infonce_copy {
  INFONCE_COPY_TO_DEVICE = 0,
  INFONCE_COPY_FROM_DEVICE = 1,
  INFONCE_COPY_WITHIN_DEVICE = 2
} infonce_copy;

/* A handle by which other processes of the machine open memory of a device. */
typedef struct infonce_memory_handle {
  unsigned char bytes[64]; /* of an allocation; CUDA: a cudaIpcMemHandle_t */
  int64_t offset;          /* where in it the memory begins */
} infonce_memory_handle;

/* Upper limits of a device. */
typedef enum infonce_limit {
  INFONCE_LIMIT_MULTIPLY_ADDS = 0, /* FLOP/s of the multiply-adds that matrix products are made of, 2 for each */
  INFONCE_LIMIT_COPY = 1,          /* bytes read and written per second in copying what is too large for any cache */
  INFONCE_LIMIT_HANDOVER = 2       /* seconds a cache line takes from one processor to another and back */
} infonce_limit;

#define INFONCE_FIGURES 5 /* of a measurement, because clocks vary */

typedef struct infonce_context infonce_context;
typedef struct infonce_call infonce_call;
typedef struct infonce_saved infonce_saved;
typedef struct infonce_graph infonce_graph;

/* Contexts may be used from any thread. Work on a context's device is done in the order of these calls. */
typedef struct infonce_backend {
  uint32_t struct_size;
  uint32_t abi_version;
  const char *name; /* "cpu", "cuda" */
  int32_t (*device_count)(infonce_failure *failure);
  infonce_status (*device_info)(int32_t device, infonce_device_info *info, infonce_failure *failure);
  infonce_status (*context_create)(const infonce_context_options *options, infonce_context **context,
                                   infonce_failure *failure);
  void (*context_destroy)(infonce_context *context); /* after its calls have returned */

  infonce_status (*run)(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                        infonce_failure *failure);
  /* `run` in two halves, for callers who keep several calls in flight: copies of one overlap with kernels of the next.
     `begin` queues work and returns; `end`, once for each call that was begun and in the same order, waits for it and
     fills the result. All arrays and `result` must stay until then, the problem itself need not. NULL where `run` is
     all there is. */
  infonce_status (*begin)(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                          infonce_call **call, infonce_failure *failure);
  infonce_status (*end)(infonce_context *context, infonce_call *call, infonce_failure *failure);

  /* A call for one problem at fixed addresses, to be repeated: `capture` computes nothing, `replay` is `begin` of that call,
     with one launch for all its kernels, on what the arrays on the device hold then. Rows, guides and gradients are in
     memory of the device, which the caller keeps as long as the graph. All else of the problem is a constant of the
     graph: scale, options, ids, biases, counts, targets, the upstream gradient. The graph has working memory of its own,
     which `graph_destroy` frees, after the calls with it have ended and before the context goes. INFONCE_INVALID_ARGUMENT:
     the host reads a value while such a call runs. `result` of a replay is filled as by `end`, but for `gradients` and
     `device_scalars`, which are the graph's. NULL where there are no graphs.
     Callers who capture the context's own stream capture `run` itself: with all arrays and device_scalars on the device,
     no other array, and unit rows, where nothing waits for the host; all else is refused with the reason. Its memory is
     given back after the graph is gone, and the context has to outlive that. */
  infonce_status (*capture)(infonce_context *context, const infonce_problem *problem, const infonce_result *result,
                            infonce_graph **graph, infonce_failure *failure);
  infonce_status (*replay)(infonce_context *context, infonce_graph *graph, const int32_t *cancelled,
                           infonce_result *result, infonce_call **call, infonce_failure *failure);
  void (*graph_destroy)(infonce_context *context, infonce_graph *graph);

  /* `run` without gradients, whose upstream gradient is not known yet. What they need is kept in `saved`: the prepared
     rows and O(N) statistics, none of the caller's arrays. `gradient` and `grad_output` of the problem are ignored. */
  infonce_status (*forward)(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                            infonce_saved **saved, infonce_failure *failure);
  /* Fills the gradients and grad_scale of `result`, bit for bit the same each time. */
  infonce_status (*backward)(infonce_context *context, infonce_saved *saved, const infonce_upstream *upstream,
                             infonce_result *result, infonce_failure *failure);
  void (*saved_destroy)(infonce_context *context, infonce_saved *saved);

  /* The same in steps, between which further candidates come part by part (with `gradient`, of which nothing else is read
     here, more is kept for the first gradient that follows): `open`, any number of `add`, `close`, which
     is a forward call; then, as often as wanted, `open_gradient`, `add_gradient` for each part, `close_gradient`, which
     is a backward call. A matrix of candidates alone, and a memory, may have no rows of its own here. Order, number and sizes of the
     parts may differ from pass to pass; the same ones give the same bits. After a step that failed the pass is to be
     begun anew; after one before `close`, the call. */
  infonce_status (*open)(infonce_context *context, const infonce_problem *problem, infonce_saved **saved,
                         infonce_failure *failure);
  /* A failure's matrix is that of the block's candidates. */
  infonce_status (*add)(infonce_context *context, infonce_saved *saved, const infonce_part *part,
                        infonce_failure *failure);
  infonce_status (*close)(infonce_context *context, infonce_saved *saved, infonce_result *result,
                          infonce_failure *failure);
  infonce_status (*open_gradient)(infonce_context *context, infonce_saved *saved, const infonce_upstream *upstream,
                                  infonce_failure *failure);
  /* `gradient`: the part's, [rows, dim]; its data NULL: not wanted. */
  infonce_status (*add_gradient)(infonce_context *context, infonce_saved *saved, const infonce_part *part,
                                 const infonce_output *gradient, infonce_failure *failure);
  infonce_status (*close_gradient)(infonce_context *context, infonce_saved *saved, infonce_result *result,
                                   infonce_failure *failure);
  /* For rows of a softmax that travel as parts of other calls, each pair in one of them alone. `read_rows` fills the
     arrays that are there: rank, positives_log_mean and log_sum so far, once the call is open; log_sum_exp, weight, all_positives,
     rest_share and weights_log_sum_exp, between `open_gradient` and `close_gradient`. `join_rows`, before `close`, adds
     log_sum, weights_log_sum, with `ranks` above, positives and their sums, and logit_sum, of rows that came home, and takes
     positives_log_mean; with term_losses it adds these and term_shares alone. What they get of a gradient elsewhere is the caller's to add.

     Rows may also visit candidates as the anchors of a call of their own there, of a cross-entropy whose positives by index
     are no candidates: which rows these are matters to thresholds alone, for the visitors' losses are another call's.
     `join_rows` with rank alone, before parts come, takes it in place of their own; `read_rows`, before `close`,
     fills log_sum, above and with label smoothing logit_sum with what they met. Between `open_gradient` and the first part `join_rows` with log_sum_exp and
     weight alone takes these in place of their own, and positives get no gradient. */
  infonce_status (*read_rows)(infonce_context *context, infonce_saved *saved, int32_t softmax,
                              const infonce_travelling_rows *rows, infonce_failure *failure);
  infonce_status (*join_rows)(infonce_context *context, infonce_saved *saved, int32_t softmax,
                              const infonce_travelling_rows *rows, infonce_failure *failure);

  /* Why candidates of such a problem do not come in parts of this backend's calls, though the contract lets them; NULL:
     they do. Looks at its form alone. */
  const char *(*why_no_parts)(const infonce_problem *problem);

  /* SimCLR's logits of one matrix with views: [N, N-1], the row's positives in ascending order, then the others. */
  infonce_status (*logits)(infonce_context *context, const infonce_problem *problem, const infonce_output *logits,
                           infonce_failure *failure);

  /* The memory that `run` needs, with or without its gradients. Only the sizes and the ids of the problem and which pointers
     are NULL matter. */
  infonce_status (*memory_required)(infonce_context *context, const infonce_problem *problem,
                                    infonce_memory_needs *needs, infonce_failure *failure);

  /* Memory of the context's device for arrays on it; it must be released before the context. */
  infonce_status (*allocate)(infonce_context *context, int64_t bytes, void **memory, infonce_failure *failure);
  void (*release)(infonce_context *context, void *memory);
  /* Copies to, from or within such memory and returns when that is done. `direction` is an infonce_copy. */
  infonce_status (*copy)(infonce_context *context, void *to, const void *from, int64_t bytes, int32_t direction,
                         infonce_failure *failure);
  /* Of arrays in such memory: to[i] = (to[i] + from[i]) * factor, each rounded; without `from` to[i] * factor; with a factor
     of 0 all 0. After all work that was begun; with `waits` it returns when it is done, else it is queued. NULL, with the
     next three: no other stream uses the device's memory. */
  infonce_status (*combine)(infonce_context *context, float *to, const float *from, int64_t count, float factor,
                            int32_t waits, infonce_failure *failure);
  /* The point behind all work that was begun, for other streams of the device to wait for. CUDA: a cudaEvent_t. Made where
     `*point` is NULL, else moved. */
  infonce_status (*mark)(infonce_context *context, void **point, infonce_failure *failure);
  void (*release_mark)(void *point);
  /* Copies between such memory of this context and of another one, which may be on another device of the backend, after all
     work that was begun in this one and the other's point, if that is not NULL. Returns when it is done. */
  infonce_status (*copy_between)(infonce_context *context, infonce_context *other, void *to, const void *from,
                                 int64_t bytes, void *after, infonce_failure *failure);
  /* Gives back what memory the context keeps for later calls. `freed`: bytes. */
  infonce_status (*trim)(infonce_context *context, int64_t *freed, infonce_failure *failure);
  /* The index of the context's device, whose host memory the next two are for; -1: it is the host itself. */
  int32_t (*host_device)(infonce_context *context);
  /* Host memory that the device copies to and from directly; ordinary memory where there is none. It belongs to no
     context. */
  infonce_status (*host_allocate)(int32_t device, int64_t bytes, void **memory, infonce_failure *failure);
  void (*host_release)(void *memory);
  /* Measures an infonce_limit of the processors, with the threads, instruction set and precision of `options`. NULL: the
     backend measures nothing. */
  infonce_status (*measure)(const infonce_context_options *options, int32_t limit, double figures[INFONCE_FIGURES],
                            infonce_failure *failure);
  /* Whether so many bytes from there on are memory of the context's device, whoever in the process has allocated them:
     INFONCE_INVALID_ARGUMENT says what they are instead. Work that is queued is not looked at. NULL: the device's memory is
     the host's. */
  infonce_status (*examine)(infonce_context *context, const void *memory, int64_t bytes, infonce_failure *failure);
  /* Fills the handle of memory that `examine` accepts, and opens that of another process: `*opened` is what `close_memory`
     takes, before the context goes, and `*memory`, in there, has so many bytes. INFONCE_INVALID_ARGUMENT: there is no such
     handle. NULL together with `examine`. */
  infonce_status (*export_memory)(infonce_context *context, const void *memory, infonce_memory_handle *handle,
                                  infonce_failure *failure);
  infonce_status (*open_memory)(infonce_context *context, const infonce_memory_handle *handle, int64_t bytes,
                                void **opened, void **memory, infonce_failure *failure);
  void (*close_memory)(infonce_context *context, void *opened);
} infonce_backend;

/* The CPU backend, always there. */
const infonce_backend *infonce_cpu_backend(void);

/*
 * What a shared library with another backend exports under the name INFONCE_BACKEND_SYMBOL. Returns NULL, with the
 * reason in `failure`, when the caller was built against another version of this header.
 */
#define INFONCE_BACKEND_SYMBOL "infonce_shared_backend"
typedef const infonce_backend *infonce_backend_entry(uint32_t abi_version, uint32_t backend_size,
                                                     infonce_failure *failure);

#ifdef __cplusplus
}
#endif

#endif
