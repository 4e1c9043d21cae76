/*
 * infonce: the C contract between those who ask for a contrastive loss and the backends that compute it.
 *
 * Every loss is one description. Given anchors A [N, D] and candidates, unit rows u = a / max(|a|, 1e-12) and logits
 * s_ij = scale * <u_i, v_j>, scale = 1 / temperature:
 *
 *     loss_i = log sum_{j in D(i)} exp(s_ij)  -  (1 / |P(i)|) sum_{j in P(i)} s_ij
 *
 * `denominator` says what D(i) is, `positive` says what P(i) is. Plain C, no exceptions across it, all matrices
 * float32 and row-major. A backend fills one `infonce_backend` table; nothing else of it is visible.
 */
#ifndef INFONCE_INFONCE_H
#define INFONCE_INFONCE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INFONCE_ABI_VERSION 2

typedef enum infonce_status {
  INFONCE_OK = 0,
  INFONCE_INVALID_ARGUMENT = 1, /* a size or pointer that would be read out of bounds, an unknown enumerator */
  INFONCE_NON_FINITE = 2,       /* NaN or infinity in an input; failure.input and failure.row say where */
  INFONCE_OUT_OF_MEMORY = 3,
  INFONCE_DEVICE_UNAVAILABLE = 4,
  INFONCE_INTERNAL = 5
} infonce_status;

/* Which candidates stand in the denominator of anchor i. */
typedef enum infonce_denominator {
  INFONCE_DENOMINATOR_OTHER_ANCHORS = 0,    /* one tower: every anchor but i (NT-Xent, SupCon) */
  INFONCE_DENOMINATOR_ALL_KEYS = 1,         /* two towers: every key (InfoNCE in-batch, CLIP) */
  INFONCE_DENOMINATOR_SHARED_NEGATIVES = 2, /* own key and all negatives [M, D] (InfoNCE unpaired) */
  INFONCE_DENOMINATOR_OWN_NEGATIVES = 3     /* own key and own negatives [N, M, D] (InfoNCE paired) */
} infonce_denominator;

/* Which candidates are the positives of anchor i. */
typedef enum infonce_positive {
  INFONCE_POSITIVE_FIRST_VIEW = 0, /* the first other view: view 0, or view 1 for rows of view 0; rows are view-major */
  INFONCE_POSITIVE_ALL_VIEWS = 1,  /* every other view of the same sample */
  INFONCE_POSITIVE_SAME_LABEL = 2, /* every other row with the same label; without any, the row's loss is 0 */
  INFONCE_POSITIVE_SAME_INDEX = 3  /* key i */
} infonce_positive;

typedef enum infonce_reduction {
  INFONCE_REDUCTION_MEAN = 0,
  INFONCE_REDUCTION_SUM = 1,
  INFONCE_REDUCTION_NONE = 2
} infonce_reduction;

/* Which input a failure speaks of. */
typedef enum infonce_input {
  INFONCE_INPUT_NONE = 0,
  INFONCE_INPUT_ANCHORS = 1,
  INFONCE_INPUT_KEYS = 2,
  INFONCE_INPUT_NEGATIVES = 3,
  INFONCE_INPUT_GRAD_OUTPUT = 4
} infonce_input;

/* Where the arrays of a call lie. */
typedef enum infonce_memory {
  INFONCE_MEMORY_HOST = 0,
  INFONCE_MEMORY_DEVICE = 1 /* CUDA: every array but the labels is memory of the context's device */
} infonce_memory;

