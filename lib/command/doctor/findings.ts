import type { Backend, Device } from '../../runtime/backends/backend.js';
import { cpu } from '../../runtime/backends/cpu.js';
import { cuda } from '../../runtime/backends/cuda.js';
import { backendOf } from '../../runtime/backends/index.js';
import { MANIFEST } from '../manifest.js';
import { EXIT, type Exit } from '../terminal/exit.js';
import type { Outcome } from './child.js';
import type { Answers } from './probe.js';
import type { GpuSystem, GroupFound, Machine, SelfTest } from './report.js';

const NO_GPU = 'INFONCE_DEVICE=cpu keeps programs off the GPU meanwhile.';

/** The faults, and the remedy for each fault or missing part. */
export class Findings {
  readonly problems: string[] = [];
  readonly advice: string[] = [];
  exit: Exit = EXIT.ok;

  constructor({ processorQuota, usableProcessors }: Machine) {
    if (processorQuota !== null && processorQuota < usableProcessors) {
      const threads = Math.max(1, Math.floor(processorQuota));
      this.advice.push(
        `The control group allows ${processorQuota} processors' time, and ${usableProcessors} threads share it: ` +
          `INFONCE_THREADS=${threads} keeps them from waiting for each other.`,
      );
    }
    const fault = nodeFault(process.versions.node, MANIFEST.engines.node);
    if (fault === undefined) return;
    this.#problem(EXIT.problem, fault.problem);
    this.advice.push(fault.advice);
  }

  addon(outcome: Outcome<Answers['addon']>): void {
    if (outcome.ended === 'well') return;
    const { ended, reason, remedy = '' } = outcome;
    // What to do stands in its own place.
    const fault = reason.slice(0, reason.length - remedy.length).trimEnd();
    this.#problem(ended === 'failed' ? EXIT.missing : EXIT.problem, `addon: ${fault}`);
    this.advice.push(remedy === '' ? cpu.advice.find : remedy);
  }

  /** If a device was `asked` for, {@link absent} reports that it cannot be used. */
  devices(backend: Backend, outcome: Outcome<Answers['devices']>, gpu: GpuSystem, asked: boolean): void {
    if (outcome.ended !== 'well') {
      this.#problem(EXIT.problem, `${backend.title}: ${outcome.reason}`);
      this.advice.push(`${backend.advice.find} ${NO_GPU}`);
      return;
    }
    const { devices, remedy, fatal } = outcome.answer;
    if (fatal && !asked) this.#problem(EXIT.problem, devices.map(reasonOf).join('; '));
    if (remedy !== undefined) this.advice.push(...(backend === cuda ? gpuAdvice(remedy, gpu, fatal) : [remedy]));
  }

  defaultContext(outcome: Outcome<Answers['default']>): void {
    if (outcome.ended === 'well') return;
    this.#problem(EXIT.problem, `calls that name no context fail: ${outcome.reason}`);
    this.advice.push('Change or unset the variables INFONCE_DEVICE, INFONCE_THREADS, INFONCE_PRECISION, INFONCE_ISA.');
  }

  /** A requested device that cannot be used. */
  absent(device: string, found: readonly Device[]): void {
    const ofBackend = found.filter(({ type }) => type === backendOf(device)?.prefix);
    const reasons = ofBackend.filter(({ id, type }) => id === device || id === type || device === type).map(reasonOf);
    const others = found.map(({ id }) => id).join(', ');
    const reason = reasons.filter(text => text !== '').join('; ') || `there is no such device, but ${others}`;
    this.#problem(EXIT.missing, `${device} cannot be used: ${reason}`);
  }

  selfTest(device: string, outcome: Outcome<readonly SelfTest[]>): void {
    if (outcome.ended !== 'well') {
      this.#problem(EXIT.problem, `${device}: ${outcome.reason}`);
      // An error says itself what to do.
      if (outcome.ended === 'hung') this.advice.push('Where a device is only slow, --timeout gives it more time.');
      if (outcome.ended !== 'failed') {
        const { advice, onHost } = backendOf(device)!;
        this.advice.push(onHost ? advice.compute : `${advice.compute} ${NO_GPU}`);
      }
    }
    const failed = (outcome.answer ?? []).filter(({ passed }) => !passed);
    if (failed.length === 0) return;
    this.#problem(EXIT.problem, `${device}: ${failed.length} of ${outcome.answer!.length} self-tests failed`);
    this.advice.push(`Do not use ${device}, and report this with the output of infonce doctor --json.`);
  }

  /** Of processes that a launcher has started, `size` of them if it says so. A single one may do without MPI. */
  processGroup(launcher: string, size: number | null, outcome: Outcome<GroupFound>): void {
    if (outcome.ended !== 'well') {
      if (size === 1) return;
      this.#problem(EXIT.problem, `process group: ${outcome.reason}`);
      this.advice.push(
        `Where ${launcher} is to start processes that compute together, docs/distributed.md says which ways there are.`,
      );
      return;
    }
    if (outcome.answer.ringTest.passed) return;
    this.#problem(EXIT.problem, 'process group: the ring test failed');
    this.advice.push('Do not use this group, and report this with the output of infonce doctor --json.');
  }

  /** A fault counts for more than something that is not there. */
  #problem(exit: Exit, text: string): void {
    this.problems.push(text);
    if (this.exit !== EXIT.problem) this.exit = exit;
  }
}

/** What is wrong with a version of Node.js where `>=N` is wanted. */
export function nodeFault(
  version: string,
  wanted: string,
): { readonly problem: string; readonly advice: string } | undefined {
  const least = Number(/^>=(\d+)/.exec(wanted)![1]);
  if (Number(version.split('.')[0]) >= least) return undefined;
  return {
    problem: `Node.js ${version}: infonce is tested with ${least} and newer`,
    advice: `Install Node.js ${least} or newer.`,
  };
}

function reasonOf(device: Device): string {
  return device.available ? '' : device.reason;
}

/** Whether there is a GPU that a driver serves. A driver alone, as containers bring one, has none. */
function hasGpu({ pciDevices, driver, nvidiaSmi }: GpuSystem): boolean {
  if (!('failed' in nvidiaSmi)) return nvidiaSmi.length > 0;
  return driver.loaded && pciDevices !== 0;
}

function gpuAdvice(remedy: string, gpu: GpuSystem, named: boolean): string[] {
  const { pciDevices, nvcc } = gpu;
  if (named || hasGpu(gpu)) {
    const toolkit = nvcc === null && remedy.includes('CMake');
    return toolkit ? ["Install NVIDIA's CUDA toolkit 12 or newer: nvcc was not found.", remedy] : [remedy];
  }
  if (pciDevices !== null && pciDevices > 0) {
    return [
      "There is an NVIDIA GPU and no driver for it: install NVIDIA's driver; in a container, start it with --gpus all.",
    ];
  }
  return [
    'No NVIDIA GPU is visible, and the CPU needs nothing more. In a container, start it with --gpus all to use one.',
  ];
}
