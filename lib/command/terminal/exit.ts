import { InfoNCEError, type InfoNCEErrorCode } from '../../runtime/errors.js';

/** Exit codes. */
export const EXIT = {
  ok: 0,
  /** The command found a fault: a failed self-test, a file with bad numbers, too little memory. */
  problem: 1,
  /** The command line is wrong. */
  usage: 2,
  /** Something is missing: a file, a package, a device. */
  missing: 3,
  /** A bug in this package. */
  fault: 70,
  /** The result cannot be written: a full disk. EX_IOERR of sysexits.h. */
  output: 74,
} as const;

export type Exit = (typeof EXIT)[keyof typeof EXIT];

/** Ends the command with a message, without a stack. */
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
