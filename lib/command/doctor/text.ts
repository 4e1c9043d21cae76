import type { Device } from '../../runtime/backends/backend.js';
import { isOnHost } from '../../runtime/backends/index.js';
import { worksWith } from '../terminal/optional.js';
import { table } from '../terminal/table.js';
import type {
  DoctorReport,
  ExaminedLibrary,
  GpuSystem,
  LaunchedGroup,
  Machine,
  OptionalPackage,
  RankFound,
  SelfTest,
} from './report.js';

type Line = readonly [name: string, text: string];

/** The report for people. */
export function formatReport(report: DoctorReport): string {
  const { infonce, machine, node, addon, environment, cudaLibrary, devices, packages } = report;
  const libc = node.libc === null ? '' : `, ${node.libc}`;
  const sections = [
    section(`infonce ${infonce}`, [
      ['system', `${machine.platform} ${machine.arch}, ${machine.release}`],
      ['Node.js', `${node.version} (modules ${node.modules}, Node-API ${node.napi}${libc}), ${node.executable}`],
      ['addon', addon.loaded ? `${addon.file} (${addon.source})` : 'cannot be loaded, see below'],
    ]),
    section('CPU', [
      ['name', machine.cpu],
      ...devices.filter(({ id }) => isOnHost(id)).flatMap(cpuLines),
      ['processors', processors(machine)],
      ['memory', memory(machine)],
    ]),
    section('GPU', gpuLines(report.gpu)),
    section('CUDA backend, looked for in this order', cudaLibrary.map(libraryLine)),
    section('Devices', devices.map(deviceLine)),
    section('In force', [
      ['default context', defaultContext(report)],
      ...Object.entries(environment).map(([name, value]): Line => [name, JSON.stringify(value)]),
    ]),
    selfTests(report.selfTests),
    processGroup(report.processGroup),
    section('Optional packages', packageLines(packages)),
    list('Problems', report.problems),
    list('What to do', report.advice),
    verdict(report),
  ];
  return sections.filter(text => text !== '').join('\n\n');
}

function section(title: string, lines: readonly Line[]): string {
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.length === 0
    ? ''
    : [title, ...lines.map(([name, text]) => `  ${name.padEnd(width)}  ${text.replaceAll('\n', '\n    ')}`)].join('\n');
}

function list(title: string, items: readonly string[]): string {
  return items.length === 0 ? '' : [title, ...items.map(item => `  - ${item.replaceAll('\n', '\n    ')}`)].join('\n');
}

function cpuLines(device: Device): Line[] {
  if (!device.available) return [];
  return [
    ['instruction set', `${device.instructionSet}, of ${device.instructionSets.join(', ')}`],
    ['threads', String(device.threads)],
    ["'medium' is", device.medium === 'bfloat16' ? 'one bfloat16 product' : (device.note ?? 'float32')],
  ];
}

function processors({ processors, usableProcessors, processorQuota }: Machine): string {
  const quota = processorQuota === null ? '' : `; the control group allows ${processorQuota} processors' time`;
  const affinity = usableProcessors < processors ? ` of ${processors}, the others being forbidden to this process` : '';
  return `${usableProcessors}${affinity}${quota}`;
}

