import { Command, Option } from 'commander';
import { DEVICE_NAMES } from '../../runtime/backends/index.js';
import { quoteAny } from '../../runtime/options.js';
import { launched } from '../terminal/launcher.js';
import { note, printResult } from '../terminal/output.js';
import { deviceOf, numberWithin } from '../terminal/values.js';
import { type DoctorOptions, examine, examineLaunch } from './examine.js';
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
    .option('--no-self-test', 'list the devices without computing losses on them')
    .option('--json', 'print the report as JSON')
    .action(async (options: DoctorOptions) => {
      const launch = launched();
      if (launch !== undefined && launch.rank > 0) {
        // The first process of the launch reports on all of them.
        const { group } = await examineLaunch(launch, options.timeout);
        if ('failed' in group && launch.size !== 1) note(`infonce: rank ${launch.rank}: ${group.failed}`);
        return;
      }
      const report = await examine(options);
      printResult(report, options, () => formatReport(report));
      process.exitCode = report.exit;
    });
}