typedef struct infonce_problem {
  uint32_t struct_size; /* sizeof(infonce_problem) of the caller */
  int32_t denominator;  /* infonce_denominator */
  int32_t positive;     /* infonce_positive */
  int32_t reduction;    /* infonce_reduction */
  int32_t both_directions;      /* 1: mean of row and column loss (CLIP); ALL_KEYS only */
  int32_t normalize;            /* 1: rows are scaled to unit length first; 0: used as they are */
  int32_t gradient;             /* 1: gradients and grad_scale are wanted */
  int32_t propagate_non_finite; /* 1: NaN or infinity in the input makes every result NaN instead of failing */
  int32_t memory;               /* infonce_memory of the matrices and grad_output, and of the result's arrays */
  int64_t rows;                 /* N */
  int64_t dim;                  /* D */
  int64_t negative_rows;        /* M; 0 unless the denominator has negatives */
  int64_t views;                /* FIRST_VIEW and ALL_VIEWS: rows % views == 0, rows are view-major */
  int64_t grad_output_count;    /* 0: upstream gradient 1; 1: one value for all; rows: one each (reduction NONE) */
  double scale;                 /* 1 / temperature, or the logit scale */
  const float *anchors;         /* [N, D] */
  const float *keys;            /* [N, D]; NULL with OTHER_ANCHORS */
  const float *negatives;       /* [M, D] or [N, M, D]; NULL unless the denominator has negatives */
  const int32_t *labels;        /* [N], always in host memory; NULL unless SAME_LABEL */
  const float *grad_output;     /* [grad_output_count] */
} infonce_problem;

/* Arrays are the caller's. What they hold after a call that failed is unspecified. */
typedef struct infonce_result {
  uint32_t struct_size; /* sizeof(infonce_result) of the caller */
  double loss;          /* out: the mean or the sum; with reduction NONE the sum */
  double grad_scale;    /* out: d loss / d scale */
  double top1;          /* out: share of anchors whose (first) positive is beaten by no logit of the denominator */
  double top5;          /* out: the same with fewer than five above */
  float *row_loss;      /* [N], filled with reduction NONE; else may be NULL */
  float *grad_anchors;  /* [N, D], filled when gradient is 1 */
  float *grad_keys;     /* [N, D] */
  float *grad_negatives; /* [M, D] or [N, M, D] */
  /* With INFONCE_MEMORY_DEVICE, may be device memory [4] for loss, grad_scale, top1, top5. The call then returns as
     soon as its work is in the stream (without normalisation or with labels, as soon as its first kernels are done),
     the four fields above are left alone, and non-finite input makes all results NaN. Else NULL. */
  double *scalars;
  /* CUDA: how long the parts of the call took on the device; filled by contexts with `measure`, else left alone. */
  double upload_seconds, kernel_seconds, download_seconds;
} infonce_result;

/* Filled by a call that does not return INFONCE_OK, if struct_size is that of this header. */
typedef struct infonce_failure {
  uint32_t struct_size;
  int32_t input; /* infonce_input */
  int64_t row;   /* first bad row of that input, -1 if it has none */
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
  /* CUDA: the cudaStream_t in which all work is done; the default stream is cudaStreamLegacy or cudaStreamPerThread,
     the latter with calls from one thread only. NULL: a stream of the context's own, which waits for no other. */
  void *stream;
  int32_t measure;             /* CUDA: 1 fills the seconds of infonce_result */
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
  int32_t driver_version;     /* CUDA: the version of CUDA the driver brings, 1000 * major + 10 * minor; else 0 */
  int32_t runtime_version;    /* CUDA: that of the runtime this backend was built with */
} infonce_device_info;

typedef struct infonce_context infonce_context;

typedef struct infonce_backend {
  uint32_t struct_size;
  uint32_t abi_version;
  const char *name; /* "cpu", "cuda" */
  int32_t (*device_count)(infonce_failure *failure);
  infonce_status (*device_info)(int32_t device, infonce_device_info *info, infonce_failure *failure);
  infonce_status (*context_create)(const infonce_context_options *options, infonce_context **context,
                                   infonce_failure *failure);
  void (*context_destroy)(infonce_context *context); /* after its calls have returned */
  /* One call at a time runs in a context; others wait. */
  infonce_status (*run)(infonce_context *context, const infonce_problem *problem, infonce_result *result,
                        infonce_failure *failure);
  /* SimCLR's logits of OTHER_ANCHORS with views: [N, N-1], the row's positives in ascending order, then the others. */
  infonce_status (*logits)(infonce_context *context, const infonce_problem *problem, float *logits,
                           infonce_failure *failure);
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
