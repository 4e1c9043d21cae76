import { InfoNCEError, type InfoNCEErrorCode } from '../../runtime/errors.js';

/** Exit codes. */
export const EXIT = {
  ok: 0,
  /** The command ran and found something wrong: a self-test that failed, a file with bad numbers, too little memory. */
  problem: 1,
  /** The command line is wrong. */
  usage: 2,
  /** Something it needs is not there: a file, a package, a device. */
  missing: 3,
  /** A fault of this package. */
  fault: 70,
  /** What it has found cannot be written: a full disk. EX_IOERR of sysexits.h. */
  output: 74,
} as const;

export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** Ends the command with a message for its user, who need not see a stack. */
export class CommandError extends Error {
  override readonly name = 'CommandError';

  constructor(
    readonly exit: Exit,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export function exitOf(error: unknown): Exit {
  if (error instanceof CommandError) return error.exit;
  if (!(error instanceof InfoNCEError) || error.code === 'ERR_INFONCE_INTERNAL') return EXIT.fault;
  const missing: readonly InfoNCEErrorCode[] = ['ERR_INFONCE_DEVICE', 'ERR_INFONCE_NOT_FOUND'];
  return missing.includes(error.code) ? EXIT.missing : EXIT.problem;
}
