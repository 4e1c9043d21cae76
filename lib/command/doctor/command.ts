import { Command, Option } from 'commander';
import { DEVICE_NAMES } from '../../runtime/backends/index.js';
import { quoteAny } from '../../runtime/options.js';
import { printResult } from '../terminal/output.js';
import { deviceOf, numberWithin } from '../terminal/values.js';
import { type DoctorOptions, examine } from './examine.js';
import { formatReport } from './text.js';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('examines this machine and tests every loss on every device it can use')
    .option(
      '--device <name>',
      `test ${quoteAny(DEVICE_NAMES)} alone; exit code 3 if it cannot be used`,
      deviceOf(...DEVICE_NAMES),
    )
    .addOption(
      new Option('--timeout <seconds>', 'how long a driver or a device may take for one step')
        .argParser(numberWithin({ above: 0, most: 86_400 }))
        .default(30),
    )
    .option('--json', 'print the report as JSON')
    .action(async (options: DoctorOptions) => {
      const report = await examine(options);
      printResult(report, options, () => formatReport(report));
      process.exitCode = report.exit;
    });
}
