import type { Backend, Device, Refusal } from '../../runtime/backends/backend.js';
import { type LibraryPlace, libraryPlaces } from '../../runtime/backends/cuda-library.js';
import { backendOf, GPU_BACKENDS } from '../../runtime/backends/index.js';
import { unavailable } from '../../runtime/devices.js';
import { MANIFEST } from '../manifest.js';
import { type Launched, launched } from '../terminal/launcher.js';
import type { OutputOptions } from '../terminal/output.js';
import { startProgress } from '../terminal/progress.js';
import { type Outcome, probe } from './child.js';
import { Findings } from './findings.js';
import { DRIVER_LIBRARY, describeGpuSystem } from './gpu.js';
import { describeMachine, describeNode } from './machine.js';
import { optionalPackages } from './packages.js';
import type { Answers } from './probe.js';
import type {
  Addon,
  DefaultContext,
  DoctorReport,
  ExaminedLibrary,
  GpuSystem,
  LaunchedGroup,
  SelfTest,
} from './report.js';

export interface DoctorOptions extends OutputOptions {
  readonly device?: string;
  /** Seconds. */
  readonly timeout: number;
  /** Whether losses are computed on the devices. */
  readonly selfTest: boolean;
}

/** So that the group itself says who is missing. */
const SHARE_OF_TIMEOUT = 0.8;

/** Looks at everything. Nothing native is loaded in this process. */
export async function examine({ device, timeout, selfTest }: DoctorOptions): Promise<DoctorReport> {
  const system = describeMachine();
  const findings = new Findings(system);
  const launch = launched();
  const processGroup = launch === undefined ? null : await examineLaunch(launch, timeout, findings);
  const progress = startProgress('doctor', 5);

  const addon = await probe('addon', timeout);
  progress.update(1, 'GPU');
  const gpu = await gpuSystem(timeout);
  const found: Device[] = addon.ended === 'well' ? [addon.answer.cpu] : [];
  // One name for one CPU: as the addon reads it, which is more than some systems tell.
  const machine = addon.answer?.cpu.available ? { ...system, cpu: addon.answer.cpu.name } : system;
  findings.addon(addon);
  progress.update(2, 'devices');
  let defaultContext: DefaultContext | null = null;
  const refusals: Refusal[] = [];
  let canCompute = addon.ended === 'well';
  for (const backend of canCompute ? gpuBackends(device) : []) {
    const outcome = await probe('devices', timeout, backend.prefix);
    findings.devices(backend, outcome, gpu, device !== undefined);
    // What a backend that crashed or hung leaves of its devices.
    const nothing = [unavailable(backend, outcome.ended === 'well' ? '' : outcome.reason)];
    found.push(...(outcome.answer?.devices ?? nothing));
    refusals.push(...(outcome.answer?.refusals ?? []));
    canCompute &&= outcome.ended === 'well';
  }
  progress.update(3, 'default context');
  if (canCompute && device === undefined) {
    const outcome = await probe('default', timeout);
    findings.defaultContext(outcome);
    defaultContext = outcome.answer ?? null;
  }

  const chosen = found.filter(({ id, type }) => device === undefined || device === id || device === type);
  const usable = chosen.filter(({ available }) => available);
  if (device !== undefined && usable.length === 0) findings.absent(device, found);
  const selfTests: SelfTest[] = [];
  for (const { id } of selfTest ? usable : []) {
    progress.update(4, `self-test of ${id}`);
    const outcome = await probe('self-test', timeout, id);
    findings.selfTest(id, outcome);
    selfTests.push(...(outcome.answer ?? []));
  }
  progress.stop();
  return {
    infonce: MANIFEST.version,
    machine,
    node: describeNode(),
    addon: describeAddon(addon),
    environment: Object.fromEntries(
      Object.entries(process.env).filter((entry): entry is [string, string] => /^INFONCE_/.test(entry[0])),
    ),
    gpu,
    cudaLibrary: libraryPlaces().map(place => examinedLibrary(place, found, refusals)),
    devices: found,
    defaultContext,
    selfTests,
    processGroup,
    packages: optionalPackages(),
    problems: findings.problems,
    advice: findings.advice,
    exit: findings.exit,
  };
}

/** All processes of the launch do this at once, and first: the others wait for each. */
export async function examineLaunch(
  { launcher, size }: Launched,
  timeout: number,
  findings?: Findings,
): Promise<LaunchedGroup> {
  const outcome = await probe('group', timeout, String(SHARE_OF_TIMEOUT * timeout));
  findings?.processGroup(launcher, size, outcome);
  return { launcher, size, group: outcome.ended === 'well' ? outcome.answer : { failed: outcome.reason } };
}

/** Those that a device may be of, all where none is named. */
function gpuBackends(device: string | undefined): readonly Backend[] {
  return device === undefined ? GPU_BACKENDS : GPU_BACKENDS.filter(backend => backend === backendOf(device));
}

function describeAddon(outcome: Outcome<Answers['addon']>): Addon {
  if (outcome.ended !== 'well') return { loaded: false, reason: outcome.reason };
  const { file, source } = outcome.answer;
  return { loaded: true, file, source };
}

function examinedLibrary(
  place: LibraryPlace,
  devices: readonly Device[],
  refusals: readonly Refusal[],
): ExaminedLibrary {
  const { file } = place;
  const serves = devices.filter(device => device.available && device.library === file).map(({ id }) => id);
  const reasons = refusals
    .filter(refusal => refusal.file === file)
    .map(({ index, reason }) => (index === undefined ? reason : `cuda:${index}: ${reason}`));
  return { ...place, serves, refusals: reasons };
}

async function gpuSystem(timeout: number): Promise<GpuSystem> {
  const [system, driver] = await Promise.all([describeGpuSystem(1000 * timeout), probe('driver', timeout)]);
  if (driver.answer !== undefined) return { ...system, driver: driver.answer };
  const detail = driver.ended === 'well' ? null : driver.reason;
  return { ...system, driver: { library: DRIVER_LIBRARY, loaded: false, detail } };
}