function memory({ memory, freeMemory, memoryLimit }: Machine): string {
  const limit = memoryLimit === null ? '' : `; the control group allows ${gigabytes(memoryLimit)}`;
  return `${gigabytes(freeMemory)} of ${gigabytes(memory)} free${limit}`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

function gpuLines({ pciDevices, driver, nvidiaSmi, nvcc }: GpuSystem): Line[] {
  const smi: Line[] =
    'failed' in nvidiaSmi
      ? [['nvidia-smi', nvidiaSmi.failed]]
      : nvidiaSmi.map(gpu => [
          'nvidia-smi',
          `${gpu.name}, ${gpu.memory}, compute capability ${gpu.computeCapability}, driver ${gpu.driver}`,
        ]);
  return [
    ...(pciDevices === null ? [] : [['PCI bus', pciDevices === 0 ? 'no NVIDIA GPU' : `${pciDevices} NVIDIA`] as const]),
    ['driver', driver.loaded ? `${driver.library} loads` : (driver.detail ?? `${driver.library} does not load`)],
    ...smi,
    ['nvcc', nvcc ?? 'not found in CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda'],
  ];
}

function libraryLine({ place, file, found, serves, refusals }: ExaminedLibrary): Line {
  if (!found) return [place, `${file}: not there`];
  const served = serves.length === 0 ? [] : [`serves ${serves.join(', ')}`];
  return [place, [file, ...served, ...refusals].join('\n')];
}

function deviceLine(device: Device): Line {
  if (!device.available) return [device.id, `cannot be used: ${device.reason}`];
  const { id, name, instructionSet, memory, computeCapability, driverVersion, runtimeVersion, note } = device;
  const code = device.code === undefined ? '' : `, code ${device.code}`;
  const cuda = [
    `compute capability ${computeCapability}`,
    `the driver knows CUDA ${driverVersion}, the backend is of CUDA ${runtimeVersion}${code}`,
  ];
  const facts = [name, instructionSet, gigabytes(memory), ...(computeCapability === undefined ? [] : cuda)];
  const shortcoming = !isOnHost(id) && note !== undefined ? `\n${note}` : '';
  return [id, facts.join(', ') + shortcoming];
}

function defaultContext({ defaultContext: context, devices }: DoctorReport): string {
  if (context === null) return 'not tried';
  const threads = context.threads === 0 ? '' : `, ${context.threads} threads`;
  // Most often the device's line shows it already.
  const isKnown = devices.some(device => !device.available && device.reason === context.fallbackReason);
  const reason = context.fallbackReason === null || isKnown ? '' : ` (no GPU: ${context.fallbackReason})`;
  return `${context.device}, precision ${context.precision}${threads}${reason}`;
}

function selfTests(tests: readonly SelfTest[]): string {
  if (tests.length === 0) return '';
  const rows = tests.map(({ device, precision, loss, passed, errors, bound, failure }) => {
    const { loss: ofLoss, ...gradients } = errors;
    const all = Object.entries(gradients).map(([name, error]) => `${shorter(name)} ${scientific(error)}`);
    const shown = failure === undefined ? [scientific(ofLoss), all.join(', ')] : ['', failure];
    return [device, precision, loss, ...shown, scientific(bound), passed ? 'PASS' : 'FAIL'];
  });
  const columns = ['device', 'precision', 'loss', 'error', 'errors of gradients', 'bound', ''];
  const drawn = table(
    columns.map(title => ({ title })),
    rows,
  );
  return `Self-tests: ‖out − ref‖ / ‖ref‖ against float64\n${drawn}`;
}

function processGroup(launched: LaunchedGroup | null): string {
  if (launched === null) return '';
  const { launcher, size, group } = launched;
  const started = size === null ? '' : `, which has started ${size} ${size === 1 ? 'process' : 'processes'}`;
  const title = `Process group, by ${launcher}${started}`;
  if ('failed' in group) return section(title, [['none', group.failed]]);
  const { library, ranks, ringTest } = group;
  const { passed, sums, errors, bound } = ringTest;
  const worst = Object.entries(errors).map(([name, error]) => `${shorter(name)} ${scientific(error)}`);
  const found = `${sums ? 'sums are right' : 'sums are wrong'}; infoNCE of all ranks: ${worst.join(', ')}; bound ${scientific(bound)}`;
  return section(title, [
    ['library', library],
    ...ranks.map((rank, number) => [`rank ${number}`, rankLine(rank)] as const),
    ['ring test', `${found}  ${passed ? 'PASS' : 'FAIL'}`],
  ]);
}

function rankLine({ host, localRank, localSize, processors, usableProcessors }: RankFound): string {
  const numbers = processors === null ? '' : ` (${processors})`;
  return `${host}, ${localRank + 1} of ${localSize} there, may use ${usableProcessors} processor${usableProcessors === 1 ? '' : 's'}${numbers}`;
}

/** Those that are there, and in one line those that are not: the commands that need one say so. */
function packageLines(packages: readonly OptionalPackage[]): Line[] {
  const installed = packages.filter(({ version }) => version !== null);
  const missing = packages.filter(({ version }) => version === null).map(({ name }) => name);
  const lines = installed.map(({ name, version, wanted }): Line => {
    const works = worksWith(name, version!) ? 'works' : 'another version, which may not work: infonce works';
    return [name, `${version} (${works} with ${wanted})`];
  });
  return missing.length === 0 ? lines : [...lines, ['not installed', missing.join(', ')]];
}

/** `gradFeatures`: `features`. */
function shorter(name: string): string {
  return name.replace(/^grad./, first => first.slice(-1).toLowerCase());
}

function scientific(value: number | null | undefined): string {
  return value === null || value === undefined ? 'NaN' : value.toExponential(1);
}

function verdict({ problems, selfTests }: DoctorReport): string {
  const passed = selfTests.filter(test => test.passed).length;
  const tested = selfTests.length === 0 ? 'No self-test ran' : `${passed} of ${selfTests.length} self-tests passed`;
  const found = problems.length === 1 ? 'there is 1 problem' : `there are ${problems.length} problems`;
  return `${tested}, ${problems.length === 0 ? 'nothing is wrong' : found}.`;
}
