const TOLERANCE = 1e-4;

/** Throws unless two results, `{ loss, gradient }`, agree: nothing that computes something else is timed. */
export function assertAgreement(name, ours, theirs) {
  const lossError = Math.abs(ours.loss - theirs.loss) / Math.abs(ours.loss);
  const gradientError = relativeError(theirs.gradient, ours.gradient);
  if (!(lossError <= TOLERANCE && gradientError <= TOLERANCE)) {
    throw new Error(
      `${name} disagrees with infonce: loss off by ${lossError}, gradient by ${gradientError} (relative)`,
    );
  }
}

/** ‖actual − expected‖ / ‖expected‖. */
export function relativeError(actual, expected) {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}
