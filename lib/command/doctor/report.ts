import type { Device } from '../../runtime/backends/backend.js';
import type { LibraryPlace } from '../../runtime/backends/cuda-library.js';
import type { Precision } from '../../runtime/handles.js';
import type { Exit } from '../terminal/exit.js';

/** What `infonce doctor --json` prints. docs/command/doctor.md describes it. */
export interface DoctorReport {
  readonly infonce: string;
  readonly machine: Machine;
  readonly node: NodeInfo;
  readonly addon: Addon;
  /** The variables `INFONCE_…` that are set. */
  readonly environment: Readonly<Record<string, string>>;
  readonly gpu: GpuSystem;
  /** Where the CUDA backend is looked for, in this order. */
  readonly cudaLibrary: readonly ExaminedLibrary[];
  readonly devices: readonly Device[];
  /** The context of calls without one; null where it was not tried. */
  readonly defaultContext: DefaultContext | null;
  readonly selfTests: readonly SelfTest[];
  /** What a launcher of MPI has started; null where none has. */
  readonly processGroup: LaunchedGroup | null;
  readonly packages: readonly OptionalPackage[];
  /** What is wrong. Empty: the exit code is 0. */
  readonly problems: readonly string[];
  /** The remedy for each fault or missing part. */
  readonly advice: readonly string[];
  readonly exit: Exit;
}

export interface ExaminedLibrary extends LibraryPlace {
  /** The devices that it serves. */
  readonly serves: readonly string[];
  /** Why it does not serve others, or any. */
  readonly refusals: readonly string[];
}

export interface Machine {
  readonly platform: string;
  readonly arch: string;
  readonly release: string;
  readonly cpu: string;
  /** Logical processors of the machine. */
  readonly processors: number;
  /** How many of them this process may use. */
  readonly usableProcessors: number;
  /** Processors' worth of time that the control group allows; null without such a limit, and where none can be read. */
  readonly processorQuota: number | null;
  /** Bytes. */
  readonly memory: number;
  readonly freeMemory: number;
  /** Bytes that the control group allows; null as above. */
  readonly memoryLimit: number | null;
}

export interface NodeInfo {
  readonly version: string;
  readonly modules: string;
  readonly napi: string;
  /** `glibc 2.36`, `musl`; null where there is no choice. */
  readonly libc: string | null;
  readonly executable: string;
}

export type Addon =
  | { readonly loaded: true; readonly file: string; readonly source: 'local build' | 'prebuild' | 'other' }
  | { readonly loaded: false; readonly reason: string };

/** What the system says about NVIDIA GPUs, independently of the backend. */
export interface GpuSystem {
  /** GPUs on the PCI bus; null where the system does not say. */
  readonly pciDevices: number | null;
  /** The driver's library. */
  readonly driver: { readonly library: string; readonly loaded: boolean; readonly detail: string | null };
  readonly nvidiaSmi: readonly NvidiaSmiGpu[] | { readonly failed: string };
  /** CUDA's compiler, with which the backend is built; null: not found. */
  readonly nvcc: string | null;
}

export interface NvidiaSmiGpu {
  readonly name: string;
  readonly driver: string;
  readonly memory: string;
  readonly computeCapability: string;
}

export interface DefaultContext {
  readonly device: string;
  readonly precision: Precision;
  /** CUDA: 0. */
  readonly threads: number;
  /** Why it is not a GPU, unless the device was named. */
  readonly fallbackReason: string | null;
}

export interface SelfTest {
  readonly device: string;
  readonly precision: Precision;
  readonly loss: string;
  readonly passed: boolean;
  /** ‖out − ref‖ / ‖ref‖ of the loss and each gradient; null: not a number. Empty where the call failed. */
  readonly errors: Readonly<Record<string, number | null>>;
  /** The largest that is allowed. */
  readonly bound: number;
  /** Why there are no errors to judge. */
  readonly failure?: string;
}

export interface OptionalPackage {
  readonly name: string;
  /** null: not installed. */
  readonly version: string | null;
  /** The versions it works with. */
  readonly wanted: string;
}

/** The processes of one launch. */
export interface LaunchedGroup {
  readonly launcher: string;
  /** How many it has started, by its own words; null where it does not say. */
  readonly size: number | null;
  /** What they are as a process group, or why they are none. */
  readonly group: GroupFound | { readonly failed: string };
}

export interface GroupFound {
  /** `Open MPI 4.1.4` */
  readonly library: string;
  /** In their order. */
  readonly ranks: readonly RankFound[];
  readonly ringTest: {
    readonly passed: boolean;
    /** Whether sums over the ranks are what they are on each of them. */
    readonly sums: boolean;
    /** As of a self-test: the largest of any rank, of infoNCE over the rows of all. */
    readonly errors: Readonly<Record<string, number | null>>;
    readonly bound: number;
  };
}

export interface RankFound {
  readonly host: string;
  /** Its number among those of its host, and how many these are. */
  readonly localRank: number;
  readonly localSize: number;
  /** The numbers of the processors that it is bound to, `0-3`; null where the system does not say. */
  readonly processors: string | null;
  /** How many these are. */
  readonly usableProcessors: number;
}
