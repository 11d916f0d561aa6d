import type { Command } from 'commander'
import { presets } from '../../providers/presets/presets.ts'
import { print, printJson } from '../print.ts'

export function addPresets(providers: Command): void {
  providers
    .command('presets')
    .description('what `add` can start from: what each asks for, and its guide')
    .option('--json', 'for scripts')
    .addHelpText('after', '\nExample:\n  $ portal-sso providers presets')
    .action(({ json }: { json?: boolean }) => {
      if (json) return printJson(presets.map(described))
      for (const { name, displayName, asks, guide, settings } of presets) {
        print(`${name}: ${displayName} (docs/providers/${guide})`)
        if (!settings) print('  --issuer  Issuer')
        for (const { name: flag, label, hint, example, required = true } of asks) {
          const optional = !required && !hint?.includes('left out') && 'may be left out'
          const help = [hint, optional, example && `for example ${example}`]
          print(`  --${flag}  ${[label, ...help.filter(Boolean)].join('; ')}`)
        }
      }
    })
}

function described({ name, displayName, asks, hints, guide }: (typeof presets)[number]) {
  return {
    name,
    displayName,
    asks: asks.map(({ read: _, required = true, ...question }) => ({ ...question, required })),
    hints,
    guide: `docs/providers/${guide}`,
  }
}
