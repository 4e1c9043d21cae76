"""The losses and their gradients in float64, in plain Python: for small problems, where nothing else is installed."""

import math
from operator import mul


def dot(a, b):
    return math.fsum(map(mul, a, b))


def loss_and_gradients(loss, towers, scale, bias=0.0):
    """Rows are lists of floats. Returns (loss, d loss / d scale, [gradient of each tower]); the mean over rows."""
    anchors, *others = towers
    n = len(anchors)
    u, u_norm = unit_rows(anchors)
    v, v_norm = (u, u_norm) if loss == "ntXent" else unit_rows([row for tower in others for row in tower])
    cosine = [[dot(a, b) for b in v] for a in u]
    if loss == "sigLip":
        total, upstream = sigmoids(cosine, scale, bias)
    elif loss == "ntXent":
        total, upstream = direction(cosine, scale, [(i + n // 2) % n for i in range(n)], without_self=True)
    else:
        total, upstream = direction(cosine, scale, range(n))
    if loss == "clip":
        columns, across = direction(transposed(cosine), scale, range(n))
        total = (total + columns) / 2
        upstream = [[(a + b) / 2 for a, b in zip(*rows)] for rows in zip(upstream, transposed(across))]
    grad_scale = math.fsum(dot(*rows) for rows in zip(upstream, cosine))
    grad_u, grad_v = product(upstream, v, scale), product(transposed(upstream), u, scale)
    if loss == "ntXent":
        both = [[a + b for a, b in zip(*rows)] for rows in zip(grad_u, grad_v)]
        return total, grad_scale, [through_norm(u, u_norm, both)]
    of_others = through_norm(v, v_norm, grad_v)
    return total, grad_scale, [through_norm(u, u_norm, grad_u), *(of_others[k : k + n] for k in range(0, len(v), n))]


def direction(cosine, scale, positives, without_self=False):
    """The mean cross-entropy of the rows, and d loss / d logit."""
    n = len(cosine)
    total, upstream = 0.0, []
    for i, (row, positive) in enumerate(zip(cosine, positives)):
        logits = [scale * c for c in row]
        if without_self:
            logits[i] = -math.inf
        largest = max(logits)
        exponentials = [math.exp(s - largest) for s in logits]
        denominator = math.fsum(exponentials)
        total += largest + math.log(denominator) - logits[positive]
        gradient = [e / denominator / n for e in exponentials]
        gradient[positive] -= 1 / n
        upstream.append(gradient)
    return total / n, upstream


def sigmoids(cosine, scale, bias):
    """The mean over rows of the sum of softplus(-y logit), and d loss / d logit."""
    n = len(cosine)
    total, upstream = 0.0, []
    for i, row in enumerate(cosine):
        signed = [(scale * c + bias) * (-1 if i == j else 1) for j, c in enumerate(row)]
        total += math.fsum(max(x, 0) + math.log1p(math.exp(-abs(x))) for x in signed)
        upstream.append([(-1 if i == j else 1) / (1 + math.exp(-x)) / n for j, x in enumerate(signed)])
    return total / n, upstream


def unit_rows(rows):
    norms = [max(math.sqrt(dot(row, row)), 1e-12) for row in rows]
    return [[x / norm for x in row] for row, norm in zip(rows, norms)], norms


def through_norm(units, norms, gradient):
    """From d loss / d unit row to d loss / d row."""
    along = [dot(u, g) for u, g in zip(units, gradient)]
    return [[(x - y * a) / norm for x, y in zip(g, u)] for u, norm, g, a in zip(units, norms, gradient, along)]


def product(left, right, scale):
    columns = transposed(right)
    return [[scale * dot(row, column) for column in columns] for row in left]


def transposed(rows):
    return [list(column) for column in zip(*rows)]
