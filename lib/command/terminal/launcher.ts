/** Variables with which launchers tell a process its number, and that of all; `native/mpi/launcher.cc` knows the same ones. */
const LAUNCHERS = [
  ['mpirun of Open MPI', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'],
  ['mpiexec of MPICH', 'PMI_RANK', 'PMI_SIZE'],
  ['srun', 'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'],
  ['flux run', 'FLUX_TASK_RANK', 'FLUX_JOB_SIZE'],
  ['a launcher with PMIx', 'PMIX_RANK', undefined],
] as const;

/** What has started this process as one of several. */
export interface Launched {
  readonly launcher: string;
  readonly rank: number;
  /** How many it has started; null where it does not say. */
  readonly size: number | null;
}

/** Undefined where no launcher has started this process. */
export function launched(environment: NodeJS.ProcessEnv = process.env): Launched | undefined {
  for (const [launcher, rankName, sizeName] of LAUNCHERS) {
    const rank = integer(environment[rankName]);
    const size = sizeName === undefined ? null : integer(environment[sizeName]);
    if (rank !== undefined && size !== undefined && (size === null || size > 0)) return { launcher, rank, size };
  }
  return undefined;
}

function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}
