/**
 * Of each pair of a row and its positive log Σ exp(s_ij − s_ip) over the candidates so far. The loss of a part is log (1 + Σ)
 * over its candidates, and so is that of all.
 */
export class SumsOfExponentials {
  readonly #logarithms: Float64Array;

  constructor(pairs: number) {
    this.#logarithms = new Float64Array(pairs).fill(Number.NEGATIVE_INFINITY);
  }

  add(begin: number, losses: Float32Array): void {
    const sums = this.#logarithms;
    losses.forEach((rounded, i) => {
      // log (exp(loss) − 1): of a loss of 0 that is -Infinity, which adds nothing.
      const loss = Math.max(0, rounded);
      const sum = loss > 1 ? loss + Math.log1p(-Math.exp(-loss)) : Math.log(Math.expm1(loss));
      sums[begin + i] = logOfSum(sums[begin + i]!, sum);
    });
  }

  /** Of each pair, without its positive. */
  get logarithms(): Float64Array {
    return this.#logarithms;
  }

  /** Of each pair. */
  losses(): Float64Array {
    return this.#logarithms.map(logarithm => logOfSum(0, logarithm));
  }

  mean(): number {
    return this.losses().reduce((sum, loss) => sum + loss, 0) / this.#logarithms.length;
  }
}

/** log (exp(a) + exp(b)) */
function logOfSum(a: number, b: number): number {
  const greater = Math.max(a, b);
  const less = Math.min(a, b);
  return less === Number.NEGATIVE_INFINITY ? greater : greater + Math.log1p(Math.exp(less - greater));
}
