"""The calls that are measured: losses by the contract's blocks and softmaxes, with gradients, the mean over rows."""

from header import NUMBERS, STRUCTS

ON_HOST, ON_DEVICE = NUMBERS["ON_HOST"], NUMBERS["ON_DEVICE"]
VIEWS = 2
NO_SOFTMAX = -1
LOGIT_BIAS = -10.0  # of the sigmoid loss


def one_tower():
    block = STRUCTS["block"](anchors=0, candidates=0, row_softmax=0, column_softmax=0,
                             left_out=NUMBERS["LEAVE_OUT_SAME_ROW"])
    return (block,), (softmax(0, "FIRST_VIEW", 0),)


def two_towers(both_directions):
    block = STRUCTS["block"](anchors=0, candidates=1, row_softmax=0,
                             column_softmax=1 if both_directions else NO_SOFTMAX)
    if not both_directions:
        return (block,), (softmax(0, "SAME_INDEX", 1),)
    return (block,), (softmax(0, "SAME_INDEX", 1, 0.5), softmax(1, "SAME_INDEX", 0, 0.5))


def hard_negatives():
    """Keys and as many further negatives, all of them every query's."""
    (keys,), softmaxes = two_towers(False)
    negatives = STRUCTS["block"](anchors=0, candidates=2, row_softmax=0, column_softmax=NO_SOFTMAX)
    return (keys, negatives), softmaxes


def sigmoid():
    (pairs,), _ = two_towers(False)
    return (pairs,), (softmax(0, "SAME_INDEX", 1, row_loss="SIGMOID"),)


def softmax(anchors, positive, positive_matrix, weight=1, row_loss="CROSS_ENTROPY"):
    return STRUCTS["softmax"](anchors=anchors, positive=NUMBERS[f"POSITIVE_{positive}"],
                              positive_matrices=1 << positive_matrix, row_loss=NUMBERS[f"ROW_LOSS_{row_loss}"],
                              weight=weight)


LOSSES = {"ntXent": one_tower(), "infoNCE": two_towers(False), "hardNegatives": hard_negatives(),
          "clip": two_towers(True), "sigLip": sigmoid()}


def call(shape, scale, towers, gradients, residence=ON_DEVICE, device_scalars=None):
    """(problem, result) of a loss; `towers` and `gradients` are pointers, a matrix each."""
    blocks, softmaxes = LOSSES[shape.loss]
    facts = {"type": NUMBERS["FLOAT32"], "residence": residence, "rows": shape.rows,
             "views": VIEWS if len(towers) == 1 else 1}
    matrices = tuple(STRUCTS["matrix"](data=tower, **facts) for tower in towers)
    problem = STRUCTS["problem"](
        matrix_count=len(matrices), matrices=matrices, block_count=len(blocks), blocks=blocks,
        softmax_count=len(softmaxes), softmaxes=softmaxes, reduction=NUMBERS["REDUCTION_MEAN"], normalize=1, gradient=1,
        ranks=1, dim=shape.dim, scale=scale, bias=LOGIT_BIAS if shape.loss == "sigLip" else 0,
    )
    outputs = tuple(STRUCTS["output"](data=gradient, residence=residence) for gradient in gradients)
    return problem, STRUCTS["result"](gradients=outputs, device_scalars=device_scalars)
